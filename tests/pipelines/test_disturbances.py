"""Killed anywhere, or without room anywhere: what was published stays, and the next run ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

import streamsvd
from streamsvd import Model
from streamsvd.pipelines.records import RunLog
from streamsvd.pipelines.republishing import republish
from tests.pipelines.disk import Fault, run_disturbed
from tests.pipelines.kit import (
    CHAIN,
    ROWS,
    assert_same_bits,
    grow,
    place_of,
    run_text,
    write,
    write_sources,
)

KILLS = 20
PARTS = 20
"""Into which the writes of a run are cut at which the disk is full: so that no test takes minutes."""
MORE = 80
"""Rows that come between two runs."""
NAMES = ("eof", "model")


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["streamsvd.models", "streamsvd.factor.pca", "tests.pipelines.disk"]
    )
    return context


def disturbed(
    server: ForkServerContext, file: Path, at: int, fault: Fault, key: str = ""
) -> tuple[int, tuple[int, str, str] | None]:
    """Exit code of a run, and what it told."""
    here, there = server.Pipe(duplex=False)
    arguments = (str(file), at, fault, key, there)
    process = server.Process(target=run_disturbed, args=arguments, daemon=True)
    process.start()
    there.close()
    try:
        found = here.recv()
    except EOFError:
        found = None
    here.close()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, found


@dataclass
class Stage:
    """A pipeline before a run that will be disturbed, and what the run makes where nothing disturbs it.

    Attributes
    ----------
    text
        What the pipeline says.
    folder, kept
        Where it runs, and a copy of it as it was before.
    places
        Results of the run that nothing disturbed, by step.
    rows
        How many rows the model had before, and has after.
    counts
        Changes of files of that run: all, and those that take room.
    """

    text: str
    folder: Path
    kept: Path
    places: dict[str, Path]
    rows: tuple[int, int]
    counts: dict[str, int]

    def restore(self) -> None:
        """As it was before the run; times of files too, which keys depend on."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder, symlinks=True)

    def assert_readers_see_a_whole_result(self) -> None:
        """The old one, the new one, or none where there was none."""
        for name in NAMES:
            link = self.folder / "latest" / name
            if self.rows[0] or link.is_symlink():
                assert streamsvd.load(link).info.n_rows in self.rows

    def assert_the_next_run_is_right(self) -> None:
        """The bits of the run that nothing disturbed, each row absorbed once, and nothing left over."""
        record = run_text(self.folder, self.text)
        assert record.status in ("done", "unchanged"), record.error
        for name in NAMES:
            place = place_of(record, name)
            assert_same_bits(place, self.places[name])
            assert (self.folder / "latest" / name).resolve(strict=True) == place.resolve()
        model = Model.open(self.folder / "a.model")
        assert model.n_rows == self.rows[1]
        assert len(model.blocks) == (2 if self.rows[0] else 1)  # each stretch of rows once
        assert model.verify() == []
        assert run_text(self.folder, self.text).status == "unchanged"
        left = [p.name for p in self.folder.rglob("*") if is_left_over(p)]
        assert not left


def is_left_over(path: Path) -> bool:
    """Whether a file is of a run that did not end; temporary ones of a model are younger than they may be, and stay."""
    return ".partial-" in path.name or ".publishing-" in path.name or path.name.startswith(".v")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("first", marks=pytest.mark.slow),
        "later",
        pytest.param("shared", marks=pytest.mark.slow),
    ],
)
def stage(request: Any, server: ForkServerContext, tmp_path_factory: Any) -> Stage:
    """Before the first run of a pipeline; before one that finds new rows; and the same of steps that share a read."""
    home = tmp_path_factory.mktemp("stage")
    folder = write_sources(home / "my data")
    text, rows = CHAIN, (0, ROWS)
    if request.param == "shared":
        text = CHAIN.replace('path = "a.zarr"', 'path = "a.zarr"\nshare = true')
    write(folder, text)
    if request.param != "first":
        run_text(folder, text)
        grow(folder / "a.zarr", MORE)
        rows = (ROWS, ROWS + MORE)
    stage = Stage(text, folder, home / "kept", {}, rows, {})
    shutil.copytree(folder, stage.kept, symlinks=True)
    for fault in ("full", "kill"):
        stage.restore()
        code, found = disturbed(server, folder / "p.toml", 0, fault)
        assert code == 0
        assert found is not None
        stage.counts[fault], status, said = found
        assert status == "done", said
    (*_, record) = RunLog(folder / "p.runs").records()
    assert bool(record.reads) == (request.param == "shared")
    for name in NAMES:
        stage.places[name] = Path(shutil.copytree(place_of(record, name), home / name))
    return stage


def points(count: int) -> list[int]:
    """Where the kills fall: the same each time, as long as runs change files as often."""
    return random.Random(count).sample(range(1, count + 1), KILLS)


def some(usual: range, of: range) -> list[Any]:
    """Numbers of which only a few are tried in every run of the tests."""
    return [n if n in usual else pytest.param(n, marks=pytest.mark.slow) for n in of]


@pytest.mark.parametrize("number", some(range(2), range(KILLS)))
def test_a_run_that_was_killed_anywhere_is_made_whole(server, stage, number) -> None:
    stage.restore()
    at = points(stage.counts["kill"])[number]
    code, _ = disturbed(server, stage.folder / "p.toml", at, "kill")
    assert code == -signal.SIGKILL
    stage.assert_readers_see_a_whole_result()
    stage.assert_the_next_run_is_right()


@pytest.mark.slow
def test_runs_that_are_killed_one_after_another_are_made_whole(server, stage) -> None:
    stage.restore()
    draw = random.Random(1)
    for _ in range(8):
        disturbed(server, stage.folder / "p.toml", draw.randint(1, stage.counts["kill"]), "kill")
        stage.assert_readers_see_a_whole_result()
    stage.assert_the_next_run_is_right()


def assert_full_disk_loses_nothing(server: ForkServerContext, stage: Stage, at: int) -> None:
    stage.restore()
    code, found = disturbed(server, stage.folder / "p.toml", at, "full")
    assert code == 0
    assert found is not None
    _, status, said = found
    assert status != "done"
    assert "No space left on device" in said, (at, found)
    stage.assert_readers_see_a_whole_result()
    stage.assert_the_next_run_is_right()


@pytest.mark.parametrize("part", [0.6, pytest.param(0.95, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_loses_nothing(server, stage, part) -> None:
    assert_full_disk_loses_nothing(server, stage, max(1, int(part * stage.counts["full"])))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1, PARTS + 1))
def test_a_disk_that_is_full_at_any_write_loses_nothing(server, stage, first) -> None:
    for at in range(first, stage.counts["full"] + 1, PARTS):
        assert_full_disk_loses_nothing(server, stage, at)


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, list[str]]:
    """A pipeline that has published two versions of its model, the first the longer ago; and their keys."""
    folder = write_sources(tmp_path / "my data")
    keys = [place_of(run_text(folder, CHAIN), "model").name]
    grow(folder / "a.zarr", MORE)
    return folder, [*keys, place_of(run_text(folder, CHAIN), "model").name]


def assert_is_published_by_the_same_command(folder: Path, keys: list[str]) -> None:
    """Whatever became of it the first time; and no run undoes it."""
    link = folder / "latest" / "model"
    assert streamsvd.load(link).info.n_rows in (ROWS, ROWS + MORE)
    republish(write(folder, CHAIN), "model", keys[0])
    for _ in range(2):
        assert link.resolve(strict=True).name == keys[0]
        record = run_text(folder, CHAIN)
        assert record.status == "unchanged"
        assert keys[1] in record.notes[0]
    republish(write(folder, CHAIN), "model", keys[1])
    assert run_text(folder, CHAIN).notes == ()


@pytest.mark.parametrize("fault", ["kill", pytest.param("full", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "part", [0.7, *(pytest.param(n / 12, marks=pytest.mark.slow) for n in range(13))]
)
def test_a_command_that_publishes_by_hand_may_be_disturbed_anywhere(
    server, published, part, fault, tmp_path
) -> None:
    folder, keys = published
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    code, found = disturbed(server, copy / "p.toml", 0, fault, keys[0])
    assert code == 0
    assert found is not None
    count, status, said = found
    assert status == "done", said
    code, found = disturbed(server, folder / "p.toml", max(1, int(part * count)), fault, keys[0])
    assert code == (-signal.SIGKILL if fault == "kill" else 0)
    if found is not None:
        assert "No space left on device" in found[2]
    assert_is_published_by_the_same_command(folder, keys)

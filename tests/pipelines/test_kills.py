"""A run may end at any event, by an error, an interrupt or a kill: run again, all is as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import streamsvd
from streamsvd import Model
from streamsvd.engine import saves
from streamsvd.errors import ConflictError
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.records import RunLog
from tests.pipelines.kit import (
    CHAIN,
    ROWS,
    SVD,
    StopError,
    Watch,
    assert_same_bits,
    grow,
    place_of,
    run_text,
    statuses,
    write,
    write_sources,
)

CHILD = """
import os, signal, sys
sys.path[:0] = {path!r}
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.execution import run_pipeline
count = 0
def callback(event):
    global count
    count += 1
    if count == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
run_pipeline(read_pipeline({file!r}), callback=callback)
"""
CALLS = """
import sys
sys.path[:0] = {path!r}
from tests.faults.dying import die_at
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.execution import run_pipeline
die_at({at})
run_pipeline(read_pipeline({file!r}))
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, dict[str, Path], int]:
    """A folder of a pipeline that nothing stopped: its results by step, and how many events it sent."""
    folder = write_sources(tmp_path_factory.mktemp("whole"))
    watch = Watch()
    record = run_text(folder, CHAIN, callback=watch)
    places = {name: place_of(record, name) for name in ("eof", "model", "proof")}
    return folder, places, len(watch.events)


def assert_as_undisturbed(folder: Path, undisturbed) -> None:
    """What another run makes of what is left has the same bits, and each row is in the model once."""
    _, places, _ = undisturbed
    record = run_text(folder, CHAIN)
    assert record.status in ("done", "unchanged"), record.error
    for name in ("eof", "model"):
        assert_same_bits(place_of(record, name), places[name])
        link = folder / "latest" / name
        assert link.resolve(strict=True) == place_of(record, name).resolve()
    model = Model.open(folder / "a.model")
    assert model.n_rows == ROWS
    assert run_text(folder, CHAIN).status == "unchanged"
    assert not [p for p in (folder / "p.runs" / "results").rglob("*") if ".partial-" in p.name]


@pytest.mark.parametrize("raised", [StopError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "at",
    [
        2,
        7,
        *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13)),
    ],
)
def test_a_run_that_stopped_at_an_event_is_made_whole(folder, undisturbed, raised, at):
    pipeline = write(folder, CHAIN)
    at = min(at, undisturbed[2])
    with pytest.raises(raised):
        run_pipeline(pipeline, callback=Watch(at, raised))
    (record,) = RunLog(pipeline.state).records()
    assert record.status == ("failed" if raised is StopError else "interrupted")
    assert record.steps[-1].status == record.status
    assert record.error == record.steps[-1].error == raised.__name__
    assert not (folder / "latest").exists()
    assert_as_undisturbed(folder, undisturbed)


def kill(folder: Path, program: str, at: int) -> int:
    """The code of a child that killed itself at an event or a call."""
    write(folder, CHAIN)
    text = program.format(path=sys.path, at=at, file=str(folder / "p.toml"))
    return subprocess.run([sys.executable, "-c", text], check=False).returncode


@pytest.mark.parametrize("at", [7])
def test_a_run_that_was_killed_is_made_whole(folder, undisturbed, at):
    assert kill(folder, CHILD, min(at, undisturbed[2])) == -signal.SIGKILL
    (record,) = RunLog(folder / "p.runs").records()
    assert (record.status, record.ended) == ("killed", "")
    assert_as_undisturbed(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 40))
def test_a_run_that_was_killed_at_any_event_is_made_whole(folder, undisturbed, at):
    code = kill(folder, CHILD, at)
    assert code == (-signal.SIGKILL if at <= undisturbed[2] else 0)
    assert_as_undisturbed(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 60))
def test_a_run_that_was_killed_at_any_change_of_a_model_or_a_record_is_made_whole(
    folder, undisturbed, at
):
    assert kill(folder, CALLS, at) in (-signal.SIGKILL, 0)
    assert_as_undisturbed(folder, undisturbed)


@pytest.mark.parametrize(
    "at", [2, *(pytest.param(at, marks=pytest.mark.slow) for at in (1, 3, 4, 5, 6))]
)
def test_rows_that_came_later_are_absorbed_once_however_often_it_stopped(folder, tmp_path, at):
    other = write_sources(tmp_path / "other")
    for place in (folder, other):
        run_text(place, CHAIN)
        grow(place / "a.zarr", 80)
    whole = run_text(other, CHAIN)
    pipeline = write(folder, CHAIN)
    for number in (at, at + 2, at + 5):
        try:
            run_pipeline(pipeline, callback=Watch(number))
        except StopError:
            continue
    record = run_pipeline(pipeline)
    assert record.status in ("done", "unchanged")
    assert Model.open(folder / "a.model").n_rows == ROWS + 80
    for name in ("eof", "model"):
        assert_same_bits(place_of(record, name), place_of(whole, name))


def test_a_run_goes_on_from_its_saves(folder, monkeypatch):
    monkeypatch.setattr(saves.Saves, "_save_if_due", lambda self: self.store.save(*self.encode()))
    pipeline = write(folder, SVD.replace("rank = 3", 'rank = 3, route = "krylov", tol = 1e-6'))
    whole = Watch()
    assert run_pipeline(pipeline, callback=whole).status == "done"
    bits = place_of(RunLog(pipeline.state).records()[-1], "eof")
    kept = bits.rename(folder / "kept")
    with pytest.raises(KeyboardInterrupt):
        run_pipeline(pipeline, callback=Watch(len(whole.events) - 2, KeyboardInterrupt))
    assert list((pipeline.state / "saves" / "eof").iterdir())
    rest = Watch()
    record = run_pipeline(pipeline, callback=rest)
    assert record.status == "done"
    assert len(rest.events) < len(whole.events)
    assert_same_bits(place_of(record, "eof"), kept)
    assert not (pipeline.state / "saves" / "eof").exists()


def test_saves_of_another_cut_do_not_stand_in_the_way(folder, monkeypatch):
    monkeypatch.setattr(saves.Saves, "_save_if_due", lambda self: self.store.save(*self.encode()))
    text = SVD.replace("rank = 3", 'rank = 3, route = "krylov", tol = 1e-6')
    with pytest.raises(KeyboardInterrupt):
        run_text(folder, text, callback=Watch(4, KeyboardInterrupt))
    (place,) = (folder / "p.runs" / "saves" / "eof").iterdir()

    original = saves.check_same_run

    def other_cut(saved, wanted, where):
        original({**saved, "spans": -1} if "spans" in saved else saved, wanted, where)

    monkeypatch.setattr(saves, "check_same_run", other_cut)
    record = run_text(folder, text, "steps.eof.svd.memory=300MiB")
    assert record.status == "done", record.error
    assert not place.exists()


@pytest.mark.slow
def test_a_collection_that_stopped_half_written_is_made_whole(folder):
    text = '[sources.a]\npath = "blocks"\n[[steps]]\nname = "it"\ncompress = {source = "a", error = 0.05}\n'
    text += '[[publish]]\nstep = "it"\nto = "latest"\n'
    write(folder, text)
    for at in range(1, 25):
        program = CALLS.format(path=sys.path, at=at, file=str(folder / "p.toml"))
        if at % 6 == 4:
            assert (
                subprocess.run([sys.executable, "-c", program], check=False).returncode
                == -signal.SIGKILL
            )
    record = run_text(folder, text)
    assert record.status in ("done", "unchanged"), record.error
    assert len(streamsvd.load(folder / "latest")) == 4


def test_two_runs_at_once_are_one_and_a_sentence(folder):
    pipeline = write(folder, SVD)
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from pathlib import Path\nfrom streamsvd.pipelines.lock import run_lock\n"
        f"with run_lock(Path({str(pipeline.state)!r})):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(
        ConflictError, match=rf"is going on \(process {child.pid}\).*Wait for it, or end it"
    ):
        run_pipeline(pipeline)
    assert RunLog(pipeline.state).records() == []
    child.kill()
    child.wait()
    assert child.stdin is not None
    child.stdin.close()
    child.stdout.close()
    assert run_pipeline(pipeline).status == "done"


def test_a_run_within_a_run_is_told(folder):
    pipeline = write(folder, SVD)
    said = []

    def again(event: object) -> None:
        with pytest.raises(ConflictError) as caught:
            run_pipeline(pipeline)
        said.append(str(caught.value))

    assert run_pipeline(pipeline, callback=again).status == "done"
    assert f"process {os.getpid()}" in said[0]


def test_an_error_of_a_step_leaves_what_was_made(folder):
    text = CHAIN.replace(
        'rank = 3}\n\n[[steps]]\nname = "proof"',
        'rank = 3, nonfinite = "raise"}\n\n[[steps]]\nname = "proof"',
    )
    import zarr

    zarr.open_array(str(folder / "a.zarr"), mode="r+")[239, 3] = float("nan")
    record = run_text(folder, text)
    assert record.status == "failed"
    assert statuses(record) == {"eof": "failed"}
    assert "NaN at row 239, column 3" in record.error
    assert not (folder / "a.model").exists()

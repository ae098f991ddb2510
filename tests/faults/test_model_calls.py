"""Every call to the file system fails in turn, and the process ends at every call in turn (SQLite's sweep)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamsvd import Model, StoreError
from streamsvd.models.commit import COLLECT_EVERY
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.versions import ModelSettings, ModelStore
from tests.faults.model_kit import (
    Failing,
    Killed,
    applied,
    assert_chain,
    assert_serial,
    block_of,
    copy,
    io_error,
    model_with,
    no_space,
)

MOST_CALLS = 400
FAULTS = {
    "full disk": lambda n: Failing(n, no_space),
    "broken disk": lambda n: Failing(n, io_error, torn=False),
    "reported too late": lambda n: Failing(n, io_error, after=True),
}


def grown(path: Path, count: int, **options: object) -> Path:
    model = Model.create(path, 3, keep=2, **options)
    for i in range(count):
        model.update(block_of(f"b{i}"), f"b{i}")
    return path


def swept(
    start: Path,
    work: Path,
    failing: Callable[[int], Failing],
    check: Callable[[Path, Failing, bool], None],
) -> int:
    """Update a copy with the N-th call failing, for every N until none does; the number of calls."""
    for n in range(1, MOST_CALLS):
        path, files = copy(start, work), failing(n)
        raised = False
        try:
            model_with(path, files).update(block_of("new"), "new")
        except StoreError as error:
            raised = True
            assert "run again" in str(error)
        except Killed:
            raised = True
        check(path, files, raised)
        if not files.failed:
            assert not raised
            return files.count
    raise AssertionError("the update never passes")


def check_retry(path: Path, files: Failing, raised: bool) -> None:
    """The version before, or the one after; the next try applies the block once."""
    before = Model.open(path)
    names = assert_serial(before)
    assert before.verify() == []
    if not raised:
        assert names[-1] == "new", "what was acknowledged is there"
    again = Model.open(path)
    done = again.update(block_of("new"), "new")
    assert (done.skip_reason == "known") == ("new" in names)
    assert applied(again).count("new") == 1
    assert_serial(again)
    assert_chain(path)


@pytest.mark.parametrize(
    ("fault", "count"),
    [(fault, count) for fault in FAULTS for count in (0, 2)]
    + [
        pytest.param(fault, COLLECT_EVERY - 1, marks=[] if i == 0 else [pytest.mark.slow])
        for i, fault in enumerate(FAULTS)
    ],
)
def test_an_update_that_fails_anywhere_leaves_a_whole_version_and_can_be_retried(
    tmp_path: Path, fault: str, count: int
) -> None:
    start = grown(tmp_path / "start", count)
    calls = swept(start, tmp_path / "work", FAULTS[fault], check_retry)
    assert calls > 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_before_the_commit_leaves_the_version_before(tmp_path: Path, fault: str) -> None:
    """Only the link of the log entry, and what follows it, may leave the version after."""
    start = grown(tmp_path / "start", 2)
    linked: list[int] = []

    def check(path: Path, files: Failing, raised: bool) -> None:
        version = Model.open(path).version
        assert version in (2, 3)
        if raised and version == 3:
            linked.append(files.count)
            assert files.failed in ("link", "sync") or files.after

    swept(start, tmp_path / "work", FAULTS[fault], check)


def test_the_folder_of_a_failed_update_is_not_left_behind(tmp_path: Path) -> None:
    start = grown(tmp_path / "start", 2)

    def check(path: Path, files: Failing, raised: bool) -> None:
        # A log entry that failed may exist all the same (a lost answer), and its folder must stay.
        if raised and "versions" in files.where.parts:
            folders = {p.name[:12] for p in (path / "versions").iterdir()}
            assert folders == {"000000000001", "000000000002"}

    swept(start, tmp_path / "work", FAULTS["full disk"], check)


@pytest.mark.parametrize("count", [0, 2, COLLECT_EVERY - 1])
def test_a_process_that_ends_at_any_call_loses_nothing_and_its_rubbish_is_collected(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = grown(tmp_path / "start", count)

    def check(path: Path, files: Failing, raised: bool) -> None:
        check_retry(path, files, raised)
        model = Model.open(path)
        for i in range(3):
            model.update(block_of(f"later{i}"), f"later{i}")
        later = time.time() + 4000
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: later)
            model.collect()
        left = set(path.rglob("*.tmp"))
        assert left == set()
        needed = {e.folder.rpartition("/")[2] for e in model.versions[-2:]}
        needed |= {key.split("/")[1] for key in model._held.manifest.files}
        assert {p.name for p in (path / "versions").iterdir()} == needed
        assert model.verify() == []

    swept(start, tmp_path / "work", lambda n: Failing(n, Killed), check)


@pytest.mark.parametrize("fault", FAULTS)
def test_creating_a_model_fails_cleanly_at_every_call(tmp_path: Path, fault: str) -> None:
    spec = Model.create(tmp_path / "like", 3).spec
    path = tmp_path / "work"
    for n in range(1, MOST_CALLS):
        shutil.rmtree(path, ignore_errors=True)
        files = FAULTS[fault](n)
        store = ModelStore(LocalObjects(path, files))
        try:
            store.create(ModelSettings(1, spec, 2, False))
        except StoreError as error:
            assert "run again" in str(error)
            if not (path / "model.json").exists():
                store.create(ModelSettings(1, spec, 2, False))
        assert Model.open(path).update(block_of("a"), "a").version == 1
        if not files.failed:
            return
    raise AssertionError("creating never passes")


def test_rollback_fails_cleanly_at_every_call(tmp_path: Path) -> None:
    start = grown(tmp_path / "start", 3)
    for n in range(1, MOST_CALLS):
        path, files = copy(start, tmp_path / "work"), Failing(n, no_space)
        model = model_with(path, files)
        try:
            model.rollback(2)
        except StoreError as error:
            assert "run again" in str(error)
        found = Model.open(path)
        assert found.verify() == []
        assert assert_serial(found) in (["b0", "b1"], ["b0", "b1", "b2"])
        if not files.failed:
            assert found.version == 4
            assert len(found.blocks) == 2
            return
    raise AssertionError("rollback never passes")

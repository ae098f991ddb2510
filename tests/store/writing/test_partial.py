"""A killed run leaves a folder; the next run to the same place removes it, and never one that is being written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import streamsvd
from streamsvd.store.writing import partial
from streamsvd.store.writing.partial import LOCK, Partial, sweep

A = np.random.default_rng(0).normal(size=(60, 8))

CHILD = """
import sys, time
import numpy as np
import streamsvd
from streamsvd.engine.events import PassDone

def stay(event):
    if isinstance(event, PassDone):
        print("here", flush=True)
        time.sleep(60)

A = np.random.default_rng(0).normal(size=(60, 8))
streamsvd.svd(A, 2, u=True, out=sys.argv[1], overwrite=True, callback=stay)
"""


@pytest.fixture
def writing(tmp_path):
    """A process in the middle of a run to ``M.zarr``."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "M.zarr")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout.readline() == "here\n"
    yield child
    child.kill()
    child.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_run_leaves_is_removed_by_the_next(writing, tmp_path):
    (left,) = names(tmp_path)
    assert left.startswith("M.zarr.partial-")
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    assert names(tmp_path) == [left]
    streamsvd.svd(A, 2, out=tmp_path / "other.zarr")
    assert names(tmp_path) == [left, "other.zarr"]
    streamsvd.svd(A, 2, out=tmp_path / "M.zarr")
    assert names(tmp_path) == ["M.zarr", "other.zarr"]


def test_what_a_living_run_writes_is_left_alone(writing, tmp_path):
    (live,) = names(tmp_path)
    streamsvd.svd(A, 2, out=tmp_path / "M.zarr")
    assert names(tmp_path) == ["M.zarr", live]
    assert (tmp_path / live / LOCK).exists()


def test_a_run_of_the_same_process_is_a_living_one(tmp_path):
    first, second = (Partial(tmp_path / "M.zarr") for _ in range(2))
    assert sweep(tmp_path / "M.zarr") == []
    assert names(tmp_path) == sorted((first.folder.name, second.folder.name))
    first.remove()
    assert second.close() == second.folder
    assert names(second.folder) == []
    assert sweep(tmp_path / "M.zarr") == []  # whole, and on its way to its place
    assert names(tmp_path) == [second.folder.name]


def dead(place: Path) -> Path:
    """A folder as a killed process leaves it."""
    folder = Partial(place)
    (folder.folder / "U").mkdir()
    (folder.folder / "zarr.json").write_text("{}")
    folder._release()
    return folder.folder


def test_only_folders_of_that_name_are_removed(tmp_path):
    gone = dead(tmp_path / "M.zarr")
    other = dead(tmp_path / "M.zarr2")
    notes = tmp_path / "M.zarr.partial-mine"
    notes.mkdir()
    foreign = tmp_path / "M.zarr.partial-01234567"
    foreign.mkdir()
    link = tmp_path / "M.zarr.partial-89abcdef"
    link.symlink_to(other)
    assert sweep(tmp_path / "M.zarr") == [gone]
    assert names(tmp_path) == sorted(p.name for p in (other, notes, foreign, link))
    assert names(other) == ["U", LOCK, "zarr.json"]


def test_folders_of_other_machines_and_of_unknown_ones_are_left_alone(tmp_path, monkeypatch):
    left = dead(tmp_path / "M.zarr")
    for node in ("elsewhere", "", partial.platform.node() + "2", partial.platform.node()[:-1]):
        monkeypatch.setattr(partial.platform, "node", lambda node=node: node)
        assert sweep(tmp_path / "M.zarr") == []
    monkeypatch.undo()
    assert sweep(tmp_path / "M.zarr") == [left]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    with monkeypatch.context() as without:
        without.setattr(partial.fcntl, "flock", refused)
        left = dead(tmp_path / "M.zarr")
        assert sweep(tmp_path / "M.zarr") == []
    assert sweep(tmp_path / "M.zarr") == []  # it was never locked: nobody can tell
    assert names(tmp_path) == [left.name]


def test_a_removal_that_was_killed_is_taken_up_again(tmp_path):
    left = dead(tmp_path / "M.zarr")
    (left / "zarr.json").unlink()
    assert sweep(tmp_path / "M.zarr") == [left]
    assert names(tmp_path) == []

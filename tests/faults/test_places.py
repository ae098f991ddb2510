"""Where a result may not go, or runs out of room: a worded error, what was there stays, nothing is left over."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

import streamsvd
from streamsvd.store.results import writer as result_module
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import Rows


class Untouchable(Rows):
    """A matrix that may be planned for and not read."""

    def read(self, rows: slice) -> Any:
        raise AssertionError("read before the place was checked")


@pytest.fixture(scope="module")
def A() -> Any:
    return KnownMatrix("pow1", 2000, 40, "float64").rows(0, 2000)


@pytest.fixture
def earlier(A, tmp_path) -> tuple[Path, dict[str, bytes]]:
    """A result that is there already, and every byte of it."""
    out = tmp_path / "M.zarr"
    streamsvd.svd(A, 3, out=out, u=True)
    return out, content(out)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def only(folder: Path, *names: str) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(names)


def test_a_result_that_is_there_is_not_replaced_unasked(A, earlier, tmp_path):
    out, before = earlier
    with pytest.raises(streamsvd.StoreError, match=r"M\.zarr exists already. Pass overwrite=True"):
        streamsvd.svd(Untouchable(A, 100), 3, out=out)
    assert content(out) == before
    only(tmp_path, "M.zarr")


def test_what_is_no_result_is_never_replaced(A, tmp_path):
    for name in ("notes.txt", "data.zarr", "empty"):
        place = tmp_path / name
        if name == "notes.txt":
            place.write_text("mine")
        elif name == "data.zarr":
            zarr.create_array(place, shape=(3,), dtype="f8")[:] = 1
        else:
            place.mkdir()
        for overwrite, words in ((False, "exists already"), (True, "is not a result of streamsvd")):
            with pytest.raises(streamsvd.StoreError, match=words):
                streamsvd.svd(Untouchable(A, 100), 3, out=place, overwrite=overwrite)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert zarr.open_array(tmp_path / "data.zarr")[0] == 1
    only(tmp_path, "notes.txt", "data.zarr", "empty")


def test_a_place_that_cannot_be_written_is_refused_before_reading(A, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "M.zarr", Path("/proc/streamsvd/M.zarr")):
        with pytest.raises(
            streamsvd.StoreError,
            match=r"cannot write .*M\.zarr: (Not a dir|No such).*choose another place",
        ):
            streamsvd.svd(Untouchable(A, 100), 3, out=place)
    only(tmp_path, "file")


def test_a_new_result_replaces_the_old_one_whole(A, earlier, tmp_path):
    out, before = earlier
    result = streamsvd.svd(A[:, ::-1].copy(), 5, out=out, overwrite=True)
    assert content(out) != before
    kept = streamsvd.load(out)
    assert kept.rank == 5
    assert kept.U is None
    np.testing.assert_array_equal(kept.s, result.s)
    only(tmp_path, "M.zarr")


def test_refused_options_write_nothing(A, tmp_path):
    out = tmp_path / "deep" / "M.zarr"
    for options in ({"rank": 0}, {"rank": 41}, {"rank": 3, "tol": 2.0}, {"rank": 3, "memory": 1}):
        with pytest.raises(streamsvd.StreamSVDError):
            streamsvd.svd(Untouchable(A, 100), out=out, **options)
    assert not any(tmp_path.iterdir())


def test_bad_data_leave_nothing_behind(A, earlier, tmp_path):
    out, before = earlier
    # where the sample may see it, and where only a pass does
    for row, column in ((0, 0), (1234, 5)):
        spoiled = A.copy()
        spoiled[row, column] = np.nan
        words = rf"NaN at row {row}, column {column} \(rows \d+:\d+ of Rows\)"
        with pytest.raises(streamsvd.NonFiniteError, match=words):
            streamsvd.svd(Rows(spoiled, 100), 3, out=out, overwrite=True, u=True)
        assert content(out) == before
        only(tmp_path, "M.zarr")


def _fail_after(monkeypatch: pytest.MonkeyPatch, count: int, error: OSError) -> None:
    """Let ``count`` chunks of ``U`` be written, then fail as a disk does."""
    written: list[str] = []
    kind = LocalStore

    def full(store: Any, key: str) -> None:
        if "/U" in str(store.root) and "c/" in key:
            if len(written) >= count:
                raise error
            written.append(key)

    original = kind.set

    async def guarded(self: Any, key: str, value: Any, *more: Any) -> None:
        full(self, key)
        await original(self, key, value, *more)

    monkeypatch.setattr(kind, "set", guarded)
    if hasattr(kind, "set_sync"):
        at_once = kind.set_sync

        def guarded_sync(self: Any, key: str, value: Any) -> None:
            full(self, key)
            at_once(self, key, value)

        monkeypatch.setattr(kind, "set_sync", guarded_sync)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_a_disk_that_fails_while_u_is_written_leaves_the_earlier_result(
    A, earlier, tmp_path, monkeypatch, number, axis
):
    out, before = earlier
    _fail_after(monkeypatch, 2 if axis == "rows" else 0, OSError(number, os.strerror(number)))
    source = Rows(A, 100)
    plan = streamsvd.plan_svd(source, 3, u=True, out=out, axis=axis, route="krylov")
    remedy = "Check the disk" if number == errno.EIO else "Free space"
    words = rf"of U: {os.strerror(number)}.*{remedy}"
    with pytest.raises(streamsvd.StoreError, match=words):
        streamsvd.svd(source, 3, plan=plan, u=True, out=out, overwrite=True)
    assert content(out) == before
    only(tmp_path, "M.zarr")
    assert streamsvd.load(out).rank == 3


def test_a_disk_that_fails_while_the_record_is_written_leaves_the_earlier_result(
    A, earlier, tmp_path, monkeypatch
):
    out, before = earlier

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(result_module, "_write_record", full)
    words = r"cannot write .*No space left on device.*nothing was replaced"
    with pytest.raises(streamsvd.StoreError, match=words):
        streamsvd.svd(A, 3, out=out, overwrite=True)
    assert content(out) == before
    only(tmp_path, "M.zarr")


@pytest.fixture
def small_disk(tmp_path) -> Any:
    """A file system of 400 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run([unmount, "-l", str(place)], check=False)


def test_a_disk_that_is_really_full_keeps_the_earlier_result(A, small_disk):
    out = small_disk / "M.zarr"
    streamsvd.svd(A, 2, out=out)
    before = content(out)
    with pytest.raises(streamsvd.StoreError, match=r"No space left on device.*Free space"):
        streamsvd.svd(A, 40, out=out, overwrite=True, u=True)
    assert content(out) == before
    only(small_disk, "M.zarr")
    assert streamsvd.load(out).rank == 2

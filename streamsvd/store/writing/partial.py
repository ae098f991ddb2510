"""A folder that is still being written, and those that dead processes left behind.

While it is written the folder holds a file that its process has locked; the system gives the lock back however
the process ends. A folder whose lock can be had is therefore nobody's, but only on the machine that made it:
some shared file systems keep locks to themselves on every machine, so that another machine's is left alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import uuid
from pathlib import Path

from streamsvd.store.writing.shield import defer_interrupts

LOCK = "writing.lock"


class Partial:
    """The folder ``NAME.partial-xxxxxxxx`` beside a place, for as long as this process writes it.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, place: Path) -> None:
        sweep(place)
        self.place = place
        self.folder = place.with_name(f"{place.name}.partial-{uuid.uuid4().hex[:8]}")
        self.folder.mkdir(parents=True)
        # The name of the machine is there only once the lock is held: without it nobody removes the folder.
        self._handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        if _try_lock(self._handle):
            os.write(self._handle, platform.node().encode())

    def close(self) -> Path:
        """The folder, which is whole: without the lock's file nobody removes it, locked or not."""
        (self.folder / LOCK).unlink()
        self._release()
        return self.folder

    def remove(self) -> None:
        """Remove what was written so far; an interrupt waits until it is gone."""
        with defer_interrupts():
            _remove_lock_last(self.folder)
            self._release()

    def _release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def sweep(place: Path) -> list[Path]:
    """Remove the folders beside a place that processes of this machine were killed in, and say which."""
    pattern = re.compile(re.escape(place.name) + r"\.partial-[0-9a-f]{8}")
    try:
        beside = sorted(path for path in place.parent.iterdir() if pattern.fullmatch(path.name))
    except OSError:  # no folder yet, or one that may not be listed
        return []
    return [path for path in beside if not path.is_symlink() and _sweep_folder(path)]


def _sweep_folder(folder: Path) -> bool:
    """Whether the folder was nobody's and has been removed."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        here = platform.node().encode()
        if not here or not _try_lock(handle) or os.read(handle, len(here) + 1) != here:
            return False
        _remove_lock_last(folder)
        return not folder.exists()
    finally:
        os.close(handle)


def remove_replaced(path: Path) -> None:
    """Remove a folder that has made way for another, or the link to one; what a kill leaves of it can be swept."""
    if path.is_symlink():  # what it led to is left alone
        path.unlink()
        return
    handle = -1
    with contextlib.suppress(OSError):  # it may not be written
        handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        if _try_lock(handle):
            os.write(handle, platform.node().encode())
    _remove_lock_last(path)
    if handle >= 0:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or the file system knows no locks
        return False
    return True


def _remove_lock_last(folder: Path) -> None:
    """Remove a folder, the lock's file last: what is left of a removal that is killed can still be told."""
    try:
        inside = [path for path in folder.iterdir() if path.name != LOCK]
    except OSError:
        return
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)

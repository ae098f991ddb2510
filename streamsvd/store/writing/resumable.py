"""A folder that a killed run goes on with: what it was to become is written in it, and only the same is continued."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import uuid
from pathlib import Path
from typing import Any

import msgspec
import psutil

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import StoreError
from streamsvd.store.writing.partial import LOCK, Partial, remove_replaced

JOURNAL = "journal.json"
SUFFIX = ".unfinished"


class ResumableFolder(Partial):
    """The folder ``NAME.unfinished`` beside a place, with the lock of the process that writes it.

    Parameters
    ----------
    place
        What it is to become.
    purpose
        What is written, and of what, as plain values: what was begun for another purpose is removed.

    Attributes
    ----------
    is_continued
        Whether something of the same purpose was there.
    is_same_boot
        Whether the machine has run since: then all that was written is there, whatever the disk has of it.
    was_another
        Whether something of another purpose was there.

    Raises
    ------
    StoreError
        If another process is writing it, or something without that lock is there, which is left alone.
    OSError
        If it cannot be made.
    """

    def __init__(self, place: Path, purpose: dict[str, Any]) -> None:
        self.place, self.folder = place, place.with_name(place.name + SUFFIX)
        self.is_continued = self.is_same_boot = self.was_another = False
        self._handle = -1
        self._purpose = msgspec.json.decode(msgspec.json.encode(purpose))
        self._lock(place)
        found = self._journal()
        if found is not None and found.get("purpose") == self._purpose:
            self.is_continued = True
            self.is_same_boot = found.get("boot") == _boot()
            return
        inside = [path for path in self.folder.iterdir() if path.name != LOCK]
        self.was_another = bool(inside)
        if inside:
            self._release()
            remove_replaced(self.folder)
            self._lock(place)

    def _lock(self, place: Path) -> None:
        if os.path.lexists(self.folder) and not self._is_ours():
            raise taken_error(place, self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise StoreError(
                f"another process is writing {place}, in {self.folder}. Wait until it is done, or choose another place."
            ) from None
        except OSError:  # the file system knows no locks
            pass
        os.ftruncate(self._handle, 0)
        os.write(self._handle, platform.node().encode())

    def _is_ours(self) -> bool:
        """Whether it is such a folder, by its lock, or an empty one."""
        if not self.folder.is_dir():
            return False
        return (self.folder / LOCK).is_file() or not any(self.folder.iterdir())

    def _journal(self) -> dict[str, Any] | None:
        try:
            found = msgspec.json.decode((self.folder / JOURNAL).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return found if isinstance(found, dict) else None

    def begin(self) -> None:
        """What comes from now on can be continued."""
        partial = self.folder / (JOURNAL + ".partial")
        partial.write_bytes(msgspec.json.encode({"purpose": self._purpose, "boot": _boot()}))
        partial.replace(self.folder / JOURNAL)

    def leave(self) -> None:
        """Leave what was written for another run."""
        self._release()

    def close(self) -> Path:
        """The folder, which is whole; what is found under the one name that is continued has a lock, whenever a kill comes."""
        self.folder = self.folder.rename(
            self.place.with_name(f"{self.place.name}.partial-{uuid.uuid4().hex[:8]}")
        )
        (self.folder / JOURNAL).unlink(missing_ok=True)
        return super().close()


def resumable_path(place: PathOrUrl) -> PathOrUrl:
    """Where what is on its way to a place lies."""
    return place.with_name(place.name + SUFFIX)


def taken_error(place: PathOrUrl, folder: PathOrUrl) -> StoreError:
    """That something else lies where what is on its way to a place would."""
    return StoreError(
        f"{folder} is not what streamsvd writes there, and {place} is written by way of that name. Move it, or choose another place."
    )


def _boot() -> str:
    """Tells one start of the machine from another."""
    with contextlib.suppress(OSError):
        path = Path("/proc/sys/kernel/random/boot_id")
        return f"{platform.node()} {path.read_text(encoding='ascii').strip()}"
    return f"{platform.node()} {psutil.boot_time():.0f}"

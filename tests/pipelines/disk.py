"""Changes of files of a process, counted where Python hands them to the system: at one it dies, or the disk is full from then on.

A write that it dies in, or that finds no room, leaves half of its bytes.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from streamsvd.errors import StreamSVDError
from streamsvd.pipelines.description import read_pipeline
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.republishing import republish

Fault = Literal["kill", "full"]
GROWING = ("mkdir", "link", "symlink", "write", "pwrite")
OTHER = ("rename", "replace", "unlink", "remove", "rmdir", "fsync")
"""Calls of ``os``: those that take room, and others that change files, which a full disk does not refuse."""


class Disk:
    """What this process does to files, from `install` on.

    Parameters
    ----------
    at
        Which change, counted from 1; none if 0. Where the disk is to be full, changes that take no room do not count.
    fault
        Whether the process dies before it, or there is no room for it and all that follow.
    """

    def __init__(self, at: int, fault: Fault) -> None:
        self.at, self.fault = at, fault
        self.count = 0
        self._lock = threading.Lock()

    def _is_hit(self, takes_room: bool) -> bool:
        if self.fault == "full" and not takes_room:
            return False
        with self._lock:
            self.count += 1
            if not self.at:
                return False
            return self.count == self.at or (self.fault == "full" and self.count > self.at)

    def _strike(self, path: Any = None) -> None:
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        named = () if path is None or isinstance(path, int) else (os.fspath(path),)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)

    def write(self, original: Callable[[Any], Any], data: Any) -> Any:
        """A write of a file that Python has open; half of the bytes where it is struck."""
        if self._is_hit(True):
            original(data[: len(data) // 2])
            self._strike()
        return original(data)

    def install(self) -> None:
        """Count from now on, for as long as the process lives."""
        for name in (*GROWING, *OTHER):
            setattr(os, name, self._counted(getattr(os, name), name in GROWING))
        original, make = io.open, os.open

        def counted_open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return original(file, mode, *arguments, **options)
            if self._is_hit(True):
                self._strike(file)
            return Writing(original(file, mode, *arguments, **options), self)

        def counted_make(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT and not Path(path).exists() and self._is_hit(True):
                self._strike(path)
            return make(path, flags, *arguments, **options)

        io.open = builtins.open = counted_open  # type: ignore[assignment]
        os.open = counted_make  # type: ignore[assignment]

    def _counted(self, original: Callable[..., Any], takes_room: bool) -> Callable[..., Any]:
        def call(first: Any, *arguments: Any, **options: Any) -> Any:
            if self._is_hit(takes_room):
                self._strike(first)
            return original(first, *arguments, **options)

        return call


class Writing:
    """A file that is open for writing, whose writes are counted.

    Parameters
    ----------
    file, disk
        The file, and who counts.
    """

    def __init__(self, file: Any, disk: Disk) -> None:
        self._file, self._disk = file, disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def write(self, data: Any) -> Any:
        """As of the file."""
        return self._disk.write(self._write, data)

    def _write(self, data: Any) -> Any:
        done = self._file.write(data)
        self._file.flush()  # what is written is there when the process dies
        return done


def run_disturbed(file: str, at: int, fault: Fault, key: str, told: Connection) -> None:
    """One run of a pipeline; tells how many changes there were, how it ended and what it said, unless it is killed.

    With a key no run: the result of that key is published by hand.
    """
    pipeline, disk = read_pipeline(file), Disk(at, fault)
    disk.install()
    try:
        record = republish(pipeline, "model", key) if key else run_pipeline(pipeline)
        status, said = record.status, record.error
    except (StreamSVDError, OSError) as error:
        status, said = type(error).__name__, str(error)
    told.send((disk.count, status, said))

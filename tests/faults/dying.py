"""A process that kills itself in the middle of what it writes: by the number of the call, never by the clock."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamsvd.store.objects.posix import FileSystem

CALLS = ("make_folder", "write", "sync", "link", "rename", "remove")


def die_at(call: int) -> None:
    """SIGKILL for this process before its call of this number that changes files, counted from 1; 0 is now.

    A write leaves half of its bytes.
    """
    if call == 0:
        _die()
    left = call

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: FileSystem, *arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if name == "write":
                    path, data = arguments
                    Path(path).write_bytes(data[: len(data) // 2])
                _die()
            return original(self, *arguments)

        return method

    for name in CALLS:
        setattr(FileSystem, name, counted(name, getattr(FileSystem, name)))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

"""What tells that a file is another one than when it was opened: its size, and when it was written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsvd.errors import StoreError


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Of a file that is read again and again.

    Attributes
    ----------
    size
        Bytes.
    written_ns
        Time of the last change; None in another process than that which opened it, whose disk may hold a copy of the file.
    """

    size: int
    written_ns: int | None

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Of the file at a path."""
        return cls._of(path.stat())

    @classmethod
    def _of(cls, seen: os.stat_result) -> FileStamp:
        return cls(seen.st_size, seen.st_mtime_ns)

    def __reduce__(self) -> tuple[Any, ...]:
        return FileStamp, (self.size, None)

    def check(self, path: Path) -> None:
        """Refuse what was read of a file that is another one now.

        Raises
        ------
        StoreError
            It names the file.
        """
        now = FileStamp.of(path)
        if now.size != self.size:
            what = f"it had {self.size:,} bytes and has {now.size:,}"
        elif self.written_ns not in (None, now.written_ns):
            what = "it was written again"
        else:
            return
        raise StoreError(
            f"{path} has changed since it was opened: {what}. What was read of it before and after belongs to two matrices. "
            "Run again once nobody writes there."
        )

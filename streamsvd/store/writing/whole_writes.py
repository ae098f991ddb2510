"""Writing all of some bytes: the system may take fewer at a time."""

from __future__ import annotations

import os

PARTIAL = ".partial"
"""End of the name of a file that is not whole."""

MOST_BYTES = 1 << 30
"""Of a call: some systems take no more."""


def write_all(handle: int, data: memoryview, start: int | None = None) -> None:
    """Write all bytes at a place in a file, or where it stands."""
    done = 0
    while done < len(data):
        part = data[done : done + MOST_BYTES]
        done += os.write(handle, part) if start is None else os.pwrite(handle, part, start + done)

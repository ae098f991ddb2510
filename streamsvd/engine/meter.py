"""Resident memory of this process: what it is now, and the peak since a mark."""

from __future__ import annotations

import resource
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import psutil


@dataclass(slots=True, weakref_slot=True, eq=False)
class MemoryMark:
    """A moment from which the peak is counted: what was resident then, and the highest that was seen since."""

    resident_bytes: int
    highest_bytes: int = 0


_marks: WeakSet[MemoryMark] = WeakSet()
_lock = threading.Lock()


def mark_memory() -> MemoryMark:
    """Start counting; on Linux the kernel's high-water mark is set back, elsewhere it is the process's.

    Marks that others still count from learn before that what it was.
    """
    mark = MemoryMark(int(psutil.Process().memory_info().rss))
    with _lock:
        high = _high_water()
        for earlier in _marks:
            earlier.highest_bytes = max(earlier.highest_bytes, high)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        _marks.add(mark)
    return mark


def peak_since(start: MemoryMark) -> int:
    """Bytes of the highest resident size of the process since the mark, above what was resident then."""
    return max(0, max(start.highest_bytes, _high_water()) - start.resident_bytes)


def _high_water() -> int:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024

"""Resident memory of this process: what it is now, and the peak since a mark."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class MemoryMark:
    """A moment from which the peak is counted."""

    resident_bytes: int
    exact: bool


def mark_memory() -> MemoryMark:
    """Start counting; on Linux the kernel's high-water mark is set back, elsewhere it is the process's."""
    resident = int(psutil.Process().memory_info().rss)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return MemoryMark(resident, exact=False)
    return MemoryMark(resident, exact=True)


def peak_since(start: MemoryMark) -> int:
    """Bytes of the highest resident size since the mark, above what was resident then."""
    return max(0, _high_water() - start.resident_bytes)


def _high_water() -> int:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024

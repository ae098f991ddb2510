"""What a process of a cluster says of itself: bytes that it sent, its memory, what it put on disk. Sent to it by name, so that its
counters are its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from streamsvd.engine.meter import MemoryMark, mark_memory, peak_since

_sent = 0
"""Bytes that this process has written to others, since `count_sent`."""
_marks: list[MemoryMark] = []


def count_sent() -> int:
    """Count what this process sends from now on; its number."""
    from distributed.comm.tcp import TCP

    plain = TCP.write
    if not hasattr(plain, "is_counted"):

        async def write(self: Any, *arguments: Any, **options: Any) -> Any:
            global _sent
            sent = await plain(self, *arguments, **options)
            _sent += int(sent or 0)
            return sent

        write.is_counted = True  # type: ignore[attr-defined]
        TCP.write = write
    return os.getpid()


def sent_bytes() -> int:
    """What was sent since."""
    return _sent


def begin_peak(path: str) -> None:
    """Memory of this process is counted from now on, after the imports that reading and a factorisation take."""
    import streamsvd.factor.svd

    A = streamsvd.open(path)
    A.read(slice(0, 1), slice(0, 1), np.empty((1, 1), A.dtype))
    _marks[:] = [mark_memory()]


def end_peak(dask_worker: Any) -> dict[str, Any]:
    """The peak since, above what there was, and all of it; what went to disk; tasks that were run."""
    store = dask_worker.data
    spilled = getattr(store, "spilled_total", 0)
    return {
        "peak": peak_since(_marks[0]),
        "resident": _marks[0].resident_bytes,
        "spilled": int(getattr(spilled, "disk", spilled) or 0)
        + len(getattr(store, "slow", None) or ()),
        "executed": dask_worker.state.executed_count,
    }

"""How messages call workers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from streamsvd.errors import CorruptChunkError, MissingChunkError

ChunkError = MissingChunkError | CorruptChunkError


def worker_label(worker: str, known: Mapping[str, Any]) -> str:
    """A worker by its address, and by its name where it has one.

    Parameters
    ----------
    worker
        The address.
    known
        What the scheduler knows of it.
    """
    name = known.get("name", worker)
    return f"worker {worker}" if name in (worker, None) else f"worker {name} at {worker}"


def this_worker() -> str:
    """The address of the worker that this task runs on; empty where it runs in the process that asks."""
    if "distributed" not in sys.modules:
        return ""
    from distributed import get_worker

    try:
        address = str(get_worker().address)
    except ValueError:
        return ""
    return "" if address.startswith("inproc://") else address


def at_this_worker(error: ChunkError) -> ChunkError:
    """An error about a chunk, which says on which worker it was met: others may see what this one does not."""
    worker = this_worker()
    if not worker:
        return error
    key, where, *others = error.args
    return type(error)(key, f"{where} on worker {worker}", *others)

"""How messages call workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from streamsvd.errors import CorruptChunkError, MissingChunkError


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


@contextmanager
def naming_this_worker() -> Iterator[None]:
    """Errors about chunks say on which worker they were met: others may see what this one does not."""
    try:
        yield
    except (MissingChunkError, CorruptChunkError) as error:
        worker = this_worker()
        if not worker:
            raise
        key, where, *others = error.args
        raise type(error)(key, f"{where} on worker {worker}", *others) from error

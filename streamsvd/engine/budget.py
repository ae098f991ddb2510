"""Bytes that a run may take in one process: as the caller wrote, and on a cluster no more than its workers have."""

from __future__ import annotations

from streamsvd.engine.machines import (
    PAUSE_SHARE,
    PROCESS_BYTES,
    WORKER_SHARE,
    machines_thought_of,
    worker_share_of,
)
from streamsvd.engine.memory import default_budget, parse_bytes, show_bytes
from streamsvd.engine.submit import active_client
from streamsvd.engine.worker_checks import require_workers
from streamsvd.engine.worker_names import worker_label
from streamsvd.errors import Allowance


def allowed_bytes(memory: int | float | str | None) -> int:
    """Bytes as the caller wrote them, half of what is free if he did not; on a cluster, what its workers allow where that is less.

    Raises
    ------
    SpecError
        If it is no positive size.
    StoreError
        If the cluster has no workers.
    """
    asked, share = None if memory is None else parse_bytes(memory), worker_share()
    if share is not None and (asked is None or share <= asked):
        return share
    return default_budget() if asked is None else asked


def worker_share() -> Allowance | None:
    """Of the active cluster, the part of the smallest worker's limit that a plan may take; None where nothing limits.

    A plan counts the tasks of the busiest process; where a worker has fewer threads, its limit is that of so many more.
    """
    machines = machines_thought_of()
    if machines is not None:
        return machines.allowance
    client = active_client()
    if client is None:
        return None
    known = require_workers(client)
    busiest = max(int(worker["nthreads"]) for worker in known.values())
    shares = [
        (worker_share_of(limit) * busiest // max(1, int(worker["nthreads"])), limit, address)
        for address, worker in known.items()
        if (limit := int(worker.get("memory_limit") or 0)) and not address.startswith("inproc://")
    ]
    if not shares:
        return None
    share, limit, address = min(shares)
    threads = int(known[address]["nthreads"])
    of = f"{worker_label(address, known[address])}, whose limit is {show_bytes(limit)} for {threads} {'thread' if threads == 1 else 'threads'},"
    return Allowance(share, of, threads / busiest / WORKER_SHARE, int(PROCESS_BYTES / PAUSE_SHARE))

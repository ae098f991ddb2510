"""How much runs at once: under the active scheduler, and on threads of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import dask

from streamsvd.engine.machines import machines_thought_of
from streamsvd.engine.submit import active_client
from streamsvd.engine.threads import ThreadPool, own_thread_count
from streamsvd.engine.worker_checks import require_workers


@contextmanager
def at_once(
    threads: int | None = None,
) -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]]:
    """A `map` whose calls run on so many threads, or as many as spans would; results come in order, few of them wait."""
    threads = concurrency()[1] if threads is None else threads
    with ThreadPool(threads) as pool:

        def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            waiting: deque[Future[Any]] = deque()
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        yield mapped


def concurrency() -> tuple[int, int]:
    """Spans that run at once in all, and in the busiest process, under the active scheduler.

    Raises
    ------
    StoreError
        If it is that of a cluster without workers.
    """
    machines = machines_thought_of()
    if machines is not None:
        return machines.total_threads, machines.threads
    client = active_client()
    if client is None:
        from dask.system import CPU_COUNT

        chosen = own_thread_count() or dask.config.get("num_workers", None)
        count = int(chosen) if chosen else int(CPU_COUNT)
        return count, count
    threads = [int(worker["nthreads"]) for worker in require_workers(client).values()]
    return max(1, sum(threads)), max(threads, default=1)

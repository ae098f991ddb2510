"""Pure tasks over a list of items, some of them at once, and what they find strictly in the order of the items.

For what depends on the order of rows: tasks read, decode and prepare what comes next, on threads of this process or on the
cluster of the active client, and one step after another is taken at home. No more than a window of them is on its way, so
that the memory is that of the window. Nothing depends on how many run at once, nor on workers that are lost: a task that
went with its worker is run again, to the same bits.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import TypeVar

from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.item_task import ItemWork, run_item
from streamsvd.engine.submit import active_client
from streamsvd.engine.task import stop
from streamsvd.engine.threads import ThreadPool

S = TypeVar("S")
Item = TypeVar("Item")
R = TypeVar("R")
T = TypeVar("T")

WINDOW = 2
"""Tasks on their way for each that runs: while what one found is taken in, the next runs."""


def run_in_order(
    function: Callable[[S, Item], R],
    shared: S,
    items: Iterable[Item],
    *,
    at_once: int,
    what: str,
    needs: int = 0,
) -> Generator[R]:
    """What a function makes of each item, in their order, while tasks make the next.

    To be closed where it is left early: then no task of it runs any more.

    Parameters
    ----------
    function
        Pure, of ``shared`` and an item, and defined in a module: it runs in one thread of BLAS, and may run twice.
    shared
        What all tasks are given; sent to a cluster once.
    items
        Small, and picklable.
    at_once
        Tasks that the memory of a process has room for at once, `WINDOW` times as many results of them included.
    what
        How messages call it.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Yields
    ------
    result
        Of each item. An error is raised in its place.

    Raises
    ------
    StreamSVDError
        If a cluster lost what cannot be found again, or a worker is not as this process is.
    """
    work = ItemWork(function, shared, uuid.uuid4().hex)
    client = active_client()
    if client is None:
        return _on_threads(work, iter(items), at_once)
    from streamsvd.engine.cluster.window import take_in_order

    busiest = concurrency()[1]
    per_thread = WINDOW if at_once >= busiest else at_once / busiest
    return take_in_order(client, work, iter(items), per_thread, what, needs)


def one_ahead(results: Generator[T]) -> Generator[T]:
    """The same, the next being fetched while one is used: where they are large and come from afar."""
    ended = object()
    with closing(results), ThreadPool(1, thread_name_prefix="streamsvd-fetch") as fetcher:
        coming = fetcher.submit(next, results, ended)
        while (result := coming.result()) is not ended:
            coming = fetcher.submit(next, results, ended)
            yield result


def _on_threads(work: ItemWork[S, Item, R], items: Iterator[Item], at_once: int) -> Generator[R]:
    waiting: deque[Future[R]] = deque()
    with ThreadPool(at_once, thread_name_prefix="streamsvd-ordered") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(run_item, work, item))
                if len(waiting) == WINDOW * at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            if waiting:
                stop(work.run)

"""Running a pass: threads of this process, or the cluster of an active distributed client."""

from __future__ import annotations

import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dask
from dask.callbacks import Callback as DaskCallback
from threadpoolctl import threadpool_limits

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, ignore
from streamsvd.engine.graph import build
from streamsvd.engine.layout import Layout
from streamsvd.engine.span import Sink, Work, stop
from streamsvd.errors import StreamSVDError
from streamsvd.passes import Fold, Sums
from streamsvd.protocols import Source

RETRIES = 3
"""Times a pass is begun anew when a worker that held its shared input was lost."""


@dataclass(slots=True)
class Runner:
    """Runs passes one after another and keeps count of what they read.

    Attributes
    ----------
    source, workers, prefetch, device
        As the plan has them.
    notify
        Receives events.
    bytes_read
        Bytes of the decoded matrix asked of the source so far.
    """

    source: Source
    workers: int
    prefetch: bool
    device: str
    notify: Callback = ignore
    bytes_read: int = 0
    passes: int = 0
    run: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __call__(self, layout: Layout, fold: Fold, purpose: str, sink: Sink | None = None) -> Sums:
        """One pass: the sums of a fold over the whole matrix."""
        self.passes += 1
        cost = int(self.source.nbytes * layout.amplification)
        if layout.tile is not None and not fold.two_sided:
            cost = self.source.nbytes
        self.notify(PassStarted(self.passes, purpose, cost))
        began = time.perf_counter()
        work = Work(self.source, layout, fold, self.device, self.prefetch, self.run, sink)
        client = active_client()
        try:
            sums = self._threads(work) if client is None else self._cluster(work, client)
        except BaseException:
            stale, self.run = self.run, uuid.uuid4().hex
            stop(stale)  # what is left of the pass must not write where its caller now cleans up
            raise
        self.bytes_read += cost
        self.notify(PassDone(self.passes, purpose, time.perf_counter() - began, None))
        return sums

    def _threads(self, work: Work) -> Sums:
        leaves, root = build(
            work, dask.delayed(work, traverse=False, name=f"pass-{uuid.uuid4().hex}")
        )
        watch = _SpanWatch({leaf.key for leaf in leaves}, self.passes, self.notify)
        blas = 1 if self.workers > 1 else None
        with held_memory(), threadpool_limits(blas, user_api="blas"), watch:
            (sums,) = dask.compute(
                root, scheduler="threads", num_workers=self.workers, optimize_graph=False
            )
        assert isinstance(sums, Sums)
        return sums

    def _cluster(self, work: Work, client: Any) -> Sums:
        from distributed import as_completed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        futures: list[Any] = []
        for attempt in range(RETRIES):
            try:
                shared = _scattered(client, work)
                leaves, root = build(work, shared)
                futures = client.compute([*leaves, root], optimize_graph=False)
                finished = as_completed(futures[:-1], raise_errors=False)
                for done, future in enumerate(finished, start=1):
                    if future.status == "error":
                        break
                    self.notify(SpanDone(self.passes, done, len(leaves)))
                sums = futures[-1].result()
                assert isinstance(sums, Sums)
                return sums
            except (FutureCancelledError, KilledWorker, _Lost) as error:
                if attempt == RETRIES - 1:
                    raise StreamSVDError(
                        f"pass {self.passes} lost its workers {RETRIES} times: {error}. Give the workers more "
                        "memory than the budget of the plan, or fewer threads each."
                    ) from error
            except BaseException:
                client.cancel(futures)
                raise
        raise AssertionError


class _Lost(Exception):
    """A worker left while it was sent its work."""


SCATTER_SECONDS = 60


def _scattered(client: Any, work: Work) -> Any:
    """One copy, which each worker fetches once; a graph that carried it would pass through the scheduler.

    Broadcasting it would wait for ever for a worker that dies meanwhile.
    """
    try:
        client.wait_for_workers(1, timeout=SCATTER_SECONDS)
        (shared,) = client.scatter([work], hash=False)
    except (
        OSError,
        KeyError,
        TimeoutError,
    ) as error:  # what a closed connection looks like from here
        raise _Lost(str(error) or type(error).__name__) from error
    return shared


class _SpanWatch(DaskCallback):  # type: ignore[misc]
    """Turns finished tasks of the threaded scheduler into events."""

    def __init__(self, keys: set[str], number: int, notify: Callback) -> None:
        super().__init__(posttask=self._finished)
        self._keys, self._number, self._notify = keys, number, notify
        self._total, self._count = len(keys), 0

    def _finished(self, key: Any, *_: Any) -> None:
        if key in self._keys:
            self._count += 1
            self._notify(SpanDone(self._number, self._count, self._total))


DENSE_WIDTH = 20_000
"""Thin blocks of fewer rows are factorised by one BLAS thread: two would wait for each other."""


def dense_threads(width: int) -> AbstractContextManager[object]:
    """BLAS threads for the small dense factorisations of a run; decided by shape, so bits do not vary."""
    limits: AbstractContextManager[object] = threadpool_limits(
        1 if width < DENSE_WIDTH else None, user_api="blas"
    )
    return limits


@contextmanager
def at_once() -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]]:
    """A `map` whose calls run on as many threads as spans would; results come in order, few of them wait."""
    threads = concurrency()[1]
    with ThreadPoolExecutor(threads) as pool:

        def mapped(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            waiting: deque[Future[Any]] = deque()
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        yield mapped


def active_client() -> Any | None:
    """The distributed client in force, if distributed was imported and one is; never imports it."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None


def concurrency() -> tuple[int, int]:
    """Spans that run at once in all, and in the busiest process, under the active scheduler."""
    client = active_client()
    if client is None:
        from dask.system import CPU_COUNT

        chosen = dask.config.get("num_workers", None)
        count = int(chosen) if chosen else int(CPU_COUNT)
        return count, count
    threads = [int(w["nthreads"]) for w in client.scheduler_info(n_workers=-1)["workers"].values()]
    return max(1, sum(threads)), max(threads, default=1)

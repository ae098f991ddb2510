"""Running a pass: threads of this process, or the cluster of an active distributed client."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import dask

from streamsvd.engine.blas import one_thread
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, ignore_event
from streamsvd.engine.graph import build_pass_graph
from streamsvd.engine.layout import Layout
from streamsvd.engine.span import Sink, SpanWork, stop_run
from streamsvd.engine.submit import Graph, GraphCallbacks, active_client, run_graph
from streamsvd.engine.worker_checks import workers_of
from streamsvd.numerics.passes import Fold, PassSums
from streamsvd.protocols import Source


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
    needs
        Bytes that the spans of a worker of a cluster take; 0 if that is not known.
    """

    source: Source
    workers: int
    prefetch: bool
    device: str
    notify: Callback = ignore_event
    bytes_read: int = 0
    passes: int = 0
    run: str = field(default_factory=lambda: uuid.uuid4().hex)
    needs: int = 0

    def __call__(
        self, layout: Layout, fold: Fold, purpose: str, sink: Sink | None = None
    ) -> PassSums:
        """One pass: the sums of a fold over the whole matrix."""
        self.passes += 1
        cost = int(self.source.nbytes * layout.amplification)
        if layout.tile is not None and not fold.two_sided:
            cost = self.source.nbytes
        self.notify(PassStarted(self.passes, purpose, cost))
        began = time.perf_counter()
        work = SpanWork(self.source, layout, fold, self.device, self.prefetch, self.run, sink)
        try:
            sums = self._sums(work)
        except BaseException:
            stale, self.run = self.run, uuid.uuid4().hex
            stop_run(
                stale
            )  # what is left of the pass must not write where its caller now cleans up
            raise
        self.bytes_read += cost
        self.notify(PassDone(self.passes, purpose, time.perf_counter() - began, None))
        return sums

    def _sums(self, work: SpanWork) -> PassSums:
        number = self.passes
        sums = run_graph(
            work,
            lambda shared: Graph(*build_pass_graph(work, shared)),
            workers=self.workers,
            told=GraphCallbacks(lambda done, spans: self.notify(SpanDone(number, done, spans))),
            what=f"pass {number}",
            needs=self.needs,
        )
        assert isinstance(sums, PassSums)
        return sums


DENSE_WIDTH = 20_000
"""Thin blocks of fewer rows are factorised by one BLAS thread: two would wait for each other."""


def dense_threads(width: int) -> AbstractContextManager[object]:
    """BLAS threads for the small dense factorisations of a run; decided by shape, so bits do not vary."""
    return one_thread() if width < DENSE_WIDTH else nullcontext()


@contextmanager
def parallel_map(
    threads: int | None = None,
) -> Iterator[Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]]:
    """A `map` whose calls run on so many threads, or as many as spans would; results come in order, few of them wait."""
    threads = concurrency()[1] if threads is None else threads
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


def concurrency() -> tuple[int, int]:
    """Spans that run at once in all, and in the busiest process, under the active scheduler."""
    client = active_client()
    if client is None:
        from dask.system import CPU_COUNT

        chosen = dask.config.get("num_workers", None)
        count = int(chosen) if chosen else int(CPU_COUNT)
        return count, count
    threads = [int(worker["nthreads"]) for worker in workers_of(client).values()]
    return max(1, sum(threads)), max(threads, default=1)

"""Threads that an interrupt cannot lose."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

from streamsvd.store.writing.shield import defer_interrupts

_pools: dict[int, ThreadPool] = {}
_lock = threading.Lock()


class ThreadPool(ThreadPoolExecutor):
    """A pool whose threads are started and known in one step.

    Between the two, a Ctrl-C would leave a thread behind that waits for work for ever, and the process with it.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A call on one of the threads, in the context of the caller."""
        with defer_interrupts():
            return super().submit(copy_context().run, fn, *args, **kwargs)


@dataclass(frozen=True, slots=True, eq=False)
class OwnThreads:
    """How many threads the runs of a context have, and their pools, in which no task of another run waits."""

    count: int
    pools: dict[int, ThreadPool] = field(default_factory=dict)


_own: ContextVar[OwnThreads | None] = ContextVar("streamsvd_own_threads", default=None)


@contextmanager
def own_threads(count: int) -> Iterator[None]:
    """Runs of this context have so many threads, of their own: they go on while other runs of this process wait for them."""
    own = OwnThreads(count)
    token = _own.set(own)
    try:
        yield
    finally:
        _own.reset(token)
        for pool in own.pools.values():
            pool.shutdown()


def own_thread_count() -> int | None:
    """How many threads the runs of this context have; None where they have those of the process."""
    own = _own.get()
    return None if own is None else own.count


def pool_of(threads: int) -> ThreadPool:
    """The pool of so many threads that the passes of this process, or of this context, share."""
    own = _own.get()
    pools = _pools if own is None else own.pools
    with _lock:
        if threads not in pools:
            pools[threads] = ThreadPool(threads, thread_name_prefix="streamsvd")
        return pools[threads]

"""Threads that an interrupt cannot lose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
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


def pool_of(threads: int) -> ThreadPool:
    """The pool of so many threads that the passes of this process share."""
    with _lock:
        if threads not in _pools:
            _pools[threads] = ThreadPool(threads, thread_name_prefix="streamsvd")
        return _pools[threads]

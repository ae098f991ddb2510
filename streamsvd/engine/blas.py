"""One BLAS thread while tasks run.

A sum over two threads of BLAS is other bits than over one, and how many a process has is the machine's, the scheduler's
or the environment's to say. So every task sets it itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import threadpoolctl
from threadpoolctl import threadpool_limits

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
_inside = 0
_limits: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of BLAS in this process; what it had before is restored when the last who asked leaves.

    The number is the process's own: tasks that overlap must not restore it under one another.
    """
    global _inside, _limits
    with _lock:
        if _inside == 0:
            _take_control()
            _limits = threadpool_limits(1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _take_control()  # the last who leaves may be another thread than the first who came
                _limits.restore_original_limits()
                _limits = None
                _take_control()


def _take_control() -> None:
    """Let any thread set the number next: threadpoolctl 3.8 heeds the first that ever did, and no other, without a word."""
    controller = getattr(threadpoolctl, "OpenBLASController", None)
    if controller is not None and hasattr(controller, "clear_controlling_thread"):
        controller.clear_controlling_thread(force=True)


def in_one_thread(task: Callable[P, R]) -> Callable[P, R]:
    """A function that is a task, with one thread of BLAS wherever it runs."""

    @wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with one_thread():
            return task(*args, **kwargs)

    return run


DENSE_WIDTH = 20_000
"""Thin blocks of fewer rows are factorised by one BLAS thread: two would wait for each other."""


def dense_threads(width: int) -> AbstractContextManager[object]:
    """BLAS threads for the small dense factorisations of a run; decided by shape, so bits do not vary."""
    return one_thread() if width < DENSE_WIDTH else nullcontext()

"""A task of an item: a pure function of it and of what all of them are given."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.task import RunCancelled, cancelled_runs, count_running
from streamsvd.engine.value_bytes import bytes_of
from streamsvd.engine.worker_names import naming_this_worker

S = TypeVar("S")
Item = TypeVar("Item")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class ItemWork(Generic[S, Item, R]):
    """A pure function of an item, and what all of its calls are given: small, picklable.

    Attributes
    ----------
    function
        Of what is shared and of an item; defined in a module.
    shared
        What every call is given.
    run
        Whose tasks these are.
    """

    function: Callable[[S, Item], R]
    shared: S
    run: str

    def __sizeof__(self) -> int:
        return bytes_of(self.shared)


_is_unwanted: ContextVar[Callable[[], bool]] = ContextVar("is_unwanted", default=lambda: False)
"""Of the item that runs in this thread: says whether nobody waits for it any more."""


def check_item() -> None:
    """Raise if nobody waits for the item that runs in this thread: to be called once a piece where an item has several."""
    if _is_unwanted.get()():
        raise RunCancelled("interrupted")


@in_one_thread
def run_item(
    work: ItemWork[S, Item, R], item: Item, is_unwanted: Callable[[], bool] = lambda: False
) -> R:
    """What the function makes of an item; a retry gives the same bits.

    Parameters
    ----------
    work, item
        What is done, and with what.
    is_unwanted
        Whether nobody waits for it, beside that its run was cancelled.
    """
    with count_running(work.run), naming_this_worker(), held_memory():
        before = _is_unwanted.set(lambda: work.run in cancelled_runs or is_unwanted())
        try:
            check_item()
            return work.function(work.shared, item)
        finally:
            _is_unwanted.reset(before)

"""Tasks of items on a cluster, a window of them on its way, and what they find in the order of the items."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

from streamsvd.engine.allocator import held_between_tasks
from streamsvd.engine.cluster.flights import LATE, LATE_SECONDS, LEAST_KNOWN, SAMPLE_TASKS
from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat
from streamsvd.engine.cluster.passes import on_cluster
from streamsvd.engine.cluster.sent_work import SentWork
from streamsvd.engine.cluster.stopping import task_is_unwanted
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.item_task import ItemWork, run_item
from streamsvd.engine.value_bytes import bytes_of
from streamsvd.engine.worker_checks import inspect_workers
from streamsvd.store.writing.shield import defer_interrupts

S = TypeVar("S")
Item = TypeVar("Item")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class ItemResult:
    """What a task found, under a name of which dask knows the size."""

    value: Any

    def __sizeof__(self) -> int:
        return bytes_of(self.value)


def run_item_there(work: ItemWork[S, Item, R], item: Item) -> ItemResult:
    """The task of an item on a worker."""
    with held_between_tasks():
        return ItemResult(run_item(work, item, task_is_unwanted()))


def take_in_order(
    client: Any,
    work: ItemWork[S, Item, R],
    items: Iterator[Item],
    per_thread: float,
    what: str,
    needs: int,
) -> Generator[R]:
    """What tasks of a cluster find, in the order of the items.

    Parameters
    ----------
    client, work, items
        The cluster, and what is done with each item.
    per_thread
        Tasks that may be on their way for each thread.
    what, needs
        As of `streamsvd.engine.ordered.run_in_order`.
    """
    with on_cluster(client, work.run, what) as beat:

        def look() -> None:
            inspect_workers(client, work, needs)

        look()
        window = ItemWindow(client, beat, work, items, look, per_thread, needs)
        try:
            yield from window.results()
        finally:
            with defer_interrupts():
                window.release()


@dataclass(slots=True, eq=False)
class Waiting:
    """An item on its way.

    Attributes
    ----------
    item, worker
        What it is, and who was sent it.
    future
        Of the task; of the one that ended first, where two workers were sent it.
    ended
        Set when one has.
    copy
        The second task, where the first is late.
    sent_s
        When it was sent.
    """

    item: Any
    worker: str
    future: Any
    ended: threading.Event
    copy: Any = None
    sent_s: float = field(default_factory=time.monotonic)

    def settle(self) -> None:
        """Wait for one task alone: the one that has ended."""
        if self.copy is not None:
            if self.copy.done() and not self.future.done():
                self.future, self.copy = self.copy, self.future
            self.copy.release()
            self.copy = None

    def release(self) -> None:
        """Give it up."""
        self.settle()
        self.future.release()


@dataclass(slots=True, eq=False)
class ItemWindow:
    """The items on their way, first to last.

    Attributes
    ----------
    client, beat, work, items
        The cluster, its heartbeat, what is done, and the items that are still to be sent.
    look
        Looks at workers that are new.
    per_thread
        Items on their way for each thread of the cluster.
    needs
        Bytes that the tasks of a worker take.
    """

    client: Any
    beat: Heartbeat
    work: ItemWork[Any, Any, Any]
    items: Iterator[Any]
    look: Callable[[], None]
    per_thread: float
    needs: int
    waiting: deque[Waiting] = field(default_factory=deque)
    threads: Mapping[str, int] = field(default_factory=dict)
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLE_TASKS))
    transfers: Transfers = field(init=False)
    shared: SentWork = field(init=False)

    def __post_init__(self) -> None:
        self.transfers = Transfers(self.client, self.beat)
        self.shared = SentWork(self.work, self.beat, self.transfers, self.needs)
        self.threads = self.beat.threads

    def results(self) -> Generator[Any]:
        """What is found, in order."""
        self.shared.send()
        while True:
            self._fill()
            if not self.waiting:
                return
            first = self.waiting[0]
            if not first.ended.wait(BEAT_SECONDS / 4):
                self._watch()
                self._copy_late(first)
                continue
            first.settle()
            try:
                found = self._fetch(first)
            except Exception as error:
                self._mend(error, first)
                continue
            self.waiting.popleft()
            first.future.release()
            self.durations.append(time.monotonic() - first.sent_s)
            self.shared.losses = 0
            self._watch()
            yield found
            del found

    def release(self) -> None:
        """Give up all that is on its way."""
        for waiting in self.waiting:
            waiting.release()
        self.shared.release()

    def _fill(self) -> None:
        """Send the next items, each to the worker that has least to do."""
        busy = dict.fromkeys(self.threads, 0)
        for waiting in self.waiting:
            if waiting.worker in busy and not waiting.ended.is_set():
                busy[waiting.worker] += 1
        room = max(1, int(self.per_thread * sum(self.threads.values())))
        while len(self.waiting) < room:
            try:
                item = next(self.items)
            except StopIteration:
                return
            worker = min(busy, key=lambda w: busy[w] / self.threads[w])
            busy[worker] += 1
            self.waiting.append(self._send(item, worker))

    def _send(self, item: Any, worker: str) -> Waiting:
        ended = threading.Event()
        return Waiting(item, worker, self._submit(item, worker, ended), ended)

    def _submit(self, item: Any, worker: str, ended: threading.Event) -> Any:
        """A task for a worker, which others do where that one is gone."""
        future = self.client.submit(
            run_item_there, self.shared.future, item, key=f"item-{uuid.uuid4().hex}", workers=[worker],
            allow_other_workers=True, pure=False,
        )  # fmt: skip
        future.add_done_callback(lambda _: ended.set())
        return future

    def _copy_late(self, first: Waiting) -> None:
        """Send the item that all wait for to a second worker, once one has nothing else to do; the first to end counts."""
        usual = median(self.durations) if self.durations else 0.0
        is_late = time.monotonic() - first.sent_s > max(LATE * usual, usual + LATE_SECONDS)
        busy = {waiting.worker for waiting in self.waiting if not waiting.ended.is_set()}
        idle = [worker for worker in self.threads if worker not in busy]
        if first.copy is None and is_late and idle and len(self.durations) >= LEAST_KNOWN:
            first.copy = self._submit(first.item, idle[0], first.ended)

    def _fetch(self, first: Waiting) -> Any:
        future = first.future
        if future.status in (
            "error",
            "cancelled",
        ):  # what was found and lost since is found again by the scheduler
            future.result()
        return self.transfers.fetch(future).value

    def _mend(self, error: Exception, first: Waiting) -> None:
        """What was lost with the workers that held what was sent from here is sent again; all else is an error."""
        self.shared.require_lost(error, _name_item(first.item))
        self.shared.send_again()
        self.threads = self.beat.workers() or self.threads
        kept: deque[Waiting] = deque()
        for index, waiting in enumerate(self.waiting):
            if waiting.future.status == "finished" and waiting is not first:
                kept.append(waiting)
                continue
            waiting.release()
            workers = list(self.threads)
            kept.append(self._send(waiting.item, workers[index % len(workers)]))
        self.waiting = kept

    def _watch(self) -> None:
        """Workers that left, and those that came: they are looked at before their first task."""
        threads = self.beat.workers()
        if threads and set(threads) - set(self.threads):
            self.look()
        if threads:
            self.threads = threads


def _name_item(item: Any) -> str:
    """What a task reads, for messages."""
    if isinstance(item, tuple):
        return f"rows {item[0]:,} to {item[1]:,}"
    return f"part {item}"

"""One pass on a cluster: subtrees are sent to workers a few at a time, their sums joined where they lie, the root fetched.

Nothing waits on the scheduler but what runs next, so workers that come later are used, a late task gets a second try
elsewhere, and what is given up stops. Shapes and orders are the tree's: which worker does what changes no bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from streamsvd.engine.cluster.flights import Flight, Flights
from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat
from streamsvd.engine.cluster.placement import TaskPlacement
from streamsvd.engine.cluster.stopping import wait_on_workers
from streamsvd.engine.cluster.subtree import run_subtree
from streamsvd.engine.cluster.tree_sums import TreeSums
from streamsvd.engine.cluster.tree_tasks import FAILED, TreeTasks
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.submit import GraphCallbacks
from streamsvd.engine.task import Work
from streamsvd.engine.threads import ThreadPool
from streamsvd.engine.tree import Join, Node, Subtree


class TreeRun:
    """A pass that runs: who reads which part of it.

    Parameters
    ----------
    client, beat, work
        The cluster, its heartbeat, and the pass.
    subtrees, joins, root
        The tree, and how it is cut.
    done
        Sums of nodes that were found before.
    told, look
        Who is told what; and what looks at workers that are new.
    ahead
        Tasks that wait on a worker beside those that run.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.
    """

    def __init__(
        self,
        client: Any,
        beat: Heartbeat,
        work: Work[Any],
        subtrees: Sequence[Subtree],
        joins: Sequence[Join],
        root: Node,
        done: Mapping[Node, Any],
        told: GraphCallbacks,
        look: Callable[[], None],
        ahead: int,
        needs: int = 0,
    ) -> None:
        self.beat, self.work, self.subtrees = beat, work, subtrees
        self.told, self.look, self.ahead = told, look, ahead
        self.tasks = TreeTasks(client, beat, work, needs, told.on_remark)
        self.sums = TreeSums(self.tasks, joins, root, done, self._read_again, told.on_value)
        self.placement = TaskPlacement(len(subtrees), beat.threads)
        self.flights = Flights()
        self._spans = work.reader.spans
        self._spans_wanted = sum(subtree.stop - subtree.first for subtree in subtrees)
        self._parts = {subtree.node: part for part, subtree in enumerate(subtrees)}
        self._told_parts: set[int] = set()
        self._spans_done = 0
        self._losers: list[str] = []
        self._helped_s = 0.0
        self._looking: tuple[Future[None], Mapping[str, int]] | None = None

    def value(self) -> Any:
        """The sum of the root."""
        looks = ThreadPool(1, thread_name_prefix="streamsvd-look")
        try:
            self.tasks.sent.send()
            self.sums.send_known()
            while (found := self.sums.root_value()) is None:
                self._fill()
                self.tasks.take_ended(self._end)
                self._watch(looks)
        finally:
            looks.shutdown(wait=False, cancel_futures=True)
        if self._losers and self.work.sink is not None:  # they may still write
            wait_on_workers(self.tasks.client, self._losers)
        return found.value

    def release(self) -> None:
        """Give up all that is asked for."""
        for flight in self.flights.by_key.values():
            flight.future.release()
        self.sums.release()
        self.tasks.sent.release()

    def _fill(self) -> None:
        """Give each worker its next tasks; to idle ones, when none is left, a copy of one that is late."""
        placement, idle = self.placement, False
        for worker, number in placement.threads.items():
            while (busy := self.flights.count(worker)) < number + self.ahead:
                part = placement.take(worker, is_idle=busy < number and not idle)
                if part is None:
                    break
                self._send_subtree(part, worker)
            idle = idle or busy < number
        now = time.monotonic()
        if idle and now - self._helped_s > BEAT_SECONDS / 4:
            self._helped_s = now
            self._help(now)

    def _help(self, now: float) -> None:
        """To workers that have nothing else to do: tasks that wait behind others, and copies of late ones, of which the first to end counts."""
        behind = deque([*self.flights.waiting(), *self.flights.late(now)])
        for worker, number in self.placement.threads.items():
            for _ in range(len(behind)):
                if self.flights.count(worker) >= number:
                    break
                flight = behind.popleft()
                if flight.worker == worker:
                    behind.append(flight)
                    continue
                if flight.began_s is None:
                    self._give_up(flight, now)
                self._send_subtree(flight.part, worker)

    def _give_up(self, flight: Flight, now: float) -> None:
        """A task that another worker does: it stops at its next panel if it has begun."""
        self.flights.remove(flight, now)
        flight.future.release()
        self._losers.append(flight.key)

    def _send_subtree(self, part: int, worker: str) -> None:
        subtree = self.subtrees[part]
        spans = list(self._spans[subtree.first : subtree.stop])
        key = self.tasks.new_key("subtree", subtree.node)
        future = self.tasks.submit(key, worker, run_subtree, spans, key)
        flight = Flight(key, worker, part, future)
        self.flights.add(flight, self.placement.threads[worker], time.monotonic())

    def _end(self, future: Any) -> None:
        """A task that has ended; another one was faster, or it was given up, where it is not waited for."""
        flight = self.flights.by_key.get(future.key)
        if flight is None:
            self.sums.end(future)
        elif (
            future.status in FAILED
        ):  # what was found and lost since is found again by the scheduler
            self._lose(future, flight)
        else:
            self._end_subtree(flight)

    def _end_subtree(self, flight: Flight) -> None:
        now, subtree = time.monotonic(), self.subtrees[flight.part]
        self.flights.end(flight, now)
        for slower in self.flights.of_part(flight.part):
            self._give_up(slower, now)
        self.sums.keep(subtree.node, flight.future, flight.worker)
        if flight.part not in self._told_parts:
            self._told_parts.add(flight.part)
            for _ in range(subtree.first, subtree.stop):
                self._spans_done += 1
                self.told.on_leaf(self._spans_done, self._spans_wanted)

    def _lose(self, future: Any, flight: Flight) -> None:
        """What failed is an error; what was lost with the workers that held what was sent from here is read again."""
        self.tasks.mend_failed(future, self._name_part(flight))
        self.flights.remove(flight, time.monotonic())
        if not self.flights.of_part(flight.part):
            self.placement.put_back(flight.part)

    def _read_again(self, node: Node) -> None:
        self.placement.put_back(self._parts[node])

    def _name_part(self, flight: Flight) -> str:
        """What a task reads, for messages."""
        subtree, reader = self.subtrees[flight.part], self.work.reader
        first, last = self._spans[subtree.first][0], self._spans[subtree.stop - 1][1]
        kind = reader.layout.axis if isinstance(reader, MatrixReader) else "parts"
        return f"{kind} {first:,} to {last:,}"

    def _watch(self, looks: ThreadPool) -> None:
        """Workers that left, and those that came: they are looked at before their first task."""
        threads, known = self.beat.workers(), self.placement.threads
        for worker in [worker for worker in known if worker not in threads]:
            self.placement.remove(worker)
        new = {worker: number for worker, number in threads.items() if worker not in known}
        if self._looking is not None:
            look, asked = self._looking
            if look.done():
                self._looking = None
                look.result()
                for worker, number in asked.items():
                    if worker in new:
                        self.placement.add(worker, number)
        elif new:
            self._looking = looks.submit(self.look), new

"""One pass on a cluster: subtrees are sent to workers a few at a time, their sums joined where they lie, the root fetched.

Nothing waits on the scheduler but what runs next, so workers that come later are used, a late task gets a second try
elsewhere, and what is given up stops. Shapes and orders are the tree's: which worker does what changes no bit.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from streamsvd.engine.cluster.flights import Flight, Flights
from streamsvd.engine.cluster.heartbeat import BEAT_SECONDS, Heartbeat
from streamsvd.engine.cluster.losses import (
    is_connection_lost,
    is_input_lost,
    is_killed,
    killed_error,
)
from streamsvd.engine.cluster.placement import SubtreePlacement
from streamsvd.engine.cluster.stopping import wait_on_workers
from streamsvd.engine.cluster.subtree import SubtreeSum, join_sums, run_subtree
from streamsvd.engine.cluster.transfers import Transfers
from streamsvd.engine.passes import Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.submit import GraphCallbacks
from streamsvd.engine.task import Work
from streamsvd.engine.threads import ThreadPool
from streamsvd.engine.tree import Join, Node, Subtree
from streamsvd.errors import StreamSVDError

FAILED = ("error", "cancelled")
MOST_LOSSES = 10
"""Times that what was sent to workers may be lost with all that held it."""


@dataclass(slots=True, eq=False)
class TreeRun:
    """The state of a pass that runs.

    Attributes
    ----------
    client, beat, work
        The cluster, its heartbeat, and the pass.
    spans, subtrees, joins, root
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

    client: Any
    beat: Heartbeat
    work: Work[Any]
    spans: Sequence[Span]
    subtrees: list[Subtree]
    joins: list[Join]
    root: Node
    done: Mapping[Node, Any]
    told: GraphCallbacks
    look: Callable[[], None]
    ahead: int
    needs: int = 0
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    ended: SimpleQueue[Any] = field(default_factory=SimpleQueue)
    flights: Flights = field(default_factory=Flights)
    sums: dict[Node, Any] = field(default_factory=dict)
    places: dict[Node, str] = field(default_factory=dict)
    joining: dict[str, tuple[Join, Any]] = field(default_factory=dict)
    being_joined: set[Node] = field(default_factory=set)
    told_nodes: set[Node] = field(default_factory=set)
    told_parts: set[int] = field(default_factory=set)
    losers: list[str] = field(default_factory=list)
    attempts: int = 0
    losses: int = 0
    spans_done: int = 0
    spans_wanted: int = field(init=False)
    renewed: int = 0
    helped_s: float = 0.0
    operand: Any = None
    placement: SubtreePlacement = field(init=False)
    transfers: Transfers = field(init=False)
    above: dict[Node, Join] = field(init=False)
    below: dict[Node, Join] = field(init=False)
    parts: dict[Node, int] = field(init=False)
    looking: tuple[Future[None], Mapping[str, int]] | None = None

    def __post_init__(self) -> None:
        self.above = {child: join for join in self.joins for child in (join.left, join.right)}
        self.below = {join.node: join for join in self.joins}
        self.parts = {subtree.node: part for part, subtree in enumerate(self.subtrees)}
        self.spans_wanted = sum(subtree.stop - subtree.first for subtree in self.subtrees)
        self.transfers = Transfers(self.client, self.beat, self.told.on_remark)
        self.placement = SubtreePlacement(len(self.subtrees), self.beat.threads)

    def value(self) -> Any:
        """The sum of the root."""
        looks = ThreadPool(1, thread_name_prefix="streamsvd-look")
        try:
            self._send_operand()
            for node in self.done:
                if node in self.above:
                    self._send_known(node)
            while (found := self._root_value()) is None:
                self._fill()
                self._take_in()
                self._watch(looks)
        finally:
            looks.shutdown(wait=False, cancel_futures=True)
        if self.losers and self.work.sink is not None:  # they may still write
            wait_on_workers(self.client, self.losers)
        return found.value

    def release(self) -> None:
        """Give up all that is asked for."""
        asked = [flight.future for flight in self.flights.by_key.values()]
        asked += [future for _, future in self.joining.values()]
        for future in (*asked, *self.sums.values(), self.operand):
            if future is not None:
                future.release()

    def _root_value(self) -> SubtreeSum | None:
        return self._fetch(self.root) if self.root in self.sums else None

    def _fetch(self, node: Node) -> SubtreeSum | None:
        """A sum; None where it was lost with what it is made of, and is to be made again."""
        try:
            found: SubtreeSum = self.transfers.fetch(self.sums[node])
        except Exception as error:
            if is_connection_lost(error):
                raise self.beat.loss() from None
            if not is_input_lost(error):
                raise
            self._renew_operand(self.sums[node].key)
            self._make_again(node)
            return None
        return found

    def _send_operand(self) -> None:
        """The pass itself, which each worker fetches once."""
        self.operand, _ = self.transfers.send(self.work)

    def _send_known(self, node: Node) -> None:
        """A sum that an earlier run found."""
        self._keep(node, *self.transfers.send(SubtreeSum(self.done[node])))

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
        if idle and now - self.helped_s > BEAT_SECONDS / 4:
            self.helped_s = now
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
        self.losers.append(flight.key)

    def _send_subtree(self, part: int, worker: str) -> None:
        subtree = self.subtrees[part]
        spans = list(self.spans[subtree.first : subtree.stop])
        key = self._key("subtree", subtree.node)
        future = self._submit(key, worker, run_subtree, self.operand, spans, key)
        flight = Flight(key, worker, part, future)
        self.flights.add(flight, self.placement.threads[worker], time.monotonic())

    def _key(self, kind: str, node: Node) -> str:
        self.attempts += 1
        return f"{kind}-{self.name}-{node[0]:02d}-{node[1]:06d}-{self.attempts}"

    def _submit(self, key: str, worker: str, task: Any, *arguments: Any, priority: int = 0) -> Any:
        """A task for a worker, which others do where that one is gone."""
        future = self.client.submit(
            task, *arguments, key=key, workers=[worker], allow_other_workers=True, pure=False, priority=priority,
            resources=self.beat.resources or None,
        )  # fmt: skip
        future.add_done_callback(self.ended.put)
        return future

    def _take_in(self) -> None:
        """What has ended; nothing for a while at most."""
        try:
            future = self.ended.get(timeout=BEAT_SECONDS / 4)
            while True:
                self._end(future)
                future = self.ended.get_nowait()
        except Empty:
            return

    def _end(self, future: Any) -> None:
        flight = self.flights.by_key.get(future.key)
        joined = self.joining.get(future.key)
        if flight is None and joined is None:
            return  # another one was faster, or it was given up
        if future.status in FAILED:  # what was found and lost since is found again by the scheduler
            self._lose(future, flight)
        elif flight is not None:
            self._end_subtree(flight)
        elif joined is not None:
            join = self._end_join(future.key)
            children = [self.sums.pop(child) for child in (join.left, join.right)]
            self._keep(join.node, future, self.places[join.left])
            for child in children:
                child.release()

    def _end_subtree(self, flight: Flight) -> None:
        now, subtree = time.monotonic(), self.subtrees[flight.part]
        self.flights.end(flight, now)
        for slower in self.flights.of_part(flight.part):
            self._give_up(slower, now)
        self._keep(subtree.node, flight.future, flight.worker)
        if flight.part not in self.told_parts:
            self.told_parts.add(flight.part)
            for _ in range(subtree.first, subtree.stop):
                self.spans_done += 1
                self.told.on_leaf(self.spans_done, self.spans_wanted)

    def _keep(self, node: Node, future: Any, worker: str) -> None:
        """The sum of a node that was found; the join above begins if it waited for this."""
        self.sums[node], self.places[node] = future, worker
        if self.told.on_value is not None and node not in self.done and node not in self.told_nodes:
            found = self._fetch(node)
            if found is None:
                return
            self.told_nodes.add(node)
            self.told.on_value(node, found.value)
        if node in self.above:
            self._join(self.above[node])

    def _join(self, join: Join) -> None:
        """Join two sums where the left one lies, once both are there."""
        there = join.left in self.sums and join.right in self.sums
        if not there or join.node in self.being_joined:
            return
        key, both = self._key("join", join.node), (self.sums[join.left], self.sums[join.right])
        worker = self.places[join.left]
        future = self._submit(key, worker, join_sums, self.operand, *both, priority=10)
        self.joining[key] = join, future
        self.being_joined.add(join.node)

    def _end_join(self, key: str) -> Join:
        join, _ = self.joining.pop(key)
        self.being_joined.remove(join.node)
        return join

    def _lose(self, future: Any, flight: Flight | None) -> None:
        """What failed is an error; what was lost with the workers that held what was sent from here is made again."""
        try:
            future.result()
        except Exception as error:
            if is_connection_lost(error):
                raise self.beat.loss() from None
            if is_killed(error):
                part = self._name_part(flight)
                raise killed_error(error, self.beat.what, part, self.needs) from error
            if not is_input_lost(error):
                raise
        self._renew_operand(future.key)
        if flight is not None:
            self.flights.remove(flight, time.monotonic())
            if not self.flights.of_part(flight.part):
                self.placement.put_back(flight.part)
            return
        join = self._end_join(future.key)
        for child in (join.left, join.right):
            if self.sums[child].status == "cancelled":
                self._make_again(child)
        self._join(join)

    def _renew_operand(self, key: str) -> None:
        """Send the pass again, unless that was done since a task of this key was sent."""
        if int(key.rsplit("-", 1)[1]) <= self.renewed:
            return
        self.losses += 1
        if self.losses > MOST_LOSSES:
            raise StreamSVDError(
                f"{self.beat.what} lost what it had sent to workers {self.losses} times, with all workers that held it. "
                "Look at why workers leave."
            )
        self.renewed = self.attempts
        self._send_operand()

    def _make_again(self, node: Node) -> None:
        """A sum that was lost, from what it was made of."""
        lost = self.sums.pop(node, None)
        if lost is not None:
            lost.release()
        if node in self.done:
            self._send_known(node)
        elif node in self.parts:
            self.placement.put_back(self.parts[node])
        else:
            join = self.below[node]
            for child in (join.left, join.right):
                self._make_again(child)

    def _name_part(self, flight: Flight | None) -> str:
        """What a task reads, for messages."""
        if flight is None:
            return "joining two sums"
        subtree, reader = self.subtrees[flight.part], self.work.reader
        first, last = self.spans[subtree.first][0], self.spans[subtree.stop - 1][1]
        kind = reader.layout.axis if isinstance(reader, MatrixReader) else "parts"
        return f"{kind} {first:,} to {last:,}"

    def _watch(self, looks: ThreadPool) -> None:
        """Workers that left, and those that came: they are looked at before their first task."""
        threads, known = self.beat.workers(), self.placement.threads
        for worker in [worker for worker in known if worker not in threads]:
            self.placement.remove(worker)
        new = {worker: number for worker, number in threads.items() if worker not in known}
        if self.looking is not None:
            look, asked = self.looking
            if look.done():
                self.looking = None
                look.result()
                for worker, number in asked.items():
                    if worker in new:
                        self.placement.add(worker, number)
        elif new:
            self.looking = looks.submit(self.look), new

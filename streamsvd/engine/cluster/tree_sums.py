"""Sums of a pass on workers: joined where they lie as soon as both are there, made again where they were lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamsvd.engine.cluster.subtree import SubtreeSum, join_sums
from streamsvd.engine.cluster.tree_tasks import FAILED, TreeTasks
from streamsvd.engine.tree import Join, Node

FIRST = 10
"""Priority of a join: it comes before what is read, for it makes room."""


class TreeSums:
    """Those of a pass that runs, each that of a node of the tree.

    Parameters
    ----------
    tasks
        How tasks are sent.
    joins, root
        The tree above what tasks read.
    done
        Sums of nodes that were found before.
    read_again
        Told a node that is to be read once more.
    on_value
        Told each sum that is found, the first time.
    """

    def __init__(
        self,
        tasks: TreeTasks,
        joins: Sequence[Join],
        root: Node,
        done: Mapping[Node, Any],
        read_again: Callable[[Node], None],
        on_value: Callable[[Node, Any], None] | None,
    ) -> None:
        self.tasks, self.root, self.done = tasks, root, done
        self.read_again, self.on_value = read_again, on_value
        self._above = {child: join for join in joins for child in (join.left, join.right)}
        self._below = {join.node: join for join in joins}
        self._sums: dict[Node, Any] = {}
        self._places: dict[Node, str] = {}
        self._joining: dict[str, tuple[Join, Any]] = {}
        self._being_joined: set[Node] = set()
        self._told: set[Node] = set()

    def send_known(self) -> None:
        """Send what earlier runs found and joins need."""
        for node in self.done:
            if node in self._above:
                self._send(node)

    def root_value(self) -> SubtreeSum | None:
        """That of the whole tree; None as long as it is not there."""
        return self._fetch(self.root) if self.root in self._sums else None

    def keep(self, node: Node, future: Any, worker: str) -> None:
        """The sum of a node that was found; the join above begins if it waited for this."""
        self._sums[node], self._places[node] = future, worker
        if self.on_value is not None and node not in self.done and node not in self._told:
            found = self._fetch(node)
            if found is None:
                return
            self._told.add(node)
            self.on_value(node, found.value)
        if node in self._above:
            self._join(self._above[node])

    def end(self, future: Any) -> None:
        """A task that has ended, if it is a join that is waited for."""
        if future.key not in self._joining:
            return
        join, _ = self._joining.pop(future.key)
        self._being_joined.remove(join.node)
        if future.status in FAILED:  # what was found and lost since is found again by the scheduler
            self._lose(join, future)
            return
        children = [self._sums.pop(child) for child in (join.left, join.right)]
        self.keep(join.node, future, self._places[join.left])
        for child in children:
            child.release()

    def release(self) -> None:
        """Give all of them up."""
        for future in (*(future for _, future in self._joining.values()), *self._sums.values()):
            future.release()

    def _send(self, node: Node) -> None:
        self.keep(node, *self.tasks.transfers.send(SubtreeSum(self.done[node])))

    def _fetch(self, node: Node) -> SubtreeSum | None:
        """A sum; None where it was lost with what it is made of, and is to be made again."""
        found: SubtreeSum | None = self.tasks.fetch(self._sums[node])
        if found is None:
            self._make_again(node)
        return found

    def _join(self, join: Join) -> None:
        """Join two sums where the left one lies, once both are there."""
        there = join.left in self._sums and join.right in self._sums
        if not there or join.node in self._being_joined:
            return
        key, both = (
            self.tasks.new_key("join", join.node),
            (self._sums[join.left], self._sums[join.right]),
        )
        future = self.tasks.submit(key, self._places[join.left], join_sums, *both, priority=FIRST)
        self._joining[key] = join, future
        self._being_joined.add(join.node)

    def _lose(self, join: Join, future: Any) -> None:
        self.tasks.mend_failed(future, "joining two sums")
        for child in (join.left, join.right):
            if self._sums[child].status == "cancelled":
                self._make_again(child)
        self._join(join)

    def _make_again(self, node: Node) -> None:
        """A sum that was lost, from what it was made of."""
        lost = self._sums.pop(node, None)
        if lost is not None:
            lost.release()
        if node in self.done:
            self._send(node)
        elif node in self._below:
            join = self._below[node]
            for child in (join.left, join.right):
                self._make_again(child)
        else:
            self.read_again(node)

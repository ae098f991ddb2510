"""A fold over runs of rows: one task for each, and a binary tree of fixed shape that joins what they found.

The shape depends on the number of runs alone, so a result is the same bits on any scheduler. What a node found may be kept
(`known`): a run that was killed goes on from the nodes that were, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from dask import delayed

from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.submit import Graph, GraphCallbacks, run_graph
from streamsvd.protocols import Source

T = TypeVar("T")
Run = tuple[int, int]
Node = tuple[int, int]
"""Level, 0 for runs, and number from the left."""


class Job(Protocol[T]):
    """What is done with a run of rows, and with what two neighbours found."""

    def leaf(self, rows: Run) -> T:
        """What a run holds; it may be done twice."""
        ...

    def join(self, left: T, right: T) -> T:
        """What two neighbouring runs hold together."""
        ...


def cut_runs(source: Source, rows: int, most: int) -> tuple[Run, ...]:
    """First and last row (exclusive) of runs of about ``rows`` rows, no more than ``most``, cut where chunks are."""
    m, chunk = source.shape[0], min(source.chunks[0], source.shape[0])
    chunks = -(-m // chunk)
    count = max(1, min(most, m // max(rows, 1), chunks))
    edges = [min(m, chunk * round(i * chunks / count)) for i in range(count + 1)]
    return tuple((a, b) for a, b in pairwise(edges) if a < b)


def reduce_runs(
    job: Job[T],
    parts: Sequence[Run],
    *,
    workers: int,
    leaf_done: Callable[[int, int], None],
    known: Mapping[Node, T] | None = None,
    found: Callable[[Node, T], None] | None = None,
    what: str = "the run",
    needs: int = 0,
) -> T:
    """What all runs hold together.

    Parameters
    ----------
    job, parts
        What is done, and the runs; BLAS has one thread in each task.
    workers
        Threads; a cluster has its own.
    leaf_done
        Receives runs done, and their number.
    known
        Nodes that need not be found again.
    found
        Receives every node as it is found.
    what
        How messages call it.
    needs
        Bytes that the tasks of a worker of a cluster take; 0 if that is not known.
    """
    have = {} if known is None else known

    def build(shared: Any) -> Graph:
        return _tree_graph(shared, parts, have)

    told = GraphCallbacks(leaf_done, found)
    value: T = run_graph(job, build, workers=workers, told=told, what=what, needs=needs)
    return value


def children(node: Node, count: int) -> tuple[Node, ...]:
    """The two nodes that one joins, or the only one, in a tree over so many runs."""
    level, index = node
    below = count
    for _ in range(level - 1):
        below = -(-below // 2)
    return tuple((level - 1, i) for i in (2 * index, 2 * index + 1) if i < below)


def unread_runs(parts: Sequence[Run], known: Container[Node]) -> list[Run]:
    """Runs that are still to be read: neither they nor a node above them is known."""
    height = (len(parts) - 1).bit_length()
    return [
        run
        for index, run in enumerate(parts)
        if not any((level, index >> level) in known for level in range(height + 1))
    ]


def _tree_graph(shared: Any, parts: Sequence[Run], known: Mapping[Node, Any]) -> Graph:
    leaf, join = delayed(_leaf, pure=False), delayed(_join, pure=False)
    leaves: list[Any] = []
    named: dict[Node, Any] = {}

    def grown(node: Node) -> Any:
        if node in known:
            return delayed(known[node], traverse=False, pure=False)
        if node[0] == 0:
            task = leaf(shared, parts[node[1]])
            leaves.append(task)
        else:
            below = [grown(child) for child in children(node, len(parts))]
            if len(below) == 1:
                return below[0]
            task = join(shared, *below)
        named[node] = task
        return task

    height = (len(parts) - 1).bit_length()
    return Graph(leaves, grown((height, 0)), named)


@in_one_thread
def _leaf(job: Job[T], rows: Run) -> T:
    return job.leaf(rows)


@in_one_thread
def _join(job: Job[T], left: T, right: T) -> T:
    return job.join(left, right)

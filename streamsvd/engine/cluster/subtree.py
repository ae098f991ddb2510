"""Tasks of a pass on a worker: an aligned subtree of the merge tree, folded in the tree's order, and nodes that join two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamsvd.engine.allocator import held_between_tasks
from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.cluster.stopping import task_is_unwanted
from streamsvd.engine.passes import Span
from streamsvd.engine.task import Work, absorb, count_running, merge, run_span
from streamsvd.engine.value_bytes import bytes_of


@dataclass(frozen=True, slots=True, eq=False)
class SubtreeSum:
    """What a task hands back: the sum of a node of the tree, with its size."""

    value: Any

    def __sizeof__(self) -> int:
        return bytes_of(self.value)


@in_one_thread
def run_subtree(work: Work[Any], spans: Sequence[Span], name: str) -> SubtreeSum:
    """The sum of a subtree: what a whole tree of its spans would give, to the last bit.

    At most one sum a level of the subtree waits at any moment; they are joined where they lie, for nobody else has them.
    """
    with count_running(name), held_between_tasks():
        there = replace(work, is_unwanted=task_is_unwanted())
        waiting: list[tuple[int, Any]] = []
        for span in spans:
            level, value = 0, run_span(there, span)
            while waiting and waiting[-1][0] == level:
                value, level = absorb(there, waiting.pop()[1], value), level + 1
            waiting.append((level, value))
        value = waiting.pop()[1]
        while waiting:
            value = absorb(there, waiting.pop()[1], value)
    return SubtreeSum(value)


def join_sums(work: Work[Any], left: SubtreeSum, right: SubtreeSum) -> SubtreeSum:
    """A node above two; both stay what they are, as they may be asked for again."""
    return SubtreeSum(merge(work, left.value, right.value))

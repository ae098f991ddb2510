"""How many tasks a pass has on a cluster: aligned subtrees of its leaves, by the threads there are.

A task is ``2**level`` neighbouring leaves, the whole of a node of the merge tree; the last may have fewer. What is summed,
and in which order, depends on the tree alone, so the number of tasks is in no bit of the result.
"""

from __future__ import annotations

LEAST_PER_THREAD = 2
"""Tasks of a thread at least, where there are leaves: one of them late costs half, not all."""
USUAL_PER_THREAD = 8
"""And where each lasts `TASK_SECONDS`: 8 to 16, as sizes are powers of two."""
TASK_SECONDS = 5.0
"""What a task lasts before there are more of them: the scheduler takes milliseconds for each."""
MOST_TASKS = 16_384
THREAD_RATE = 0.35e9
"""Decoded bytes that one thread reads and multiplies a second, as measured on passes over 2,000 columns."""


def tasks_of_pass(leaves: int, threads: int, leaf_seconds: float | None = None) -> int:
    """Tasks of a pass: ``ceil(leaves / 2**task_level(...))``, never more than leaves.

    Parameters
    ----------
    leaves
        Leaves of the merge tree, one at least.
    threads
        Of all workers together.
    leaf_seconds
        What one leaf takes one thread; None where that is not known, and then it counts as long.
    """
    return -(-leaves // (1 << task_level(leaves, threads, leaf_seconds)))


def usual_leaf_seconds(pass_bytes: int, leaves: int) -> float:
    """What a leaf takes one thread at `THREAD_RATE`: what plans and runs count with, so that they have the same tasks."""
    return pass_bytes / leaves / THREAD_RATE


def task_level(leaves: int, threads: int, leaf_seconds: float | None = None) -> int:
    """Level of the nodes that are tasks, 0 for leaves themselves.

    The highest at which threads still have `USUAL_PER_THREAD` each, and no more than `MOST_TASKS` are left; above it the
    lowest at which a task lasts `TASK_SECONDS`, but none at which a thread would have fewer than `LEAST_PER_THREAD`.
    So it never falls with leaves, and never rises with threads or with seconds.
    """
    assert leaves >= 1
    assert threads >= 1

    def count(level: int) -> int:
        return -(-leaves // (1 << level))

    level = 0
    while count(level) > MOST_TASKS or count(level + 1) >= USUAL_PER_THREAD * threads:
        level += 1
    while (
        leaf_seconds is not None
        and (leaf_seconds * (1 << level)) < TASK_SECONDS
        and count(level + 1) >= LEAST_PER_THREAD * threads
    ):
        level += 1
    return level

"""How many tasks a pass has on a cluster: aligned subtrees of its leaves, by the threads there are.

A task is ``2**level`` neighbouring leaves, the whole of a node of the merge tree; the last may have fewer. What is summed,
and in which order, depends on the tree alone, so the number of tasks is in no bit of the result.
"""

from __future__ import annotations

THREAD_RATE = 0.35e9
"""Decoded bytes that one thread reads and multiplies a second, about, as measured on passes over 2,000 columns."""
LEAST_SECONDS, THREAD_SECONDS = 0.25, 0.01
"""What a task should last at least, and so long for each thread of the cluster: a task costs the scheduler 2 ms, which is then
a fifth of its time however many threads there are."""
LEAST_PER_THREAD, USUAL_PER_THREAD = 2, 8
"""Tasks of a thread at least, where there are leaves, and where they last long enough: up to twice as many, as sizes are powers
of two. One that is late costs a share of a pass that is the smaller the more there are."""


def task_level(leaves: int, n_bytes: int, threads: int) -> int:
    """Level of the nodes that are tasks, 0 for leaves themselves.

    Parameters
    ----------
    leaves, n_bytes
        Leaves of the merge tree, one at least, and decoded bytes of the pass.
    threads
        Of all workers together.
    """
    seconds = n_bytes / THREAD_RATE / threads
    least = max(LEAST_SECONDS, THREAD_SECONDS * threads)
    wanted = threads * min(max(int(seconds / least), LEAST_PER_THREAD), USUAL_PER_THREAD)
    return max(0, (leaves // wanted).bit_length() - 1)


def tasks_of_pass(leaves: int, n_bytes: int, threads: int) -> int:
    """Tasks of a pass: ``ceil(leaves / 2**task_level(...))``, never more than leaves."""
    return -(-leaves // (1 << task_level(leaves, n_bytes, threads)))


def moved_sums(tasks: int, workers: int) -> int:
    """Sums that go from one process to another, the last of them home, where each worker has a run of neighbouring tasks.

    A node of the tree is joined where its left part lies; the right part of the join over task ``b`` begins there, and its left
    one at ``b`` without its lowest bit.
    """
    if workers >= tasks:
        return tasks

    def owner(task: int) -> int:
        return task * workers // tasks

    return 1 + sum(owner(b) != owner(b & (b - 1)) for b in range(1, tasks))

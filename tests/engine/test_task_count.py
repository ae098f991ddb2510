"""Tasks of a pass on a cluster: limits, which way their number goes, and the sums that move between workers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine.task_count import (
    LEAST_PER_THREAD,
    LEAST_SECONDS,
    THREAD_RATE,
    USUAL_PER_THREAD,
    moved_sums,
    task_level,
    tasks_of_pass,
)

leaves = st.integers(1, 1 << 16)
threads = st.integers(1, 5000)
sizes = st.integers(0, 10**16)


@given(leaves, sizes, threads)
def test_tasks_are_whole_nodes_within_the_limits(count, n_bytes, of):
    level, tasks = (f(count, n_bytes, of) for f in (task_level, tasks_of_pass))
    assert (tasks - 1) << level < count <= tasks << level
    assert 1 <= tasks <= count
    assert tasks >= min(count, LEAST_PER_THREAD * of)
    if level:
        assert tasks <= 2 * USUAL_PER_THREAD * of


@given(leaves, sizes, sizes, threads)
def test_larger_matrices_have_no_fewer_tasks(count, a, b, of):
    small, large = sorted((a, b))
    assert tasks_of_pass(count, small, of) <= tasks_of_pass(count, large, of)


@given(leaves, threads)
def test_what_lasts_long_has_8_to_16_a_thread(count, of):
    n_bytes = int(1e4 * of * of * THREAD_RATE * LEAST_SECONDS)
    tasks = tasks_of_pass(count, n_bytes, of)
    assert min(count, USUAL_PER_THREAD * of) <= tasks <= min(count, 2 * USUAL_PER_THREAD * of)


def walked(tasks, workers):
    """Moves counted on the tree itself: nodes by level, each joined where its left part lies."""
    places, moves = [i * workers // tasks for i in range(tasks)], 0
    while len(places) > 1:
        pairs = [places[i : i + 2] for i in range(0, len(places), 2)]
        moves += sum(len(pair) == 2 and pair[0] != pair[1] for pair in pairs)
        places = [pair[0] for pair in pairs]
    return moves + 1


@given(st.integers(1, 600), st.integers(1, 700))
def test_sums_that_move_are_those_of_the_tree(tasks, workers):
    moves = moved_sums(tasks, workers)
    assert moves == walked(tasks, min(workers, tasks))
    assert min(tasks, workers) <= moves <= tasks
    assert moved_sums(tasks, 1) == 1


@given(st.integers(0, 8), st.integers(0, 8))
def test_workers_that_share_evenly_hand_on_one_sum_each(a, b):
    tasks, workers = 1 << max(a, b), 1 << min(a, b)
    assert moved_sums(tasks, workers) == workers

"""Tasks of a pass on a cluster: limits, and how their number goes with leaves, threads and seconds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine.task_count import (
    LEAST_PER_THREAD,
    MOST_TASKS,
    TASK_SECONDS,
    USUAL_PER_THREAD,
    task_level,
    tasks_of_pass,
)

leaves = st.integers(1, 1 << 21)
threads = st.integers(1, 5000)
seconds = st.none() | st.floats(1e-6, 1e4)


@given(leaves, threads, seconds)
def test_tasks_are_whole_nodes_within_the_limits(
    leaves: int, threads: int, seconds: float | None
) -> None:
    level, count = (f(leaves, threads, seconds) for f in (task_level, tasks_of_pass))
    assert (count - 1) << level < leaves <= count << level
    assert 1 <= count <= min(leaves, MOST_TASKS)
    assert count >= min(leaves, MOST_TASKS // 2, LEAST_PER_THREAD * threads)
    if level:  # tasks were joined because there were many of them, or because they were short
        assert count < 2 * USUAL_PER_THREAD * threads or count > MOST_TASKS // 2


@given(leaves, threads, seconds)
def test_long_tasks_are_8_to_16_a_thread(leaves: int, threads: int, seconds: float | None) -> None:
    count = tasks_of_pass(leaves, threads, None)
    assert count >= min(leaves, USUAL_PER_THREAD * threads, MOST_TASKS // 2)
    assert count <= min(leaves, 2 * USUAL_PER_THREAD * threads)
    assert tasks_of_pass(leaves, threads, seconds) <= count
    assert tasks_of_pass(leaves, threads, TASK_SECONDS) == count


@given(leaves, threads, threads, seconds, seconds)
def test_the_level_goes_one_way(
    leaves: int, a: int, b: int, s: float | None, t: float | None
) -> None:
    few, many = min(a, b), max(a, b)
    assert task_level(leaves, few, s) >= task_level(leaves, many, s)
    assert task_level(leaves + 1, few, s) >= task_level(leaves, few, s)
    short, long = sorted((float("inf") if x is None else x) for x in (s, t))
    assert task_level(leaves, few, short) >= task_level(leaves, few, long)


def test_a_thread_alone_and_a_matrix_of_one_leaf() -> None:
    assert tasks_of_pass(1, 1000, 1e-3) == 1
    assert tasks_of_pass(64, 1, 1e-3) == LEAST_PER_THREAD
    assert tasks_of_pass(64, 2, 100.0) == 16
    assert tasks_of_pass(1 << 20, 1000, 5.0) == 8192
    assert tasks_of_pass(1 << 20, 5000, 5.0) == MOST_TASKS

"""The parts of a pass on a cluster: how the tree is cut into tasks, who takes which, when one is late, what values weigh."""

from __future__ import annotations

import re
from collections import UserDict
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from dask.sizeof import sizeof
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine.blas import one_thread
from streamsvd.engine.cluster.flights import LATE_SECONDS, Flight, Flights
from streamsvd.engine.cluster.losses import (
    CONNECTION_REASON,
    is_connection_lost,
    is_input_lost,
    is_killed,
    killed_error,
)
from streamsvd.engine.cluster.placement import TaskPlacement
from streamsvd.engine.cluster.subtree import SubtreeSum, run_subtree
from streamsvd.engine.task import Work
from streamsvd.engine.tree import children, cut_tree, nodes_above
from streamsvd.engine.value_bytes import bytes_of
from streamsvd.errors import BudgetError, StreamSVDError
from tests.engine.test_tree import Numbers, Written, fold


def text_of(count: int, level: int, done: dict[Any, str]) -> str:
    """What a cluster makes of spans that say their number: subtrees, each by one task, and joins."""
    work: Work[str] = Work(Numbers(count), Written(), "cpu", "run")
    subtrees, joins, root = cut_tree(count, level, done, nodes_above(done, count))
    found = dict(done)
    with one_thread():
        for subtree in subtrees:
            spans = work.reader.spans[subtree.first : subtree.stop]
            assert 0 < len(spans) <= 2**level
            found[subtree.node] = run_subtree(work, spans, "name").value
    for join in joins:
        found[join.node] = work.pass_.merge(found[join.left], found[join.right])
    return found[root]


def tree(node: tuple[int, int], count: int) -> str:
    """What threads make of the same."""
    if node[0] == 0:
        return str(node[1])
    below = [tree(child, count) for child in children(node, count)]
    return f"({' '.join(below)})" if len(below) == 2 else below[0]


def test_a_tree_by_hand_is_that_of_threads():
    assert all(tree(((n - 1).bit_length(), 0), n) == fold(n)[0] for n in (1, 2, 3, 7, 12))


@given(st.integers(1, 150), st.integers(0, 9))
def test_subtrees_and_joins_are_the_tree_of_threads(count, level):
    assert text_of(count, level, {}) == tree(((count - 1).bit_length(), 0), count)


@given(st.integers(1, 70), st.integers(0, 7), st.data())
def test_nodes_that_are_known_are_not_found_again(count, level, data):
    nodes = [join.node for join in cut_tree(count, 0)[1]] + [(0, i) for i in range(count)]
    names = data.draw(st.lists(st.sampled_from(sorted(nodes)), unique=True, max_size=12))
    done = {name: tree(name, count) for name in names}
    assert text_of(count, level, done) == tree(((count - 1).bit_length(), 0), count)
    subtrees, joins, _ = cut_tree(count, level, done, nodes_above(done, count))
    assert not ({s.node for s in subtrees} | {j.node for j in joins}) & set(done)


@given(st.integers(1, 3000), st.integers(0, 12))
def test_tasks_cover_the_spans_in_their_order(count, level):
    subtrees, joins, root = cut_tree(count, level)
    assert [s.first for s in subtrees] == [0, *(s.stop for s in subtrees[:-1])]
    assert subtrees[-1].stop == count
    assert len(joins) == len(subtrees) - 1
    asked = [child for join in joins for child in (join.left, join.right)]
    assert sorted([*asked, root]) == sorted([s.node for s in subtrees] + [j.node for j in joins])
    assert all(len(children(s.node, count)) == 2 for s in subtrees if s.node[0])


@given(
    st.integers(0, 60),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 4), min_size=1),
    st.integers(0, 1 << 32),
)
def test_every_part_is_taken_once_whoever_comes_and_goes(count, threads, seed):
    placement, taken, random = TaskPlacement(count, threads), [], Random(seed)
    for step in range(40 * (count + 10)):
        known = sorted(placement.runs)
        if len(known) > 1 and random.random() < 0.05:
            placement.remove(random.choice(known))
        if random.random() < 0.05:
            placement.add(f"new-{step}", 2)
        worker = random.choice(sorted(placement.runs))
        part = placement.take(worker, is_idle=True)
        if part is not None:
            taken.append(part)
            if random.random() < 0.02:
                placement.put_back(taken.pop())
    assert sorted(taken) == list(range(count))


def test_workers_take_neighbours_and_help_those_that_are_behind():
    placement = TaskPlacement(16, {"a": 1, "b": 1})
    assert [placement.take("a", is_idle=True) for _ in range(8)] == list(range(8))
    assert placement.take("b", is_idle=True) == 8
    assert placement.take("a", is_idle=False) is None
    assert [placement.take("a", is_idle=True) for _ in range(3)] == [13, 14, 15]
    assert [placement.take("b", is_idle=True) for _ in range(3)] == [9, 10, 11]
    assert placement.take("a", is_idle=True) is None  # one task is not worth a sum that travels


def flown(durations: list[float]) -> Flights:
    """Tasks of one worker that ended, one after another, by time 0."""
    flights, now = Flights(), -sum(durations)
    for i, seconds in enumerate(durations):
        flight = Flight(f"done-{i}", "a", 1000 + i, None)
        flights.add(flight, 1, now)
        now += seconds
        flights.end(flight, now)
    return flights


def test_a_task_is_late_after_one_and_a_half_medians():
    flights = flown([10.0] * 5)
    first, behind, other = (
        Flight(k, w, p, None) for k, w, p in (("x", "a", 1), ("y", "a", 2), ("z", "b", 3))
    )
    flights.add(first, 1, 0.0)
    flights.add(behind, 1, 0.0)
    flights.add(other, 1, 8.0)
    assert flights.waiting() == [behind]
    assert flights.late(15.0) == []
    assert flights.late(15.1) == [first]
    copy = Flight("x2", "b", 1, None)
    flights.add(copy, 2, 15.1)
    assert flights.late(15.2) == []
    flights.end(first, 16.0)
    assert behind.began_s == 16.0
    assert flights.waiting() == []
    assert flights.of_part(1) == [copy]


def test_what_is_short_or_unknown_is_not_late():
    assert flown([10.0]).late(100.0) == []
    flights = flown([0.01] * 9)
    flights.add(Flight("x", "a", 1, None), 1, 0.0)
    assert flights.late(LATE_SECONDS) == []
    assert len(flights.late(0.1 + LATE_SECONDS)) == 1


@dataclass
class Held:
    """A value as passes hand it back."""

    arrays: tuple[Any, ...]
    more: dict[str, Any]


@pytest.mark.parametrize(
    "value", [SubtreeSum(Held((np.ones(1000), np.ones((3, 50))), {"x": [np.ones(7, "f4")]}))]
)
def test_dask_knows_what_sums_weigh(value):
    assert sizeof(value) >= 8000 + 1200 + 28
    assert sizeof(value) < 12_000


def test_dask_knows_what_a_pass_weighs():
    work: Work[Any] = Work(Numbers(3), Held((np.ones(10_000),), {}), "cpu", "run")
    assert 80_000 <= sizeof(work) <= 82_000
    loop: list[Any] = []
    loop.append(loop)
    assert bytes_of(loop) > 0


class ReadsWhenAsked(UserDict[str, Any]):
    """A mapping of what is read when it is asked for, as a compressed collection is."""

    def __getitem__(self, name: str) -> Any:
        raise AssertionError(f"{name} was read")


def test_what_is_read_when_it_is_asked_for_is_not_read_to_be_weighed():
    lazy = ReadsWhenAsked()
    lazy.data["x"] = 1
    assert 0 < bytes_of(lazy) < 1000


@pytest.mark.parametrize(
    ("limit", "needs", "kind", "said"),
    [
        (150 << 20, 1 << 30, BudgetError, r"the last tcp://w:1, of 150 MiB each: a worker needs 1,073,741,824 bytes, .* 157,286,400\. Pass memory=\"90MiB\""),
        (1 << 30, 150 << 20, StreamSVDError, r"the last tcp://w:1, of 1 GiB each where the plan needs 150 MiB\. Look at what its log says last"),
        (0, 1 << 30, StreamSVDError, r"the last tcp://w:1\. Look at what its log says last"),
    ],
)  # fmt: skip
def test_a_task_that_kills_its_workers_is_named_with_their_memory(limit, needs, kind, said):
    worker = SimpleNamespace(address="tcp://w:1", memory_limit=limit)
    killed = KilledWorker("subtree-1", worker, 3)
    assert is_killed(killed)
    error = killed_error(killed, "pass 2", "rows 10,000 to 20,000", needs)
    assert type(error) is kind
    assert re.search(r"rows 10,000 to 20,000 of pass 2 killed 4 workers, " + said, str(error))


def test_what_was_lost_with_its_scheduler_and_with_its_workers_is_told_apart():
    gone = FutureCancelledError("x", CONNECTION_REASON)
    lost = FutureCancelledError("x", "lost dependencies")
    assert (is_connection_lost(gone), is_input_lost(gone)) == (True, False)
    assert (is_connection_lost(lost), is_input_lost(lost)) == (False, True)
    assert not any(look(ValueError("x")) for look in (is_connection_lost, is_input_lost, is_killed))

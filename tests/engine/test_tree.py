"""A fold over runs of rows: joined in order, in a tree whose shape is fixed, going on from nodes that are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd.engine.tree import children, cut_runs, reduce_runs, unread_runs


@dataclass
class Written:
    """Joins what runs say to a text that shows the tree; knows what it was asked."""

    asked: list = field(default_factory=list)

    def leaf(self, rows):
        self.asked.append(rows)
        return f"{rows[0]}"

    def join(self, left, right):
        self.asked.append((left, right))
        return f"({left} {right})"


def nothing(*_):
    return None


def fold(count, **options):
    job = Written()
    parts = tuple((i, i + 1) for i in range(count))
    with dask.config.set(num_workers=2):
        value = reduce_runs(job, parts, workers=2, leaf_done=nothing, **options)
    return value, job


@pytest.mark.parametrize(
    ("count", "tree"),
    [(1, "0"), (2, "(0 1)"), (3, "((0 1) 2)"), (5, "(((0 1) (2 3)) 4)")],
)
def test_neighbours_are_joined_in_order(count, tree):
    value, job = fold(count)
    assert value == tree
    assert len(job.asked) == 2 * count - 1


@given(st.integers(1, 70), st.data())
def test_known_nodes_are_not_found_again_and_change_nothing(count, data):
    found = {}
    whole, _ = fold(count, found=found.__setitem__)
    assert len(found) == 2 * count - 1
    names = data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))
    again, job = fold(count, known={name: found[name] for name in names})
    assert again == whole
    for name in names:
        assert found[name].count(" ") == 0 or found[name] not in [
            f"({a} {b})" for a, b in (x for x in job.asked if isinstance(x[0], str))
        ]


@given(st.integers(1, 70), st.data())
def test_runs_are_unfound_exactly_where_they_are_read(count, data):
    found = {}
    fold(count, found=found.__setitem__)
    known = {n: found[n] for n in data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))}
    _, job = fold(count, known=known)
    read = {rows for rows in job.asked if isinstance(rows[0], int)}
    assert set(unread_runs(tuple((i, i + 1) for i in range(count)), known)) == read


@given(st.integers(1, 200))
def test_every_node_is_below_one(count):
    level, width = 0, count
    while width > 1:
        above = -(-width // 2)
        below = [c for i in range(above) for c in children((level + 1, i), count)]
        assert below == [(level, i) for i in range(width)]
        level, width = level + 1, above


@given(st.integers(1, 5_000), st.integers(1, 700), st.integers(1, 900), st.integers(1, 64))
def test_runs_cover_the_rows_and_end_where_chunks_do(rows, chunk, least, most):
    source = streamsvd.open(np.zeros((rows, 1)))

    class Chunked:
        shape, chunks = source.shape, (chunk, 1)

    parts = cut_runs(Chunked, least, most)
    assert len(parts) <= most
    assert parts[0][0] == 0
    assert parts[-1][1] == rows
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert all(a % chunk == 0 and a < b for a, b in parts)


def test_progress_counts_runs_and_a_failure_is_what_the_run_raised():
    told = []
    parts = tuple((i, i + 1) for i in range(6))
    reduce_runs(Written(), parts, workers=1, leaf_done=lambda *done: told.append(done))
    assert told == [(i, 6) for i in range(1, 7)]

    class Broken(Written):
        def leaf(self, rows):
            raise ValueError(f"row {rows[0]}")

    with pytest.raises(ValueError, match="row"):
        reduce_runs(Broken(), parts, workers=2, leaf_done=nothing)

"""A pass as a graph: spans are joined in order, in a tree whose shape is fixed, going on from nodes that are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd.engine.blas import one_thread
from streamsvd.engine.events import PassDone, PassStarted, SpanDone
from streamsvd.engine.layout import cut_axis
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run
from streamsvd.engine.schedule import row_spans
from streamsvd.engine.task import Work
from streamsvd.engine.tree import build, children, missing_spans
from streamsvd.factor.passes import NormalPass, PassSums, ThinBlock
from streamsvd.numerics.blocks import Preparation


@dataclass
class Numbers:
    """Spans of one number each, of nothing that is stored; a pass over them reads its number."""

    count: int
    asked: list[Any] = field(default_factory=list)
    source = None

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(i, i + 1) for i in range(self.count)]

    def cost(self, spans: Any, pass_: Any) -> int:
        return len(spans)

    def cached_bytes(self, spans: Any, pass_: Any) -> int:
        return 0

    def run(self, pass_: Any, span: tuple[int, int], device: Any, task: Any) -> Any:
        self.asked.append(span)
        return pass_.close(pass_.update(pass_.init(device), span))


@dataclass
class Written:
    """Joins what spans say to a text that shows the tree; knows what it was asked."""

    joined: list[Any] = field(default_factory=list)

    def init(self, device: Any) -> str:
        return ""

    def update(self, state: str, span: tuple[int, int]) -> str:
        return f"{state}{span[0]}"

    def close(self, state: str) -> str:
        return state

    def merge(self, left: str, right: str) -> str:
        self.joined.append((left, right))
        return f"({left} {right})"


def fold(count: int, known: Any = None) -> tuple[str, dict[Any, str], Numbers, Written]:
    """The root, the values of all nodes that were found, and what was asked for them."""
    reader, pass_ = Numbers(count), Written()
    work: Work[str] = Work(reader, pass_, "cpu", "run")
    graph = build(work, dask.delayed(work, traverse=False), known, kept=True)
    names = list(graph.tasks_by_name)
    tasks = [graph.tasks_by_name[name] for name in names]
    with one_thread():
        root, *values = dask.compute(graph.root, *tasks, scheduler="synchronous")
    return root, dict(zip(names, values, strict=True)), reader, pass_


@pytest.mark.parametrize(
    ("count", "tree"),
    [(1, "0"), (2, "(0 1)"), (3, "((0 1) 2)"), (5, "(((0 1) (2 3)) 4)")],
)
def test_neighbours_are_joined_in_order(count, tree):
    root, found, reader, pass_ = fold(count)
    assert root == tree
    assert len(reader.asked) == count
    assert len(pass_.joined) == count - 1
    assert len(found) == 2 * count - 1


@given(st.integers(1, 60))
def test_the_tree_is_as_low_as_can_be_and_its_shape_depends_on_the_number_alone(count):
    root, *_ = fold(count)
    assert root == fold(count)[0]
    numbers = [int(word) for word in root.replace("(", "").replace(")", "").split()]
    assert numbers == list(range(count))
    depth = max(root[: i + 1].count("(") - root[: i + 1].count(")") for i in range(len(root)))
    assert depth <= np.ceil(np.log2(max(count, 2)))


@given(st.integers(1, 70), st.data())
def test_known_nodes_are_not_found_again_and_change_nothing(count, data):
    whole, found, *_ = fold(count)
    names = data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))
    again, new, _, pass_ = fold(count, {name: found[name] for name in names})
    assert again == whole
    assert not set(names) & set(new)
    made_again = {f"({a} {b})" for a, b in pass_.joined}
    assert not made_again & {found[name] for name in names}


@given(st.integers(1, 70), st.data())
def test_spans_are_missing_exactly_where_they_are_read(count, data):
    _, found, *_ = fold(count)
    known = {n: found[n] for n in data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))}
    _, _, reader, _ = fold(count, known)
    assert sorted(missing_spans(reader.spans, known)) == sorted(reader.asked)


@given(st.integers(1, 200))
def test_every_node_is_below_one(count):
    level, width = 0, count
    while width > 1:
        above = -(-width // 2)
        below = [c for i in range(above) for c in children((level + 1, i), count)]
        assert below == [(level, i) for i in range(width)]
        level, width = level + 1, above


@given(st.integers(1, 5_000), st.integers(1, 700), st.integers(1, 900), st.integers(1, 64))
def test_spans_cover_the_rows_and_end_where_chunks_do(rows, chunk, least, most):
    source = streamsvd.open(np.zeros((rows, 1)))

    class Chunked:
        shape, chunks = source.shape, (chunk, 1)

    parts = row_spans(Chunked, least, most)
    assert len(parts) <= most
    assert parts[0][0] == 0
    assert parts[-1][1] == rows
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert all(a % chunk == 0 and a < b for a, b in parts)


def test_a_pass_is_a_task_for_each_span_and_each_merge():
    A = np.arange(600.0).reshape(100, 6)
    layout = cut_axis("rows", 100, 6, 1, items=60, spans=8)
    pass_ = NormalPass(Preparation("rows"), (ThinBlock(np.eye(6), False),))
    work = Work(MatrixReader(streamsvd.open(A), layout, False), pass_, "cpu", "run")
    graph = build(work, dask.delayed(work, traverse=False))
    spans = len(layout.spans)
    assert len(graph.leaves) == spans
    assert len(dict(graph.root.__dask_graph__())) == 2 * spans  # and the work itself
    (sums,) = dask.compute(graph.root, scheduler="synchronous")
    np.testing.assert_allclose(sums.products[0], A.T @ A)


def test_merging_adds_products_and_keeps_pieces_in_order():
    a = PassSums((np.ones(2),), None, ((0, np.zeros((1, 1))),))
    b = PassSums((np.full(2, 2.0),), None, ((1, np.ones((1, 1))),))
    both = a.merge(b)
    np.testing.assert_array_equal(both.products[0], [3, 3])
    assert [start for start, _ in both.pieces] == [0, 1]
    with pytest.raises(ValueError, match="zip"):
        a.merge(PassSums(()))


def test_progress_counts_spans_and_a_failure_is_what_the_task_raised():
    told: list[Any] = []
    run = Run(Numbers(6), 1, notify=told.append)
    assert run(Written(), "words") == "(((0 1) (2 3)) (4 5))"
    started, *done, ended = told
    assert started == PassStarted(1, "words", 6)
    assert done == [SpanDone(1, i, 6) for i in range(1, 7)]
    assert isinstance(ended, PassDone)
    assert (run.passes, run.bytes_read) == (1, 6)

    class Broken(Written):
        def update(self, state: str, span: tuple[int, int]) -> str:
            raise ValueError(f"row {span[0]}")

    with pytest.raises(ValueError, match="row"):
        Run(Numbers(6), 2)(Broken(), "words")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 11, 33, 64])
def test_one_thread_takes_spans_in_their_order(count):
    numbers = Numbers(count)
    run = Run(numbers)
    run(Written(), "words")
    assert numbers.asked == numbers.spans

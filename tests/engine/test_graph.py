from __future__ import annotations

from dataclasses import dataclass

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamsvd.engine.graph import build_pass_graph, merge_sums, merge_tree
from streamsvd.engine.span import SpanWork
from streamsvd.numerics.passes import NormalPass, PassSums, ThinBlock

from streamsvd.engine.layout import cut_axis
from streamsvd.engine.opening import open as open_matrix
from streamsvd.numerics.blocks import Preparation


@dataclass(frozen=True)
class Run:
    """A run of numbers; joining two that do not touch fails."""

    start: int
    stop: int
    shape: str = "."

    def __add__(self, other):
        assert self.stop == other.start
        return Run(self.start, other.stop, f"({self.shape}{other.shape})")


@given(st.integers(1, 40))
def test_the_tree_joins_neighbours_in_order_and_its_shape_depends_on_the_number_alone(count):
    leaves = [Run(i, i + 1) for i in range(count)]
    root = merge_tree(list(leaves), lambda a, b: a + b)
    assert (root.start, root.stop) == (0, count)
    again = merge_tree([Run(i + 7, i + 8) for i in range(count)], lambda a, b: a + b)
    assert again.shape == root.shape
    depth = max(
        (root.shape[: i + 1].count("(") - root.shape[: i + 1].count(")"))
        for i in range(len(root.shape))
    )
    assert depth <= np.ceil(np.log2(max(count, 2)))


def test_a_pass_is_a_task_for_each_span_and_each_merge():
    A = np.arange(600.0).reshape(100, 6)
    source = open_matrix(A)
    layout = cut_axis("rows", 100, 6, 1, items=60, spans=8)
    fold = NormalPass(Preparation("rows"), (ThinBlock(np.eye(6), False),))
    work = SpanWork(source, layout, fold, "cpu", False, "run")
    leaves, root = build_pass_graph(work, dask.delayed(work, traverse=False))
    spans = len(layout.spans)
    assert len(leaves) == spans
    assert len(dict(root.__dask_graph__())) == 2 * spans  # spans, merges and the work itself
    (sums,) = dask.compute(root, scheduler="synchronous")
    np.testing.assert_allclose(sums.products[0], A.T @ A)


def test_merging_adds_products_and_keeps_pieces_in_order():
    a = PassSums((np.ones(2),), None, ((0, np.zeros((1, 1))),))
    b = PassSums((np.full(2, 2.0),), None, ((1, np.ones((1, 1))),))
    both = merge_sums(a, b)
    np.testing.assert_array_equal(both.products[0], [3, 3])
    assert [start for start, _ in both.pieces] == [0, 1]
    with pytest.raises(ValueError, match="zip"):
        merge_sums(a, PassSums(()))

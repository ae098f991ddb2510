from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.errors import ShapeError, SpecError
from streamsvd.store.sources.flatten import Flattening, boxes, flattening

extents_st = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@st.composite
def runs(draw):
    extents = draw(extents_st)
    stop = draw(st.integers(0, math.prod(extents)))
    return extents, draw(st.integers(0, stop)), stop


@given(runs())
def test_boxes_cover_a_run_once_and_in_order(case):
    extents, start, stop = case
    flat = np.arange(math.prod(extents)).reshape(extents)
    found = [flat[box].ravel() for box in boxes(start, stop, extents)]
    np.testing.assert_array_equal(np.concatenate([[], *found]), np.arange(start, stop))
    assert len(found) <= max(1, 2 * len(extents) - 1)


def test_boxes_of_an_enormous_run_are_not_enumerated():
    assert len(list(boxes(3, 10**40 - 7, (10**20, 10**20)))) == 3


@st.composite
def rectangles(draw):
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=2, max_size=4)))
    axes = draw(st.permutations(range(len(shape))))
    rows = tuple(axes[: draw(st.integers(1, len(shape) - 1))])
    layout = flattening(shape, None, rows, "A")
    m, n = layout.shape
    a, b = sorted(draw(st.tuples(st.integers(0, m), st.integers(0, m))))
    c, d = sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    return layout, slice(a, b), slice(c, d)


@given(rectangles())
def test_views_place_every_entry_as_moveaxis_and_reshape_do(case):
    layout, rows, columns = case
    array = np.arange(math.prod(layout.extents)).reshape(layout.extents)
    matrix = array.transpose(layout.row_axes + layout.column_axes).reshape(layout.shape)
    out = np.full((rows.stop - rows.start, columns.stop - columns.start), -1)
    for box, place in layout.views(rows, columns, out):
        assert np.shares_memory(place, out)
        place[...] = array[box]
    np.testing.assert_array_equal(out, matrix[rows, columns])
    if matrix.size:
        i, j = matrix.shape[0] - 1, matrix.shape[1] // 2
        assert array[layout.index(i, j)] == matrix[i, j]


def test_natural_chunks_are_the_first_dimension_by_the_whole_of_the_others():
    layout = flattening((10, 6, 7, 8), ("time", "level", "lat", "lon"), ("time", "level"), "A")
    assert layout.chunks((4, 2, 3, 8)) == (4 * 6, 3 * 8)
    assert layout.chunks((40, 2, 30, 8)) == (10 * 6, 7 * 8)


def test_rows_are_the_first_of_two_dimensions():
    assert flattening((3, 4), None, None, "A") == Flattening((3, 4), (0,), (1,))


def test_rows_may_be_numbers_from_the_end():
    assert flattening((3, 4, 5), None, -1, "A").row_axes == (2,)


@pytest.mark.parametrize(
    ("shape", "names", "rows", "error", "words"),
    [
        (
            (3, 4, 5),
            ("t", "y", "x"),
            None,
            SpecError,
            r"3 dimensions: \(t: 3, y: 4, x: 5\).*rows='t'",
        ),
        ((3, 4, 5), None, None, SpecError, r"\(0: 3, 1: 4, 2: 5\).*rows=0"),
        ((3, 4), ("t", "x"), "time", SpecError, r"no dimension 'time'; it has \(t: 3, x: 4\)"),
        ((3, 4), None, "time", SpecError, "no names here; use their numbers"),
        ((3, 4), None, 2, SpecError, r"no dimension 2; it has \(0: 3, 1: 4\)"),
        ((3, 4), None, (0, -2), SpecError, "different dimensions"),
        ((3, 4), None, (), SpecError, "one or more"),
        ((3, 4), None, (0, 1), ShapeError, "leave one for the columns"),
        ((5,), None, None, ShapeError, r"1 dimension\(s\), shape \(5,\).*needs two"),
        ((), None, None, ShapeError, r"0 dimension"),
        ((0, 4), None, None, ShapeError, r"empty: shape \(0, 4\)"),
        ((-3, 4), None, None, ShapeError, r"empty: shape \(-3, 4\)"),
        ((10**30, 10**6), None, None, ShapeError, r"1e\+36 entries .* at most 9.22e\+18"),
    ],
)
def test_refusals_name_the_dimensions_that_exist(shape, names, rows, error, words):
    with pytest.raises(error, match=words):
        flattening(shape, names, rows, "A")

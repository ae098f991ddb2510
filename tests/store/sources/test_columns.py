"""A source that shows some columns of another one reads what slicing gives, and only chunks that it needs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.numerics.columns import Columns
from streamsvd.store.sources.views.kept_columns import KeptColumns


class Rectangles:
    """Storage in memory that notes the chunks it is asked for, and has what no source must have."""

    name, read_bytes, dtype = "rectangles", 0, np.dtype("f8")
    fingerprint = "of the whole"

    def __init__(self, A, chunks):
        self.A, self.chunks, self.asked = A, chunks, []
        self.shape, self.nbytes = A.shape, A.nbytes

    def read(self, rows, columns, out):
        self.asked.append((rows, columns))
        out[...] = self.A[rows, columns]

    def locate(self, row, column):
        return f"({row}, {column})"


@st.composite
def views(draw):
    m, n = draw(st.integers(1, 12)), draw(st.integers(1, 15))
    kept = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    kept[draw(st.integers(0, n - 1))] = True
    chunks = draw(st.integers(1, m)), draw(st.integers(1, n))
    A = np.arange(float(m * n)).reshape(m, n)
    A[:, ~kept] = np.nan
    k = int(kept.sum())
    rows = sorted(draw(st.tuples(st.integers(0, m), st.integers(0, m))))
    columns = sorted(draw(st.tuples(st.integers(0, k), st.integers(0, k))))
    return A, kept, chunks, slice(*rows), slice(*columns)


@given(views(), st.booleans())
@settings(deadline=None)
def test_reads_are_those_of_the_slice(case, guarded):
    A, kept, chunks, rows, columns = case
    whole = Rectangles(A, chunks)
    source = KeptColumns(whole, Columns.of(np.ones_like(kept), ~kept), refuses_values=guarded)
    assert source.shape == (A.shape[0], kept.sum())
    wanted = A[:, kept][rows, columns]
    out = np.full(wanted.shape, 7.0)
    source.read(rows, columns, out)
    np.testing.assert_array_equal(out, wanted)
    if not guarded and wanted.size:  # no chunk without a column that is wanted
        width = chunks[1]
        needed = {j // width for j in np.flatnonzero(kept)[columns]}
        asked = {j // width for _, c in whole.asked for j in range(c.start, c.stop)}
        assert asked == needed
    for j, number in enumerate(np.flatnonzero(kept)):
        assert source.locate(0, j) == f"(0, {number})"


@given(views(), st.data())
@settings(deadline=None)
def test_a_value_where_there_was_none_is_refused_wherever_it_is(case, data):
    A, kept, chunks, _, _ = case
    if kept.all():
        return
    i = data.draw(st.integers(0, A.shape[0] - 1))
    j = data.draw(st.sampled_from(np.flatnonzero(~kept).tolist()))
    A[i, j] = 1.0
    source = KeptColumns(
        Rectangles(A, chunks), Columns.of(np.ones_like(kept), ~kept), refuses_values=True
    )
    with pytest.raises(SpecError, match=f"column {j} has a value at row {i} of rectangles"):
        source.read(slice(0, A.shape[0]), slice(0, int(kept.sum())), np.empty(source.shape))
    # What the caller left out is not looked at.
    masked = KeptColumns(Rectangles(A, chunks), Columns.of(kept), refuses_values=True)
    masked.read(slice(0, A.shape[0]), slice(0, int(kept.sum())), np.empty(source.shape))


def test_what_else_is_asked_is_asked_of_the_whole(tmp_path):
    A = np.arange(1.0, 17.0).reshape(4, 4)
    whole = Rectangles(A, (2, 2))
    source = KeptColumns(whole, Columns.of(np.array([True, False, True, True])))
    assert source.fingerprint == "of the whole"
    with pytest.raises(AttributeError):
        source.nothing_of_the_kind  # noqa: B018
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 4), chunks=(2, 2), dtype="f8")
    array[...] = A
    source = KeptColumns(streamsvd.open(tmp_path / "a.zarr"), source.columns)
    again = pickle.loads(pickle.dumps(source))
    out = np.empty((4, 3))
    again.read(slice(0, 4), slice(0, 3), out)
    np.testing.assert_array_equal(out, A[:, [0, 2, 3]])

"""A source without the means of its groups reads what numpy subtracts, however it is asked, and never holds what was not there."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.numerics.row_fits import RowFit
from streamsvd.store.sources.views.adjusted import AdjustedRows, RowLabels, RowRange, stored_rows
from streamsvd.store.writing.separation import places
from streamsvd.testing import assert_source


@st.composite
def cases(draw):
    m, n, n_groups = draw(st.integers(1, 20)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i2", "u1", "i8", "c8", "f2"])))
    A = (100 * rng.standard_normal((m, n))).astype(dtype)
    if dtype.kind in "fc":
        A[rng.random((m, n)) < 0.2] = np.nan
    chunks = draw(st.integers(1, m)), draw(st.integers(1, n))
    groups = rng.integers(0, n_groups, m).astype(np.int32)
    level, slope = rng.standard_normal((n_groups, n)), rng.standard_normal(n)
    times = rng.uniform(-1, 1, m) if draw(st.booleans()) else None
    factors = rng.uniform(0, 2, n) if draw(st.booleans()) else None
    return A, chunks, groups, level, slope, times, factors


@given(cases())
@settings(max_examples=20)
def test_it_reads_what_numpy_subtracts(case):
    A, chunks, groups, level, slope, times, factors = case
    array = zarr.create_array({}, shape=A.shape, dtype=A.dtype, chunks=chunks)
    array[...] = A
    wanted = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64) - level[groups]
    if times is not None:
        wanted -= times[:, None] * slope
    if factors is not None:
        wanted *= factors
    fit = RowFit(level, None if times is None else slope)
    source = AdjustedRows(
        streamsvd.open(array, missing="fill"), RowLabels(groups, times), fit, factors
    )
    assert_source(source, like=wanted)
    assert stored_rows(source) is source.whole


def test_factors_alone_leave_rows_as_they_are():
    A = np.arange(12.0).reshape(4, 3)
    assert_source(
        AdjustedRows(streamsvd.open(A), None, None, np.array([1.0, 0, 2])), like=A * [1, 0, 2]
    )


def test_it_is_not_read_before_its_means_are_known():
    source = AdjustedRows(streamsvd.open(np.eye(3)), RowLabels(np.zeros(3, np.int32)), None)
    with pytest.raises(RuntimeError, match="before its means are known"):
        source.read(slice(0, 1), slice(0, 3), np.empty((1, 3)))


def test_integers_that_float64_rounds_are_refused():
    A = np.array([[2**53 + 2, 0]])
    source = AdjustedRows(
        streamsvd.open(A), RowLabels(np.zeros(1, np.int32)), RowFit(np.zeros((1, 2)))
    )
    with pytest.raises(SpecError, match="which float64 rounds"):
        source.read(slice(0, 1), slice(0, 2), np.empty((1, 2)))


def test_what_one_read_takes_is_counted(tmp_path):
    A = np.ones((4000, 500), np.float32)
    zarr.create_array(str(tmp_path / "a.zarr"), shape=A.shape, dtype=A.dtype, chunks=(500, 500))[
        ...
    ] = A
    labels = RowLabels(np.zeros(4000, np.int32), np.linspace(-1, 1, 4000))
    source = AdjustedRows(
        streamsvd.open(tmp_path / "a.zarr"),
        labels,
        RowFit(np.ones((1, 500)), np.ones(500)),
        np.ones(500),
    )
    out = np.empty((1000, 500))
    source.read(slice(0, 1000), slice(0, 500), out)  # what is made once
    tracemalloc.start()
    try:
        source.read(slice(1000, 2000), slice(0, 500), out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= source.read_bytes + (64 << 10)


def test_it_lies_where_its_matrix_does(tmp_path):
    zarr.create_array(str(tmp_path / "a.zarr"), data=np.eye(3))
    source = AdjustedRows(streamsvd.open(tmp_path / "a.zarr"), None, None, np.ones(3))
    assert list(places(source)) == [tmp_path / "a.zarr"]
    assert [address.name for address in pickle.loads(pickle.dumps(source)).addresses()]
    with pytest.raises(SpecError, match="the same, or lie in one another"):
        streamsvd.svd(source, 1, out=tmp_path / "a.zarr")


def test_a_range_of_rows_is_a_source():
    A = np.arange(40.0).reshape(10, 4)
    assert_source(RowRange(streamsvd.open(A), 2, 9), like=A[2:9])

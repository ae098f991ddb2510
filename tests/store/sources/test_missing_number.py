"""A number that stands for a missing value is read as NaN, of whatever kind the source is."""

from __future__ import annotations

import re

import dask.array as da
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.store.writing.separation import check_apart
from streamsvd.testing import assert_source

RNG = np.random.default_rng(0)


def integers(dtype):
    X = RNG.integers(1, 5, (31, 7)).astype(dtype)
    X[::4, 2] = np.iinfo(dtype).max
    return X


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("i1", "f4"),
        ("u2", "f4"),
        ("i4", "f8"),
        ("u8", "f8"),
        ("f4", "f4"),
        ("f8", "f8"),
        ("c8", "c8"),
    ],
)
def test_a_number_is_nan_in_a_type_that_has_it(tmp_path, dtype, wide):
    X = integers(dtype) if dtype[0] in "iu" else RNG.integers(1, 4, (31, 7)).astype(dtype)
    number = float(np.iinfo(dtype).max) if dtype == "u2" else int(X.real.max())
    like = X.astype(wide)
    like[number == X] = np.nan
    np.save(tmp_path / "a.npy", X)
    zarr.create_array(tmp_path / "a.zarr", data=X, chunks=(5, 3))
    for source in (tmp_path / "a.npy", tmp_path / "a.zarr", X, [X[:9], X[9:]], streamsvd.open(X)):
        assert_source(streamsvd.open(source, missing_value=number), like=like)


def test_a_dask_array_marks_too():
    X = integers("i2")
    x = da.from_array(X, chunks=(8, 3))
    like = X.astype("f4")
    like[np.iinfo("i2").max == X] = np.nan
    found = streamsvd.open(x, missing_value=np.iinfo("i2").max)
    assert_source(found, like=like)
    masked = da.ma.masked_equal(x, 1)
    like[X == 1] = np.nan
    assert_source(streamsvd.open(masked, missing_value=np.iinfo("i2").max), like=like)
    a = streamsvd.svd(found, 2, nonfinite="zero")
    b = streamsvd.svd(streamsvd.open(X, missing_value=np.iinfo("i2").max), 2, nonfinite="zero")
    np.testing.assert_allclose(a.s, b.s, rtol=1e-5)


def test_masked_cells_stay_missing():
    X = np.ma.masked_equal(integers("i2"), 1)
    like = np.asarray(X, "f4").copy()
    like[X.mask] = np.nan
    like[np.asarray(X) == 3] = np.nan
    assert_source(streamsvd.open(X, missing_value=3), like=like)


def test_of_floats_the_nearest_counts():
    X = np.array([[-9999.9, 1.0], [2.0, 3.0]], "f4")
    assert np.isnan(_read(streamsvd.open(X, missing_value=-9999.9))[0, 0])
    assert streamsvd.open(X, missing_value=np.nan).dtype == X.dtype
    assert np.isnan(_read(streamsvd.open(np.array([[np.inf, 1]]), missing_value=np.inf))[0, 0])


def _read(source):
    out = np.empty(source.shape, source.dtype)
    source.read(slice(0, source.shape[0]), slice(0, source.shape[1]), out)
    return out


@pytest.mark.parametrize(
    ("dtype", "number"),
    [
        ("u1", -9),
        ("i1", 200),
        ("i4", 0.5),
        ("i4", np.nan),
        ("i2", np.inf),
        ("f4", 1e300),
        ("f2", 1e6),
    ],
)
def test_a_number_that_no_value_can_equal_is_refused(dtype, number):
    X = np.ones((3, 2), dtype)
    for source in (X, da.from_array(X), [X, X]):
        with pytest.raises(
            SpecError,
            match=rf"missing_value={re.escape(repr(number))} equals no value of .* {X.dtype}",
        ):
            streamsvd.open(source, missing_value=number)


def test_what_else_a_source_says_goes_on(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(6, 2, 3),
        dtype="i2",
        dimension_names=("t", "y", "x"),
        chunks=(3, 2, 3),
    )
    array[:] = np.arange(36).reshape(6, 2, 3)
    found = streamsvd.open(tmp_path / "a.zarr", rows="t", missing_value=-9)
    assert [d.name for d in found.labels.columns] == ["y", "x"]
    assert found.addresses()
    with pytest.raises(SpecError, match="is read"):
        check_apart(tmp_path / "a.zarr", found)
    p = streamsvd.pca(found, 1, nonfinite="mean")
    assert p.labels.columns[0].name == "y"

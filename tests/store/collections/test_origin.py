"""What is packed and packed again is what was stored, and what an archive gives back is what was put in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.store.collections import open_collection
from streamsvd.store.sources.conventions import read_conventions
from streamsvd.store.sources.packing import Packing

SHAPE = (40, 30)
PACKINGS = [
    ("<i2", {"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -32768}),
    (">i2", {"scale_factor": 0.14669, "add_offset": 1e7}),
    ("<i2", {"_Unsigned": "true", "scale_factor": 0.01, "_FillValue": -1, "missing_value": -1}),
    ("<i2", {"_Unsigned": "true"}),
    ("<u1", {"_Unsigned": "false", "scale_factor": -0.5}),
    ("<u2", {"missing_value": [0, 1, 65535]}),
    ("<i4", {"scale_factor": 1e-3, "add_offset": -5e5, "valid_range": [-9, 9]}),
    ("<f4", {"missing_value": 99.0, "units": "K"}),
    ("<i2", {"long_name": "of nothing", "flags": [1, 2], "odd": float("nan")}),
]


def stored(dtype: str, attributes: dict, shape=SHAPE) -> np.ndarray:
    """Numbers of few directions, none of which is missing."""
    rng = np.random.default_rng(0)
    A = rng.standard_normal((shape[0], 2)) @ rng.standard_normal((2, shape[1]))
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return A.astype(dtype)
    limits = np.iinfo(dtype)
    middle, half = (limits.max + limits.min) / 2, (limits.max - limits.min) / 2
    codes = np.rint(middle + 0.9 * half * A / np.abs(A).max()).astype(dtype)
    marks = np.ravel([attributes.get("_FillValue", []), *[attributes.get("missing_value", [])]][-1])
    codes[np.isin(codes, marks)] = 7
    return codes


def written(path, dtype, attributes, values, zarr_format=3, **options):
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    if zarr_format == 3:
        options["dimension_names"] = ("time", "x")
    else:
        attributes = attributes | {"_ARRAY_DIMENSIONS": ["time", "x"]}
    array = group.create_array(
        "a", shape=values.shape, chunks=(7, 30), dtype=dtype, attributes=attributes, **options
    )
    array[...] = values
    return path


@given(
    st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4"]),
    st.sampled_from([None, "true", "false"]),
    st.sampled_from([1.0, 0.5, 0.01, -0.14669, 3e-7, 1e5]),
    st.sampled_from([0.0, 273.15, -1e5, 1e7]),
    st.lists(st.sampled_from([0, 1, 2, 99, 126, 127]), max_size=3),
    st.floats(-1e12, 1e12),
)
def test_what_is_packed_again_is_what_was_stored(kind, unsigned, scale, offset, marks, near):
    said = {"scale_factor": scale, "add_offset": offset, "missing_value": marks or None}
    packing = Packing(read_conventions(np.dtype(kind), said | {"_Unsigned": unsigned}, where="A"))
    limits = np.iinfo(packing.stored_dtype)
    some = [limits.min, limits.max, *range(min(130, limits.max))]
    codes = np.array([code for code in some if code not in packing.fills], packing.stored_dtype)
    values = np.empty(codes.shape, packing.dtype)
    packing.unpack(codes, values)
    assert packing.is_exact
    np.testing.assert_array_equal(packing.pack(values), codes)
    np.testing.assert_array_equal(packing.nearest(values), values)
    other = np.array([near, 0.0, offset, offset + scale])
    again = np.empty(other.shape, packing.dtype)
    packing.unpack(packing.pack(other), again)
    np.testing.assert_array_equal(again, packing.nearest(other))
    assert not np.isnan(again).any()


@pytest.mark.parametrize(("dtype", "attributes"), PACKINGS)
@pytest.mark.parametrize("error", [1e-9, 0.05])
def test_archives_give_back_type_attributes_and_names(tmp_path, dtype, attributes, error):
    values = stored(dtype, attributes)
    source = written(tmp_path / "a.zarr", dtype, attributes, values)
    done = streamsvd.compress(source, tmp_path / "c", error=error)
    streamsvd.decompress(tmp_path / "c", tmp_path / "b.zarr")
    before = zarr.open_group(source, mode="r")["a"]
    after = zarr.open_group(tmp_path / "b.zarr", mode="r")["a"]
    assert after.dtype == before.dtype
    assert json.dumps(dict(after.attrs)) == json.dumps(attributes)
    assert after.metadata.dimension_names == ("time", "x")
    read = open_collection(tmp_path / "b.zarr").parts[0].read()
    held = streamsvd.open_compressed(tmp_path / "c")["a"]
    np.testing.assert_array_equal(next(iter(read)), held)
    truth = next(iter(open_collection(source).parts[0].read()))
    lost = np.linalg.norm(truth.astype("f8") - held) / np.linalg.norm(truth.astype("f8"))
    assert lost <= done.block_errors["a"] * (1 + 1e-12)
    if error < 1e-6 and np.dtype(dtype).itemsize <= 2:
        np.testing.assert_array_equal(after[...], values)


def test_the_fill_value_of_v2_comes_back_as_an_attribute(tmp_path):
    said = {"scale_factor": 0.01, "_Unsigned": "true"}
    source = written(tmp_path / "a.zarr", "i2", said, stored("i2", {}), 2, fill_value=-1)
    streamsvd.compress(source, tmp_path / "c", error=1e-9)
    streamsvd.decompress(tmp_path / "c", tmp_path / "b.zarr")
    before, after = (
        xarray.open_zarr(path, consolidated=False).a for path in (source, tmp_path / "b.zarr")
    )
    np.testing.assert_array_equal(after, before)
    assert after.encoding["_FillValue"] == -1
    assert after.dims == ("time", "x")


def test_values_that_packing_would_lose_come_back_unpacked(tmp_path):
    said = {"scale_factor": 0.01, "add_offset": 1e5, "_FillValue": 5, "units": "Pa"}
    values = stored("i2", {})
    values[3, 4] = 5  # missing, so that it counts as zero: no stored value says so
    source = written(tmp_path / "a.zarr", "i2", said, values)
    collection = open_collection(source, missing="zero")
    streamsvd.compress(collection, tmp_path / "c", error=1e-9)
    streamsvd.decompress(tmp_path / "c", tmp_path / "b.zarr")
    after = zarr.open_group(tmp_path / "b.zarr", mode="r")["a"]
    assert after.dtype == np.float64
    assert dict(after.attrs) == {"units": "Pa"}
    truth = np.where(values == 5, 0, values * 0.01 + 1e5)
    np.testing.assert_allclose(after[...], truth, rtol=1e-9)


def test_packed_matrices_are_as_large_as_they_are_stored(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(-30000, 30000, SHAPE).astype("i2")
    said = {"scale_factor": 0.01, "add_offset": 5.0}
    source = written(tmp_path / "a.zarr", "i2", said, noise)
    done = streamsvd.compress(source, tmp_path / "c", error=1e-6)
    held = streamsvd.open_compressed(tmp_path / "c")
    assert held.bytes_before == noise.nbytes
    assert noise.nbytes < held.bytes_after < noise.nbytes + 2000
    assert done.block_errors["a"] == 0
    np.testing.assert_array_equal(held["a"], noise * 0.01 + 5.0)


def test_pieces_of_one_array_keep_what_is_said_of_it(tmp_path):
    values = stored("i2", {}, (40, 30)).reshape(4, 10, 30)
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    array = group.create_array(
        "a", shape=values.shape, chunks=(1, 10, 30), dtype="i2", dimension_names=("t", "y", "x"),
        attributes={"scale_factor": 0.5, "units": "K"},
    )  # fmt: skip
    array[...] = values
    pieces = open_collection(array, cut=0)
    streamsvd.compress(pieces, tmp_path / "c", error=1e-9)
    streamsvd.decompress(tmp_path / "c", tmp_path / "b.zarr")
    after = zarr.open_group(tmp_path / "b.zarr", mode="r")["2"]
    np.testing.assert_array_equal(after[...], values[2])
    assert after.metadata.dimension_names == ("y", "x")
    assert dict(after.attrs) == {"scale_factor": 0.5, "units": "K"}


def test_attributes_of_what_is_left_out_are_not_read(tmp_path):
    source = written(tmp_path / "a.zarr", "i2", {}, stored("i2", {}))
    group = zarr.open_group(str(source), mode="a")
    group.create_array("b", data=np.zeros((3, 3), "i2"), attributes={"_FillValue": "none"})
    assert [m.name for m in open_collection(source, select="a").members] == ["a"]
    with pytest.raises(SpecError, match="_FillValue of .*/b is 'none'.* leave block 'b' out"):
        open_collection(source)


@pytest.mark.parametrize("said", [{"_FillValue": 0}, {"scale_factor": 0.1}])
def test_true_and_false_are_not_packed(tmp_path, said):
    source = written(tmp_path / "a.zarr", "bool", said, np.ones(SHAPE, bool))
    with pytest.raises(SpecError, match=f"{next(iter(said))} of .* true and false"):
        open_collection(source)

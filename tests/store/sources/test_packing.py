from __future__ import annotations

import base64
import struct

import numpy as np
import pytest

from streamsvd.errors import SpecError
from streamsvd.store.sources.conventions import read_conventions
from streamsvd.store.sources.packing import Packing


def packing(dtype, attributes, fill_value=None, **options):
    return Packing(read_conventions(np.dtype(dtype), attributes, fill_value, where="A", **options))


def unpack(values, fill_value=None, options=None, **attributes):
    values = np.asarray(values)
    packed = packing(values.dtype, attributes, fill_value, **(options or {}))
    out = np.empty(values.shape, packed.dtype)
    packed.unpack(values.view(packed.stored_dtype), out)
    return out


def test_without_attributes_values_are_delivered_as_they_are():
    for dtype in ("f2", "f4", "i1", "u8", "c8", ">f8"):
        out = unpack(np.arange(4).astype(dtype))
        assert out.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(out, range(4))


def test_a_double_attribute_marks_float32_values():
    fill = float(np.float32(9.96921e36))
    out = unpack(np.array([1, fill, 3], "f4"), _FillValue=fill)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, [1, np.nan, 3])
    np.testing.assert_array_equal(unpack(np.array([0.1, 2], "f4"), _FillValue=0.1), [np.nan, 2])
    with pytest.raises(SpecError, match="missing_value of A is 0.1, which no float32 equals"):
        unpack(np.array([0.1, 2], "f4"), missing_value=0.1)


def test_fill_value_and_missing_value_both_count_and_may_be_lists():
    out = unpack([1.0, -9.0, -99.0, -999.0], _FillValue=-9, missing_value=[-99.0, -999])
    np.testing.assert_array_equal(out, [1, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    "as_written", ["1e20", base64.standard_b64encode(struct.pack("<d", 1e20)).decode()]
)
def test_encoded_attributes_are_numbers(as_written):
    np.testing.assert_array_equal(unpack([1e20, 1.0], _FillValue=as_written), [np.nan, 1])


@pytest.mark.parametrize("nan", ["NaN", float("nan"), "AAAAAAAA+H8="])
def test_nan_marks_nothing_that_is_not_nan_already(nan):
    values = np.array([1, np.nan, 2], "f4")
    assert packing(values.dtype, {"_FillValue": nan}).is_plain


@pytest.mark.parametrize(
    ("dtype", "masked", "scaled"),
    [
        ("i1", "f4", "f8"),
        ("u2", "f4", "f8"),
        (">i2", "f4", "f8"),
        ("i4", "f8", "f8"),
        ("u8", "f8", "f8"),
        ("f4", "f4", "f8"),
        ("f2", "f2", "f8"),
    ],
)
def test_values_become_floats_that_hold_them(dtype, masked, scaled):
    values = np.array([1, 2, 99, 100]).astype(dtype)
    out = unpack(values, _FillValue=99, scale_factor=0.5, add_offset=10.0)
    assert out.dtype == np.dtype(scaled)
    np.testing.assert_array_equal(out, [10.5, 11, np.nan, 60])
    out = unpack(values, _FillValue=99)
    assert out.dtype == np.dtype(masked)
    np.testing.assert_array_equal(out, [1, 2, np.nan, 100])


@pytest.mark.parametrize("offset", [273.15, 99837.36, 1e7])
def test_scaled_values_are_those_of_float64(offset):
    stored = np.arange(-32768, 32768, dtype="i2")
    out = unpack(stored, scale_factor=0.0018, add_offset=offset)
    np.testing.assert_array_equal(out, stored * 0.0018 + offset)


def test_missing_is_compared_before_it_is_scaled():
    out = unpack(np.array([10, 20], "i2"), _FillValue=20, scale_factor=2.0)
    np.testing.assert_array_equal(out, [20, np.nan])


def test_values_that_cannot_be_stored_mark_nothing():
    for dtype, fill in (("i2", 1e20), ("u1", -999), ("i4", 0.5), ("f4", 1e300)):
        assert packing(dtype, {"missing_value": fill}).is_plain


def test_unsigned_bytes_of_classic_netcdf():
    out = unpack(np.array([-1, 0, 100], "i1"), _Unsigned="true", missing_value=255)
    np.testing.assert_array_equal(out, [np.nan, 0, 100])


def test_an_empty_attribute_marks_nothing():
    np.testing.assert_array_equal(unpack([1.0, 2.0], _FillValue=None), [1, 2])


def test_complex_values_are_masked():
    part = base64.standard_b64encode(struct.pack("<d", 9.0)).decode()
    out = unpack(np.array([1 + 1j, 9 + 9j], "c8"), _FillValue=[part, part])
    assert np.isnan(out[1])
    assert out[0] == 1 + 1j


def test_the_fill_value_of_zarr_counts_where_xarray_takes_it_for_missing():
    values, old = np.array([0, 5.0]), {"zarr_format": 2}
    xarrays = old | {"named": True}
    np.testing.assert_array_equal(unpack(values, 5.0, {"named": True}), values)
    np.testing.assert_array_equal(unpack(values, 5.0, old), values)
    np.testing.assert_array_equal(unpack(values, 5.0, xarrays), [0, np.nan])
    np.testing.assert_array_equal(unpack(values, 0.0, xarrays), [np.nan, 5])
    np.testing.assert_array_equal(unpack(values, 5.0, xarrays, _FillValue=5), [0, np.nan])
    with pytest.raises(SpecError, match="_FillValue of A is -9, and the fill value in .* is 0.0"):
        unpack(values, 0.0, xarrays, _FillValue=-9)


def test_large_blocks_are_unpacked_in_parts():
    values = np.arange(1 << 19, dtype="i4").reshape(2, -1)
    out = unpack(values, _FillValue=7, scale_factor=3)
    expected = values * 3.0
    expected[0, 7] = np.nan
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(
        unpack(values.ravel(), _FillValue=7, scale_factor=3), expected.ravel()
    )


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"_FillValue": "missing"}, "_FillValue of A is 'missing', which is not a number"),
        ({"_FillValue": True}, "not a number"),
        ({"missing_value": {"a": 1}}, "missing_value of A"),
        ({"scale_factor": 0.0}, "scale_factor 0.0"),
        ({"add_offset": "NaN"}, "add_offset nan"),
        ({"scale_factor": []}, "not a number"),
        ({"scale_factor": [0.1, 0.2]}, "2 numbers where one is needed"),
        ({"scale_factor": 2}, "scale_factor of A is 2, an integer.* Write 2.0"),
        ({"missing_value": "99"}, "missing_value of A is '99', text"),
    ],
)
def test_attributes_that_cannot_be_meant_are_refused(attributes, words):
    with pytest.raises(SpecError, match=words):
        unpack([1.0], **attributes)


@pytest.mark.parametrize(
    ("dtype", "attributes", "words"),
    [
        ("i2", {"_Unsigned": "True"}, 'Write "true" or "false"'),
        ("u1", {"_FillValue": -1}, "_FillValue of A is -1, which no uint8 equals.* Write 255"),
        ("i2", {"_FillValue": 65535}, "which no int16 equals.* Write -1"),
        ("i1", {"_Unsigned": "true", "missing_value": -1}, "no uint8 equals.* Write 255"),
        ("i4", {"_FillValue": 0.5}, "Write a whole number"),
        ("i8", {"scale_factor": 10}, "makes integers of its int64. Write 10.0"),
        ("c8", {"add_offset": 1.0}, "its values are complex"),
        ("c8", {"missing_value": [1, 2]}, "two real numbers"),
        ("f4", {"_FillValue": "NaN", "scale_factor": 1e300}, "beyond float32"),
    ],
)
def test_what_xarray_reads_otherwise_is_refused(dtype, attributes, words):
    with pytest.raises(SpecError, match=words):
        unpack(np.array([1], dtype), **attributes)


def test_a_mark_of_the_other_sign_may_stand_beside_the_same():
    stored = np.array([-1, 0, 1], "i2")
    both = {"_FillValue": -1, "missing_value": -1}
    np.testing.assert_array_equal(unpack(stored, _Unsigned="true", **both), [np.nan, 0, 1])

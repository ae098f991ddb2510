"""What is read equals what xarray decodes, missing cells included, or it is refused in words."""

from __future__ import annotations

import base64
import struct
import warnings
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from streamsvd.errors import SpecError
from streamsvd.store.sources import open_source

TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
NAMES = (
    "_Unsigned",
    "_FillValue",
    "missing_value",
    "scale_factor",
    "add_offset",
    "valid_min",
    "valid_max",
    "valid_range",
)


def coded(number: float) -> str:
    """As xarray writes a fill value in the attributes of zarr v3."""
    return base64.standard_b64encode(struct.pack("<d", number)).decode()


def stored_values(dtype: np.dtype[Any], marks: list[Any]) -> np.ndarray:
    """Ordinary values, the ends of the type, and what the attributes may mark."""
    if dtype.kind == "f":
        some = [0.0, 1.0, -1.0, 1.5, 99.0, np.nan, np.inf, float(np.finfo(dtype).max)]
        some += [float(m) for m in marks]
        with np.errstate(over="ignore"):
            return np.array(some).astype(dtype)
    limits = np.iinfo(dtype)
    some = [0, 1, 2, 99, limits.min, limits.max, limits.max - 1]
    some += [int(m) for m in marks if np.isfinite(m) and limits.min <= int(m) <= limits.max]
    bits = [int(m) % (1 << limits.bits) for m in marks if np.isfinite(m)]
    some += [b - (1 << limits.bits) if b > limits.max else b for b in bits]
    return np.array(some, dtype=dtype)


@st.composite
def arrays(draw):
    """An array with attributes, of which most are left out."""
    dtype = np.dtype(draw(st.sampled_from("<>")) + draw(st.sampled_from(TYPES)))
    zarr_format = draw(st.sampled_from([2, 3]))
    common = [-1, 0, 99, 255, 65535, -128, -999, 200, 1 << 40, (1 << 63) - 1, 99.0, 0.5, 0.1, 1e20]
    number = st.sampled_from([*common, float("nan"), float("inf"), float(np.float32(1e20))])
    text = st.sampled_from(["NaN", "99", "-1", "missing", "true", ""])
    as_code = number.map(lambda x: coded(float(x)))
    mark = st.one_of(number, number, as_code, st.lists(number, max_size=3), text)
    factor = st.one_of(
        st.sampled_from([1, 1.0, 2, 0.5, 0.01, -0.1, 1e-3, 1000]),
        st.sampled_from([[0.01], [2], "0.5", 0.0, 1e60, True]),
    )
    offset = st.one_of(
        st.sampled_from([0, 0.0, 1, 273.15, 1e7, -1e5]), st.sampled_from([[3.0], "1", 1e60])
    )
    of = {
        "_Unsigned": st.sampled_from(["true", "false", "true", "false", "True", True]),
        "_FillValue": mark,
        "missing_value": mark,
        "scale_factor": factor,
        "add_offset": offset,
        "valid_min": number,
        "valid_max": number,
        "valid_range": st.lists(number, min_size=2, max_size=2),
    }
    attributes = {name: draw(of[name]) for name in NAMES if draw(st.booleans())}
    fill_value: Any = 0
    if zarr_format == 2:
        fill_value = draw(st.sampled_from([None, None, 0, 1, "end", "nan"]))
        if fill_value == "end":
            fill_value = np.iinfo(dtype).max if dtype.kind != "f" else float(np.finfo(dtype).max)
        if fill_value == "nan":
            fill_value = np.nan if dtype.kind == "f" else None
    return dtype, zarr_format, attributes, fill_value


def written(dtype, zarr_format, attributes, fill_value):
    """The group, whose array ``a`` is so."""
    marks: list[Any] = []
    for name in ("_FillValue", "missing_value"):
        value = attributes.get(name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                try:
                    part = struct.unpack("<d", base64.standard_b64decode(part))[0]
                except (ValueError, struct.error):
                    part = {"99": 99, "-1": -1}.get(part)
            if part is not None:
                marks.append(part)
    values = stored_values(dtype, marks)[:, None].repeat(2, 1)
    group = zarr.open_group(MemoryStore(), mode="w", zarr_format=zarr_format)
    names = {"dimension_names": ("y", "x")} if zarr_format == 3 else {}
    array = group.create_array(
        "a", shape=values.shape, chunks=(3, 2), dtype=dtype, fill_value=fill_value,
        config={"write_empty_chunks": True}, **names,
    )  # fmt: skip
    array[...] = values
    if zarr_format == 2:
        attributes = attributes | {"_ARRAY_DIMENSIONS": ["y", "x"]}
    array.attrs.update(attributes)
    return group


def as_xarray(group):
    """What xarray decodes, None where it fails to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return xarray.open_zarr(group.store, consolidated=False).a.to_numpy().astype("f8")
        except Exception:  # it has no words of its own for what it cannot decode
            return None


def as_read(group):
    """What is read, or the words of the refusal."""
    try:
        source = open_source(group, "a")
    except SpecError as error:
        return str(error)
    out = np.empty(source.shape, source.dtype)
    source.read(slice(None), slice(None), out)
    return out


NAN = float("nan")


@settings(max_examples=max(200, settings().max_examples))
@given(arrays())
@example((np.dtype("<i2"), 3, {"_Unsigned": "true", "_FillValue": -1, "scale_factor": 0.01}, 0))
@example((np.dtype("<i2"), 2, {"_Unsigned": "true", "scale_factor": 0.01}, -1))
@example((np.dtype(">u1"), 2, {"_Unsigned": "false", "scale_factor": 0.1}, 255))
@example((np.dtype("<i1"), 3, {"_Unsigned": "true", "missing_value": -1}, 0))
@example((np.dtype("<f4"), 3, {"_FillValue": coded(NAN), "scale_factor": 0.01}, 0))
@example((np.dtype("<f4"), 2, {"scale_factor": 0.1, "add_offset": 1e7}, np.nan))
@example((np.dtype("<f4"), 3, {"missing_value": 0.1}, 0))
@example((np.dtype("<u8"), 3, {"missing_value": (1 << 64) - 1}, 0))
@example((np.dtype("<i4"), 2, {"_FillValue": -999}, 0))
@example((np.dtype("<i2"), 2, {}, 0))
@example((np.dtype(">i2"), 2, {"_Unsigned": "true"}, 1))
@example((np.dtype(">i2"), 3, {"_Unsigned": "true", "_FillValue": -1}, 0))
def test_what_is_read_is_what_xarray_decodes_or_refused(case):
    group = written(*case)
    decoded, found = as_xarray(group), as_read(group)
    if isinstance(found, str):
        assert any(name in found for name in NAMES)
        assert found.endswith(".")
    elif decoded is not None:
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(found.astype("f8"), decoded)
        if {"scale_factor", "add_offset"} & set(case[2]) and case[0].kind != "f":
            assert found.dtype.kind in "iuf"


@pytest.mark.filterwarnings("ignore:variable 'a' has multiple fill values")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "said",
    [{}, {"_FillValue": [coded(1.0), coded(2.0)]}, {"missing_value": 1.0}, {"_FillValue": [1, 2]}],
)
def test_complex_values_are_masked_as_xarray_masks_them(zarr_format, said):
    values = np.array([[1, 1 + 2j, 2], [0, 1j, 1 - 2j]], "c8")
    group = zarr.open_group(MemoryStore(), mode="w", zarr_format=zarr_format)
    names = {"dimension_names": ("y", "x")} if zarr_format == 3 else {"fill_value": 1 + 2j}
    array = group.create_array("a", shape=values.shape, chunks=(1, 3), dtype="c8", **names)
    array[...] = values
    array.attrs.update(said | ({"_ARRAY_DIMENSIONS": ["y", "x"]} if zarr_format == 2 else {}))
    found = as_read(group)
    try:
        decoded = xarray.open_zarr(group.store, consolidated=False).a.to_numpy()
    except TypeError:  # of numbers where it expects text
        assert not isinstance(found, str)
        return
    np.testing.assert_array_equal(found, decoded)

"""Packed data are the user's numbers: intervals hold the singular values of what xarray decodes, at every door."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
import zarr
from zarr.storage import MemoryStore

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.estimators import KernelRidge


def packed(path, codes, zarr_format=3, **attributes):
    """A zarr group with one packed array ``a``, which xarray opens."""
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    options = {"dimension_names": ("t", "x")} if zarr_format == 3 else {}
    if zarr_format == 2:
        attributes = attributes | {"_ARRAY_DIMENSIONS": ["t", "x"]}
        options["fill_value"] = attributes.pop("_FillValue", None)
    chunks = (max(1, codes.shape[0] // 4), codes.shape[1])
    array = group.create_array(
        "a", shape=codes.shape, chunks=chunks, dtype=codes.dtype, attributes=attributes, **options
    )
    array[...] = codes
    return path


@pytest.mark.parametrize(
    ("scale", "offset"), [(0.14669, 99837.36), (1e-3, 1e5), (1e-2, 1e7), (0.1, 0.0)]
)
def test_true_values_lie_in_their_intervals_whatever_the_offset(tmp_path, scale, offset):
    codes = np.random.default_rng(0).integers(-9000, 9000, (200, 20)).astype("i2")
    source = packed(tmp_path / "a.zarr", codes, scale_factor=scale, add_offset=offset)
    result = streamsvd.pca(source, 3, out=tmp_path / "r")
    X = xarray.open_zarr(source, consolidated=False).a.to_numpy()
    s = np.linalg.svd(X - X.mean(0), compute_uv=False)[:3]
    c = result.certificate
    assert ((c.sigma_lower <= s) & (s <= c.sigma_upper)).all()
    np.testing.assert_allclose(result.s, s, rtol=1e-13)
    assert streamsvd.verify(tmp_path / "r", source).agrees


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_values_of_unsigned_integers_are_missing(tmp_path, zarr_format):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 60000, (80, 12)).astype("u2")
    codes[rng.random(codes.shape) < 0.1] = 65535  # -1 in int16, the missing value
    said = {"_Unsigned": "true", "_FillValue": -1, "scale_factor": 0.01}
    source = packed(tmp_path / "a.zarr", codes.view("i2"), zarr_format, **said)
    result = streamsvd.pca(source, 3, nonfinite="mean")
    X = xarray.open_zarr(source, consolidated=False).a.to_numpy()
    assert result.info.missing == np.isnan(X).sum() == (codes == 65535).sum()
    X = np.where(np.isnan(X), np.nanmean(X, 0), X)
    s = np.linalg.svd(X - X.mean(0), compute_uv=False)[:3]
    c = result.certificate
    assert ((c.sigma_lower <= s) & (s <= c.sigma_upper)).all()


def test_models_update_with_what_xarray_decodes(tmp_path):
    codes = np.random.default_rng(1).integers(-900, 900, (60, 8)).astype("i2")
    source = packed(tmp_path / "a.zarr", codes, scale_factor=0.01, add_offset=300.0)
    streamsvd.update(tmp_path / "m", source, rank=8)
    model = streamsvd.Model.open(tmp_path / "m")
    X = xarray.open_zarr(source, consolidated=False).a.to_numpy()
    np.testing.assert_allclose(model.s, np.linalg.svd(X, compute_uv=False), rtol=1e-12)


A = np.random.default_rng(2).standard_normal((20, 3))
DOORS = {
    "b": lambda v: streamsvd.lstsq(A, v),
    "y": lambda v: streamsvd.kernel_ridge(A, v),
    "row weights": lambda v: streamsvd.svd(A, 1, row_weights=v),
    "column weights": lambda v: streamsvd.svd(A.T, 1, column_weights=v),
    "weights of blocks": lambda v: streamsvd.cluster({"a": A, "b": A}, 0.1, row_weights=v),
    "a stream": lambda v: streamsvd.top_eigenvectors(iter([v]), 1),
    "targets": lambda v: KernelRidge(n_components=5).fit(A, v),
    "weights of scores": lambda v: KernelRidge(n_components=5).fit(A, A[:, 0]).score(A, A[:, 0], v),
}
PACKED = [
    {"scale_factor": 0.5},
    {"add_offset": 1.0},
    {"_FillValue": 1},
    {"missing_value": [1]},
    {"_Unsigned": "true"},
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("attributes", PACKED, ids=str)
def test_packed_vectors_are_refused_where_numbers_are_needed(door, attributes):
    codes = np.arange(1, 21, dtype="i2")
    stored = zarr.create_array(MemoryStore(), data=codes, attributes=attributes)
    with pytest.raises(SpecError, match=rf"attribute {next(iter(attributes))}=.*to_numpy\(\)"):
        DOORS[door](stored)


@pytest.mark.parametrize("attributes", [{}, {"_FillValue": "AAAAAAAA+H8="}, {"units": "K"}])
def test_plain_vectors_may_be_stored(attributes):
    b = np.arange(20.0)
    stored = zarr.create_array(MemoryStore(), data=b, attributes=attributes)
    np.testing.assert_array_equal(streamsvd.lstsq(A, stored).x, streamsvd.lstsq(A, b).x)

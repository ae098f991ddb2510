"""New rows are held against the columns of a result: by all that labels say, or put in order where they say which is which."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import streamsvd
from streamsvd.errors import SpecError

g = np.random.default_rng(0)


def fitted(source, **options):
    r = streamsvd.pca(source, 2, u=True, **options)
    return r, r.U[:] * r.s


def test_two_columns_of_one_name_are_not_put_in_order():
    """The same table is itself; another order of it is refused."""
    table = pd.DataFrame(g.standard_normal((60, 4)) * [4, 3, 2, 1] + 3, columns=list("aabc"))
    r, scores = fitted(table)
    np.testing.assert_allclose(r.transform(table, align=True), scores, atol=1e-12)
    turned = table.iloc[:, [2, 0, 1, 3]]
    with pytest.raises(SpecError, match="is a of more than one column"):
        r.transform(turned, align=True)
    with pytest.raises(SpecError, match="differs from .*: at 0 it is b, the result has a"):
        r.transform(turned)


def field(lat, lon, dims=("time", "lat", "lon"), values=None):
    x = g.standard_normal((30, len(lat), len(lon))) if values is None else values
    return xr.DataArray(x, {dims[1]: lat, dims[2]: lon}, dims)


@pytest.mark.parametrize("lon", [[0.0, 60.0, np.nan], [0.0, 60.0, 120.0]])
def test_a_field_is_itself_whatever_its_coordinates(lon):
    da = field([1.0, 2.0], lon)
    r, scores = fitted(streamsvd.open(da, rows="time"))
    for align in (False, True):
        np.testing.assert_allclose(
            r.transform(streamsvd.open(da, rows="time"), align=align), scores, atol=1e-12
        )
    flipped = streamsvd.open(da.isel(lon=[2, 0, 1]), rows="time")
    np.testing.assert_allclose(r.transform(flipped, align=True), scores, atol=1e-12)
    with pytest.raises(SpecError, match="lon of .* differs"):
        r.transform(flipped)


def test_coordinates_over_several_dimensions_are_compared():
    """Of a curvilinear grid nothing says which column is which, and all of it that they are the same."""
    x = g.standard_normal((30, 4, 3))
    da = xr.DataArray(x, {"lat": (("y", "x"), g.random((4, 3)))}, ("time", "y", "x"))
    r, scores = fitted(streamsvd.open(da, rows="time"))
    np.testing.assert_allclose(
        r.transform(streamsvd.open(da, rows="time"), align=True), scores, atol=1e-12
    )
    flipped = streamsvd.open(da.isel(y=slice(None, None, -1)), rows="time")
    with pytest.raises(SpecError, match="lat of .* differs from .*: at 0"):
        r.transform(flipped)
    with pytest.raises(SpecError, match="no dimension of the columns of the result has"):
        r.transform(flipped, align=True)


def test_a_dimension_of_another_name_is_compared_in_its_place(tmp_path):
    da = field([-10.0, 0.0, 10.0], [0.0, 90.0])
    r, scores = fitted(streamsvd.open(da, rows="time"))
    renamed = da.rename(lat="latitude")
    np.testing.assert_allclose(
        r.transform(streamsvd.open(renamed, rows="time")), scores, atol=1e-12
    )
    flipped = streamsvd.open(renamed.isel(latitude=slice(None, None, -1)), rows="time")
    words = "latitude, in the place of lat, of .* differs from .*: at 0 it is 10, .* has -10"
    with pytest.raises(SpecError, match=words):
        r.transform(flipped)
    model = streamsvd.Model.create(tmp_path / "m", 2)
    model.update(streamsvd.open(da, rows="time"), "a")
    with pytest.raises(SpecError, match=words):
        model.update(flipped, "b")
    with pytest.raises(SpecError, match=words):
        streamsvd.open([streamsvd.open(da, rows="time"), flipped])


def test_what_is_said_of_a_column_beside_its_label_is_compared():
    def genotypes(alleles):
        x = xr.DataArray(
            g.integers(0, 3, (40, 3)).astype(float),
            {"variant": ["v0", "v1", "v2"], "allele_1": ("variant", alleles)},
            ("person", "variant"),
        )
        return streamsvd.open(x, rows="person")

    r, _ = fitted(genotypes(["A", "C", "G"]))
    for align in (False, True):
        with pytest.raises(SpecError, match="allele_1 of .* differs.*at 1 it is T, .* has C"):
            r.transform(genotypes(["A", "T", "G"]), align=align)


def test_units_are_compared_however_they_are_spelt():
    da = field([0.0, 1.0], [0.0, 90.0]).assign_attrs(units="K")
    r, scores = fitted(streamsvd.open(da, rows="time"))
    same = streamsvd.open(da.assign_attrs(units="kelvin"), rows="time")
    np.testing.assert_allclose(r.transform(same), scores, atol=1e-12)
    with pytest.raises(SpecError, match="is in 'degC', the result in 'K'"):
        r.transform(streamsvd.open(da.assign_attrs(units="degC"), rows="time"))


def test_columns_that_took_no_part_need_not_be_there():
    da = field([0.0, 1.0, 2.0], [0.0, 90.0])
    mask = np.array([[True, True], [False, False], [True, True]])
    r, scores = fitted(streamsvd.open(da, rows="time"), mask=mask)
    fewer = streamsvd.open(da.isel(lat=[2, 0]), rows="time")
    np.testing.assert_allclose(r.transform(fewer, align=True), scores, atol=1e-12)
    with pytest.raises(SpecError, match="has no column where lat is 2, as the result has"):
        r.transform(streamsvd.open(da.isel(lat=[0, 1]), rows="time"), align=True)

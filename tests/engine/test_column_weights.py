"""Weights and masks of columns by the dimensions that make them: the result is that of the matrix weighted by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import xarray
import zarr

import streamsvd
from streamsvd.engine.opening import as_source
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.errors import ShapeError, SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.protocols import Source
from streamsvd.store.sources.views.view import SourceView
from streamsvd.testing.writing import write_grid

LAT, LON = np.array([-60.0, -10.0, 45.0]), np.arange(0.0, 360, 90)
NORTH = {"units": "degrees_north", "standard_name": "latitude"}
FIELD = np.random.default_rng(0).standard_normal((40, 3, 4)) + 3
AREA = np.random.default_rng(1).uniform(0.5, 2, (4, 3))  # lon, lat
ROOTS = np.sqrt(np.cos(np.deg2rad(np.repeat(LAT, 4))))


@pytest.fixture
def air(tmp_path) -> Source:
    """A field with coordinates, and cell areas beside it in another order."""
    path = tmp_path / "air.zarr"
    coordinates = {
        "time": (np.arange(40), {"units": "days since 2000-01-01"}),
        "lat": (LAT, NORTH),
        "lon": (LON, {"units": "degrees_east"}),
    }
    write_grid(path, "t", FIELD, ("time", "lat", "lon"), {}, chunk=7, coordinates=coordinates)
    group = zarr.open_group(path)
    group.create_array("area", data=AREA, dimension_names=("lon", "lat"))
    return streamsvd.open(path, "t", "time")


def values(weights: np.ndarray) -> np.ndarray:
    X = FIELD.reshape(40, 12)
    return np.linalg.svd((X - X.mean(axis=0)) * weights, compute_uv=False)[:3]


@dataclass(frozen=True, eq=False)
class LabelledRows(SourceView):
    """A matrix in memory that says what its dimensions are, and has nothing beside it."""

    labels: Labels


WORDS = [
    ("coslat", ROOTS),
    ({"lat": "cos"}, ROOTS),
    ({"lat": np.cos(np.deg2rad(LAT))}, ROOTS),
    ("area", np.sqrt(AREA.T).reshape(-1)),
    ({"lat": "cos", "lon": [1.0, 0, 4, 9]}, ROOTS * np.tile([1.0, 0, 2, 3], 3)),
    (AREA.T, AREA.T.reshape(-1)),
    (AREA.T.reshape(-1), AREA.T.reshape(-1)),
    (xarray.DataArray(AREA, dims=("lon", "lat")), AREA.T.reshape(-1)),
    (xarray.DataArray([1.0, 2, 0], dims="lat"), np.repeat([1.0, 2, 0], 4)),
]


@pytest.mark.parametrize(("words", "factors"), WORDS, ids=[str(i) for i in range(len(WORDS))])
def test_words_are_the_factors_they_stand_for(air, words, factors):
    """In the plan, in `svd` and in `pca`; the options and the result have the numbers."""
    np.testing.assert_allclose(streamsvd.column_weights(air, words), factors, rtol=1e-15)
    plan = streamsvd.plan_pca(air, 3, column_weights=words)
    np.testing.assert_allclose(plan.options.column_weights, factors, rtol=1e-15)
    for r in (
        streamsvd.pca(air, 3, column_weights=words),
        streamsvd.pca(air, plan=plan),
        streamsvd.pca(air, plan=plan, column_weights=words),
        streamsvd.svd(air, 3, center=True, column_weights=words),
    ):
        np.testing.assert_allclose(r.s, values(factors), rtol=1e-9)
        np.testing.assert_allclose(r.preparation["column_weights"], factors, rtol=1e-15)
        np.testing.assert_allclose(r.options.column_weights, factors, rtol=1e-15)


def test_a_plan_for_other_weights_is_refused(air):
    plan = streamsvd.plan_svd(air, 3, column_weights="coslat")
    with pytest.raises(SpecError, match="column_weights=.* was asked, the plan was made for"):
        streamsvd.svd(air, plan=plan, column_weights="area")


def test_weights_go_with_a_mask(air):
    mask = np.ones((3, 4), bool)
    mask[1, 2] = mask[0, 0] = False
    kept = mask.reshape(-1)
    r = streamsvd.pca(air, 2, column_weights="coslat", mask=mask)
    X = (FIELD.reshape(40, 12) * ROOTS)[:, kept]
    np.testing.assert_allclose(
        r.s, np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:2], rtol=1e-9
    )
    assert np.isnan(r.Vh[:, ~kept]).all()
    turned = xarray.DataArray(mask.T, dims=("lon", "lat"))
    other = streamsvd.pca(air, 2, column_weights="coslat", mask=turned)
    np.testing.assert_array_equal(other.Vh, r.Vh)


def test_labels_are_enough():
    """A kind of source that has labels and nothing beside it; the latitude may lie along one dimension of cells."""
    labels = Labels(
        rows=(Dimension("time", 40),),
        columns=(Dimension("lat", 3), Dimension("lon", 4)),
        coordinates=(Coordinate("lat", ("lat",), LAT, NORTH),),
    )
    A = LabelledRows(as_source(FIELD.reshape(40, 12)), labels)
    np.testing.assert_allclose(streamsvd.column_weights(A, "coslat"), ROOTS, rtol=1e-15)
    np.testing.assert_allclose(streamsvd.pca(A, 3, column_weights="coslat").s, values(ROOTS))
    cells = replace(
        labels,
        columns=(Dimension("cell", 12),),
        coordinates=(Coordinate("clat", ("cell",), np.repeat(LAT, 4), NORTH),),
    )
    B = LabelledRows(as_source(FIELD.reshape(40, 12)), cells)
    np.testing.assert_allclose(streamsvd.column_weights(B, "coslat"), ROOTS, rtol=1e-15)
    with pytest.raises(SpecError, match=r"no coordinate 'area' along its columns, only clat"):
        streamsvd.column_weights(B, "area")


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (np.ones(5), ShapeError, r"column_weights has shape \(5,\), the matrix has 12 columns, of lat \(3\) x lon \(4\). Pass one "
         r"weight for each, flat or in the shape \(3, 4\)"),
        (np.ones((4, 3)), ShapeError, r"has shape \(4, 3\)"),
        ({"lat": np.ones(4)}, SpecError, r"column_weights {lat = an array} is float64 of shape \(4,\), and .* has 3 along lat"),
        ({"lat": [1, -1, 1]}, SpecError, "negative or missing"),
        ({"time": np.ones(40)}, SpecError, "'time', which makes rows; columns of .* are made by lat, lon"),
        ({"height": "cos"}, SpecError, "no dimension 'height'"),
        ({"lon": "cos"}, SpecError, "needs a latitude in degrees"),
        ("depth", SpecError, "column_weights='depth': 'depth' is no array beside"),
        (["a"] * 12, SpecError, "column_weights are no numbers"),
        (-np.ones(12), SpecError, r"column_weights\[0\] is -1"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_are_refused_before_anything_is_read(air, weights, error, words):
    for verb in (streamsvd.svd, streamsvd.plan_svd, streamsvd.pca, streamsvd.plan_pca):
        with pytest.raises(error, match=words):
            verb(air, 2, column_weights=weights)


def test_a_latitude_is_found_or_asked_for(tmp_path):
    path, dims = tmp_path / "a.zarr", ("time", "y", "x")
    for name, units, words in [
        ("y", "m", "needs one latitude among the columns, and there is none.* are made by y, x"),
        ("y", "degrees_north", ""),
    ]:
        write_grid(path / units, "t", FIELD, dims, {}, chunk=9, coordinates={name: (LAT, {"units": units})})  # fmt: skip
        A = streamsvd.open(path / units, "t", "time")
        if not words:
            np.testing.assert_allclose(streamsvd.column_weights(A, "coslat"), ROOTS, rtol=1e-15)
            continue
        with pytest.raises(SpecError, match=words):
            streamsvd.svd(A, 2, column_weights="coslat")
    with pytest.raises(SpecError, match="weights by dimension need names of dimensions"):
        streamsvd.svd(np.ones((5, 3)), 1, column_weights="coslat")
    rows = streamsvd.open(path / "degrees_north", "t", ("time", "y"))
    with pytest.raises(SpecError, match="there is none. Columns of .* are made by x"):
        streamsvd.svd(rows, 1, column_weights="coslat")


def test_a_mask_of_another_shape_is_told_the_dimensions(air):
    words = r"mask has shape \(4, 3\), .* of lat \(3\) x lon \(4\), has 12 columns. .* \(3, 4\) or \(12,\)"
    with pytest.raises(SpecError, match=words):
        streamsvd.svd(air, 2, mask=np.ones((4, 3), bool))


def test_the_same_bits_on_any_threads(air):
    found = []
    for workers in (1, 2, 3):
        with use_scheduler(None, workers):
            found.append(streamsvd.pca(air, 3, column_weights="coslat", scale=True))
    for other in found[1:]:
        np.testing.assert_array_equal(other.s, found[0].s)
        np.testing.assert_array_equal(other.Vh, found[0].Vh)

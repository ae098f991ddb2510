from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import streamsvd
from streamsvd.errors import SpecError, StoreError
from streamsvd.factor.exports.labelled import RowScores
from streamsvd.labels import NO_LABELS, Coordinate, Dimension, Labels
from tests.factor.exports.conftest import grid_labels

LAT = Coordinate.of("lat", ["lat"], np.linspace(-60, 60, 4), {"units": "degrees_north"})
DAYS = Coordinate.of(
    "time", ["time"], np.arange(30), {"units": "days since 2001-01-31", "calendar": "standard"}
)
FIELD = grid_labels({"time": 30}, {"lat": 4, "lon": 5}, LAT, DAYS)


def test_factors_stand_in_the_dimensions_of_the_data(labelled) -> None:
    found = labelled(FIELD)
    ds = found.to_xarray()
    assert ds.components.dims == ("mode", "lat", "lon")
    assert ds.scores.dims == ("time", "mode")
    np.testing.assert_array_equal(ds.components.values.reshape(3, -1), found.Vh)
    np.testing.assert_array_equal(ds.scores, found.U * found.s)
    np.testing.assert_array_equal(ds["mean"].values.reshape(-1), found.mean)
    np.testing.assert_array_equal(ds.mode, [1, 2, 3])
    np.testing.assert_array_equal(ds.lat, LAT.array)
    assert ds.lat.attrs["units"] == "degrees_north"
    assert ds["mean"].attrs["units"] == "K"
    assert ds.attrs["variable"] == "t2m"
    assert ds.attrs["rank"] == 3
    assert ds.attrs["status"] == "converged"
    assert ds.attrs["streamsvd"] == streamsvd.__version__
    assert ds.attrs["frobenius_error"] == found.certificate.frobenius_error


def test_several_dimensions_of_rows_and_of_columns_are_unflattened(labelled) -> None:
    labels = grid_labels({"member": 5, "year": 6}, {"lon": 2, "level": 3, "lat": 2})
    found = labelled(labels, 2)
    ds = found.to_xarray()
    assert ds.components.dims == ("mode", "lon", "level", "lat")
    assert ds.scores.dims == ("member", "year", "mode")
    np.testing.assert_array_equal(ds.scores.values.reshape(30, 2), found.U * found.s)


def test_a_dataset_gives_the_matrix_back(labelled) -> None:
    A = np.random.default_rng(0).standard_normal((30, 20))
    w, c = np.linspace(0.5, 2, 30), np.linspace(0.2, 1, 20)
    ds = labelled(
        FIELD, 19, A=A, scale=True, row_weights=w, column_weights=c, tol=1e-9, route="gram"
    ).to_xarray()
    back = ds.scores.dot(ds.components, dim="mode") / ds.column_weights * ds["scale"] + ds["mean"]
    truth = np.linalg.norm(A - back.values.reshape(30, 20))
    assert truth < 0.2 * np.linalg.norm(A)
    np.testing.assert_array_equal(ds.row_weights, w)
    whole = labelled(FIELD, 20, A=A, scale=True, row_weights=w, column_weights=c).to_xarray()
    back = whole.scores.dot(whole.components, dim="mode") / whole.column_weights
    np.testing.assert_allclose(
        (back * whole["scale"] + whole["mean"]).values.reshape(30, 20), A, atol=1e-9
    )


def test_scores_of_a_row_of_weight_zero_are_not_known(labelled) -> None:
    w = np.ones(30)
    w[[4, 7]] = 0
    scores = labelled(FIELD, row_weights=w).to_xarray().scores
    np.testing.assert_array_equal(np.isnan(scores).any("mode"), w == 0)
    np.testing.assert_array_equal(np.isnan(scores).all("mode"), w == 0)


@pytest.mark.parametrize("way", ["mask", "throughout", "gaps", "weight", "constant"])
def test_columns_left_out_are_nan_whatever_left_them_out(labelled, way) -> None:
    A = np.random.default_rng(1).standard_normal((30, 20))
    land = np.zeros(20, bool)
    land[[3, 11]] = True
    options = {}
    if way == "mask":
        options = {"mask": ~land}
    elif way == "throughout":
        A[:, land] = np.nan
        options = {"mask": "auto"}
    elif way == "gaps":
        A[5, land] = np.nan
        options = {"nonfinite": "drop_columns"}
    elif way == "weight":
        options = {"column_weights": (~land).astype(float)}
    else:
        A[:, land] = 7.0
        options = {"scale": True}
    ds = labelled(FIELD, A=A, **options).to_xarray()
    for name in ("components", "mean"):
        gone = np.isnan(ds[name]).values.reshape(-1, 20)
        np.testing.assert_array_equal(gone, np.broadcast_to(land, gone.shape))


def test_true_variances_and_shares_lie_between_their_ends(labelled) -> None:
    A = np.random.default_rng(2).standard_normal((200, 90)) * 0.97 ** np.arange(90)
    labels = Labels.plain((200, 90))
    ds = labelled(labels, 6, A=A, tol=0.2).to_xarray()
    truth = np.linalg.svd(A - A.mean(0), compute_uv=False) ** 2 / 199
    for name, values in (
        ("explained_variance", truth),
        ("explained_variance_ratio", truth / truth.sum()),
    ):
        assert (ds[f"{name}_lower"] <= values[:6] * (1 + 1e-12)).all()
        assert (values[:6] <= ds[f"{name}_upper"] * (1 + 1e-12)).all()
        assert (ds[f"{name}_lower"] <= ds[name] * (1 + 1e-12)).all()
        assert (ds[name] <= ds[f"{name}_upper"] * (1 + 1e-12)).all()
    assert (ds.explained_variance_upper > ds.explained_variance_lower).any()


def test_names_that_are_taken_get_an_underscore(labelled) -> None:
    labels = grid_labels(
        {"mode": 30}, {"mean": 4, "scores": 5},
        Coordinate.of("components", ["mean"], np.arange(4.0)),
    )  # fmt: skip
    ds = labelled(labels).to_xarray()
    assert ds["components_"].dims == ("mode_", "mean", "scores")
    assert ds["scores_"].dims == ("mode", "mode_")
    assert ds["mean_"].dims == ("mean", "scores")
    assert ds["components"].dims == ("mean",)


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
@pytest.mark.parametrize("calendar", ["standard", "noleap", "datetime64", "text"])
def test_what_is_written_is_read_again(labelled, tmp_path, form, calendar) -> None:
    if calendar == "datetime64":
        values, attributes = (
            np.datetime64("1999-12-31T18", "ns") + np.arange(30) * np.timedelta64(6, "h"),
            {},
        )
    elif calendar == "text":
        values, attributes = [f"sample {j}" for j in range(30)], {"long_name": "probe"}
    else:
        values, attributes = (
            np.arange(30) + 0.25,
            {"units": "days since 2001-02-20", "calendar": calendar},
        )
    rows = Coordinate.of("time", ["time"], values, {**attributes, "axis": "T", "odd": [True, "x"]})
    cells = Coordinate.of("name", ["lat"], ["a", "b", "c", "d"])
    area = Coordinate.of("area", ["lat", "lon"], np.arange(20.0).reshape(4, 5))
    labels = replace(FIELD, coordinates=(LAT, rows, cells, area))
    labels = replace(
        labels,
        attributes={**labels.attributes, "flag": True, "levels": [1, 2.5], "far": float("inf")},
    )
    ds = labelled(labels, mask=np.arange(20) != 6).to_xarray()
    assert "time" in ds.indexes
    assert "area" in ds.coords
    place = str(tmp_path / "eof")
    if form == "netcdf":
        ds.to_netcdf(place, engine="scipy")
        back = xr.open_dataset(place, engine="scipy")
    else:
        ds.to_zarr(place, consolidated=False)
        back = xr.open_zarr(place, consolidated=False)
    with back:
        xr.testing.assert_equal(back.load(), ds)
    assert back.attrs == ds.attrs
    assert back["mean"].attrs["levels"] is not None


def test_times_are_dates(labelled) -> None:
    ds = labelled(FIELD).to_xarray()
    np.testing.assert_array_equal(
        ds.time.values, np.datetime64("2001-01-31") + np.arange(30).astype("m8[D]")
    )
    noleap = Coordinate.of(
        "time", ["time"], np.arange(30), {"units": "days since 2004-02-28", "calendar": "noleap"}
    )
    times = labelled(replace(FIELD, coordinates=(noleap,))).to_xarray().time.values
    assert (times[1].month, times[1].day) == (3, 1)


def test_times_that_nothing_reads_stay_numbers(labelled) -> None:
    strange = Coordinate.of(
        "time", ["time"], np.arange(30), {"units": "days since 2004-02-28", "calendar": "martian"}
    )
    time = labelled(replace(FIELD, coordinates=(strange,))).to_xarray().time
    np.testing.assert_array_equal(time, np.arange(30))
    assert time.attrs["calendar"] == "martian"


def test_scores_on_disk_are_read_where_they_are_used(labelled, tmp_path, monkeypatch) -> None:
    found = labelled(
        grid_labels({"run": 6, "time": 50}, {"lat": 4, "lon": 5}), out=tmp_path / "out"
    )
    read: list[int] = []
    original = RowScores.read

    def count(self, *key):
        block = original(self, *key)
        read.append(block.size)
        return block

    monkeypatch.setattr(RowScores, "read", count)
    ds = found.to_xarray()
    part = ds.scores.isel(run=2, time=slice(10, 20), mode=0)
    assert not read
    np.testing.assert_array_equal(part, (found.U[110:120] * found.s)[:, 0])
    assert read == [10]
    assert ds.scores.sel(mode=[3, 1]).shape == (6, 50, 2)
    ds.to_netcdf(tmp_path / "x.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "x.nc", engine="scipy") as back:
        np.testing.assert_array_equal(back.scores, (found.U[...] * found.s).reshape(6, 50, 3))


def test_a_result_without_u_has_no_scores_and_no_rows(labelled) -> None:
    ds = labelled(FIELD, u=False).to_xarray()
    assert "scores" not in ds
    assert "time" not in ds.coords
    assert "lat" in ds.coords


def test_a_result_that_says_nothing_of_itself_has_rows_and_columns(labelled) -> None:
    found = replace(labelled(FIELD), labels=NO_LABELS)
    ds = found.to_xarray()
    assert ds.components.dims == ("mode", "column")
    assert ds.scores.dims == ("row", "mode")


def test_labels_of_other_rows_are_not_taken_for_those_of_the_scores(labelled) -> None:
    found = labelled(FIELD)
    ds = replace(found, labels=FIELD.with_rows((Dimension("time", 12),))).to_xarray()
    assert ds.scores.dims == ("row", "mode")
    assert ds.components.dims == ("mode", "lat", "lon")


def test_a_factorisation_without_a_mean_has_none() -> None:
    A = np.random.default_rng(0).standard_normal((20, 6)) + 3
    ds = streamsvd.svd(A, 2, u=True).to_xarray()
    assert "mean" not in ds
    assert ds.attrs["centered"] == 0
    truth = np.linalg.svd(A, compute_uv=False)[:2] ** 2
    np.testing.assert_allclose(ds.explained_variance_ratio, truth / (A**2).sum(), rtol=1e-8)


def test_a_model_gives_a_dataset(tmp_path) -> None:
    model = streamsvd.Model.create(tmp_path / "m", 3, center=True, u=True)
    A = np.random.default_rng(0).standard_normal((80, 12))
    model.update(A[:50], "a")
    model.update(A[50:], "b")
    found = model.as_svd()
    ds = found.to_xarray()
    assert ds.scores.sizes == {"row": 80, "mode": 3}
    np.testing.assert_allclose(ds.scores.isel(row=slice(40, 60)), found.U[40:60] * found.s)
    xr.testing.assert_equal(model.to_xarray(), ds)
    assert model.to_dataframe().shape == (12, 3)


def test_a_rotation_stands_in_the_same_dimensions(labelled, tmp_path) -> None:
    found = labelled(FIELD, mask=np.arange(20) != 6)
    rotation = streamsvd.rotate(found)
    ds = rotation.to_xarray()
    assert ds.components.dims == ("mode", "lat", "lon")
    np.testing.assert_array_equal(ds.components.values.reshape(3, -1), rotation.components)
    np.testing.assert_array_equal(ds.scores, rotation.scores)
    np.testing.assert_array_equal(ds.variance, rotation.variance)
    assert ds.time.equals(found.to_xarray().time)
    assert ds.attrs["method"] == "varimax"
    ds.to_netcdf(tmp_path / "x.nc", engine="scipy")
    assert "scores" not in streamsvd.rotate(replace(found, U=None)).to_xarray()


def test_complex_factors_stay_complex() -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((20, 6)) + 1j * rng.standard_normal((20, 6))
    found = streamsvd.pca(A, 2, u=True)
    ds = found.to_xarray()
    np.testing.assert_array_equal(ds.components, found.Vh)
    np.testing.assert_array_equal(ds.scores, found.U * found.s)


def test_one_row_has_no_variance() -> None:
    ds = streamsvd.pca(np.ones((1, 4)), 1).to_xarray()
    assert (ds.explained_variance == 0).all()
    assert (ds.explained_variance_ratio == 0).all()


def test_a_result_that_knows_no_degrees_of_freedom_has_no_variance(labelled) -> None:
    found = labelled(FIELD)
    ds = replace(found, info=replace(found.info, freedom=0.0)).to_xarray()
    assert np.isnan(ds.explained_variance).all()
    assert (ds.explained_variance_ratio > 0).all()


def test_the_line_that_installs_xarray_is_told(labelled, monkeypatch) -> None:
    found = labelled(FIELD)
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        StoreError, match=r"to_xarray makes a Dataset; .* pip install 'streamsvd\[xarray\]'"
    ):
        found.to_xarray()


def test_scores_that_were_not_kept_are_refused(labelled) -> None:
    with pytest.raises(SpecError, match=r"the result has no U.*u=True"):
        RowScores.of(labelled(FIELD, u=False))

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr

import streamsvd
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.xarray import EOFAnalysis, eof

LAT = np.array([-75.0, -30.0, 0.0, 45.0, 80.0])
LON = np.arange(0.0, 360.0, 60.0)
COS = np.sqrt(np.cos(np.deg2rad(LAT)))


def field(
    n: int = 72, *, calendar: str = "standard", dtype: str = "f8", seed: int = 0
) -> xr.DataArray:
    """A field of a few waves, a season and noise, by month."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    lat, lon = np.deg2rad(LAT)[:, None], np.deg2rad(LON)
    waves = [np.cos(lat) * np.cos(lon), np.sin(2 * lat) * np.sin(lon), np.cos(lat) ** 2 + 0 * lon]
    amplitudes = rng.standard_normal((n, 3)) * [6, 3, 1.5]
    season = 10 * np.cos(2 * np.pi * t / 12)[:, None, None] * np.sin(lat)
    values = 280 + season + np.tensordot(amplitudes, np.array(waves), 1) + 0.05 * t[:, None, None]
    values += 0.3 * rng.standard_normal(values.shape)
    times = xr.date_range(
        "1981-01-01", periods=n, freq="MS", calendar=calendar, use_cftime=calendar != "standard"
    )
    coords = {"time": times, "lat": ("lat", LAT, {"units": "degrees_north"}), "lon": LON}
    return xr.DataArray(values.astype(dtype), coords, ("time", "lat", "lon"), "t2m", {"units": "K"})


def difference(A: Any, B: Any) -> float:
    """Largest difference of rows up to their sign, relative to the largest entry; NaN must be where it is."""
    A, B = (np.asarray(M, float).reshape(len(M), -1) for M in (A, B))
    np.testing.assert_array_equal(np.isnan(A), np.isnan(B))
    A, B = np.nan_to_num(A), np.nan_to_num(B)
    signs = np.sign((A * B).sum(axis=1))[:, None]
    return float(np.abs(A * signs - B).max() / np.abs(B).max())


def factors(B: Any) -> tuple[Any, Any, Any]:
    """Factors of a matrix less its mean."""
    B = np.asarray(B, float).reshape(len(B), -1)
    return np.linalg.svd(B - B.mean(axis=0), full_matrices=False)


@pytest.mark.parametrize(
    "order", [("time", "lat", "lon"), ("lon", "time", "lat"), ("lat", "lon", "time")]
)
def test_modes_are_those_of_the_weighted_field(order) -> None:
    da = field()
    found = eof(da.transpose(*order), modes=4, weights="coslat", tol=1e-9)
    U, s, Vh = factors(da * COS[:, None])
    assert set(found.eofs().dims) == {"mode", "lat", "lon"}
    assert difference(found.eofs().transpose("mode", "lat", "lon"), Vh[:4]) < 1e-6
    assert difference(found.pcs().transpose("mode", "time"), (U * s).T[:4]) < 1e-6
    np.testing.assert_allclose(found.eigenvalues(), s[:4] ** 2 / 71, rtol=1e-6)
    np.testing.assert_allclose(found.variance_fraction(), s[:4] ** 2 / (s**2).sum(), rtol=1e-6)
    assert found.pcs().time.equals(da.time)
    assert isinstance(found.result, streamsvd.PCA)


def test_scalings_are_those_of_eofs() -> None:
    found = eof(field(), modes=3)
    root = np.sqrt(found.eigenvalues())
    for name in ("eofs", "pcs"):
        call = getattr(found, name)
        np.testing.assert_allclose(call(1), call() / root)
        np.testing.assert_allclose(call(2), call() * root)
        assert call(modes=2).sizes["mode"] == 2
        assert call().name == name
    np.testing.assert_allclose(found.pcs(1).var("time", ddof=1), 1.0)


WEIGHTS = {
    "dictionary": ({"lat": np.cos(np.deg2rad(LAT))}, COS[:, None]),
    "array": (np.outer(COS, 1 + LON), np.outer(COS, 1 + LON)),
    "one dimension": (COS[:, None], COS[:, None]),
    "DataArray": (xr.DataArray(COS, {"lat": LAT}, ["lat"]), COS[:, None]),
    "transposed": (
        xr.DataArray(np.outer(1 + LON, COS), dims=("lon", "lat")),
        np.outer(COS, 1 + LON),
    ),
    "none": (None, 1.0),
}


@pytest.mark.parametrize("way", WEIGHTS)
def test_weights_multiply_the_field(way) -> None:
    given, factor = WEIGHTS[way]
    da = field()
    found = eof(da, modes=2, weights=given, tol=1e-9)
    assert difference(found.eofs(), factors(da * factor)[2][:2]) < 1e-6


def test_land_is_left_out_and_comes_back_as_nan() -> None:
    da = field()
    land = xr.DataArray(np.zeros((5, 6), bool), {"lat": LAT, "lon": LON}, ("lat", "lon"))
    land[1:3, 2:4] = True
    found = eof(da.where(~land), modes=3, weights="coslat", tol=1e-9)
    np.testing.assert_array_equal(np.isnan(found.eofs()).all("mode"), land)
    np.testing.assert_array_equal(np.isnan(found.reconstruct()).all("time"), land)
    Vh = factors((da * COS[:, None]).values[:, ~land.values])[2]
    assert difference(found.eofs().values[:, ~land.values], Vh[:3]) < 1e-6
    for mask in (~land, (~land).transpose(), (~land).values):
        same = eof(da, modes=3, weights="coslat", mask=mask, tol=1e-9)
        assert difference(same.eofs(), found.eofs()) < 1e-6
    np.testing.assert_allclose(found.project(da.where(~land)), found.pcs(), atol=1e-8)


def test_all_modes_give_the_field_back() -> None:
    da = field(20)
    for options in ({}, {"weights": "coslat"}, {"scale": True}, {"center": False}):
        found = eof(da, modes=20, **options)
        back = found.reconstruct()
        assert back.dims == da.dims
        assert back.name == "t2m"
        assert back.attrs["units"] == "K"
        xr.testing.assert_allclose(back.drop_attrs(), da.drop_attrs(), rtol=1e-9)
    part = found.reconstruct(2).sel(lat=-30, time="1981-03")
    assert part.sizes == {"time": 1, "lon": 6}


def test_a_reconstruction_is_that_of_the_leading_modes() -> None:
    da = field()
    found = eof(da, modes=5, weights="coslat")
    terms = (found.pcs() * found.eofs()).isel(mode=slice(0, 3)).sum("mode") / COS[:, None]
    expected = terms.transpose(*da.dims) + da.mean("time")
    xr.testing.assert_allclose(found.reconstruct(3).drop_attrs(), expected.drop_attrs())


@pytest.mark.parametrize(
    "options", [{}, {"weights": "coslat"}, {"scale": True}, {"anomaly": "month", "detrend": True}]
)
def test_the_field_itself_projects_on_its_series(options) -> None:
    da = field()
    found = eof(da, modes=3, **options)
    again = found.project(da.transpose("lon", "time", "lat"))
    np.testing.assert_allclose(again, found.pcs(), atol=1e-7)
    assert again.name == "pseudo_pcs"
    assert again.time.equals(da.time)
    one = found.project(da.isel(time=7), modes=2)
    assert one.dims == ("mode",)
    np.testing.assert_allclose(one, found.pcs(modes=2).isel(time=7), atol=1e-7)
    np.testing.assert_allclose(found.project(da, scaling=1), found.pcs(1), atol=1e-7)


def test_anomalies_are_those_of_xarray() -> None:
    da = field()
    by_month = da.groupby("time.month")
    anomalies = by_month - by_month.mean("time")
    found = eof(da, modes=3, anomaly="month", tol=1e-9)
    assert difference(found.eofs(), factors(anomalies.transpose(*da.dims))[2][:3]) < 1e-6
    new = field(96, seed=1).isel(time=slice(72, None))
    expected = (new.groupby("time.month") - by_month.mean("time")).transpose(*da.dims)
    flat = expected.values.reshape(24, -1) @ found.eofs().values.reshape(3, -1).T
    np.testing.assert_allclose(found.project(new), flat, atol=1e-7)
    several = eof(da, modes=3, anomaly=["season"], reference=["1981", "1983"])
    assert several.project(new).sizes == {"time": 24, "mode": 3}


@pytest.mark.parametrize("by", ["month", "season"])
def test_the_climatology_is_in_the_dataset(by, tmp_path) -> None:
    da = field(48)
    found = eof(da, modes=30, anomaly=by, weights="coslat")
    expected = da.groupby(f"time.{by}").mean("time").transpose(by, "lat", "lon")
    climatology = found.dataset.climatology
    np.testing.assert_array_equal(sorted(climatology[by].values), sorted(expected[by].values))
    xr.testing.assert_allclose(
        climatology.sel({by: expected[by]}).drop_attrs(), expected.drop_attrs()
    )
    whole = found.reconstruct().groupby(f"time.{by}") + climatology
    np.testing.assert_allclose(whole.transpose(*da.dims), da, rtol=1e-9)
    place = found.result.save(tmp_path / "eof.result")
    xr.testing.assert_equal(streamsvd.load(place).to_xarray(), found.dataset)
    both = eof(da, modes=30, detrend=True).dataset
    days = (da.time - np.datetime64("1970-01-01")) / np.timedelta64(1, "D") - both.trend.origin
    line = both.climatology + both.trend * days
    fit = da.polyfit("time", 1).polyfit_coefficients
    np.testing.assert_allclose(
        line.transpose(*da.dims), xr.polyval(da.time, fit).transpose(*da.dims), rtol=1e-6
    )


def test_groups_of_several_fields_are_numbered() -> None:
    da = field(48)
    ds = eof(da, modes=2, anomaly=["season", "month"]).dataset
    assert ds.climatology.dims == ("group", "lat", "lon")
    assert ds.group.attrs["long_name"] == "1000 season + month"
    np.testing.assert_array_equal(
        ds.group, [1, 2, 12, 1003, 1004, 1005, 2006, 2007, 2008, 3009, 3010, 3011]
    )
    labels = eof(da, modes=2, anomaly=np.arange(48) % 4).dataset
    np.testing.assert_array_equal(labels.group, range(4))


def test_calendars_of_climate_models() -> None:
    pytest.importorskip("cftime")
    da = field(calendar="noleap")
    found = eof(da, modes=2, anomaly="month")
    assert found.pcs().time.values[13].month == 2
    np.testing.assert_allclose(found.project(da), found.pcs(), atol=1e-7)


def test_several_dimensions_may_make_the_observations() -> None:
    da = xr.DataArray(
        np.random.default_rng(0).standard_normal((4, 6, 5, 3)), dims=("x", "member", "time", "y")
    )
    found = eof(da, ("member", "time"), 3)
    assert found.pcs().dims == ("member", "time", "mode")
    flat = da.transpose("member", "time", "x", "y").values.reshape(30, 12)
    assert difference(found.eofs(), factors(flat)[2][:3]) < 1e-6
    assert found.reconstruct().dims == da.dims
    one = found.project(da.isel(member=2))
    assert one.dims == ("time", "mode")
    np.testing.assert_allclose(one, found.pcs().isel(member=2), atol=1e-9)


@pytest.mark.parametrize(
    "chunks", [{"time": 10}, {"time": 7, "lat": 2, "lon": 4}, {"time": -1, "lat": 1, "lon": 1}]
)
def test_fields_of_dask_are_read_by_their_chunks(chunks) -> None:
    da = field()
    lazy = da.chunk(chunks)
    first, second = (eof(x, modes=3, weights="coslat", anomaly="month") for x in (da, lazy))
    assert difference(first.eofs(), second.eofs()) < 1e-9
    np.testing.assert_allclose(
        first.project(lazy.transpose("lon", "time", "lat")), first.pcs(), atol=1e-8
    )


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_a_field_in_a_file_is_read_and_its_file_may_be_closed(tmp_path, form) -> None:
    da = field()
    if form == "netcdf":
        da.to_netcdf(tmp_path / "a.nc", engine="scipy")
        stored = xr.open_dataset(tmp_path / "a.nc", engine="scipy")
    else:
        da.to_dataset().to_zarr(tmp_path / "a.zarr", consolidated=False)
        stored = xr.open_zarr(tmp_path / "a.zarr", consolidated=False, chunks=None)
    with stored:
        found = eof(stored.t2m, modes=2, anomaly="month", tol=1e-9)
    assert difference(found.eofs(), eof(da, modes=2, anomaly="month", tol=1e-9).eofs()) < 1e-6
    np.testing.assert_allclose(found.project(da), found.pcs(), atol=1e-7)


def test_several_variables_are_taken_stacked() -> None:
    da = field()
    both = xr.Dataset({"u": da, "v": da * 2}).to_stacked_array("column", ["time"])
    found = eof(both, modes=3, tol=1e-9)
    alone = eof(da, modes=3, tol=1e-9)
    np.testing.assert_allclose(found.eigenvalues(), 5 * alone.eigenvalues(), rtol=1e-6)
    maps = found.eofs().to_unstacked_dataset("column")
    np.testing.assert_allclose(maps.v, 2 * maps.u, atol=1e-7)
    assert found.reconstruct().indexes["column"].equals(both.indexes["column"])
    np.testing.assert_allclose(found.project(both), found.pcs(), atol=1e-7)


def test_coordinates_are_those_of_the_field() -> None:
    da = field().assign_coords(level=500, area=(("lat", "lon"), np.ones((5, 6))), mode="ERA")
    found = eof(da, modes=2)
    assert int(found.eofs().level) == 500
    assert found.eofs().area.dims == ("lat", "lon")
    assert "area" not in found.pcs().coords
    assert found.pcs().time.dtype == da.time.dtype
    np.testing.assert_array_equal(found.pcs().mode, [1, 2])
    assert found.reconstruct().isel(time=0).time == da.time[0]


def test_projections_may_lie_in_a_folder(tmp_path) -> None:
    da = field()
    found = eof(da, modes=3)
    scores = found.project(da, out=tmp_path / "scores.zarr")
    np.testing.assert_array_equal(
        scores.isel(time=[3, 9], mode=[2, 0]), found.project(da).isel(time=[3, 9], mode=[2, 0])
    )
    assert scores.time.equals(da.time)


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_numbers_of_any_type(dtype) -> None:
    da = field(dtype=dtype)
    found = eof(da, modes=2, tol=1e-7)
    assert difference(found.eofs(), factors(da)[2][:2]) < 1e-5


def test_the_accessor_is_the_same() -> None:
    da = field()
    first, second = eof(da, modes=2, weights="coslat"), da.streamsvd.eof(modes=2, weights="coslat")
    xr.testing.assert_identical(first.dataset, second.dataset.assign_attrs(first.dataset.attrs))
    found = da.streamsvd.pca(3, energy=None, u=True)
    assert found.to_xarray().components.dims == ("mode", "lat", "lon")


def test_the_dataset_has_ends_and_a_factorisation_on_disk(tmp_path) -> None:
    found = eof(field(), modes=3, out=tmp_path / "eof.result")
    ds = found.dataset
    assert (ds.explained_variance_lower <= found.eigenvalues()).all()
    assert ds.scores.sizes == {"time": 72, "mode": 3}
    ds.to_netcdf(tmp_path / "eof.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "eof.nc", engine="scipy") as back:
        np.testing.assert_array_equal(back.components, found.eofs())
        assert back.time.equals(ds.time)
    again = streamsvd.load(tmp_path / "eof.result").to_xarray()
    xr.testing.assert_equal(again, ds)


def test_the_share_of_the_variance_may_be_asked() -> None:
    found = eof(field(), modes=None, energy=0.9)
    assert float(found.variance_fraction().sum()) > 0.9
    assert "EOFAnalysis of time x lat x lon along time" in repr(found)


def test_what_is_no_field_is_refused() -> None:
    da = field()
    with pytest.raises(SpecError, match=r"dim='year' must name .* \(time: 72, lat: 5, lon: 6\)"):
        eof(da, "year")
    with pytest.raises(
        ShapeError,
        match=r"takes every dimension of the field, which has \(time: 72, lat: 5, lon: 6\)",
    ):
        eof(da, ("time", "lat", "lon"))
    with pytest.raises(
        SpecError, match=r"a Dataset was passed, with the variables t2m.*dataset\[name\]"
    ):
        eof(da.to_dataset())
    with pytest.raises(SpecError, match=r"numpy.ndarray is no DataArray"):
        eof(da.values)
    with pytest.raises(ShapeError, match=r"the field is empty: \(time: 0, lat: 5, lon: 6\)"):
        eof(da.isel(time=slice(0)))
    with pytest.raises(
        ShapeError,
        match=r"modes=31 is asked of a field of 72 observations of 30 columns, which has 30",
    ):
        eof(da, modes=31)


def test_weights_and_masks_that_do_not_fit_are_refused() -> None:
    da = field()
    with pytest.raises(
        ShapeError, match=r"weights has shape \(4,\), and columns are made by \(lat: 5, lon: 6\)"
    ):
        eof(da, weights=np.ones(4))
    with pytest.raises(
        ShapeError, match=r"mask has shape \(6, 5\), and columns are made by \(lat: 5, lon: 6\)"
    ):
        eof(da, mask=np.ones((6, 5), bool))
    with pytest.raises(
        SpecError, match=r"weights\[0\] is -1.0; weights must be finite and not negative"
    ):
        eof(da, weights=-np.ones((5, 6)))
    with pytest.raises(SpecError, match=r"mask holds float64 that are not all 0 or 1"):
        eof(da, mask=da.isel(time=0))
    with pytest.raises(SpecError, match=r"weights lies along time"):
        eof(da, weights=da)
    with pytest.raises(ShapeError, match=r"weights has 3 along lat"):
        eof(da, weights=xr.DataArray(np.ones(3), dims="lat"))
    with pytest.raises(
        SpecError,
        match=r"weights has lat=80.0 at place 0, where the field has -75.0 \(4 of 5 differ\).*sortby",
    ):
        eof(da, weights=xr.DataArray(COS[::-1], {"lat": LAT[::-1]}, ["lat"]))
    with pytest.raises(SpecError, match=r"column_weights= is weights= here"):
        eof(da, column_weights=np.ones(30))
    with pytest.raises(SpecError, match=r"needs one latitude among the columns, and there is none"):
        eof(da.drop_vars("lat").rename(lat="y"), weights="coslat")


def test_gaps_are_an_error_until_it_is_said_what_they_are() -> None:
    da = field()
    da[5, 1, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"NaN at row 5, column 8"):
        eof(da, modes=2)
    found = eof(da, modes=2, nonfinite="drop_columns", tol=1e-9)
    assert np.isnan(found.eofs()).sum() == 2
    da = field()
    da[5] = np.nan  # a step without any value
    with pytest.raises(NonFiniteError, match=r"NaN at row 5, column 0"):
        eof(da, modes=2)


def test_adjustments_that_cannot_be_are_refused() -> None:
    da = field()
    with pytest.raises(SpecError, match=r"by='week' is unknown"):
        eof(da, anomaly="week")
    with pytest.raises(SpecError, match=r"along='linear' is none of"):
        eof(da, detrend="linear")
    with pytest.raises(SpecError, match=r"reference= is the period of anomaly= or detrend="):
        eof(da, reference=["1981", "1983"])
    with pytest.raises(SpecError, match=r"has no time at entry 3 \(NaT\)"):
        eof(da.assign_coords(time=da.time.where(da.time != da.time[3])), anomaly="month")
    with pytest.raises(SpecError, match=r"the coordinate 'time' of the rows is no array beside"):
        eof(da.drop_vars("time"), anomaly="month")
    found = eof(da.isel(time=slice(0, 6)), modes=2, anomaly="month")
    with pytest.raises(SpecError, match=r"of month 7, of which no row was fitted"):
        found.project(da)


def test_new_observations_elsewhere_are_refused() -> None:
    da = field()
    found = eof(da, modes=2)
    with pytest.raises(
        SpecError,
        match=r"lat of .*t2m.* differs from that of the result: at 0 it is -74, the result has -75",
    ):
        found.project(da.assign_coords(lat=LAT + 1))
    with pytest.raises(SpecError, match=r"have the dimensions time, lat: no lon"):
        found.project(da.isel(lon=0))
    with pytest.raises(SpecError, match=r"also level"):
        found.project(da.expand_dims(level=2))
    with pytest.raises(SpecError, match=r"lat of .* has 3 values, that of the result 5"):
        found.project(da.isel(lat=slice(3)))
    larger = xr.concat([da.assign_coords(lat=LAT + 1), da], "lat").sortby("lat", ascending=False)
    np.testing.assert_allclose(found.project(larger, align=True), found.pcs(), atol=1e-7)
    for wrong in (0, 3, 1.5):
        with pytest.raises(SpecError, match=r"of 2 there are\. Pass a number from 1 to 2"):
            found.project(da, modes=wrong)
    with pytest.raises(SpecError, match=r"scaling=3 is unknown\. Pass 0"):
        found.pcs(3)
    with pytest.raises(SpecError, match=r"made with u=False"):
        eof(da, modes=2, u=False).pcs()
    assert isinstance(found, EOFAnalysis)


def test_the_line_that_installs_xarray_is_told(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "streamsvd.xarray")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        ImportError, match=r"not installed\. Run: pip install 'streamsvd\[xarray\]'"
    ):
        importlib.import_module("streamsvd.xarray")


def test_faces_are_there_by_their_names_and_cost_nothing_before() -> None:
    code = (
        "import sys, streamsvd\n"
        "assert not {'xarray', 'pandas', 'anndata'} & set(sys.modules)\n"
        "assert callable(streamsvd.anndata.pca)\n"
        "assert not {'xarray', 'anndata'} & set(sys.modules)\n"
        "assert callable(streamsvd.xarray.eof)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

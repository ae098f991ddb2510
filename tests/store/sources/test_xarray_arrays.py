"""Objects of xarray: in memory, packed, from files that are read when they are asked."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.neighbours import neighbour
from streamsvd.store.sources.objects.xarray_arrays import (
    LabelledArray,
    LabelledFile,
    LazyXarraySource,
)
from streamsvd.store.writing.separation import places
from streamsvd.testing import assert_source

xr = pytest.importorskip("xarray")
pd = pytest.importorskip("pandas")

CUBE = np.random.default_rng(0).standard_normal((24, 5, 6))
ROWS = CUBE.reshape(24, 30)


def field(**coords):
    return xr.Dataset(
        {
            "air": (("time", "lat", "lon"), CUBE, {"units": "K"}),
            "land": (("lat", "lon"), np.arange(30).reshape(5, 6) % 3 > 0),
            "cell": (("lat",), np.arange(1.0, 6)),
        },
        {
            "time": pd.date_range("2000-01-01", periods=24, freq="MS"),
            "lat": ("lat", np.linspace(-60, 60, 5), {"units": "degrees_north"}),
            "lon": np.arange(6) * 60.0,
            "area": (("lat", "lon"), np.ones((5, 6))),
            "region": ("lon", list("abcdef")),
            "level": 500.0,
            **coords,
        },
    )


def test_what_is_in_memory_is_read_in_place():
    made = field()
    for given in (made.air, made[["air"]]):
        source = open_source(given, rows="time")
        assert isinstance(source, LabelledArray)
        assert np.shares_memory(source.array, made.air.values)
        assert source.read_bytes == 0
        assert_source(source, ROWS)
    assert_source(open_source(made, "air", ("lat", "lon")), ROWS.T)
    assert_source(open_source(made.air.T, rows="time"), CUBE.transpose(0, 2, 1).reshape(24, 30))


def test_labels_are_its_coordinates():
    labels = source_labels(open_source(field(), "air", "time"))
    assert (labels.name, labels.attributes) == ("air", {"units": "K"})
    assert {c.name: c.dims for c in labels.coordinates} == {
        "time": ("time",),
        "lat": ("lat",),
        "lon": ("lon",),
        "area": ("lat", "lon"),
        "region": ("lon",),
    }
    time = labels.coordinate("time")
    assert time.attributes["units"] == "days since 2000-01-01 00:00:00"
    assert time.array[:3].tolist() == [0, 31, 60]
    assert labels.coordinate("region").array.tolist() == list("abcdef")
    assert labels.coordinate("lat").units == "degrees_north"


def test_times_of_any_calendar_are_numbers_with_their_units():
    cftime = pytest.importorskip("cftime")
    times = xr.date_range("2000-01-01", periods=24, freq="MS", calendar="360_day", use_cftime=True)
    source = open_source(field(time=times), "air", "time")
    time = source_labels(source).coordinate("time")
    assert time.attributes["calendar"] == "360_day"
    assert time.array.tolist() == [30 * i for i in range(24)]
    assert isinstance(times[0], cftime.datetime)
    assert streamsvd.anomalies(source, "month").shape == (24, 30)
    stored = field()
    stored.time.encoding.update(units="hours since 1900-01-01", calendar="standard")
    units = source_labels(open_source(stored, "air", "time")).coordinate("time").units
    assert units == "hours since 1900-01-01"


def test_arrays_of_the_data_set_are_found_by_name():
    source = open_source(field(), "air", "time")
    found = streamsvd.pca(source, 2, mask="land")
    assert np.isnan(found.components[0]).sum() == 10
    monthly = streamsvd.anomalies(source, "month")
    out = np.empty((24, 30))
    monthly.read(slice(0, 24), slice(0, 30), out)
    np.testing.assert_allclose(out[:12] + out[12:], 0, atol=1e-12)
    assert neighbour(source, "cell", "x").dims == ("lat",)
    with pytest.raises(SpecError, match="mask='sea' is no array beside.*there are 'area', 'cell'"):
        streamsvd.pca(source, 2, mask="sea")
    alone = open_source(field().air, rows="time")
    assert neighbour(alone, "area", "x").values.shape == (5, 6)
    with pytest.raises(SpecError, match="no array beside"):
        neighbour(alone, "land", "mask='land'")


def test_what_lies_beside_is_not_sent_to_workers():
    source = open_source(field(), "air", "time")
    assert len(pickle.dumps(source)) < ROWS.nbytes + 2000


def test_a_memory_map_is_read_through_its_file(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    source = open_source(xr.DataArray(mapped, dims=("time", "x"), name="a"))
    assert isinstance(source, LabelledFile)
    assert source_labels(source).rows[0].name == "time"
    assert_source(source, ROWS)


def test_what_is_packed_is_decoded_and_what_is_decoded_is_taken_as_it_is(tmp_path):
    values = CUBE.copy()
    values[3, 2] = np.nan
    packed = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -99}
    xr.DataArray(values, dims=("time", "lat", "lon"), name="air").to_netcdf(
        tmp_path / "a.nc", engine="scipy", encoding={"air": packed}
    )
    with xr.open_dataset(tmp_path / "a.nc", engine="scipy") as lazy:
        wanted = lazy.air.values.reshape(24, 30)
    for how in ({}, {"mask_and_scale": False}):
        with xr.open_dataset(tmp_path / "a.nc", engine="scipy", **how) as lazy:
            for given in (lazy, lazy.load()):
                source = open_source(given, rows="time")
                assert_source(source, wanted)
                assert "_FillValue" not in source_labels(source).attributes


@pytest.mark.parametrize(
    "engine", ["scipy", "h5netcdf", "zarr", pytest.param("netcdf4", marks=pytest.mark.slow)]
)
def test_files_are_read_part_by_part_when_they_are_asked(tmp_path, engine):
    if engine in ("h5netcdf", "netcdf4"):
        pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
    path = tmp_path / "a"
    made = field()[["air", "land"]]
    if engine == "zarr":
        made.to_zarr(
            path, zarr_format=2, consolidated=False, encoding={"air": {"chunks": (7, 5, 6)}}
        )
        lazy = xr.open_zarr(path, chunks=None, consolidated=False)
    else:
        chunks = {} if engine == "scipy" else {"air": {"chunksizes": (7, 5, 6)}}
        made.to_netcdf(path, engine=engine, encoding=chunks)
        lazy = xr.open_dataset(path, engine=engine)
    with lazy:
        source = open_source(lazy, "air", "time")
        assert isinstance(source, LazyXarraySource)
        assert source.chunks == ((24, 30) if engine == "scipy" else (7, 30))
        assert_source(source, ROWS)
        assert not lazy.air.variable._in_memory  # and not the whole was kept
        part = open_source(lazy.air.isel(time=slice(3, 20), lat=slice(None, None, -1)), rows="time")
        assert_source(part, CUBE[3:20, ::-1].reshape(17, 30))
        assert list(places(source)) == [path]
        copy = pickle.loads(pickle.dumps(source))
        np.testing.assert_allclose(
            streamsvd.svd(copy, 2).s, np.linalg.svd(ROWS, compute_uv=False)[:2], rtol=1e-3
        )
        assert source_labels(source).coordinate("area").array.shape == (5, 6)
        if engine == "zarr":
            return
        assert [address.look().metadata is not None for address in source.addresses()] == [True]
        os.utime(path, ns=(1, 1))
        with pytest.raises(StoreError, match="has changed since it was opened"):
            source.read(slice(0, 1), slice(0, 30), np.empty((1, 30)))


def test_a_file_that_is_closed_is_an_error(tmp_path, read):
    pytest.importorskip("h5netcdf")
    field().to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf") as lazy:
        source = open_source(lazy, "air", "time")
    (tmp_path / "a.nc").unlink()
    with pytest.raises(StoreError, match=r"a\.nc|cannot be read"):
        read(source)


def test_what_is_no_matrix_is_refused_with_what_there_is():
    made = field()
    with pytest.raises(SpecError, match=r"no variable 'wind'; it holds 'air', 'cell', 'land'"):
        open_source(made, "wind")
    made["sea"] = made.air * 2
    with pytest.raises(SpecError, match="several matrices: 'air', 'sea'"):
        open_source(made, rows="time")
    with pytest.raises(SpecError, match="variable='air' belongs to"):
        open_source(made.air, "air")
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(made.cell)
    with pytest.raises(ShapeError, match="is empty"):
        open_source(made.air[:0], rows="time")
    with pytest.raises(SpecError, match=r"3 dimensions: \(time: 24, lat: 5, lon: 6\)"):
        open_source(made, "air")
    with pytest.raises(SpecError, match="no dimension 'x'"):
        open_source(made, "air", "x")
    with pytest.raises(SpecError, match="holds bool values"):
        open_source(made, "land")
    with pytest.raises(SpecError, match="text|object|U1"):
        open_source(xr.DataArray([["a", "b"]]))
    with pytest.raises(
        SpecError, match="no numeric array of two or more dimensions; it holds 'cell'"
    ):
        open_source(made[["cell"]])


def test_other_arrays_within_are_refused_by_name():
    class Strange(np.lib.mixins.NDArrayOperatorsMixin):
        shape, dtype, ndim, size = (3, 4), np.dtype("f8"), 2, 12

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("it is not to be loaded")

        def __array_function__(self, func, types, args, kwargs):
            return NotImplemented

        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            return NotImplemented

        def __getitem__(self, key):
            return self

    with pytest.raises(SpecError, match=r"holds .*Strange, which is not read yet"):
        open_source(xr.DataArray(Strange(), dims=("y", "x")))


def test_stacked_dimensions_keep_the_names_of_their_levels():
    stacked = field().air.stack(point=("lat", "lon"))
    source = open_source(stacked)
    assert_source(source, ROWS)
    labels = source_labels(source)
    assert labels.coordinate("lat").dims == ("point",)
    assert labels.columns[0].name == "point"


@pytest.mark.slow
def test_what_a_read_takes_beside_its_place_is_bounded(tmp_path):
    pytest.importorskip("h5netcdf")
    rows, columns, height = 8192, 500, 1024
    values = np.full((rows, columns), 0.75)
    packed = {"dtype": "i2", "scale_factor": 0.25, "_FillValue": -1, "chunksizes": (1024, 500)}
    xr.DataArray(values, dims=("t", "x"), name="a").to_netcdf(
        tmp_path / "a.nc", engine="h5netcdf", encoding={"a": packed}
    )
    code = f"""
import resource, numpy as np, xarray
from streamsvd.store.sources import open_source
source = open_source(xarray.open_dataset({str(tmp_path / "a.nc")!r}, engine="h5netcdf"))
out = np.ones(({height}, {columns}))
source.read(slice(0, 1), slice(0, 1), out[:1, :1].copy())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, {rows}, {height}):
    source.read(slice(start, start + {height}), slice(None), out)
    assert (out == 0.75).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)

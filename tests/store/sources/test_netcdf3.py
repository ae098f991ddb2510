"""Arrays in files of netCDF-3: read as xarray decodes them, or refused in words."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.neighbours import neighbour
from streamsvd.store.sources.netcdf3.array import NetCDF3Source
from streamsvd.store.sources.netcdf3.header import read_header
from streamsvd.testing import assert_source

netcdf_file = pytest.importorskip("scipy.io").netcdf_file
xr = pytest.importorskip("xarray")

A = (np.arange(13 * 7) % 120).reshape(13, 7)
CUBE = np.random.default_rng(0).standard_normal((12, 5, 6)).astype("f4")


def write(path, *, version=1, records=True, dtype="f4", others=("h", "i1"), values=A):
    """A file of one matrix ``a`` along ``time``, beside other variables along it."""
    with netcdf_file(path, "w", version=version) as file:
        file.createDimension("time", None if records else len(values))
        file.createDimension("x", values.shape[1])
        for index, kind in enumerate(("f8", *others)):
            other = file.createVariable(f"o{index}", kind, ("time",))
            other[:] = np.arange(len(values)) % 100
        made = file.createVariable("a", dtype, ("time", "x"))
        made[:] = values
        made.units = "K"
        file.createVariable("x", "f8", ("x",))[:] = np.arange(values.shape[1]) / 2
    return path


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize(("records", "version"), [(False, 1), (True, 1), (True, 2)])
def test_any_rectangle_is_the_one_of_the_array(tmp_path, dtype, records, version):
    path = write(tmp_path / "a.nc", version=version, records=records, dtype=dtype)
    source = open_source(path)
    assert isinstance(source, NetCDF3Source)
    assert_source(source, A.astype(dtype))
    assert source.chunks == (13, 7)


@pytest.mark.parametrize("columns", [3, 2000, 5000])
def test_records_short_and_long_are_read(tmp_path, columns):
    values = np.arange(9 * columns, dtype="f4").reshape(9, columns)
    path = write(tmp_path / "a.nc", values=values)
    assert_source(path, values)
    assert_source(open_source(path, rows="x"), values.T)


def test_one_record_variable_of_an_odd_number_of_bytes_has_no_padding(tmp_path):
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("t", None)
        file.createDimension("x", 7)
        file.createVariable("a", "i1", ("t", "x"))[:] = A
    assert_source(tmp_path / "a.nc", A.astype("i1"))


@pytest.mark.parametrize("rows", ["time", ("lat", "lon"), "lon", ("lon", "time")])
def test_a_field_has_its_names_labels_and_packed_values(tmp_path, rows):
    values = CUBE.copy()
    values[2:5, 3] = np.nan
    made = xr.Dataset(
        {
            "air": (("time", "lat", "lon"), values, {"units": "K"}),
            "land": (("lat", "lon"), np.arange(30).reshape(5, 6) % 3 > 0),
            "name": (("lat",), list("abcde")),
            "level": ((), 500.0),
        },
        {
            "time": ("time", np.arange(12) * 31, {"units": "days since 2000-01-01"}),
            "lat": np.linspace(-60, 60, 5),
            "lon": np.arange(6) * 60.0,
            "area": (("lat", "lon"), np.ones((5, 6))),
        },
    )
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 1.0, "_FillValue": -999}
    path = tmp_path / "air.cdf"
    made.to_netcdf(path, engine="scipy", encoding={"air": packed}, unlimited_dims=["time"])
    with xr.open_dataset(path, engine="scipy") as decoded:
        named = (rows,) if isinstance(rows, str) else rows
        others = [d for d in ("time", "lat", "lon") if d not in named]
        wanted = decoded.air.transpose(*named, *others).values
    source = open_source(path, "air", rows)
    assert_source(source, wanted.reshape(source.shape))
    labels = source_labels(source)
    assert {c.name for c in labels.coordinates} == {"time", "lat", "lon", "area"}
    assert labels.attributes == {"units": "K"}
    assert labels.coordinate("time").units.startswith("days since 2000-01-01")
    assert neighbour(source, "level", "x").values == 500
    assert [bytes(v).decode() for v in neighbour(source, "name", "x").values] == list("abcde")
    if rows == "time":
        found = streamsvd.pca(source, 2, mask="land", nonfinite="mean")
        assert np.isnan(found.components[0]).sum() == 10
    with pytest.raises(SpecError, match="no array beside"):
        streamsvd.pca(source, 2, mask="sea")


def test_the_variant_of_64_bits_is_read(tmp_path):
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format="NETCDF3_64BIT_DATA") as file:
        file.createDimension("t", None)
        file.createDimension("x", 7)
        file.createVariable("a", "u8", ("t", "x"))[:] = A
        file.createVariable("b", "f4", ("t",))[:] = 1
    assert_source(open_source(tmp_path / "a.nc", "a"), A.astype("u8"))


def test_a_file_is_known_by_its_first_bytes(tmp_path):
    for name in ("a", "a.data", "a.h5"):
        assert isinstance(open_source(write(tmp_path / name)), NetCDF3Source)


def test_what_is_no_matrix_is_refused_with_what_there_is(tmp_path):
    path = write(tmp_path / "a.nc")
    with pytest.raises(SpecError, match=r"no variable 'b'; it holds 'a', 'o0', 'o1', 'o2', 'x'"):
        open_source(path, "b")
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(path, "x")
    with netcdf_file(path, "w") as file:
        file.createDimension("t", None)
        file.createDimension("x", 3)
        file.createVariable("a", "f4", ("t", "x"))
        file.createVariable("c", "c", ("x", "x"))[:] = b"a"
    with pytest.raises(ShapeError, match="is empty"):
        open_source(path, "a")
    with pytest.raises(SpecError, match=r"\|S1 values"):
        open_source(path, "c")


def test_a_file_cut_short_is_refused_at_any_byte(tmp_path):
    path = write(tmp_path / "a.nc")
    data = path.read_bytes()
    header = min(v.offset for v in read_header(path).values())
    for length in [*range(4, header, 7), header, len(data) - 8]:
        path.write_bytes(data[:length])
        with pytest.raises(StoreError, match=r"a\.nc is (no whole file of netCDF-3|cut short)"):
            open_source(path)


def test_damaged_headers_are_refused_and_never_believed(tmp_path):
    path = write(tmp_path / "a.nc")
    data = path.read_bytes()
    header = min(v.offset for v in read_header(path).values())
    for at in range(4, header, 3):
        path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
        try:
            source = open_source(path)
        except (StoreError, SpecError, ShapeError):
            continue
        assert source.nbytes <= 8 * len(data)
    path.write_bytes(b"CDF\x04" + data[4:])
    with pytest.raises(StoreError, match="it begins with b'CDF"):
        open_source(path)


def test_a_file_that_changes_while_it_is_read_is_an_error_that_names_it(tmp_path, read):
    path = write(tmp_path / "a.nc")
    source = open_source(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match=f"{path} has changed since it was opened"):
        read(source)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(StoreError, match="is cut short|has changed"):
        read(source)


@pytest.mark.parametrize("columns", [500, pytest.param(100_000, marks=pytest.mark.slow)])
def test_what_a_read_takes_beside_its_place_is_bounded(tmp_path, columns):
    rows = (1 << 22) // columns  # 16 MiB
    path = write(tmp_path / "a.nc", values=np.full((rows, columns), 1.5, "f4"))
    code = f"""
import resource, numpy as np
from streamsvd.store.sources import open_source
source = open_source({str(path)!r})
height = max(1, {rows} // 16)
out = np.ones((height, {columns}), 'f4')
source.read(slice(0, 1), slice(0, 1), out[:1, :1].copy())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, {rows} - height, height):
    source.read(slice(start, start + height), slice(None), out)
    assert (out == 1.5).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)

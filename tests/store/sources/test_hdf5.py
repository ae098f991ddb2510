"""Arrays in files of HDF5 and netCDF-4: read as xarray decodes them, or refused in words."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import CorruptChunkError, ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.hdf5.array import Hdf5Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.neighbours import neighbour
from streamsvd.store.writing.separation import places
from streamsvd.testing import assert_source

h5py = pytest.importorskip("h5py")
xr = pytest.importorskip("xarray")
h5netcdf = pytest.importorskip("h5netcdf")

A = np.arange(13 * 7.0).reshape(13, 7)
CUBE = np.random.default_rng(0).standard_normal((12, 5, 6)).astype("f4")


def field(values=CUBE, **encoding):
    """A field over time, latitude and longitude as xarray writes it, with arrays beside it."""
    n = len(values)
    made = xr.Dataset(
        {
            "air": (("time", "lat", "lon"), values, {"units": "K", "long_name": "air"}),
            "land": (("lat", "lon"), np.arange(30).reshape(5, 6) % 3 > 0),
            "station": (("lat",), list("abcde")),
        },
        {
            "time": ("time", np.arange(n) * 31, {"units": "days since 2000-01-01"}),
            "lat": ("lat", np.linspace(-60, 60, 5), {"units": "degrees_north"}),
            "lon": np.arange(6) * 60.0,
            "area": (("lat", "lon"), np.ones((5, 6))),
        },
    )
    made.air.encoding.update(encoding)
    return made


@pytest.fixture(scope="module")
def air(tmp_path_factory):
    path = tmp_path_factory.mktemp("hdf5") / "air.nc"
    field().to_netcdf(path, engine="h5netcdf", encoding={"air": {"chunksizes": (5, 2, 6)}})
    return path


@pytest.mark.parametrize(
    ("dtype", "chunks"),
    [
        ("f2", None), (">f4", None), ("c8", None), ("f8", (1, 7)), ("i1", (4, 3)), ("u2", (13, 7)), (">i4", (4, 7)), ("u8", (5, 2)),
    ],
)  # fmt: skip
def test_any_rectangle_is_the_one_of_the_array(tmp_path, dtype, chunks):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("g/a", data=A.astype(dtype), chunks=chunks)
    source = open_source(tmp_path / "a.h5")
    assert isinstance(source, Hdf5Source)
    assert_source(source, A.astype(np.dtype(dtype).newbyteorder("=")))
    assert (source.chunks == chunks) if chunks else source.has_no_chunks


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "gzip"},
        {"shuffle": True},
        {"compression": "gzip", "shuffle": True, "compression_opts": 9},
        {"compression": "lzf"},
        {"compression": "gzip", "fletcher32": True},
        {"scaleoffset": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["i1", ">i2", "c16"])
def test_filters_are_undone(tmp_path, how, dtype):
    if "scaleoffset" in how and dtype[-2] != "i":
        return  # which rounds
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=A.astype(dtype), chunks=(3, 4), **how)
    source = open_source(tmp_path / "a.h5")
    assert (source.filters is None) == bool(
        {"fletcher32", "scaleoffset"} & {*how} or "lzf" in how.values()
    )
    assert_source(source, A.astype(np.dtype(dtype).newbyteorder("=")))


def test_filters_that_a_chunk_was_spared_are_not_undone(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset(
            "a", (13, 7), "f8", chunks=(13, 7), compression="gzip", shuffle=True
        )
        data.id.write_direct_chunk((0, 0), A.tobytes(), filter_mask=3)
    assert_source(tmp_path / "a.h5", A)


@pytest.mark.parametrize("wrong", [b"x" * 20, "short", "long", "half"])
def test_a_chunk_of_other_bytes_is_damaged(tmp_path, read, wrong):
    import zlib

    data = {
        "short": zlib.compress(A.tobytes()[:-8]),
        "long": zlib.compress(A.tobytes() + bytes(10**6)),
        "half": zlib.compress(A.tobytes())[:-6],
    }.get(wrong, wrong)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("a", (13, 7), "f8", chunks=(13, 7), compression="gzip")
        made.id.write_direct_chunk((0, 0), data)
    with pytest.raises(CorruptChunkError, match=r"chunk '\(0, 0\)' of .*a.h5:/a is damaged"):
        read(open_source(tmp_path / "a.h5"))


def test_values_of_another_kind_than_numpy_has_are_converted_by_the_library(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kind = h5py.h5t.IEEE_F32LE.copy()
        kind.set_fields(31, 23, 8, 0, 23)
        kind.set_ebias(100)
        listed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        listed.set_chunk((4, 4))
        space = h5py.h5s.create_simple((13, 7))
        made = h5py.Dataset(h5py.h5d.create(file.id, b"a", kind, space, listed))
        made[...] = A.astype("f4")
    source = open_source(tmp_path / "a.h5")
    assert source.filters is None
    assert_source(source, A.astype(source.dtype))


@pytest.mark.parametrize("rows", ["time", ("lat", "lon"), "lat", ("time", "lon")])
def test_more_dimensions_are_flattened_by_name(air, rows):
    source = open_source(air, "air", rows)
    named = (rows,) if isinstance(rows, str) else rows
    order = [("time", "lat", "lon").index(r) for r in named]
    order += [i for i in range(3) if i not in order]
    assert_source(source, CUBE.transpose(order).reshape(source.shape))


def test_a_path_may_name_the_array(tmp_path, air):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/b/a"], file["g/c"] = A, A[:5]
    for source in (
        open_source(f"{tmp_path}/a.h5:/g/b/a"),
        open_source(tmp_path / "a.h5", "g/b/a"),
        open_source(tmp_path / "a.h5", "/g/b/a"),
        open_source(tmp_path / "a.h5", "g/b"),
    ):
        assert source.name == f"{tmp_path}/a.h5:/g/b/a"
        assert source.shape == A.shape
    with pytest.raises(SpecError, match=r"names the array 'g/c', and variable='x' another"):
        open_source(f"{tmp_path}/a.h5:/g/c", "x")


def test_objects_of_h5py_are_read_by_their_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/a"] = A
    with h5py.File(tmp_path / "a.h5", "r") as file:
        for given, variable in ((file["g/a"], None), (file, "g/a"), (file["g"], "a"), (file, None)):
            assert_source(open_source(given, variable), A)
    with pytest.raises(SpecError, match="is closed"):
        open_source(file["g/a"] if file else file)
    with (
        h5py.File("memory.h5", "w", driver="core", backing_store=False) as file,
        pytest.raises(SpecError, match="lies in memory"),
    ):
        file["a"] = A
        open_source(file["a"])


def test_objects_of_netcdf4_are_read_by_their_file(tmp_path):
    netCDF4 = pytest.importorskip("netCDF4")
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        group = file.createGroup("g")
        group.createDimension("y", 13)
        group.createDimension("x", 7)
        group.createVariable("a", "f8", ("y", "x"))[:] = A
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        for given, variable in ((file["g"]["a"], None), (file, "g/a"), (file["g"], "a")):
            source = open_source(given, variable)
            assert_source(source, A)
            assert source.layout.names == ("y", "x")


PACKED = [
    {},
    {"dtype": "i2", "scale_factor": 0.01, "add_offset": 273.0, "_FillValue": -32768},
    {"dtype": "u1", "scale_factor": 0.03, "add_offset": -4.0, "_FillValue": 255},
    {"dtype": "i4", "scale_factor": 1e-5, "_FillValue": -1},
    {"dtype": "f4", "_FillValue": 1e20},
    {"dtype": "f8", "_FillValue": -999.0},
    {"dtype": "f4", "_FillValue": np.nan},
    {"dtype": "i1", "_Unsigned": "true", "_FillValue": -1, "scale_factor": 0.05},
]


@pytest.mark.parametrize("encoding", PACKED, ids=str)
def test_packed_values_are_those_that_xarray_decodes(tmp_path, encoding):
    values = CUBE.copy()
    if encoding.get("_FillValue") is not None:
        values[3:7, 1] = np.nan
    path = tmp_path / "a.nc"
    made = field(values)
    if encoding.get("_Unsigned"):
        made["air"] = abs(made.air)
    made.to_netcdf(path, engine="h5netcdf", encoding={"air": encoding})
    with xr.open_dataset(path, engine="h5netcdf") as decoded:
        wanted = decoded.air.values.reshape(12, 30)
    source = open_source(path, "air", "time")
    assert_source(source, wanted.astype(source.dtype))
    assert source.dtype == (np.float64 if "scale_factor" in encoding else wanted.dtype)


def test_attributes_are_read_however_they_are_stored(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, one in (("a", lambda v: v), ("b", lambda v: np.array([v])), ("c", np.array)):
            data = file.create_dataset(name, data=np.arange(12, dtype="i2").reshape(3, 4))
            data.attrs["_FillValue"] = one(np.int16(5))
            data.attrs["scale_factor"] = one(0.5)
            data.attrs["units"] = np.bytes_("K") if name == "a" else "K"
            data.attrs["nothing"] = h5py.Empty("f4")
    wanted = np.arange(12.0).reshape(3, 4) / 2
    wanted[1, 1] = np.nan
    for name in "abc":
        source = open_source(tmp_path / "a.h5", name)
        assert_source(source, wanted)
        assert source_labels(source).attributes["units"] == "K"


def test_labels_are_those_of_the_file(air):
    labels = source_labels(open_source(air, "air", "time"))
    assert (labels.name, labels.attributes["units"]) == ("air", "K")
    assert [d.name for d in (*labels.rows, *labels.columns)] == ["time", "lat", "lon"]
    assert {c.name: c.dims for c in labels.coordinates} == {
        "time": ("time",),
        "lat": ("lat",),
        "lon": ("lon",),
        "area": ("lat", "lon"),
    }
    assert labels.coordinate("time").units.startswith("days since 2000-01-01")
    np.testing.assert_array_equal(labels.coordinate("lon").array, np.arange(6) * 60.0)


def test_arrays_beside_it_are_found_by_name(air):
    source = open_source(air, "air", "time")
    assert neighbour(source, "station", "x").values.tolist() == list("abcde")
    land = neighbour(source, "land", "mask='land'")
    assert land.dims == ("lat", "lon")
    r = streamsvd.pca(source, 2, mask="land")
    assert np.isnan(r.components[0]).sum() == 10
    with pytest.raises(SpecError, match="mask='sea' is no array beside"):
        streamsvd.pca(source, 2, mask="sea")
    monthly = streamsvd.anomalies(source, "month")
    assert monthly.shape == (12, 30)


def test_names_are_found_in_the_groups_above_as_in_netcdf(tmp_path):
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"y": 13, "x": 7}
        file.create_variable("x", ("x",), data=np.arange(7.0))
        file.create_variable("/g/a", ("y", "x"), data=A)
    source = open_source(tmp_path / "a.nc", "g/a")
    assert source.layout.names == ("y", "x")
    labels = source_labels(source)
    assert [c.name for c in labels.coordinates] == ["x"]  # y is a dimension and no variable
    assert streamsvd.svd(source, 2).labels.columns[0].name == "x"


def test_characters_are_texts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = A
        file["name"] = np.array([list("ab "), list("cd "), *[list("ef ")] * 5], "S1")
        file["vlen"] = np.array([*"abcdefg"], h5py.string_dtype())
    source = open_source(tmp_path / "a.h5", "a")
    assert neighbour(source, "name", "x").values.tolist()[:2] == [b"ab ", b"cd "]
    assert neighbour(source, "vlen", "x").values.tolist() == [*"abcdefg"]


def test_bounds_and_coordinates_of_others_are_not_what_is_meant(tmp_path):
    made = field()[["air"]]
    made["lat_bnds"] = (("lat", "nv"), np.zeros((5, 2)))
    made["lat"].attrs["bounds"] = "lat_bnds"
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    assert open_source(tmp_path / "a.nc", rows="time").shape == (12, 30)


def test_what_is_not_there_is_refused_with_what_is(tmp_path, air):
    with pytest.raises(
        SpecError, match=r"no variable 'wind'; it holds 'air', 'area', 'land', 'lat'"
    ):
        open_source(air, "wind")
    with pytest.raises(SpecError, match=r"several matrices: 'air', 'land'"):
        open_source(air)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/b"] = A
        file["g/c"] = np.zeros((0, 7))
        file["g/d"] = A[0]
        file["g/e"] = h5py.Empty("f4")
    path = tmp_path / "a.h5"
    with pytest.raises(
        SpecError, match=r"no variable 'g/x'.*Its group '/g' holds 'b', 'c', 'd', 'e'"
    ):
        open_source(path, "g/x")
    with pytest.raises(ShapeError, match="is empty"):
        open_source(path, "g/c")
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(path, "g/d")
    with pytest.raises(SpecError, match="no values at all"):
        open_source(path, "g/e")
    with pytest.raises(StoreError, match="does not exist"):
        open_source(f"{tmp_path}/b.h5:/a")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 2), "i4,f4"), "holds compound"),
        (np.array([["a", "b"]], "S3"), "holds text"),
        (np.zeros((3, 2), bool), "holds bool values"),
    ],
)
def test_other_types_are_refused_by_name(tmp_path, values, words):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = values
        file.create_dataset("v", (2, 2), h5py.vlen_dtype("f4"))
        file.create_dataset("s", (2, 2), h5py.string_dtype())
        file.create_dataset("r", (2, 2), h5py.ref_dtype)
    with pytest.raises(SpecError, match=words):
        open_source(tmp_path / "a.h5", "a")
    for name, said in (("v", "lists of unequal length"), ("s", "text"), ("r", "references")):
        with pytest.raises(SpecError, match=f"holds {said}"):
            open_source(tmp_path / "a.h5", name)


def test_a_file_that_is_cut_short_or_no_such_file_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((100, 100))
    data = path.read_bytes()
    path.write_bytes(data[:5000])
    with pytest.raises(StoreError, match=r"a.h5 is cut short: it has 5,000 bytes of 8\d,\d{3}"):
        open_source(path)
    path.write_bytes(b"\x8f" * 100)
    with pytest.raises(StoreError, match="no file of HDF5 or netCDF.*encrypted"):
        open_source(path)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"a.h5"):
        open_source(path)


def test_damage_is_named(tmp_path, read):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("a", data=A, chunks=(13, 7), compression="gzip")
        where = data.id.get_chunk_info(0).byte_offset
    source = open_source(path)
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(where + 10)
        file.write(b"\xff" * 20)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    with pytest.raises(CorruptChunkError, match=r"chunk '\(0, 0\)' of .*a.h5:/a is damaged"):
        read(source)


def test_a_file_that_changes_while_it_is_read_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "a.h5"
    for place in (path, tmp_path / "b.h5"):
        with h5py.File(place, "w") as file:
            file["a"] = A
    source = open_source(path)
    copy = pickle.loads(pickle.dumps(source))
    (tmp_path / "b.h5").replace(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        StoreError, match=rf"{path} has changed since it was opened: it was written"
    ):
        read(source)
    np.testing.assert_array_equal(read(copy), A)  # on another machine a copy has another time
    with h5py.File(path, "a") as file:
        file["b"] = A
    with pytest.raises(StoreError, match="it had [0-9,]+ bytes and has [0-9,]+"):
        read(copy)


def test_a_file_that_is_open_for_writing_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    code = f"""
import h5py, sys
file = h5py.File({str(path)!r}, "w", locking=True)
file["a"] = [[1.0, 2.0]]
file.flush()
print("there", flush=True)
sys.stdin.readline()
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout.readline().strip() == "there"
        with pytest.raises(StoreError, match="open for writing, so that it is locked"):
            open_source(path)
    finally:
        writer.communicate("\n")
    assert open_source(path).shape == (1, 2)
    with h5py.File(path, "r", locking=False):
        assert open_source(path).shape == (1, 2)


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}, {"compression": "lzf"}], ids=str)
def test_absent_chunks_are_the_fill_value_as_hdf5_has_it(tmp_path, how):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("a", (8, 4), "f4", chunks=(4, 4), fillvalue=7, **how)
        data[:4] = 1
    wanted = np.repeat(np.array([[1], [7]], "f4"), 4, 0) * np.ones(4, "f4")
    assert_source(tmp_path / "a.h5", wanted)


def test_links_and_virtual_arrays_are_read_as_the_library_reads_them(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = A
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["link"] = h5py.ExternalLink("a.h5", "/a")
        layout = h5py.VirtualLayout((26, 7), "f8")
        layout[:13] = layout[13:] = h5py.VirtualSource("a.h5", "a", (13, 7))
        file.create_virtual_dataset("v", layout)
    assert_source(open_source(tmp_path / "b.h5", "v"), np.vstack([A, A]))
    assert_source(open_source(tmp_path / "b.h5", "link"), A)


def test_an_absent_filter_is_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        listed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        listed.set_chunk((4, 4))
        listed.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((8, 4))
        h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, listed)
    with pytest.raises(StoreError, match=r"filter 32999 .*hdf5plugin"):
        open_source(tmp_path / "a.h5")


def test_the_library_is_named_where_it_is_absent(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = A
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(StoreError, match=r"pip install 'streamsvd\[hdf5\]'"):
        open_source(tmp_path / "a.h5")


def test_a_path_is_absolute_and_the_place_of_a_result_is_apart_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("a.h5", "w") as file:
        file["a"] = A
    source = open_source("a.h5")
    assert source.path.is_absolute()
    assert list(places(source)) == list(places(f"{tmp_path}/a.h5:/a")) == [tmp_path / "a.h5"]


@pytest.mark.parametrize(
    ("chunks", "packed"),
    [
        (None, False),
        ((2048, 500), True),
        pytest.param(None, True, marks=pytest.mark.slow),
        pytest.param((64, 500), False, marks=pytest.mark.slow),
        pytest.param((4096, 8), False, marks=pytest.mark.slow),
        pytest.param((4096, 8), True, marks=pytest.mark.slow),
        pytest.param((2048, 500), False, marks=pytest.mark.slow),
    ],
)
def test_what_a_read_takes_beside_its_place_is_bounded(tmp_path, chunks, packed):
    rows, columns, height = 16384, 500, 2048  # 32 MiB, read in panels of 4 MiB
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        how = {} if chunks is None else {"compression": "gzip", "compression_opts": 1}
        data = file.create_dataset("a", (rows, columns), "f4", chunks=chunks, **how)
        for start in range(0, rows, 4096):
            data[start : start + 4096] = np.full((4096, columns), 1.5, "f4")
        if packed:
            data.attrs["scale_factor"] = 0.5
    code = f"""
import resource, sys, numpy as np
from streamsvd.store.sources import open_source
source = open_source({str(path)!r})
out = np.ones(({height}, {columns}), source.dtype)
source.read(slice(0, 1), slice(0, 1), out[:1, :1].copy())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, {rows}, {height}):
    source.read(slice(start, start + {height}), slice(None), out)
    assert (out == {0.75 if packed else 1.5}).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)


def test_links_that_lead_nowhere_are_passed_over(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = A
        file["b"], file["c"] = h5py.SoftLink("/none"), h5py.ExternalLink("none.h5", "/x")
    assert_source(tmp_path / "a.h5", A)

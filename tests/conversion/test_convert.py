"""A converted matrix has the same entries and labels, whatever it was; each chunk of it is read once; a run that was stopped goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr
from zarr.storage import LocalStore

import streamsvd
from streamsvd.cli import app
from streamsvd.conversion.convert import plan_convert
from streamsvd.conversion.options import ConvertOptions
from streamsvd.conversion.planning import chunk_height
from streamsvd.engine.events import SourceRemarked, SpanDone
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.writing import resumable
from streamsvd.store.writing.row_chunks import RowChunks
from streamsvd.testing.stores import CountingStore
from tests.matrices import Rows

ROOT = Path(__file__).parents[2]
A = np.random.default_rng(0).standard_normal((1201, 157))
ROW = A.shape[1] * A.itemsize
WIDE = np.random.default_rng(1).standard_normal((2400, 800))
LAYOUTS = {"rows": (100, 157), "tall": (1201, 157), "grid": (200, 20), "columns": (1201, 10)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries(place, **asked):
    source = streamsvd.open(place, **asked)
    out = np.empty(source.shape, source.dtype)
    source.read(slice(None), slice(None), out)
    return out


def least(source, **asked):
    """The smallest budget, as the error names it."""
    with pytest.raises(streamsvd.BudgetError) as caught:
        plan_convert(source, memory=1, **asked)
    return caught.value.needs


def made_of(kind):
    """A matrix of every kind, in the current folder."""
    if kind in LAYOUTS:
        zarr.create_array("A.zarr", data=A, chunks=LAYOUTS[kind])
        return "A.zarr"
    if kind in ("C", "F"):
        np.save("A.npy", np.asarray(A, order=kind))
        return "A.npy"
    return {
        "memory": lambda: A,
        "reader": lambda: Rows(A, 90),
        "dask": lambda: da.from_array(A, chunks=(300, 50)),
        "uneven dask": lambda: da.from_array(A, chunks=((1, 700, 500), 157)),
    }[kind]()


@pytest.mark.parametrize("kind", [*LAYOUTS, "C", "F", "memory", "reader", "dask", "uneven dask"])
@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"chunk": "64KiB"},
        pytest.param({"chunk_rows": 77}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_entries_are_the_same(here, kind, asked):
    source = made_of(kind)
    for name, memory in (("a", None), ("b", least(source, **asked))):
        made = streamsvd.convert(source, name, memory=memory, **asked)
        assert made.info.projected_bytes <= (memory or made.info.projected_bytes)
        np.testing.assert_array_equal(entries(name), A)
        assert streamsvd.open(name).chunks == (made.chunk_rows, 157)
        assert not list(here.glob("*.unfinished"))


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("memory", ["all", "least"])
def test_every_chunk_is_read_once(here, kind, memory):
    store = CountingStore(LocalStore(made_of(kind)))
    asked = {"chunk": "100KiB"}
    plan = plan_convert(store, memory=None if memory == "all" else least(store, **asked), **asked)
    made = streamsvd.convert(store, "B", memory=plan.budget_bytes, **asked)
    looks = 4  # what tells the matrix again: entries of one chunk, and the first bytes of one
    reads = sum(count for key, count in store.gets.items() if key.startswith("c/"))
    chunks = int(np.prod([-(-m // c) for m, c in zip(A.shape, LAYOUTS[kind], strict=True)]))
    whole = kind in (
        "rows",
        "tall",
    )  # chunks of whole rows of which not all fits are read for each part
    again = 9 if whole and memory == "least" else 1
    assert reads <= again * chunks + looks
    assert made.info.passes == plan.passes
    assert made.info.bytes_read == plan.bytes_read


@pytest.mark.parametrize("stored", [1, 7, 64, 97, 1000, 1201])
@pytest.mark.parametrize("chunk", [1, ROW, 10 * ROW, 64 * ROW, 500 * ROW, 5000 * ROW])
def test_chunks_are_parts_of_those_that_are_read_or_whole_ones(stored, chunk):
    source = streamsvd.open(Rows(A, stored))
    height = chunk_height(source, ConvertOptions(chunk=str(chunk)), source.dtype)
    assert 1 <= height <= A.shape[0]
    assert height % stored == 0 or stored % height == 0 or height == A.shape[0] or stored == 1201
    assert height * ROW <= max(2 * chunk, ROW) or height == stored


def test_the_bits_are_the_same_on_any_number_of_threads(here):
    import dask

    for count in (1, 2, 5):
        with dask.config.set(num_workers=count):
            streamsvd.convert(Rows(A, 50), str(count), chunk_rows=60)
    for index in range(21):
        assert len({Path(f"{n}/c/{index}/0").read_bytes() for n in (1, 2, 5)}) == 1


def test_packed_values_become_what_they_mean(here):
    stored = np.arange(60, dtype=np.int16).reshape(20, 3)
    array = zarr.create_array("A.zarr", data=stored, chunks=(7, 3))
    array.attrs.update(scale_factor=0.5, add_offset=10.0, _FillValue=4)
    streamsvd.convert("A.zarr", "B.zarr")
    np.testing.assert_array_equal(entries("B.zarr"), entries("A.zarr"))
    assert np.isnan(entries("B.zarr")[1, 1])
    assert "scale_factor" not in zarr.open_array("B.zarr").attrs


def test_entries_are_rounded_to_the_type_that_is_asked(here):
    made = streamsvd.convert(A, "B.zarr", out_dtype="float32", chunk_rows=100)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(entries("B.zarr"), A.astype(np.float32))
    with pytest.raises(streamsvd.SpecError, match=r"an entry of modulus 1e\+300 is beyond float32"):
        streamsvd.convert(np.full((3, 2), 1e300), "C.zarr", out_dtype="float32")
    for wrong in ("int8", "text", "longdouble"):
        with pytest.raises(streamsvd.SpecError, match="no type to write in"):
            streamsvd.convert(A, "C.zarr", out_dtype=wrong)
    with pytest.raises(streamsvd.SpecError, match="no place for the imaginary parts"):
        streamsvd.convert(A + 1j, "C.zarr", out_dtype="float32")
    assert not Path("C.zarr").exists()


@pytest.mark.parametrize("size", ["0", "much", "2GiB"])
def test_a_chunk_has_a_size(size):
    with pytest.raises(streamsvd.SpecError, match="is no size"):
        streamsvd.convert(A, "never", chunk=size)
    with pytest.raises(streamsvd.SpecError, match="chunk_rows=0 is no count"):
        streamsvd.convert(A, "never", chunk_rows=0)


@pytest.fixture
def field(here):
    """A field with coordinates of every sort."""
    rng = np.random.default_rng(1)
    found = xarray.Dataset(
        {"t2m": (("time", "lat", "lon"), rng.standard_normal((30, 4, 5)), {"units": "K"})},
        {
            "time": np.arange("2001-01-01", "2001-01-31", dtype="M8[D]").astype("M8[ns]"),
            "lat": ("lat", np.linspace(-60, 60, 4), {"units": "degrees_north"}),
            "lon": np.arange(5.0),
            "area": (("lat", "lon"), rng.random((4, 5))),
            "station": ("lon", list("abcdé")),
        },
    )
    found.to_zarr("air.zarr", zarr_format=3, consolidated=False)
    return found


@pytest.mark.filterwarnings("ignore")  # of xarray, about texts in zarr
def test_labels_survive(field):
    before = streamsvd.open("air.zarr", variable="t2m", rows="time")
    made = streamsvd.convert(before, "B.zarr", chunk_rows=7)
    after = streamsvd.open("B.zarr")  # nothing needs to be said: it is known what makes the rows
    assert made.variable == "t2m"
    assert after.shape == (30, 20)
    for one, other in zip(
        sorted(source_labels(before).coordinates, key=lambda c: c.name),
        sorted(source_labels(after).coordinates, key=lambda c: c.name),
        strict=True,
    ):
        assert (one.name, one.dims, one.attributes) == (other.name, other.dims, other.attributes)
        np.testing.assert_array_equal(one.array, other.array)
    again = xarray.open_zarr("B.zarr", chunks=None)
    xarray.testing.assert_equal(again.t2m.drop_vars("station"), field.t2m.drop_vars("station"))
    assert streamsvd.pca("B.zarr", 2).labels.coordinate("lat").units == "degrees_north"


@pytest.mark.filterwarnings("ignore")
def test_rows_of_several_dimensions_become_one_with_their_coordinates(field):
    before = streamsvd.open("air.zarr", variable="t2m", rows=("lat", "lon"))
    streamsvd.convert(before, "B.zarr")
    np.testing.assert_array_equal(
        entries("B.zarr"), entries("air.zarr", variable="t2m", rows=("lat", "lon"))
    )
    labels = source_labels(streamsvd.open("B.zarr"))
    assert [d.name for d in labels.rows] == ["lat_lon"]
    np.testing.assert_array_equal(labels.coordinate("lat").array, np.repeat(field.lat.values, 5))
    np.testing.assert_array_equal(labels.coordinate("area").array, field.area.values.ravel())
    assert list(labels.coordinate("station").array) == list("abcdé") * 4


@pytest.mark.filterwarnings("ignore")
def test_what_is_done_to_a_source_goes_along(field):
    before = streamsvd.anomalies(
        streamsvd.open("air.zarr", variable="t2m", rows="time"), by=np.arange(30) % 3
    )
    streamsvd.convert(before, "B.zarr")
    X = field.t2m.values.reshape(30, 20)
    means = np.array([X[k::3].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(entries("B.zarr"), X - means[np.arange(30) % 3], atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_a_coordinate_of_two_dimensions_is_no_second_matrix(field):
    zarr.open_group("air.zarr")["t2m"].attrs["coordinates"] = "area station"
    assert streamsvd.open("air.zarr", rows="time").name.endswith("t2m")


KILL = """
import os, signal, sys
import streamsvd
from streamsvd.store.writing import row_chunks
kind, count, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
of = row_chunks.ColumnTiles if kind == "tiles" else row_chunks.RowChunks
write = of.write
def killed(self, *given):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, *given)
of.write = killed
streamsvd.convert("A.zarr", "B.zarr", chunk_rows=50, memory=memory)
"""


@pytest.mark.parametrize(
    ("kind", "count", "layout"),
    [
        pytest.param("chunks", 9, "rows", marks=pytest.mark.slow),
        ("tiles", 2, "columns"),
        ("chunks", 9, "columns"),
    ],
)
def test_a_killed_run_goes_on_from_the_chunks_that_are_there(here, kind, count, layout):
    A, memory = WIDE, 0
    zarr.create_array("A.zarr", data=A, chunks=(100, 800) if layout == "rows" else (2400, 8))
    if layout == "columns":
        memory = least("A.zarr", chunk_rows=50)
        assert plan_convert("A.zarr", chunk_rows=50, memory=memory).passes == 2
    done = subprocess.run(
        [sys.executable, "-c", KILL, kind, str(count), str(memory)], cwd=here, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert not Path("B.zarr").exists()
    told = []
    made = streamsvd.convert(
        "A.zarr", "B.zarr", chunk_rows=50, memory=memory or None, callback=told.append
    )
    whole = A.nbytes * (2 if layout == "columns" else 1)
    assert made.info.bytes_read < whole
    assert (made.continued_rows > 0) == (kind == "chunks")
    assert any("it goes on" in event.text for event in told if isinstance(event, SourceRemarked))
    np.testing.assert_array_equal(entries("B.zarr"), A)
    assert sorted(p.name for p in here.iterdir()) == ["A.zarr", "B.zarr"]


class Stop:
    """Stops a run when so many tasks are done; hears what is remarked."""

    def __init__(self, count):
        self.count, self.remarks = count, []

    def __call__(self, event):
        if isinstance(event, SourceRemarked):
            self.remarks.append(event.text)
        self.count -= isinstance(event, SpanDone)
        if not self.count:
            raise KeyboardInterrupt


def stopped(source=None, **asked):
    """A run that was stopped when some of it was written."""
    stop = Stop(4)
    with pytest.raises(KeyboardInterrupt):
        streamsvd.convert(
            Rows(A, 50) if source is None else source,
            "B.zarr",
            chunk_rows=50,
            callback=stop,
            **asked,
        )
    assert "the same again goes on from it" in stop.remarks[-1]
    assert not Path("B.zarr").exists()


def test_a_run_of_another_matrix_begins_anew(here):
    stopped()
    heard = Stop(1 << 30)
    made = streamsvd.convert(Rows(2 * A, 50), "B.zarr", chunk_rows=50, callback=heard)
    assert "begins anew" in heard.remarks[0]
    assert made.continued_rows == 0
    np.testing.assert_array_equal(entries("B.zarr"), 2 * A)


def test_a_run_with_other_options_begins_anew(here):
    stopped()
    assert streamsvd.convert(Rows(A, 50), "B.zarr", chunk_rows=100).continued_rows == 0
    np.testing.assert_array_equal(entries("B.zarr"), A)


def test_after_a_restart_of_the_machine_chunks_are_looked_at(here, monkeypatch):
    stopped()
    damaged = Path("B.zarr.unfinished/c/0/0")
    damaged.write_bytes(bytes(damaged.stat().st_size))
    monkeypatch.setattr(resumable, "_boot", lambda: "another")
    made = streamsvd.convert(Rows(A, 50), "B.zarr", chunk_rows=50)
    assert made.continued_rows >= 50
    np.testing.assert_array_equal(entries("B.zarr"), A)


def test_a_disk_without_room_is_refused_before_any_read(here, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 20))

    class Unreadable:
        shape, dtype, chunks = A.shape, A.dtype, (100, 157)

        def read(self, rows):
            raise AssertionError(f"rows {rows} were read")

    with pytest.raises(streamsvd.StoreError, match=r"takes 1\.44 MiB, and its disk has 1 MiB free"):
        streamsvd.convert(Unreadable(), "B.zarr")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("as_json", [True, False])
def test_an_interrupted_command_says_what_goes_on(here, monkeypatch, capsys, as_json):
    np.save("A.npy", A)
    line = ["convert", "A.npy", "B.zarr", "--chunk-rows", "50", "--quiet", *["--json"] * as_json]
    write, count = RowChunks.write, iter(range(100))

    def interrupted(self, index, rows):
        if next(count) == 5:
            raise KeyboardInterrupt
        write(self, index, rows)

    with monkeypatch.context() as patch:
        patch.setattr(RowChunks, "write", interrupted)
        assert app.run(line) == 130
    said = capsys.readouterr()
    assert (
        "what was written is in B.zarr.unfinished, and the same command goes on from it" in said.err
    )
    assert app.run(line) == 0
    np.testing.assert_array_equal(entries("B.zarr"), A)


def test_two_runs_do_not_write_one_place(here):
    begun = resumable.ResumableFolder(Path("B.zarr"), {})
    with pytest.raises(streamsvd.StoreError, match="another process is writing"):
        streamsvd.convert(A, "B.zarr")
    begun.remove()
    streamsvd.convert(A, "B.zarr")


def test_a_failure_before_anything_is_written_leaves_nothing(here):
    B = A.copy()

    class Broken(Rows):
        def read(self, rows):
            if rows.start:
                raise OSError(5, "Input/output error")
            return super().read(rows)

    with pytest.raises(streamsvd.StoreError, match="Input/output error"):
        streamsvd.convert(Broken(B, 600), "B.zarr")
    assert list(here.iterdir()) == []


def test_what_is_there_is_not_replaced_unasked(here):
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("keep")
    streamsvd.convert(A, "B.zarr")
    with pytest.raises(streamsvd.StoreError, match="exists already"):
        streamsvd.convert(A, "B.zarr")
    with pytest.raises(streamsvd.StoreError, match="no zarr array"):
        streamsvd.convert(A, "notes", overwrite=True)
    streamsvd.convert(2 * A, "B.zarr", overwrite=True)
    np.testing.assert_array_equal(entries("B.zarr"), 2 * A)
    assert sorted(p.name for p in here.iterdir()) == ["B.zarr", "notes"]


def test_a_chunk_is_there_whole_or_not_at_all(here):
    chunks = RowChunks(here, (5, 3), 2, np.dtype("f4"))
    chunks.write(2, np.ones((1, 3), "f4"))
    assert chunks.is_there(2)
    assert chunks.is_intact(2)
    data = bytearray(chunks.path(2).read_bytes())
    data[5] ^= 1
    chunks.path(2).write_bytes(data)
    assert not chunks.is_intact(2)
    chunks.path(2).write_bytes(data[:-1])
    assert not chunks.is_there(2)
    assert not chunks.is_intact(2)
    assert not chunks.is_intact(1)


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("chunk_rows", [None, 64])
def test_text_is_converted_with_its_names(here, named, chunk_rows):
    X = A[:300, :4].copy()
    X[3, 2] = np.nan
    lines = [
        ",".join([f"r{i}"] * named + [("" if np.isnan(x) else repr(float(x))) for x in row])
        for i, row in enumerate(X)
    ]
    Path("x.csv").write_text("\n".join(["name,a,b,c,d"] * named + lines))
    told = []
    made = streamsvd.convert("x.csv", "B.zarr", chunk_rows=chunk_rows, callback=told.append)
    assert made.shape == (300, 4)
    np.testing.assert_allclose(entries("B.zarr"), X, rtol=1e-15)
    labels = source_labels(streamsvd.open("B.zarr"))
    if named:
        assert list(labels.column_names) == list("abcd")
        assert labels.coordinate("row").array[7] == "r7"
    assert made.info.projected_bytes == plan_convert("x.csv", chunk_rows=chunk_rows).projected_bytes
    with pytest.raises(streamsvd.BudgetError, match="columns of text"):
        streamsvd.convert("x.csv", "C.zarr", memory="1MiB")
    assert sorted(p.name for p in here.iterdir()) == ["B.zarr", "x.csv"]


@pytest.mark.parametrize("asked", ["--variable a", "--missing-value -9", "--detrend", "--rows 0"])
def test_nothing_is_asked_of_text(here, capsys, asked):
    Path("x.csv").write_text("1,2\n3,4\n")
    assert app.run(["convert", "x.csv", "B.zarr", *asked.split()]) == 2
    assert "is text: it is converted as it is" in capsys.readouterr().err


def test_the_first_line_of_text_is_asked_for_where_it_may_be_either(here, capsys):
    Path("x.csv").write_text("rs1,1,2\nrs2,0,0\nrs3,2,1\n")
    assert app.run(["convert", "x.csv", "B.zarr"]) != 0
    said = capsys.readouterr().err
    assert "--header" in said
    assert "--no-header" in said
    assert app.run(["convert", "x.csv", "B.zarr", "--no-header"]) == 0
    assert "first column is taken for names of rows: 'rs1'" in capsys.readouterr().err
    np.testing.assert_array_equal(entries("B.zarr"), [[1, 2], [0, 0], [2, 1]])
    assert app.run(["convert", "x.csv", "C.zarr", "--header", "--json"]) == 0
    said = capsys.readouterr().out
    assert "first column is taken for names of rows" in said
    assert list(source_labels(streamsvd.open("C.zarr")).column_names) == ["1", "2"]
    made = streamsvd.convert("x.csv", "D.zarr", header=False)
    assert made.shape == (3, 2)
    assert "names of rows" in made.info.warnings[0]
    assert streamsvd.plan("convert", "x.csv", header=False).options.header is False
    with pytest.raises(streamsvd.SpecError, match=r"header=False .* table of text"):
        streamsvd.convert(A, "E.zarr", header=False)


def test_text_that_is_broken_leaves_nothing(here):
    Path("x.csv").write_text("1,2\n3,4\n5,six\n")
    with pytest.raises(streamsvd.SpecError, match="six"):
        streamsvd.convert("x.csv", "B.zarr")
    with pytest.raises(streamsvd.StoreError, match="does not exist"):
        streamsvd.convert("y.csv", "B.zarr")
    assert [p.name for p in here.iterdir()] == ["x.csv"]

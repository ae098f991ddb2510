"""A sparse matrix by rows is the same matrix, whatever it was: by columns, as text or as edges, in any memory, stopped or not."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import io as scipy_io
from scipy import sparse

import streamsvd
from streamsvd.cli import app
from streamsvd.conversion import entry_streams, sparse_planning, sparse_writing
from streamsvd.conversion import sparse as sparse_conversion
from streamsvd.engine.events import SourceRemarked, SpanDone
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.tables import matrix_market
from streamsvd.store.writing import resumable
from streamsvd.store.writing.sparse_groups import SparseForm, SparseGroupWriter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small(monkeypatch):
    """Files, pieces and saves at the size of a test."""
    monkeypatch.setattr(entry_streams, "LEAST_PIECE", 64)
    monkeypatch.setattr(sparse_planning, "LEAST_PIECE", 64)
    monkeypatch.setattr(sparse_planning, "MOST_PIECE", 64)
    monkeypatch.setattr(sparse_planning, "LEAST_SORTED", 64)
    monkeypatch.setattr(sparse_writing, "SAVED_ENTRIES", 500)
    plan = sparse_planning.plan_sparse

    def by_files(stream, form, budget, shared, **asked):
        found = plan(stream, form, budget, shared, **asked)
        if found.way != "sort":
            return found
        most = max(64, stream.most_entries // 8)
        rows = max(1, form.shape[0] // 16)
        scratch = stream.most_entries * (8 + form.dtype.itemsize)
        return sparse_planning.SparsePlan("buckets", 64, most, rows, found.needed, scratch)

    for module in (sparse_writing, sparse_conversion):
        monkeypatch.setattr(module, "plan_sparse", by_files)


def matrix(m=400, n=300, density=0.05, dtype="f8", seed=0, form="csc"):
    rng = np.random.default_rng(seed)
    A = sparse.random_array((m, n), density=density, format=form, dtype=dtype, rng=rng)
    A = A.tolil()
    A[: m // 10] = 0  # empty rows and columns
    A[:, n // 2 : n // 2 + 5] = 0
    return A.asformat(form)


def rows_of(place, **asked):
    A = streamsvd.open(place, **asked)
    return A.read_sparse(slice(0, A.shape[0]))


def check_same(place, expected, **asked):
    """The same arrays as scipy's, in canonical form."""
    found = rows_of(place, **asked)
    expected = sparse.csr_array(expected)
    expected.sum_duplicates()
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.data, expected.data)


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in Path(folder).rglob("*")
        if p.is_file()
    }


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("dtype", ["f4", "f8", "c16"])
def test_the_rows_are_those_of_scipy(here, small, form, transpose, dtype):
    A = matrix(dtype=dtype, form=form)
    made = (streamsvd.transpose if transpose else streamsvd.convert)(A, "B.zarr")
    check_same("B.zarr", A.conj().T if transpose else A)
    assert made.entries == A.nnz
    assert made.dtype == np.dtype(dtype)
    assert made.info.passes == (1 if (form == "csr") != transpose else 2)
    assert [p.name for p in here.iterdir()] == ["B.zarr"]


@st.composite
def entries(draw):
    """A few entries in any order, some of them twice."""
    m, n = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    count = draw(st.integers(0, 120))
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, m, count), rng.integers(0, n, count)
    return sparse.coo_array((rng.standard_normal(count), (rows, columns)), shape=(m, n))


@settings(deadline=None, max_examples=40)
@given(case=entries(), transpose=st.booleans(), most=st.integers(1, 40), rows=st.integers(1, 9))
def test_any_matrix_goes_through_files(tmp_path_factory, case, transpose, most, rows):
    A = case.tocsr() if transpose else case.tocsc()
    place = tmp_path_factory.mktemp("any") / "B.zarr"
    with pytest.MonkeyPatch.context() as patch:
        plan = sparse_planning.SparsePlan("buckets", 7, max(most, 1), rows, 1 << 26, 1)
        for module in (sparse_writing, sparse_conversion):
            patch.setattr(module, "plan_sparse", lambda *given, **asked: plan)
        made = streamsvd.convert(A, place, transpose=transpose, chunk=1024)
    check_same(place, A.T if transpose else A)
    assert made.entries == A.nnz


def test_anndata_reads_what_is_written(here):
    anndata = pytest.importorskip("anndata")
    A = matrix(dtype="f4")
    streamsvd.convert(A, "B.zarr", chunk=1 << 14)
    group = zarr.open_group("B.zarr", mode="r")
    assert group["data"].chunks == (1024,)
    assert dict(group.attrs)["encoding-type"] == "csr_matrix"
    found = anndata.io.read_elem(group)
    assert abs(found - A).max() == 0
    assert found.indices.dtype == found.indptr.dtype == np.int32


def test_names_of_rows_and_columns_are_kept(here):
    anndata = pytest.importorskip("anndata")
    A = matrix(60, 40, 0.2, "f4")
    data = anndata.AnnData(sparse.csc_matrix(A))
    data.obs_names = [f"cell{i}" for i in range(60)]
    data.var_names = [f"géne{i}" for i in range(40)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.write_zarr("A.zarr")
    made = streamsvd.convert("A.zarr", "B.zarr")
    assert made.variable == "X"
    labels = source_labels(streamsvd.open("B.zarr"))
    assert list(labels.column_names) == list(data.var_names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = anndata.read_zarr("B.zarr")
    assert list(again.obs_names) == list(data.obs_names)
    assert abs(again.X - A).max() == 0
    streamsvd.transpose("B.zarr", "C.zarr", overwrite=True)
    assert list(source_labels(streamsvd.open("C.zarr")).column_names) == list(data.obs_names)
    check_same("C.zarr", A.T)


def test_zeros_are_written_where_they_are_asked_for(here):
    A = matrix()
    made = streamsvd.convert(A, "B.zarr", dense=True)
    assert made.entries is None
    np.testing.assert_array_equal(zarr.open_array("B.zarr", mode="r")[...], A.toarray())


def test_entries_are_rounded_to_the_type_that_is_asked(here):
    A = matrix()
    made = streamsvd.convert(A, "B.zarr", out_dtype="float32")
    assert made.dtype == np.float32
    check_same("B.zarr", A.astype("f4"))


def test_a_matrix_without_entries_is_one(here):
    A = sparse.csc_array((5, 4))
    for transpose in (False, True):
        assert streamsvd.convert(A, "B.zarr", transpose=transpose, overwrite=True).entries == 0
        check_same("B.zarr", A.T if transpose else A)


def test_rows_of_many_entries_are_divided(here, small):
    A = sparse.lil_array((30, 5000))
    A[7] = 1 + np.arange(5000)
    A[3, ::7] = 2
    streamsvd.convert(A.tocsc(), "B.zarr")
    check_same("B.zarr", A)


def test_one_place_of_more_entries_than_fit_is_refused_in_words(here, small):
    rng = np.random.default_rng(0)
    pairs = np.concatenate([rng.integers(0, 9, (300, 2)), np.full((5000, 2), 4)])
    np.save("e.npy", pairs)
    with pytest.raises(streamsvd.BudgetError, match=r"row 4 of .* the same again: it goes on"):
        streamsvd.convert("e.npy", "B.zarr", edges=True, nodes=9)


def test_the_bytes_do_not_depend_on_the_memory(here):
    rng = np.random.default_rng(0)
    count = 1_000_000
    places = rng.integers(0, 20_000, count), rng.integers(0, 5000, count)
    A = sparse.coo_array((rng.standard_normal(count), places), shape=(20_000, 5000)).tocsc()
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.plan("convert", A, memory=1, chunk="1MiB")
    least = streamsvd.plan("convert", A, memory=caught.value.needs, chunk="1MiB")
    assert least.passes == 2
    assert least.projected_bytes <= caught.value.needs
    assert "2 reads and 2 writes" in least.explain() if hasattr(least, "explain") else True
    for name, memory in (("B", least.budget_bytes), ("C", "1GiB")):
        made = streamsvd.convert(A, name, memory=memory, chunk="1MiB")
        assert made.info.passes == (2 if name == "B" else 1)
    assert contents("B") == contents("C")
    check_same("B", A)


class Stop:
    """Stops a run after so many of its steps; hears what is remarked."""

    def __init__(self, count=1 << 30):
        self.count, self.steps, self.remarks = count, 0, []

    def __call__(self, event):
        if isinstance(event, SourceRemarked):
            self.remarks.append(event.text)
        self.steps += isinstance(event, SpanDone)
        if isinstance(event, SpanDone) and self.steps == self.count:
            raise KeyboardInterrupt


def write_market(path, A, field=None, symmetry="general"):
    file = io.BytesIO()
    scipy_io.mmwrite(file, A, field=field, symmetry=symmetry, precision=17)
    data = file.getvalue()
    Path(path).write_bytes(gzip.compress(data) if str(path).endswith(".gz") else data)
    return path


def edges_of(A):
    A = A.tocoo()
    order = np.random.default_rng(0).permutation(A.nnz)
    return np.stack([A.row[order], A.col[order], A.data[order]], axis=1)


def kinds(kind):
    """What is read, what is asked, and the matrix that is to come."""
    A = matrix(300, 300, 0.1)
    if kind == "csr":
        return sparse.csr_array(A), {}, A
    if kind == "csc":
        return A, {}, A
    if kind == "market":
        return write_market("A.mtx", sparse.csr_array(A)), {}, A
    if kind == "packed market":
        return write_market("A.mtx.gz", sparse.coo_array(A)), {}, A
    if kind == "edges":
        np.save("e.npy", edges_of(A))
        return "e.npy", {"edges": True, "nodes": 300}, A
    np.savetxt("e.csv", edges_of(A), delimiter=",", fmt=["%d", "%d", "%.17g"])
    return "e.csv", {"edges": True, "nodes": 300, "header": False}, A


@pytest.mark.parametrize("kind", ["csr", "csc", "market", "packed market", "edges", "text edges"])
@pytest.mark.parametrize("part", [0.05, 0.4, 0.6, 0.99])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(here, small, monkeypatch, kind, part):
    monkeypatch.setattr(matrix_market, "PIECE_BYTES", 1 << 12)
    monkeypatch.setattr("streamsvd.store.sources.tables.csv_table.BLOCK_BYTES", 1 << 10)
    given, asked, A = kinds(kind)
    asked["chunk"], whole = 1 << 13, Stop()
    streamsvd.convert(given, "whole.zarr", callback=whole, **asked)
    check_same("whole.zarr", A)
    stop = Stop(max(1, int(part * whole.steps)))
    with pytest.raises(KeyboardInterrupt):
        streamsvd.convert(given, "B.zarr", callback=stop, **asked)
    assert not Path("B.zarr").exists()
    heard = Stop()
    made = streamsvd.convert(given, "B.zarr", callback=heard, **asked)
    assert any("it goes on" in text for text in heard.remarks) == (part > 0.1)
    assert (heard.steps < whole.steps) == (part > 0.1)
    assert (made.continued_rows > 0) == (part > (0.1 if made.info.passes == 1 else 0.9))
    assert contents("B.zarr") == contents("whole.zarr")
    assert not list(here.glob("*.unfinished"))


KILL = """
import os, signal, sys
import streamsvd
from streamsvd.conversion import entry_streams, sparse_planning, sparse_writing
from streamsvd.store.writing import entry_buckets, sparse_groups
for module in (entry_streams, sparse_planning):
    module.LEAST_PIECE = module.MOST_PIECE = 1 << 12
sparse_planning.LEAST_SORTED, sparse_writing.SAVED_ENTRIES = 1 << 12, 1 << 14
kind, count, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
of, name = {
    "scatter": (entry_buckets.EntryBuckets, "_append"), "sort": (sparse_groups.SparseGroupWriter, "append"),
    "save": (sparse_writing.SparseConversion, "_save"), "publish": (entry_buckets.EntryBuckets, "remove"),
}[kind]
do = getattr(of, name)
def killed(self, *given):
    global count
    count -= 1
    if count < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return do(self, *given)
setattr(of, name, killed)
streamsvd.convert("A.zarr", "B.zarr", memory=memory, chunk=1 << 18)
"""


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("scatter", 3000),
        pytest.param("sort", 2, marks=pytest.mark.slow),
        pytest.param("save", 7, marks=pytest.mark.slow),
        pytest.param("publish", 3, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bytes(here, monkeypatch, kind, count):
    rng = np.random.default_rng(0)
    A = sparse.random_array((20_000, 3000), density=0.02, format="csr", rng=rng)
    group = zarr.create_group(
        "A.zarr", attributes={"encoding-type": "csc_matrix", "shape": list(A.shape)}
    )
    for name, values in zip(("data", "indices", "indptr"), _parts(A.tocsc()), strict=True):
        group.create_array(name, data=values, chunks=(1 << 14,))
    for module in (entry_streams, sparse_planning):
        monkeypatch.setattr(module, "LEAST_PIECE", 1 << 12)
    monkeypatch.setattr(sparse_planning, "MOST_PIECE", 1 << 12)
    monkeypatch.setattr(sparse_planning, "LEAST_SORTED", 1 << 12)
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.plan("convert", "A.zarr", memory=1, chunk=1 << 18)
    memory = caught.value.needs
    done = subprocess.run(
        [sys.executable, "-c", KILL, kind, str(count), str(memory)], cwd=here, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    assert not Path("B.zarr").exists()
    heard = Stop()
    made = streamsvd.convert(
        "A.zarr", "B.zarr", memory=memory + (1 << 20), chunk=1 << 18, callback=heard
    )
    assert any("it goes on" in text for text in heard.remarks)
    assert (made.continued_rows > 0) == (kind in ("sort", "publish"))
    check_same("B.zarr", A)
    streamsvd.convert(A, "C.zarr", chunk=1 << 18)
    assert contents("B.zarr") == contents("C.zarr")
    assert not list(here.glob("*.unfinished"))


def _parts(A):
    return A.data, A.indices, A.indptr


def test_a_run_begins_anew_where_something_may_be_lost(here, small, monkeypatch):
    A = matrix()
    for change in ("boot", "matrix"):
        with pytest.raises(KeyboardInterrupt):
            streamsvd.convert(A, "B.zarr", callback=Stop(20), overwrite=True)
        heard = Stop()
        with monkeypatch.context() as patch:
            if change == "boot":
                patch.setattr(resumable, "_boot", lambda: "another")
            else:
                A = 2 * A
            made = streamsvd.convert(A, "B.zarr", callback=heard, overwrite=True)
        assert "begins anew" in heard.remarks[0]
        assert made.continued_rows == 0
        check_same("B.zarr", A)


def test_a_disk_without_room_for_files_is_refused_before_any_read(here, small, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 10))
    with pytest.raises(streamsvd.StoreError, match=r"files on the way .* its disk has 1 KiB free"):
        streamsvd.convert(matrix(), "B.zarr")
    assert list(here.iterdir()) == []


def test_too_many_files_are_refused_with_the_memory_that_does(here, monkeypatch):
    monkeypatch.setattr(sparse_planning, "MOST_BUCKETS", 2)
    rng = np.random.default_rng(0)
    A = sparse.random_array((3000, 2000), density=0.2, format="csc", rng=rng)
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.convert(A, "B.zarr", memory="64MiB")
    made = streamsvd.convert(A, "B.zarr", memory=caught.value.needs)
    assert made.info.projected_bytes <= caught.value.needs
    check_same("B.zarr", A)


@pytest.mark.parametrize("name", ["A.mtx", "A.mtx.gz"])
@pytest.mark.parametrize("field", ["real", "integer", "pattern", "complex"])
@pytest.mark.parametrize("order", ["csr", "csc"])
def test_text_of_matrix_market_is_read(here, small, monkeypatch, name, field, order):
    monkeypatch.setattr(matrix_market, "PIECE_BYTES", 1 << 12)
    A = matrix(form=order)
    if field == "integer":
        A.data = np.round(100 * A.data).astype(np.int64)
    if field == "complex":
        A = A * (1 + 2j)
    write_market(name, A, field)
    if field == "pattern":
        A.data[:] = 1
    for transpose in (False, True):
        made = streamsvd.convert(name, "B.zarr", transpose=transpose, overwrite=True)
        check_same("B.zarr", A.conj().T if transpose else A)
        assert made.entries == A.nnz
        ordered = (order == "csr") != transpose
        assert made.info.passes == (1 if ordered else 2)


def test_cells_of_a_10x_file_need_no_files(here):
    cells = sparse.csr_array(matrix(200, 80, 0.1))
    cells.data = np.ceil(cells.data * 5).astype(np.int64)
    write_market("matrix.mtx.gz", sparse.csc_array(cells.T))
    plan = streamsvd.plan("convert", "matrix.mtx.gz", transpose=True)
    assert plan.passes == 1
    streamsvd.convert("matrix.mtx.gz", "cells.zarr", transpose=True)
    check_same("cells.zarr", cells)


def test_the_other_half_of_a_symmetric_matrix_is_made(here, small):
    A = matrix(60, 60, 0.2)
    A = sparse.csr_array(A + A.T)
    write_market("A.mtx", A, symmetry="symmetric")
    streamsvd.convert("A.mtx", "B.zarr")
    check_same("B.zarr", A)


def test_rows_that_come_again_are_read_once_more(here, small, monkeypatch):
    monkeypatch.setattr(matrix_market, "PIECE_BYTES", 1 << 11)
    A = sparse.csr_array(matrix())
    write_market("A.mtx", A)
    lines = Path("A.mtx").read_text().splitlines(keepends=True)
    Path("A.mtx").write_text("".join([*lines[:-400], *lines[:-401:-1]]))
    heard = Stop()
    made = streamsvd.convert("A.mtx", "B.zarr", callback=heard)
    assert any("in no order" in text for text in heard.remarks)
    assert made.info.passes == 3
    check_same("B.zarr", A)


def test_a_row_that_does_not_fit_goes_through_files(here, small, monkeypatch):
    monkeypatch.setattr(matrix_market, "PIECE_BYTES", 1 << 10)
    A = sparse.lil_array((9, 4000))
    A[4] = 1 + np.arange(4000)
    A[8, 5] = 3
    write_market("A.mtx", sparse.csr_array(A))
    heard = Stop()
    streamsvd.convert("A.mtx", "B.zarr", callback=heard)
    assert any("row 4 of" in text and "read once more" in text for text in heard.remarks)
    check_same("B.zarr", A)


HEAD = "%%MatrixMarket matrix coordinate real general\n% of a test\n3 4 3\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "1 1 2\n3 x 4\n2 2 2\n", r"line 5: 'x' is no column"),
        (HEAD + "1 1 2\n\n3 4\n2 2 2\n", r"line 6: 2 fields, and an entry \(real\) has 3"),
        (HEAD + "1 1 2\n\n4 4 1\n2 2 2\n", r"line 6: row 4 is outside of the matrix, whose rows are 1 to 3"),
        (HEAD + "1 1 2\n0 4 1\n2 2 2\n", r"line 5: row 0 is outside"),
        (HEAD + "1 1 2\n1 5 1\n2 2 2\n", r"line 5: column 5 is outside"),
        (HEAD + "1 1 2\n1 4 1 9\n2 2 2\n", r"line 5: 4 fields"),
        (HEAD + "1 1 2\n1 4 a\n2 2 2\n", r"line 5: 'a' is no number"),
        (HEAD + "1 1 2\n1 4 1\n", r"has 2 entries, and its head says 3: an interrupted write"),
        (HEAD + "1 1 2\n1 4 1\n2 2 2\n3 3 3\n", r"more than the 3 entries that its head says"),
        (HEAD.replace("real", "integer") + "1 1 2\n1 4 1.5\n2 2 2\n", r"line 5: '1.5' is no integer"),
        (HEAD.replace("real", "integer") + "1 1 2\n1 4 99999999999999999999\n2 2 2\n", "beyond 64 bits"),
        (HEAD.replace("general", "skew-symmetric"), "skew-symmetric: half of its entries"),
        (HEAD.replace("real general", "complex hermitian"), "hermitian: half of its entries"),
        (HEAD.replace("coordinate", "array"), "'array': all its entries are stored"),
        (HEAD.replace("3 4 3", "3 4"), r"has b'3 4\\n' in line 3, where rows, columns and entries"),
        (HEAD.replace("3 4 3", "0 4 3"), r"has shape \(0, 4\)"),
        (HEAD.replace("general", "symmetric"), r"says that it is symmetric, and has shape \(3, 4\)"),
        ("1 1 2\n", "begins with b'1 1 2"),
    ],
)  # fmt: skip
def test_faults_of_text_are_named_by_their_line(here, text, words):
    Path("A.mtx").write_text(text)
    with pytest.raises(streamsvd.StreamSVDError, match=words):
        streamsvd.convert("A.mtx", "B.zarr")
    assert [p.name for p in here.iterdir()] == ["A.mtx"]


def test_a_packed_text_that_ends_is_refused(here):
    write_market("A.mtx.gz", matrix())
    data = Path("A.mtx.gz").read_bytes()
    Path("A.mtx.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(streamsvd.StoreError, match=r"no complete \.gz file"):
        streamsvd.convert("A.mtx.gz", "B.zarr")
    assert [p.name for p in here.iterdir()] == ["A.mtx.gz"]


@pytest.mark.parametrize("kind", ["npy", "csv", "tsv", "txt.gz", "parquet"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_edges_become_an_adjacency(here, small, kind, weighted, symmetric):
    rng = np.random.default_rng(0)
    pairs = np.concatenate([rng.integers(0, 90, (900, 2)), [[7, 7], [7, 7], [89, 0]]])
    weights = np.round(rng.random(len(pairs)), 3)
    name = f"e.{kind}"
    table = np.column_stack([pairs, weights]) if weighted else pairs
    if kind == "npy":
        np.save(name, table)
    elif kind == "parquet":
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"source": pairs[:, 0], "target": pairs[:, 1]})
        if weighted:
            frame["weight"] = weights
        frame.to_parquet(name)
    else:
        cut = "," if kind == "csv" else "\t"
        form = ["%d", "%d", "%.3f"][: table.shape[1]]
        np.savetxt(
            name,
            table,
            fmt=form,
            delimiter=cut,
            header=cut.join("abc"[: table.shape[1]]),
            comments="",
        )
    sides = [pairs, pairs[:, ::-1][pairs[:, 0] != pairs[:, 1]]][: 1 + symmetric]
    both = np.concatenate(sides)
    each = weights if weighted else np.ones(len(pairs), np.int32)
    values = np.concatenate([each, each[pairs[:, 0] != pairs[:, 1]]][: 1 + symmetric])
    expected = sparse.coo_array((values, (both[:, 0], both[:, 1])), shape=(90, 90)).tocsr()
    made = streamsvd.convert(name, "B.zarr", edges=True, symmetric=symmetric)
    found = rows_of("B.zarr")
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, rtol=1e-15)
    assert made.info.passes == 3
    again = streamsvd.convert(name, "C.zarr", edges=True, symmetric=symmetric, nodes=90)
    assert again.info.passes == 2
    assert contents("C.zarr") == contents("B.zarr")


@pytest.mark.parametrize(
    ("lines", "asked", "words"),
    [
        ("0,1\n2,-1\n", {}, r"the node -1 in line 2 .* integers from 0 on"),
        ("0,1\n2,1.5\n", {}, r"the node 1\.5 in line 2"),
        ("0,1\n2,\n", {}, r"the node nan in line 2"),
        ("0,1\n2,7\n", {"nodes": 5}, r"the node 7 in line 2 .* there are 5 nodes \(0 to 4\)"),
        ("a,1\nb,7\n", {}, "texts in its first column: nodes are numbers"),
        ("0,1,2,3\n1,2,3,4\n", {}, "has 4 columns; edges have a source"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_nodes_are_named(here, lines, asked, words):
    Path("e.csv").write_text(lines)
    with pytest.raises(streamsvd.StreamSVDError, match=words):
        streamsvd.convert("e.csv", "B.zarr", edges=True, header=False, **asked)
    assert [p.name for p in here.iterdir()] == ["e.csv"]


def test_bad_nodes_of_arrays_are_named_by_their_row(here):
    np.save("e.npy", np.array([[0, 1], [1, 2], [3, -4]]))
    with pytest.raises(streamsvd.SpecError, match=r"the node -4 in row 2"):
        streamsvd.convert("e.npy", "B.zarr", edges=True)
    with pytest.raises(streamsvd.SpecError, match=r"the node 3 in row 2.* there are 2 nodes"):
        streamsvd.convert("e.npy", "B.zarr", edges=True, nodes=2)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"chunk_rows": 5}, "chunk_rows=5 belongs to rows with all their entries"),
        ({"nodes": 5}, "nodes=5 belongs to edges"),
        ({"symmetric": True}, "symmetric=True belongs to edges"),
        ({"dense": True, "transpose": True}, "dense=True and transpose=True do not go together"),
        ({"header": True}, "header=True belongs to a table of text"),
        ({"out_dtype": "int8"}, "no type to write in"),
    ],
)
def test_what_cannot_be_meant_is_refused(here, asked, words):
    with pytest.raises(streamsvd.SpecError, match=words):
        streamsvd.convert(matrix(), "B.zarr", **asked)
    assert list(here.iterdir()) == []


def test_a_dense_matrix_is_not_transposed(here):
    with pytest.raises(streamsvd.SpecError, match="transpose=True belongs to a sparse matrix"):
        streamsvd.transpose(np.ones((3, 2)), "B.zarr")
    Path("A.mtx").write_text(HEAD)
    with pytest.raises(streamsvd.SpecError, match="dense=True and .* do not go together"):
        streamsvd.convert("A.mtx", "B.zarr", dense=True)


def test_what_is_there_is_not_replaced_unasked(here):
    A = matrix(form="csr")
    streamsvd.convert(A, "B.zarr")
    with pytest.raises(streamsvd.StoreError, match="exists already"):
        streamsvd.convert(A, "B.zarr")
    with pytest.raises(streamsvd.SpecError, match="the same, or lie in one another"):
        streamsvd.convert("B.zarr", "B.zarr", overwrite=True)
    streamsvd.convert(2 * A, "B.zarr", overwrite=True)
    check_same("B.zarr", 2 * A)


def test_commands_write_sparse_matrices(here, capsys):
    A = sparse.csr_array(matrix(90, 90, 0.1))
    write_market("A.mtx", A)
    assert app.run(["convert", "A.mtx", "A.zarr", "--quiet"]) == 0
    assert f"90 x 90 float64, {A.nnz:,} stored entries" in capsys.readouterr().out
    assert app.run(["transpose", "A.zarr", "T.zarr", "--quiet", "--json"]) == 0
    assert f'"entries": {A.nnz}' in capsys.readouterr().out
    check_same("T.zarr", A.T)
    np.save("e.npy", edges_of(A)[:, :2].astype(int))
    line = ["convert", "e.npy", "G.zarr", "--edges", "--nodes", "90", "--symmetric", "--quiet"]
    assert app.run(line) == 0
    capsys.readouterr()
    assert app.run(["plan", "convert", "A.zarr", "--transpose"]) == 0
    assert "sorted in memory" in capsys.readouterr().out


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("lines", [1, 2, 5, 300])
@pytest.mark.parametrize("nodes", [None, 10])
def test_a_last_line_without_an_end_is_an_edge(here, lines, end, nodes):
    pairs = [(i % 9, (i + 1) % 9) for i in range(lines)]
    Path("e.csv").write_text("\n".join(f"{i},{j}" for i, j in pairs) + end)
    made = streamsvd.convert("e.csv", "B.zarr", edges=True, nodes=nodes, header=False)
    expected = np.zeros(made.shape)
    np.add.at(expected, tuple(np.array(pairs).T), 1)
    np.testing.assert_array_equal(rows_of("B.zarr").toarray(), expected)
    group = zarr.open_group("B.zarr", mode="r")
    for name in ("data", "indices", "indptr"):
        assert group[name].nchunks_initialized == group[name].nchunks


def test_more_edges_than_packed_text_is_thought_to_have_are_all_written(here):
    lines = b"0,1\n" * 50_000 + b"".join(b"%d,%d\n" % (i, i) for i in range(9))
    Path("e.csv.gz").write_bytes(gzip.compress(lines))
    assert 10 * Path("e.csv.gz").stat().st_size // 4 < 50_000
    for nodes in (None, 9):
        heard = Stop()
        streamsvd.convert(
            "e.csv.gz", "B.zarr", edges=True, nodes=nodes, header=False, chunk=64, overwrite=True, callback=heard,
        )  # fmt: skip
        assert any("more entries than text of its size" in text for text in heard.remarks) == (
            nodes is not None
        )
        expected = np.eye(9)
        expected[0, 1] = 50_000
        np.testing.assert_array_equal(rows_of("B.zarr").toarray(), expected)


@pytest.mark.parametrize("most", [1, 3, 4, 50])
def test_entries_beyond_what_was_expected_are_written_too(tmp_path, most):
    A = sparse.csr_array(np.arange(1, 31).reshape(3, 10) * 1.0)
    form = SparseForm((3, 10), A.dtype, most, 4)
    writer = SparseGroupWriter(tmp_path, form)
    writer.append(A[:2])
    counts, tails = writer.state()
    saved = memoryview(b"".join(t.tobytes() for t in tails))
    again = SparseGroupWriter(tmp_path, form, is_begun=True)
    again.restore(counts, saved)
    again.append(A[2:])
    again.finish()
    check_same(tmp_path, A)


def test_a_chunk_that_is_lost_is_an_error(tmp_path):
    A = sparse.csr_array(np.ones((3, 10)))
    writer = SparseGroupWriter(tmp_path, SparseForm((3, 10), A.dtype, 30, 4))
    writer.append(A)
    (tmp_path / "data" / "c" / "0").unlink()
    with pytest.raises(streamsvd.StoreError, match="/data has 7 chunks of 8"):
        writer.finish()


@pytest.mark.parametrize("kind", ["npy", "mtx"])
def test_sums_beyond_the_type_are_refused_by_their_place(here, kind):
    if kind == "npy":
        np.save("e.npy", np.array([[1, 0, 1.0], *[[3, 2, 3e38]] * 3]))
    else:
        Path("e.mtx").write_text(HEAD.replace("3 4 3", "4 4 4") + "2 1 1\n" + "4 3 3e38\n" * 3)
    with pytest.raises(streamsvd.SpecError, match="row 3, column 2 .* more than float32 holds"):
        streamsvd.convert(f"e.{kind}", "B.zarr", edges=kind == "npy", out_dtype="float32")
    streamsvd.convert(f"e.{kind}", "B.zarr", edges=kind == "npy")
    assert rows_of("B.zarr")[3, 2] == pytest.approx(9e38)


def test_sums_of_integers_beyond_the_type_are_refused(here):
    np.save("e.npy", np.array([[0, 1, 2**62]] * 2))
    with pytest.raises(streamsvd.SpecError, match="row 0, column 1 .* more than int64 holds"):
        streamsvd.convert("e.npy", "B.zarr", edges=True)
    np.save("e.npy", np.array([[0, 1, -(2**61)]] * 2))
    streamsvd.convert("e.npy", "B.zarr", edges=True)
    assert rows_of("B.zarr")[0, 1] == -(2**62)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((text, f"'{text}' is no number") for text in ("1.5abc", "1d2", "0x10", "1,5", "1.5.2", "1-2", "1e", "e5", "-.", "1e5.", "1_0", "--1", "nanx")),
        ("1e400", "1e400 is beyond 64-bit floats"),
        ("-1e400", "-1e400 is beyond 64-bit floats"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("blank", [" ", "  "])
def test_a_number_with_more_behind_it_is_named_by_its_line(here, value, words, blank):
    Path("A.mtx").write_text(HEAD + f"1 1 2\n1 4{blank}{value}\n2 2 2\n")
    with pytest.raises(streamsvd.StoreError, match=rf"line 5: {words}"):
        streamsvd.convert("A.mtx", "B.zarr")
    for kind, texts in (("complex", f"{value} 2"), ("complex", f"2 {value}")):
        lines = f"1 1 2 2\n1 4{blank}{texts}\n2 2 2 2\n"
        Path("A.mtx").write_text(HEAD.replace("real", kind) + lines)
        with pytest.raises(streamsvd.StoreError, match=rf"line 5: {words}"):
            streamsvd.convert("A.mtx", "B.zarr")


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        ("integer", "1 4 1e3", "'1e3' is no integer"),
        ("integer", "1 4 5abc", "'5abc' is no integer"),
        ("pattern", "1 2.7", "'2.7' is no column"),
        ("pattern", "1 2x", "'2x' is no column"),
        ("real", "1e0 2 3", "'1e0' is no row"),
    ],
)
def test_whole_numbers_have_nothing_behind_them(here, kind, line, words):
    Path("A.mtx").write_text(HEAD.replace("real", kind).replace("3 4 3", "3 4 1") + line + "\n")
    with pytest.raises(streamsvd.StoreError, match=rf"line 4: {words}"):
        streamsvd.convert("A.mtx", "B.zarr")


def test_every_way_to_write_a_number_is_read(here):
    texts = [
        "+3",
        "-3",
        "3.",
        ".5",
        "-.5",
        "+.5e+3",
        "1E-5",
        "1e300",
        "0",
        "1e-400",
        "inf",
        "-INF",
        "nan",
        "007",
    ]
    lines = "".join(f"{i + 1} +1 {text}\n" for i, text in enumerate(texts))
    for ending in ("\n", "\r\n"):
        head = f"%%MatrixMarket matrix coordinate real general\n{len(texts)} 1 {len(texts)}\n"
        Path("A.mtx").write_bytes((head + lines).replace("\n", ending).encode())
        streamsvd.convert("A.mtx", "B.zarr", overwrite=True)
        np.testing.assert_array_equal(rows_of("B.zarr").data, [float(text) for text in texts])


@settings(deadline=None, max_examples=300)
@given(field=st.text("01.eE+-", min_size=1, max_size=7))
def test_the_look_at_all_numbers_is_that_of_each(field):
    text = f"1 1 {field}\n12 3 4.5\n".encode()
    each = matrix_market._NUMBER.fullmatch(field) is not None
    assert matrix_market.has_numbers_alone(text, is_whole=False) == each
    whole = each and not set(field) & set(".eE")
    text = text.replace(b"4.5", b"4")
    assert matrix_market.has_numbers_alone(text, is_whole=True) == whole


def heard_of(name, **asked):
    heard = Stop()
    made = streamsvd.convert(name, "B.zarr", callback=heard, overwrite=True, **asked)
    told = [
        text for text in heard.remarks if "is taken for" in text or "is written as it is" in text
    ]
    assert list(made.info.warnings) == told
    return told


@pytest.mark.parametrize("kind", ["csv", "parquet", "npy"])
def test_it_is_told_which_column_is_which(here, kind):
    table = np.array([[0, 3, 5], [3, 1, 2], [1, 0, 4]])
    if kind == "csv":
        Path("e.csv").write_text("from,to,cost\n" + "".join(f"{i},{j},{w}\n" for i, j, w in table))
    elif kind == "parquet":
        pandas = pytest.importorskip("pandas")
        pandas.DataFrame(table, columns=["from", "to", "cost"]).to_parquet("e.parquet")
    else:
        np.save("e.npy", table)
    titles = ("0", "1", "2") if kind == "npy" else ("'from'", "'to'", "'cost'")
    (told,) = heard_of(f"e.{kind}", edges=True)
    assert (
        "{} is taken for the source of an edge, {} for its target, {} for its weight".format(
            *titles
        )
        in told
    )
    if kind == "csv":
        Path("e.csv").write_text("from,to\n0,1\n")
        assert heard_of("e.csv", edges=True) == []


@pytest.mark.parametrize("title", ["", "Unnamed: 0", "__index_level_0__"])
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numbers_of_rows_are_no_sources(here, title, first, kind):
    def write(numbers):
        table = np.column_stack([numbers, [3, 1, 4], [1, 5, 9]])
        if kind == "csv":
            lines = "".join(f"{i},{j},{w}\n" for i, j, w in table)
            Path("e.csv").write_text(f"{title},source,target\n{lines}")
        else:
            parquet = pytest.importorskip("pyarrow.parquet")
            arrow = pytest.importorskip("pyarrow")
            columns = dict(zip((title, "source", "target"), table.T, strict=True))
            parquet.write_table(arrow.table(columns), "e.parquet")

    write(range(first, first + 3))
    for verb in (streamsvd.plan, None):
        with pytest.raises(streamsvd.SpecError, match="a first column .* of numbers of rows"):
            if verb:
                streamsvd.plan("convert", f"e.{kind}", edges=True)
            else:
                streamsvd.convert(f"e.{kind}", "B.zarr", edges=True)
    assert not Path("B.zarr").exists()
    write([2, 0, 1])
    assert "is taken for the source" in heard_of(f"e.{kind}", edges=True)[0]


def test_weights_that_are_not_finite_are_told(here):
    for text, shown in (("nan", "nan"), ("", "nan"), ("inf", "inf"), ("-inf", "-inf")):
        Path("e.csv").write_text(f"a,b,w\n0,1,2\n1,2,{text}\n2,2,{text}\n")
        told = heard_of("e.csv", edges=True)[1]
        assert f"a weight of {shown} in line 3 " in told
        assert not np.isfinite(rows_of("B.zarr")[1, 2])
    np.save("e.npy", np.array([[0, 1, 2.0], [0, 0, np.nan]]))
    assert "a weight of nan in row 1," in heard_of("e.npy", edges=True)[1]
    Path("A.mtx").write_text(HEAD + "1 1 2\n1 4 inf\n2 2 2\n")
    (told,) = heard_of("A.mtx")
    assert "an entry of inf in row 1, column 4," in told


def test_numbers_beyond_floats_are_no_weights(here):
    for lines in ("0,1,2\n1,2,1e400\n2,2,inf\n", "0,1,2\n1,2,-1e999\n"):
        Path("e.csv").write_text("a,b,w\n" + lines)
        with pytest.raises(streamsvd.SpecError, match=r"1e400' in line 3|-1e999' in line 3"):
            streamsvd.convert("e.csv", "B.zarr", edges=True)
        with pytest.raises(streamsvd.SpecError, match="beyond 64-bit floats"):
            streamsvd.convert("e.csv", "B.zarr")
    Path("e.csv").write_text(",".join("a" * 300) + "\n" + ",".join(["1e400"] * 300) + "\n")
    with pytest.raises(streamsvd.SpecError, match="line 2 .* of column 0, which is beyond 64-bit"):
        streamsvd.convert("e.csv", "B.zarr", header=True)


def test_one_huge_number_of_a_node_is_refused_by_its_line(here):
    Path("e.csv").write_text("a,b\n0,1\n1,3000000000\n")
    with pytest.raises(streamsvd.SpecError, match=r"3,000,000,000 in line 3 .* nodes=3000000001\."):
        streamsvd.convert("e.csv", "B.zarr", edges=True)
    np.save("e.npy", np.array([[0, 1], [20_000_000, 0], [2, 1]]))
    with pytest.raises(streamsvd.SpecError, match="20,000,000 in row 1, and has 3 edges"):
        streamsvd.convert("e.npy", "B.zarr", edges=True)
    np.save("e.npy", np.array([[0, 1], [20_000, 0]]))
    assert streamsvd.convert("e.npy", "B.zarr", edges=True).shape == (20_001, 20_001)


@pytest.mark.parametrize("nodes", [None, 5])
def test_numbers_too_large_to_be_exact_are_shown_as_they_are(here, nodes):
    Path("e.csv").write_text("a,b\n0,1\n\n1,9007199254740993\n")
    words = r"node 9007199254740993 in line 3 .* too large to be read exactly"
    with pytest.raises(streamsvd.SpecError, match=words):
        streamsvd.convert("e.csv", "B.zarr", edges=True, nodes=nodes)
    np.save("e.npy", np.array([[0, 1], [1, 2**60]]))
    with pytest.raises(streamsvd.SpecError, match=r"row 1, but that is 2\^53 or more"):
        streamsvd.convert("e.npy", "B.zarr", edges=True)


def test_a_budget_of_edges_speaks_of_these(here):
    Path("e.csv").write_text("a,b\n0,1\n")
    for call in (streamsvd.convert, None):
        with pytest.raises(streamsvd.BudgetError, match=r"the edges of .*e\.csv") as caught:
            if call:
                call("e.csv", "B.zarr", edges=True, memory=1)
            else:
                streamsvd.plan("convert", "e.csv", edges=True, memory=1)
        assert "1,048,576" not in str(caught.value)


def test_columns_that_are_too_many_are_cut_by_the_line_that_is_said(here):
    Path("e f.csv").write_text("a,b,c,d\n0,1,2,3\n1,2,3,4\n")
    with pytest.raises(streamsvd.ShapeError, match="has 4 columns") as caught:
        streamsvd.convert("e f.csv", "B.zarr", edges=True)
    line = str(caught.value).partition("such as by: ")[2].strip()
    subprocess.run(line, shell=True, check=True, cwd=here)
    assert streamsvd.convert("edges.csv", "B.zarr", edges=True).entries == 2


def test_commands_plan_what_is_text(here, capsys):
    write_market("A.mtx", sparse.csr_array(matrix(90, 90, 0.1)))
    Path("e.csv").write_text("a,b\n0,1\n1,2\n")
    for line in (
        ["e.csv", "--edges"],
        ["e.csv", "--edges", "--nodes", "3", "--json"],
        ["A.mtx"],
        ["e.csv"],
    ):
        assert app.run(["plan", "convert", *line]) == 0
        assert "convert" in capsys.readouterr().out
    assert app.run(["plan", "convert", "e.csv", "--edges", "--nodes", "abc"]) == 2
    assert "'abc' is no whole number" in capsys.readouterr().err
    assert app.run(["convert", "e.csv", "B.zarr", "--transpose", "--quiet"]) == 2
    assert "--edges" in capsys.readouterr().err
    for verb in (["eigenvectors", "--rank", "2"], ["embed", "--out", "E.npz"]):
        for first in ([], ["plan"])[: 1 + (verb[0] == "embed")]:
            line = [*first, verb[0], "e.csv", *verb[1:]]
            assert app.run(line) not in (0, 2)
            assert "streamsvd convert" in (said := capsys.readouterr().err)
            assert "e.zarr --edges, where its rows are edges" in said

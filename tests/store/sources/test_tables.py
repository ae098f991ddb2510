"""Tables of parquet, Arrow, pandas and polars: columns of numbers by name, missing values NaN, anything else named."""

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
from streamsvd.store.sources.tables import arrow_file, parquet
from streamsvd.testing import assert_source

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")
pd = pytest.importorskip("pandas")

RNG = np.random.default_rng(0)
M = 37
COLUMNS = {
    "a": RNG.standard_normal(M),
    "b, c": RNG.standard_normal(M).astype("f4"),
    "d": RNG.integers(-9, 9, M).astype("i2"),
}
A = np.stack(list(COLUMNS.values()), axis=1).astype("f8")
LISTS = RNG.standard_normal((M, 6)).astype("f4")


def as_table(**more):
    return pa.table({**COLUMNS, **more})


def write_arrow(path, table, rows, compression=None):
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)


def polars_frame(table):
    return pytest.importorskip("polars").from_arrow(table)


def stored(folder, table, kind, rows=10):
    """The same table in each of the kinds."""
    path = folder / f"t.{kind.partition('+')[0]}"
    match kind:
        case "parquet":
            pq.write_table(table, path, row_group_size=rows)
        case "pq":
            pq.write_table(
                table, path, row_group_size=rows, use_dictionary=False, compression="none"
            )
        case "arrow" | "arrow+zstd":
            write_arrow(path, table, rows, kind.partition("+")[2] or None)
        case "feather":
            feather.write_feather(table, path, compression="lz4", chunksize=rows)
        case "table":
            return pa.concat_tables([table.slice(i, rows) for i in range(0, len(table) or 1, rows)])
        case "batch":
            return table.combine_chunks().to_batches()[0]
        case "pandas":
            return table.to_pandas()
        case "pandas+arrow":
            return table.to_pandas(types_mapper=pd.ArrowDtype)
        case "polars":
            return polars_frame(table)
    return path


FILES = ["parquet", "pq", "arrow", "arrow+zstd", "feather"]
FRAMES = ["table", "batch", "pandas", "pandas+arrow", "polars"]


@pytest.mark.parametrize("kind", [*FILES, *FRAMES])
@pytest.mark.parametrize("rows", [1, 10])
def test_columns_of_numbers_are_a_matrix(tmp_path, kind, rows):
    found = stored(tmp_path, as_table(), kind, rows)
    assert_source(found, like=A)
    names = source_labels(open_source(found)).column_names
    assert names.tolist() == list(COLUMNS)


@pytest.mark.parametrize("kind", [*FILES, *FRAMES])
def test_columns_are_chosen_by_their_names_in_any_order(tmp_path, kind):
    found = stored(tmp_path, as_table(s=["x"] * M, e=[1] * M), kind)
    assert_source(open_source(found, "d,a"), like=A[:, [2, 0]])
    assert_source(open_source(found, "b, c"), like=A[:, [1]].astype("f4"))
    assert source_labels(open_source(found, "d,a")).column_names.tolist() == ["d", "a"]
    with pytest.raises(SpecError, match=r"has no column 'z'; it has 'a', 'b, c', 'd', 's', 'e'"):
        open_source(found, "a,z")
    with pytest.raises(SpecError, match="twice"):
        open_source(found, "a,d,a")
    with pytest.raises(SpecError, match="flattens an array"):
        open_source(found, rows=1)


@pytest.mark.parametrize("kind", [*FILES, *FRAMES])
def test_nulls_are_nan_and_make_integers_floats(tmp_path, kind):
    x = pa.array([None if i % 5 == 0 else float(i) for i in range(M)], pa.float32())
    y = pa.array([None if i % 7 == 0 else i for i in range(M)], pa.int16())
    like = np.stack([x.to_numpy(False), y.to_numpy(False)], axis=1).astype("f4")
    like = like.astype("f8") if kind == "pandas" else like  # which made float64 of it
    assert_source(stored(tmp_path, pa.table({"x": x, "y": y}), kind), like=like)


@pytest.mark.parametrize("kind", ["parquet", "table", "pandas", "polars"])
def test_integers_without_nulls_stay_integers(tmp_path, kind):
    like = np.arange(2 * M, dtype="i4").reshape(M, 2)
    assert_source(stored(tmp_path, pa.table({"x": like[:, 0], "y": like[:, 1]}), kind), like=like)


OTHERS = {
    "text": pa.array(["x"] * M),
    "categories": pa.array(["x"] * M).dictionary_encode(),
    "true and false": pa.array([True] * M),
    "times": pa.array(np.arange(M).astype("M8[us]")),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*FILES, *FRAMES])
@pytest.mark.parametrize("what", OTHERS)
def test_columns_that_are_no_numbers_are_named_with_how_to_leave_them_out(tmp_path, kind, what):
    found = stored(tmp_path, as_table(**{"my column": OTHERS[what]}), kind)
    with pytest.raises(SpecError) as caught:
        open_source(found)
    text = str(caught.value)
    word = "objects|text" if what == "text" else what
    assert any(
        f"'my column' ({w})" in text for w in [*word.split("|"), what, f"{OTHERS[what].type}"]
    ) or ("pyarrow" in text and "'my column'" in text), text
    assert "variable='a,b, c,d'" in text


@pytest.mark.parametrize("kind", ["parquet", "feather", "table", "pandas"])
def test_the_index_of_pandas_names_rows_and_is_no_data(tmp_path, kind):
    frame = pd.DataFrame(COLUMNS, index=[f"r{i}" for i in range(M)])
    table = pa.Table.from_pandas(frame)
    found = frame if kind == "pandas" else stored(tmp_path, table, kind)
    assert_source(found, like=A)
    labels = source_labels(open_source(found))
    assert labels.coordinate("row").array.tolist() == list(frame.index)
    dated = pd.DataFrame(COLUMNS, index=pd.date_range("2000-01-01", periods=M, name="day"))
    found = dated if kind == "pandas" else stored(tmp_path, pa.Table.from_pandas(dated), kind)
    assert "microseconds since" in source_labels(open_source(found)).coordinate("row").units


def lists(form, missing=False):
    flat = pa.array(LISTS.reshape(-1))
    if form == "fixed":
        column = pa.FixedSizeListArray.from_arrays(flat, 6)
    else:
        kind = pa.LargeListArray if form == "large" else pa.ListArray
        column = kind.from_arrays(
            np.arange(0, 6 * M + 1, 6, dtype="i8" if form == "large" else "i4"), flat
        )
    if missing:
        column = pa.array(
            [None if i % 9 == 4 else v for i, v in enumerate(column.to_pylist())], column.type
        )
    return column


@pytest.mark.parametrize("kind", ["parquet", "arrow", "table", "batch"])
@pytest.mark.parametrize("form", ["fixed", "list", "large"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("height", [1, 1 << 20])
def test_a_column_of_lists_is_a_matrix(tmp_path, monkeypatch, kind, form, missing, height):
    monkeypatch.setattr(parquet, "DECODED_BYTES", height)
    table = pa.table({"id": [str(i) for i in range(M)], "embedding": lists(form, missing)})
    found = stored(tmp_path, table, kind)
    like = LISTS.copy()
    if missing:
        like[np.arange(M) % 9 == 4] = np.nan
    assert_source(open_source(found, "embedding"), like=like)
    assert source_labels(open_source(found, "embedding")).name == "embedding"
    with pytest.raises(SpecError, match=r"'id' \(text\).*variable='embedding'"):
        open_source(found)
    assert_source(stored(tmp_path, table.select(["embedding"]), kind), like=like)
    with pytest.raises(SpecError, match=r"columns of lists beside others: 'embedding'"):
        open_source(
            stored(tmp_path, table.append_column("x", pa.array(LISTS[:, 0])), kind), "embedding,x"
        )


@pytest.mark.parametrize("kind", ["parquet", "arrow", "table"])
def test_lists_of_other_lengths_are_named_by_their_row(tmp_path, read, kind):
    column = [[1.0, 2.0]] * 20 + [[1.0]] + [[1.0, 2.0]] * 16
    found = open_source(stored(tmp_path, pa.table({"e": column}), kind), "e")
    with pytest.raises(ShapeError, match=r"a list of 1 numbers in row 20, and 2 in the first"):
        read(found)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather"])
def test_damage_is_named(tmp_path, read, kind):
    path = stored(tmp_path, as_table(), kind)
    data = path.read_bytes()
    source = open_source(path)
    for cut in (
        data[:-9],
        data[: len(data) // 3],
        data[:3],
        b"nothing of the kind",
        data[:100] + b"x" * (len(data) - 100),
    ):
        path.write_bytes(cut)
        with pytest.raises(StoreError, match=r"t\.(parquet|arrow|feather)") as caught:
            read(open_source(path))
        assert "complete" in str(caught.value) or "feather" in str(caught.value)
    path.unlink()
    with pytest.raises(StoreError, match="No such file"):
        read(source)
    with pytest.raises(StoreError, match="does not exist"):
        open_source(path)


@pytest.mark.parametrize("kind", [*FILES, *FRAMES])
def test_a_table_without_rows_or_columns_is_refused(tmp_path, kind):
    with pytest.raises(ShapeError, match="has no rows"):
        open_source(
            stored(tmp_path, as_table().slice(0, 0), kind)
            if kind != "batch"
            else pa.RecordBatch.from_pydict({"a": pa.array([], pa.float32())})
        )


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_parts_of_a_table_are_stacked_in_a_folder(tmp_path, kind):
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, (a, b) in enumerate(((0, 5), (5, 30), (30, M))):
        stored(tmp_path, as_table().slice(a, b - a), kind).rename(folder / f"part-{i}.{kind}")
    (folder / "_SUCCESS").write_text("")
    assert_source(folder, like=A)
    labels = source_labels(open_source(folder, "a,d"))
    assert labels.column_names.tolist() == ["a", "d"]
    stored(tmp_path, as_table().rename_columns(["a", "x", "d"]), kind).rename(
        folder / f"part-9.{kind}"
    )
    with pytest.raises(
        SpecError,
        match=r"part-0.* and .*part-9.* different columns: column of .*: at 1 it is x, .* has b, c",
    ):
        open_source(folder)
    assert_source(open_source(folder, "a,d"), like=np.concatenate([A, A])[:, [0, 2]])


def test_integers_with_and_without_nulls_are_stacked(tmp_path):
    pq.write_table(pa.table({"x": pa.array([1, 2, 3], pa.int64())}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": pa.array([1, None], pa.int64())}), tmp_path / "2.parquet")
    assert_source(tmp_path, like=np.array([[1, 2, 3, 1, np.nan]]).T)


def test_feather_of_the_first_version_is_refused_with_a_line(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(40))
    with pytest.raises(StoreError, match=r"feather of version 1.*write_feather"):
        open_source(tmp_path / "a.feather")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_file_that_is_written_again_is_another_one(tmp_path, read, kind):
    path = stored(tmp_path, as_table(), kind)
    source = open_source(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match=r"changed since it was opened"):
        read(source)


def test_batches_are_found_without_their_values(tmp_path):
    path = stored(tmp_path, as_table(), "arrow", rows=4)
    found = open_source(path)
    with pa.ipc.open_file(path) as reader:
        rows = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    assert np.diff(found.starts).tolist() == rows
    assert isinstance(found, arrow_file.ArrowFileSource)


def test_a_table_is_factorised_with_its_names(tmp_path):
    path = stored(tmp_path, as_table(), "parquet")
    found = streamsvd.pca(path, 2)
    assert found.labels.column_names.tolist() == list(COLUMNS)
    np.testing.assert_allclose(
        found.explained_variance, np.linalg.eigvalsh(np.cov(A.T))[::-1][:2], rtol=1e-6
    )


def test_an_absent_library_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    path = stored(tmp_path, as_table(), "parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StoreError, match=r"needs pyarrow.*pip install 'streamsvd\[tables\]'"):
        open_source(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["one", "many", "wide", "lists", "small lists", "arrow", "arrow lists"]
)
def test_memory_of_a_read_is_as_told(tmp_path, kind):
    """In a fresh process whose memory for data is 256 MiB, and of every chunk in turn."""
    m, n = (2000, 2500) if kind == "wide" else (60_000, 200)
    x = RNG.standard_normal((m, n)).astype("f4")
    if "lists" in kind:
        table = pa.table({"e": pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), n)})
    else:
        table = pa.table({f"c{j}": x[:, j] for j in range(n)})
    path = tmp_path / ("a.arrow" if "arrow" in kind else "a.parquet")
    if "arrow" in kind:
        write_arrow(path, table, 5000, "zstd")
    else:
        pq.write_table(table, path, row_group_size=5000 if kind in ("many", "small lists") else m)
    small = tmp_path / f"small{path.suffix}"
    write_arrow(small, table.slice(0, 9), 9) if "arrow" in kind else pq.write_table(
        table.slice(0, 9), small
    )
    code = f"""
import resource, numpy as np
from streamsvd.store.sources import open_source
small = open_source({str(small)!r})
small.read(slice(0, 9), slice(0, 9), np.empty((9, 9), small.dtype))
source = open_source({str(path)!r})
(m, n), (h, w) = source.shape, source.chunks
out = np.ones(h * w, source.dtype)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for i in range(0, m, h):
    for j in range(0, n, w):
        a, b = min(i + h, m), min(j + w, n)
        source.read(slice(i, a), slice(j, b), out[: (a - i) * (b - j)].reshape(a - i, b - j))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)
    assert allowed < 64 << 20
    plan = streamsvd.plan_svd(path, 5, memory="256MiB")
    assert plan.projected_bytes <= 256 << 20

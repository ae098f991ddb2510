"""Shards are one matrix: the rows of a list, a pattern or a folder, in natural order of names, checked before anything is read."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.shards import natural_order
from streamsvd.store.sources.views.stack import common_dtype
from streamsvd.store.writing.separation import check_apart
from streamsvd.testing import assert_source

RNG = np.random.default_rng(0)
HEIGHTS = (3, 1, 9, 4, 12)
PARTS = [RNG.standard_normal((height, 5)).astype("f4") for height in HEIGHTS]
A = np.concatenate(PARTS)


def folder_of_npy(folder, parts=PARTS):
    folder.mkdir(exist_ok=True)
    for i, part in enumerate(parts):
        np.save(folder / f"part-{i + 7}.npy", part)
    return folder


def folder_of_zarr(folder):
    folder.mkdir()
    for i, part in enumerate(PARTS):
        array = zarr.create_array(
            folder / f"part-{i + 7}.zarr", shape=part.shape, chunks=(2, 3), dtype="f4"
        )
        array[:] = part
    return folder


@pytest.mark.parametrize("kind", [folder_of_npy, folder_of_zarr])
def test_a_folder_is_one_matrix(tmp_path, kind):
    assert_source(kind(tmp_path / "shards"), like=A)


def test_a_list_may_hold_whatever_is_a_source(tmp_path):
    np.save(tmp_path / "a.npy", PARTS[0])
    np.save(tmp_path / "f.npy", np.asfortranarray(PARTS[2]))
    zarr.create_array(tmp_path / "b.zarr", data=PARTS[1])
    given = [
        str(tmp_path / "a.npy"), tmp_path / "b.zarr", tmp_path / "f.npy", PARTS[3], open_source(PARTS[4]),
    ]  # fmt: skip
    assert_source(given, like=A)
    assert_source(tuple(given), like=A)
    assert_source([tmp_path / "a.npy"], like=PARTS[0])
    assert_source([*PARTS, A[:1].astype("f8")], like=np.concatenate([A, A[:1]]).astype("f8"))


@pytest.mark.parametrize("pattern", ["*.npy", "part-[0-9]*.npy", "../*/part-*"])
def test_a_pattern_is_the_list_of_what_has_such_names(tmp_path, pattern):
    folder = folder_of_npy(tmp_path / "shards with a space")
    np.save(folder / ".hidden.npy", PARTS[0])
    assert_source(str(folder / pattern), like=A)


def test_files_are_in_the_natural_order_of_their_names(tmp_path):
    names = ["a-10", "a-2", "b", "a-1x", "a-1", "10", "9"]
    assert sorted(names, key=natural_order) == ["9", "10", "a-1", "a-1x", "a-2", "a-10", "b"]
    A = streamsvd.open(folder_of_npy(tmp_path / "s"))
    assert A.locate(0, 0).endswith("part-7.npy")
    assert A.locate(sum(HEIGHTS) - 1, 4).endswith("part-11.npy")


def test_a_matrix_of_shards_is_factorised_as_one(tmp_path):
    folder = folder_of_npy(tmp_path / "s")
    np.testing.assert_allclose(
        streamsvd.svd(folder, 3).s, np.linalg.svd(A.astype("f8"), compute_uv=False)[:3], rtol=1e-5
    )
    with pytest.raises(SpecError, match="is read"):
        check_apart(folder / "out.zarr", streamsvd.open(folder))


@pytest.mark.parametrize(
    ("a", "b", "common"),
    [
        ("f4", "f8", "f8"), ("f2", "f4", "f4"), ("f4", "c8", "c8"), ("i1", "i4", "i4"), ("u1", "i1", "i2"), ("u4", "i4", "i8"),
        ("i8", "u8", None), ("i4", "f4", None), ("u1", "f8", None),
    ],
)  # fmt: skip
def test_types_are_promoted_where_values_stay_as_they_are(tmp_path, a, b, common):
    found = common_dtype(np.dtype(a), np.dtype(b))
    assert found == (None if common is None else np.dtype(common))
    parts = [np.arange(12).reshape(4, 3).astype(a), np.arange(6).reshape(2, 3).astype(b)]
    folder = folder_of_npy(tmp_path / "s", parts)
    if common is None:
        with pytest.raises(
            SpecError, match=rf"part-7\.npy holds {np.dtype(a)} .*part-8\.npy holds {np.dtype(b)}"
        ):
            open_source(folder)
    else:
        assert_source(folder, like=np.concatenate([part.astype(common) for part in parts]))


def test_shards_of_other_widths_are_named_before_anything_is_read(tmp_path):
    folder = folder_of_npy(tmp_path / "s", [PARTS[0], PARTS[1], np.ones((2, 6), "f4")])
    with pytest.raises(ShapeError, match=r"part-7\.npy has 5 columns and .*part-9\.npy has 6"):
        open_source(folder)


def test_what_is_no_matrix_is_left_out_with_a_remark_and_other_kinds_are_an_error(tmp_path):
    folder = folder_of_npy(tmp_path / "s")
    for name in ("_SUCCESS", ".crc", "README.md", "notes.txt"):
        (folder / name).write_text("x")
    found = open_source(folder)
    assert found.shape == A.shape
    (remark,) = found.remarks
    assert all(name in remark for name in ("_SUCCESS", ".crc", "README.md", "notes.txt"))
    for name in ("x.zarr", "x.npz", "x.csv", "sub"):
        other = folder / name
        if name == "x.zarr":
            zarr.create_array(other, data=PARTS[0])
        elif name == "sub":
            other.mkdir()
        else:
            other.write_text("x")
        with pytest.raises(StoreError, match="which are not of one kind") as caught:
            open_source(folder)
        assert name in str(caught.value)
        assert "part-7.npy" in str(caught.value)
        other.rename(tmp_path / name)


def test_what_is_no_list_of_sources_is_refused(tmp_path):
    for given, words in (
        ([], "an empty list has no rows"),
        ((), "an empty tuple has no rows"),
        ([A, 3], "entry 1 of the list is int"),
        ([A, [1.0, 2.0]], r"entry 1 of the list is list.*numpy\.asarray"),
        ([A, da.ones((2, 5))], r"entry 1 .* dask\.array\.concatenate"),
        ([A, object()], "entry 1 of the list: .* is not a source"),
    ):
        with pytest.raises((ShapeError, SpecError), match=words):
            streamsvd.open(given)
    with pytest.raises(ShapeError, match="1 dimension"):
        streamsvd.open([np.ones(3), np.ones(3)])
    with pytest.raises(SpecError, match=r"Pass numpy\.asarray\(x\)"):
        streamsvd.open([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(StoreError, match=r"no file matches .*\*\.npy"):
        streamsvd.open(tmp_path / "*.npy")
    with pytest.raises(StoreError, match=r"absent\.npy does not exist"):
        streamsvd.open([tmp_path / "absent.npy"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no zarr array or group"):
        streamsvd.open(tmp_path / "empty")


def test_damage_in_a_shard_is_named(tmp_path, read):
    folder = folder_of_npy(tmp_path / "s")
    found = open_source(folder)
    path = folder / "part-9.npy"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match=r"part-9\.npy"):
        read(found)
    with pytest.raises(StoreError, match=r"part-9\.npy"):
        open_source(folder)
    np.save(path, np.ones((2, 5), "f4"))
    with pytest.raises(StoreError, match=r"part-9\.npy has changed since"):
        read(found)
    with pytest.raises(StoreError, match=r"part-9\.npy has changed since"):
        read(pickle.loads(pickle.dumps(found)))


def test_a_shard_of_the_same_shape_that_is_written_again_is_another_one(tmp_path, read):
    folder = folder_of_npy(tmp_path / "s")
    found, other = open_source(folder), open_source(folder)
    os.utime(folder / "part-9.npy", ns=(1, 1))
    with pytest.raises(StoreError, match=r"part-9\.npy has changed since"):
        read(found)
    read(pickle.loads(pickle.dumps(other)))  # another machine may have a copy


def test_workers_are_asked_and_shards_are_named(tmp_path):
    found = open_source(folder_of_npy(tmp_path / "s"))
    assert [address.name for address in found.addresses()] == [
        str(tmp_path / "s" / f"part-{i}.npy") for i in range(7, 12)
    ]
    assert (
        streamsvd.open([os.path.relpath(tmp_path / "s" / "part-7.npy")])
        .locate(0, 0)
        .startswith("/")
    )


def test_an_address_of_many_shards_is_small(tmp_path):
    folder = folder_of_npy(tmp_path / "s", [PARTS[0]] * 200)
    found = open_source(folder)
    assert len(pickle.dumps(found)) < 200 * 40 + 2000
    out = np.empty(found.shape, found.dtype)
    found.read(slice(0, 600), slice(0, 5), out)
    assert len(pickle.dumps(found)) < 200 * 40 + 2000
    assert len(found._open) <= 64


def dated_zarr(path, values, first):
    group = zarr.create_group(path)
    array = group.create_array("t", data=values, dimension_names=("time", "x"))
    assert array.shape == values.shape
    group.create_array(
        "time",
        data=np.arange(first, first + len(values)),
        dimension_names=("time",),
        attributes={"units": "days since 2000-01-01"},
    )
    group.create_array("x", data=np.arange(values.shape[1]) * 0.5, dimension_names=("x",))


def test_labels_of_rows_are_joined_and_those_of_columns_compared(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    dated_zarr(folder / "a1.zarr", PARTS[0], 0)
    dated_zarr(folder / "a2.zarr", PARTS[2], 3)
    found = open_source(folder, "t")
    labels = source_labels(found)
    assert [d.name for d in (*labels.rows, *labels.columns)] == ["time", "x"]
    np.testing.assert_array_equal(labels.coordinate("time").array, np.arange(12))
    np.testing.assert_array_equal(labels.coordinate("x").array, np.arange(5) * 0.5)
    zarr.open_group(folder / "a2.zarr")["x"][1] = 9.0
    with pytest.raises(
        SpecError,
        match=r"a1\.zarr.* and .*a2\.zarr.* different columns: x of .*: at 1 it is 9, .* has 0\.5",
    ):
        open_source(folder, "t")


def test_more_dimensions_are_flattened_in_every_shard(tmp_path):
    cubes = [RNG.standard_normal((height, 2, 3)) for height in HEIGHTS]
    folder = folder_of_npy(tmp_path / "s", cubes)
    found = open_source(folder, rows=0)
    assert_source(found, like=np.concatenate(cubes).reshape(-1, 6))
    assert found.layout.extents == (sum(HEIGHTS), 2, 3)
    with pytest.raises(SpecError, match="Say which are the rows"):
        open_source(folder)


@pytest.mark.slow
def test_memory_of_a_read_is_as_told(tmp_path):
    for i in range(24):
        np.save(tmp_path / f"{i}.npy", np.ones((2000, 500), "f4" if i % 2 else "f2"))
    code = f"""
import resource, numpy as np
from streamsvd.store.sources import open_source
source = open_source({str(tmp_path)!r})
out = np.ones((4000, 500), source.dtype)
source.read(slice(0, 10), slice(None), out[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, 48000, 4000):
    source.read(slice(start, start + 4000), slice(None), out)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "parquet", "zarr"])
def test_a_factorisation_of_shards_keeps_the_memory_law(tmp_path, kind):
    """38 shards of 12 MiB in a fresh process under 256 MiB."""
    (tmp_path / "s").mkdir()
    for i in range(38):
        X = np.random.default_rng(i).standard_normal((10_000 + i, 300)).astype("f4")
        path = tmp_path / "s" / f"{i}.{kind}"
        if kind == "npy":
            np.save(path, X)
        elif kind == "zarr":
            zarr.create_array(path, data=X, chunks=(1000, 300), compressors=None)
        else:
            pa = pytest.importorskip("pyarrow")
            table = pa.table({f"c{j}": X[:, j] for j in range(300)})
            pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=4000)
    (tmp_path / "t").mkdir()
    (tmp_path / "s" / f"0.{kind}").rename(
        tmp_path / "t" / f"0.{kind}"
    )  # what is imported is before
    code = f"""
import resource, streamsvd
streamsvd.svd({str(tmp_path / "t")!r}, 5, memory="256MiB")
found = streamsvd.svd({str(tmp_path / "s")!r}, 5, memory="256MiB", tol=0.05)
print(found.info.peak_bytes, found.info.projected_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, projected = map(int, done.stdout.split())
    assert peak <= projected <= 256 << 20

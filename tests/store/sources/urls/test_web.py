"""Matrices on a web server, and files of numbers at URLs: read by ranges, whoever serves them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.objects import object_store
from streamsvd.store.sight import addresses
from streamsvd.store.sources.opening import open_source
from streamsvd.store.sources.urls.runs import byte_runs
from tests.object_store.matrices import values, write_array
from tests.object_store.proxy import FlakyProxy
from tests.object_store.upstreams import Folder
from tests.store.sources.sparse_stores import counts, put_matrix

pytest.importorskip("obstore")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is served."""
    path = tmp_path / "a folder"
    path.mkdir()
    return path


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        for spelled in (name, name.lower()):
            monkeypatch.delenv(spelled, raising=False)
    with FlakyProxy(Folder(folder)) as proxy:
        yield proxy


def read_part(source: Any, rows: slice, columns: slice) -> Any:
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    out = np.empty(shape, source.dtype)
    source.read(rows, columns, out)
    return out


# Zarr


@pytest.mark.parametrize("layout", ["v3", "v2", "sharded"])
def test_an_array_with_its_own_metadata_is_read(
    folder: Path, server: FlakyProxy, layout: str
) -> None:
    write_array(folder / "A.zarr", layout)
    there = streamsvd.svd(f"{server.url}/A.zarr", 4, memory="256MiB")
    here = streamsvd.svd(folder / "A.zarr", 4, memory="256MiB")
    assert_array_equal(there.Vh, here.Vh)
    assert server.count("PROPFIND") == 0


def test_a_group_is_read_by_its_consolidated_metadata(folder: Path, server: FlakyProxy) -> None:
    group = zarr.create_group(str(folder / "G.zarr"))
    group.create_array("X", data=values(), chunks=(40, 60))
    url = f"{server.url}/G.zarr"
    with pytest.raises(StoreError, match=r"a web server cannot be listed.*variable="):
        open_source(url)
    source = open_source(url, variable="X")
    assert_array_equal(read_part(source, slice(0, 240), slice(0, 60)), values())
    with pytest.warns(UserWarning, match="not part in the Zarr format 3"):
        zarr.consolidate_metadata(str(folder / "G.zarr"))
    assert open_source(url).shape == values().shape


@pytest.mark.parametrize("variable", [None, "X"])
def test_a_sparse_matrix_is_read_without_a_list(
    folder: Path, server: FlakyProxy, variable: str | None
) -> None:
    made = counts()
    put_matrix(folder / "S.zarr", made, chunk=100)
    source = open_source(f"{server.url}/S.zarr", variable)
    source = pickle.loads(pickle.dumps(source))
    assert_array_equal(source.read_sparse(slice(3, 50)).toarray(), made[3:50].toarray())
    assert_array_equal(read_part(source, slice(0, 60), slice(7, 30)), made.toarray()[:, 7:30])


# Files


def files(folder: Path) -> dict[str, tuple[np.ndarray[Any, Any], dict[str, Any]]]:
    """Files of numbers, what is in them as a matrix, and what is asked to open them."""
    A = np.random.default_rng(0).standard_normal((150, 70))
    cube = np.arange(4 * 6 * 5, dtype=">i4").reshape(4, 6, 5)
    np.save(folder / "rows.npy", A)
    np.save(folder / "columns.npy", np.asfortranarray(A))
    np.save(folder / "cube.npy", cube)
    A.astype("f4").tofile(folder / "numbers.bin")
    return {
        "rows.npy": (A, {}),
        "columns.npy": (A, {}),
        "cube.npy": (cube.transpose(1, 0, 2).reshape(6, 20), {"rows": 1}),
        "numbers.bin": (A.astype("f4"), {"dtype": "f4", "shape": A.shape}),
    }


def test_files_of_numbers_are_read_by_ranges(folder: Path, server: FlakyProxy) -> None:
    for name, (A, asked) in files(folder).items():
        source = pickle.loads(pickle.dumps(open_source(f"{server.url}/{name}", **asked)))
        assert source.shape == A.shape
        assert_array_equal(read_part(source, *(slice(0, extent) for extent in A.shape)), A)
        rows, columns = (slice(extent // 3, extent // 2) for extent in A.shape)
        assert_array_equal(read_part(source, rows, columns), A[rows, columns])
    assert server.count("GET") == sum("range" in r.headers for r in server.requests if r.verb == "GET")  # fmt: skip


def test_a_file_is_read_on_a_cluster_as_here(folder: Path, server: FlakyProxy) -> None:
    distributed = pytest.importorskip("distributed")
    A, _ = files(folder)["rows.npy"]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster),
    ):
        there = streamsvd.svd(f"{server.url}/rows.npy", 3, tol=None, memory="256MiB")
    assert_array_equal(there.s, streamsvd.svd(A, 3, tol=None, memory="256MiB").s)


def test_a_file_in_a_bucket_is_read_by_ranges(folder: Path, bucket: str) -> None:
    for name, (A, asked) in files(folder).items():
        object_store(bucket).put(f"below/{name}", (folder / name).read_bytes())
        source = open_source(f"{bucket}/below/{name}", **asked)
        assert source.name == f"{bucket}/below/{name}"
        rows, columns = (slice(extent // 3, extent // 2) for extent in A.shape)
        assert_array_equal(read_part(source, rows, columns), A[rows, columns])


@given(st.data())
def test_runs_hold_just_the_rectangle(choose: Any) -> None:
    extents = choose.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    box = []
    for extent in extents:
        start = choose.draw(st.integers(0, extent))
        box.append(slice(start, choose.draw(st.integers(start, extent))))
    values = np.arange(np.prod(extents), dtype="i4").reshape(extents)
    stored = np.concatenate([np.zeros(3, np.uint8), values.reshape(-1).view(np.uint8)])
    place = np.full([part.stop - part.start for part in box], -1, "i4")
    for run in byte_runs(3, extents, 4, tuple(box), place):
        run.put(stored[run.start : run.start + run.length], np.dtype("i4"))
    assert_array_equal(place, values[tuple(box)])


def test_what_is_wrong_with_a_file_is_said(folder: Path, server: FlakyProxy) -> None:
    A, _ = files(folder)["rows.npy"]
    whole = (folder / "rows.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-9])
    (folder / "text.npy").write_bytes(b"none of numpy")
    np.save(folder / "empty.npy", np.empty((0, 3)))
    url = server.url
    with pytest.raises(StoreError, match=r"has 84,119 bytes of 84,128"):
        open_source(f"{url}/cut.npy")
    with pytest.raises(StoreError, match=r"is not a complete \.npy file"):
        open_source(f"{url}/text.npy")
    with pytest.raises(ShapeError, match="is empty"):
        open_source(f"{url}/empty.npy")
    with pytest.raises(StoreError, match=r"none\.npy does not exist"):
        open_source(f"{url}/none.npy")
    with pytest.raises(StoreError, match=r"none\.bin does not exist"):
        open_source(f"{url}/none.bin", dtype="f4", shape=(2, 2))
    with pytest.raises(SpecError, match="pass dtype= and shape="):
        open_source(f"{url}/numbers.bin")
    with pytest.raises(StoreError, match=r"has 42,000 bytes .* take 41,720"):
        open_source(f"{url}/numbers.bin", dtype="f4", shape=(149, 70))
    source = open_source(f"{url}/rows.npy")
    np.save(folder / "rows.npy", 2 * A)
    with pytest.raises(StoreError, match="has changed since it was opened"):
        read_part(source, slice(0, 10), slice(0, 70))


@pytest.mark.parametrize(
    "name", ["a.parquet", "a.h5", "a.nc", "a.safetensors", "a.npz", "a.h5ad", "a.parquet?version=2"]
)
def test_files_that_are_read_from_a_disk_alone_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(StoreError, match="Fetch it and pass the path, or write it as zarr there"):
        open_source(f"https://127.0.0.1:9/{name}")  # nothing is asked of it


def test_a_server_that_ignores_ranges_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(folder)
    write_array(folder / "A.zarr", "v3")
    write_array(folder / "S.zarr", "sharded")
    with FlakyProxy(Folder(folder, ranges=False)) as server:
        with pytest.raises(StoreError, match="ignores requests for a range"):
            open_source(f"{server.url}/rows.npy")
        whole = open_source(f"{server.url}/A.zarr")  # small chunks are asked for whole
        assert_array_equal(read_part(whole, slice(0, 240), slice(0, 60)), values())
        with pytest.raises(StoreError, match="ignores requests for a range"):
            read_part(open_source(f"{server.url}/S.zarr"), slice(0, 240), slice(0, 60))


def test_processes_see_whether_they_see_the_same_file(folder: Path, server: FlakyProxy) -> None:
    files(folder)
    source = open_source(f"{server.url}/rows.npy")
    (address,) = addresses(source)
    seen = address.look()
    assert seen.error == ""
    assert address.look() == seen
    np.save(folder / "rows.npy", np.ones((150, 70)))
    assert address.look() != seen
    (folder / "rows.npy").unlink()
    assert address.look().metadata is None

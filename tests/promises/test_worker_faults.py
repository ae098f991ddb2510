"""Workers read what the client reads, write where it says, and are refused in words where they cannot."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

import streamsvd
from streamsvd.engine import worker_checks as look
from streamsvd.engine.cluster import passes
from streamsvd.errors import MissingChunkError, SpecError, StoreError, StreamSVDError

B = (np.random.default_rng(0).standard_normal((1200, 20)) * np.geomspace(1, 1e-2, 20)).astype("f8")
Y = B @ np.arange(20.0)
HERE = Path("/proc/self/cwd")
"""An absolute path that each process sees for itself: a folder that is not mounted everywhere."""

per_process = pytest.mark.skipif(not HERE.exists(), reason="no path differs between processes")


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def places(client, tmp_path, monkeypatch):
    """This process in one folder, one worker with it, the other elsewhere; nothing was looked at before."""
    look._look_times.clear()
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    first, second = look.workers_of(client)
    client.run(os.chdir, str(here), workers=[first])
    client.run(os.chdir, str(there), workers=[second])
    yield here, there, second
    client.run(os.chdir, "/")


def write(path, values=B, chunks=(100, 20)):
    array = zarr.create_array(str(path), shape=values.shape, chunks=chunks, dtype="f8")
    array[...] = values
    return path


def collection(path, values=B):
    group = zarr.open_group(str(path), mode="w")
    for i in range(6):
        array = group.create_array(f"x{i}", shape=(200, 20), chunks=(100, 20), dtype="f8")
        array[...] = values[200 * i : 200 * (i + 1)]
    return path


MATRIX = {
    "svd": lambda A: streamsvd.svd(A, 3, route="krylov").s,
    "gram": lambda A: streamsvd.svd(A, 3, route="gram").s,
    "pca": lambda A: streamsvd.pca(A, 3).s,
    "lstsq": lambda A: streamsvd.lstsq(A, Y).x,
    "sample": lambda A: streamsvd.sample_rows(A, 60).indices,
    "nystrom": lambda A: streamsvd.nystrom(A, n_centres=20, length=3.0).feature_map.centres,
    "kernel_ridge": lambda A: (
        streamsvd.kernel_ridge(A, Y, n_centres=20, length=3.0, ridge=1e-3).coefficients
    ),
    "input_factor": lambda A: streamsvd.second_moment_factor(A),
}
COLLECTION = {
    "cluster": lambda A: streamsvd.cluster(A, 0.5),
    "rates": lambda A: streamsvd.rate_curve(A, [0.5]),
    "compress": lambda A: streamsvd.compress(A, "c", 0.5),
}


@pytest.mark.parametrize("kind", ["zarr", "npy", "store", "map"])
def test_a_relative_path_is_the_same_matrix_in_any_folder(kind):
    if kind == "npy":
        np.save("A.npy", B)
        A = streamsvd.open("A.npy")
    elif kind == "map":
        np.save("A.npy", B)
        A = streamsvd.open(np.load("A.npy", mmap_mode="r"))
    elif kind == "zarr":
        A = streamsvd.open(write("A.zarr"), missing="fill")
    else:
        write("A.zarr")
        A = streamsvd.open(zarr.storage.LocalStore("A.zarr"), missing="fill")
    found = streamsvd.svd(A, 3).s
    np.testing.assert_allclose(found, np.linalg.svd(B, compute_uv=False)[:3], rtol=1e-6)


def test_workers_elsewhere_write_to_a_relative_place():
    result = streamsvd.svd(streamsvd.open(write("A.zarr")), 3, u=True, out="R.zarr", route="krylov")
    np.testing.assert_allclose(result.U[...] * result.s @ result.Vh, B, atol=10)
    assert streamsvd.load("R.zarr").U.shape == (1200, 3)
    assert {path.name for path in Path().iterdir()} == {"A.zarr", "R.zarr"}


@per_process
@pytest.mark.parametrize("missing", ["fill", "error"])
@pytest.mark.parametrize("verb", [*MATRIX, *COLLECTION])
def test_a_worker_that_does_not_see_the_folder_is_refused(places, verb, missing):
    _, _, second = places
    if verb in MATRIX:
        write("A.zarr")
        A = streamsvd.open(HERE / "A.zarr", missing=missing)
    else:
        collection("A.zarr")
        A = streamsvd.open_collection(HERE / "A.zarr", missing=missing)
    with pytest.raises(StoreError) as refused:
        (MATRIX | COLLECTION)[verb](A)
    text = str(refused.value)
    assert f"at {second} does not see {HERE / 'A.zarr'}" in text
    assert "mount the folder there under the same path" in text
    assert "fill" not in text
    assert not Path("c").exists()


@per_process
@pytest.mark.parametrize("verb", ["svd", "gram", "pca", "lstsq"])
def test_without_a_look_no_task_takes_what_it_does_not_see_for_zeros(
    client, places, monkeypatch, verb
):
    monkeypatch.setattr(
        passes, "inspect_workers", lambda *_: None
    )  # as if the folder went away since
    client.run(os.chdir, str(places[1]))
    write("A.zarr")
    with pytest.raises(StoreError, match="does not see the array at all") as refused:
        MATRIX[verb](streamsvd.open(HERE / "A.zarr", missing="fill"))
    assert not isinstance(refused.value, MissingChunkError)
    with pytest.raises(StoreError, match="does not see the array at all"):
        MATRIX[verb](streamsvd.open(HERE / "A.zarr"))


@per_process
def test_a_worker_that_sees_another_matrix_is_refused(places):
    _, there, second = places
    write("A.zarr")
    A = streamsvd.open(HERE / "A.zarr")
    write(there / "A.zarr", B + 1)
    with pytest.raises(StoreError, match=r"sees other values in chunk 'c/0/0' of"):
        streamsvd.svd(A, 3)
    (there / "A.zarr" / "c" / "0" / "0").unlink()
    with pytest.raises(StoreError, match=r"without its chunk 'c/0/0', which this process sees"):
        streamsvd.svd(A, 3)
    write("D.zarr")
    D = streamsvd.open(HERE / "D.zarr")
    write(there / "D.zarr", B[:600])
    with pytest.raises(StoreError, match=rf"{second} sees another .*zarr.json differs"):
        streamsvd.svd(D, 3)


@per_process
def test_a_worker_that_cannot_see_where_rows_are_written_is_refused(places):
    here, _, _ = places
    A = streamsvd.open(write(here / "A.zarr"))
    with pytest.raises(StoreError, match=r"does not see .*U/zarr.json"):
        streamsvd.svd(A, 3, u=True, out=HERE / "R.zarr", route="krylov")
    assert [path.name for path in here.iterdir()] == ["A.zarr"]


def test_chunks_that_were_never_written_are_filled_where_the_array_is_there():
    values = B.copy()
    values[300:500] = 0
    array = zarr.create_array("A.zarr", shape=B.shape, chunks=(100, 20), dtype="f8")
    array[:300], array[500:] = B[:300], B[500:]
    found = streamsvd.svd(streamsvd.open("A.zarr", missing="fill"), 3).s
    np.testing.assert_allclose(found, np.linalg.svd(values, compute_uv=False)[:3], rtol=1e-6)
    with pytest.raises(MissingChunkError, match='pass missing="fill"'):
        streamsvd.svd(streamsvd.open("A.zarr"), 3)


def test_another_version_on_a_worker_is_named(client, places):
    _, _, second = places
    A = streamsvd.open(write("A.zarr"))
    before = np.__version__
    client.run(_renumbered, "0.9", workers=[second])
    try:
        with pytest.raises(StreamSVDError, match=rf"{second} has numpy 0.9, this process {before}"):
            streamsvd.svd(A, 3)
    finally:
        client.run(_renumbered, before, workers=[second])
    assert streamsvd.svd(A, 3).s.size == 3


def test_workers_with_many_threads_of_blas_give_the_same_bits(client):
    A = streamsvd.open(write("A.zarr"))
    seen = []
    for threads in (1, 2):
        client.run(_threads, threads)
        seen.append(streamsvd.svd(A, 3, tol=1e-9, route="krylov").Vh.tobytes())
    client.run(_threads, 1)
    assert seen[0] == seen[1]


def _renumbered(version):
    import numpy

    numpy.__version__ = version


def _threads(count):
    import threadpoolctl

    threadpoolctl.threadpool_limits(count, user_api="blas")


def test_a_client_without_the_device_uses_that_of_its_workers(client, places, monkeypatch):
    A = streamsvd.open(write("A.zarr"))
    client.run(os.chdir, str(places[0]))
    expected = {verb: DEVICE_VERBS[verb](A, "cpu") for verb in DEVICE_VERBS}
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("array_api_strict")
    for verb, ask in DEVICE_VERBS.items():
        np.testing.assert_allclose(ask(A, "strict"), expected[verb], rtol=1e-6, err_msg=verb)


def test_workers_without_the_device_are_counted(client, places):
    _, _, second = places
    A = streamsvd.open(write("A.zarr"))
    client.run(_hide, "array_api_strict", workers=[second])
    said = rf'device="strict": 1 of 2 workers have none \(array_api_strict missing; the first is {second}\)'
    try:
        for verb in ("svd", "kernel_ridge"):
            with pytest.raises(SpecError, match=said + r'.*pass device="cpu"'):
                DEVICE_VERBS[verb](A, "strict")
        assert DEVICE_VERBS["svd"](A, "cpu").size == 3
    finally:
        client.run(_show, "array_api_strict", workers=[second])
    assert DEVICE_VERBS["svd"](A, "strict").size == 3


def test_an_absent_chunk_is_told_with_the_worker_that_missed_it(client):
    path = write("A.zarr")
    Path(path, "c", "3", "0").unlink()
    workers = "|".join(look.workers_of(client))
    with pytest.raises(MissingChunkError, match=rf"A.zarr on worker ({workers}) is missing"):
        streamsvd.svd(streamsvd.open(path), 3, route="gram")


def test_a_reader_that_cannot_be_sent_is_named_with_what_it_holds(client, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = B
        reader = HeldReader(file["x"])
        with pytest.raises(
            SpecError, match=r"HeldReader holds an open h5py.Dataset, which cannot be sent"
        ):
            streamsvd.svd(reader, 3)


def test_workers_with_other_kernels_of_blas_are_told_by_every_verb(client, places):
    _, _, second = places
    A = streamsvd.open(write("A.zarr"))
    client.run(os.chdir, str(places[0]))
    client.run(_other_kernels, workers=[second])
    try:
        found = [
            streamsvd.pca(A, 3).info,
            streamsvd.lstsq(A, Y).info,
            streamsvd.sample_rows(A, 60).info,
        ]
    finally:
        client.run(_own_kernels, workers=[second])
    for info in found:
        (told,) = [text for text in info.warnings if "different kernels" in text]
        assert f"1 has abacus 1.0 ({second})" in told


class HeldReader:
    """What a user may write: it opens the file once."""

    shape, dtype, chunks = B.shape, B.dtype, (100, 20)

    def __init__(self, opened):
        self.opened = opened

    def read(self, rows):
        return self.opened[rows]


DEVICE_VERBS = {
    "svd": lambda A, device: streamsvd.svd(A, 3, route="krylov", device=device).s,
    "kernel_ridge": lambda A, device: (
        streamsvd.kernel_ridge(
            A, Y, n_centres=20, length=3.0, ridge=1e-3, device=device
        ).held_out_rmse
    ),
}


def _other_kernels():
    from streamsvd.engine import worker_report

    worker_report.own_kernels = worker_report.kernels
    worker_report.kernels = lambda: "abacus 1.0"


def _own_kernels():
    from streamsvd.engine import worker_report

    worker_report.kernels = worker_report.own_kernels


def _hide(name):
    import sys

    sys.modules[name] = None


def _show(name):
    import sys

    del sys.modules[name]

"""Updates on a cluster: workers and clients are killed while they hold a task, two clients write at once, and each row enters once.

Who is to die kills himself, when he reads a row or has committed a version: no clock decides.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import Model
from streamsvd.engine.events import ResultWritten
from streamsvd.models import absorption, cut

M, N, CHUNK = 6000, 400, 400
OPTIONS = {"rank": 2, "buffer": 10, "center": True, "u": True, "memory": "96MiB"}
ROUND = 4
"""Runs of a round: there are several, and pieces are sketched with what is known."""


def values() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.standard_normal((M, N)) / np.sqrt(1 + np.arange(N)) + 0.3


class Deadly:
    """A stored array whose reader dies at a row, once."""

    def __init__(self, path: Path, row: int, mark: Path) -> None:
        self.path, self.row, self.mark = str(path), row, str(mark)
        self.shape, self.dtype, self.chunks = (M, N), np.dtype("f8"), (CHUNK, N)

    def read(self, rows: slice) -> np.ndarray:
        if rows.start <= self.row < rows.stop and rows.stop - rows.start > 1:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)
        return zarr.open_array(self.path, mode="r")[rows]


@pytest.fixture(scope="module")
def cluster():
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "A.zarr"
    zarr.create_array(path, data=values(), chunks=(CHUNK, N))
    return path


def shorten(patch) -> None:
    """Pieces of one chunk, and few of them in a round."""
    patch.setattr(absorption, "ROUND", ROUND)
    patch.setattr(cut, "MAX_PIECE_BYTES", 8 * N * CHUNK)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(stored, tmp_path_factory):
    """The model that one thread makes at home."""
    path = tmp_path_factory.mktemp("whole") / "model"
    with pytest.MonkeyPatch.context() as patch, dask.config.set(num_workers=1):
        shorten(patch)
        streamsvd.update(path, stored, **OPTIONS)
    return Model.open(path)


def assert_same(model: Model, whole: Model) -> None:
    """The same rows, each once, and the same bits."""
    assert (model.n_rows, len(model.blocks)) == (M, len(whole.blocks))
    assert model.verify() == []
    for name in ("s", "Vh", "mean"):
        np.testing.assert_array_equal(getattr(model, name), getattr(whole, name), err_msg=name)
    np.testing.assert_array_equal(model.U[:], whole.U[:])
    assert model.ledger == whole.ledger
    assert [b.captured for b in model.blocks] == [b.captured for b in whole.blocks]


@pytest.mark.parametrize("workers", [2, 5])
def test_threads_make_the_same_model(stored, undisturbed, tmp_path, workers):
    with dask.config.set(num_workers=workers):
        done = streamsvd.update(tmp_path / "m", stored, **OPTIONS)
    assert done.versions == undisturbed.version > 2
    assert_same(Model.open(tmp_path / "m"), undisturbed)


@pytest.mark.parametrize(
    "row", [100, *(pytest.param(row, marks=pytest.mark.slow) for row in (900, 3300, M - 2))]
)  # fmt: skip
def test_a_worker_that_is_killed_changes_no_bit(cluster, stored, undisturbed, tmp_path, row):
    with distributed.Client(cluster):
        source = Deadly(stored, row, tmp_path / "died")
        streamsvd.update(tmp_path / "m", streamsvd.open(source), **OPTIONS)
    assert (tmp_path / "died").exists()
    assert_same(Model.open(tmp_path / "m"), undisturbed)


def update_and_die(address: str, stored: str, model: str, versions: int) -> None:
    """A client that dies when it has committed so many versions; 0 for never."""
    shorten(pytest.MonkeyPatch())
    left = [versions]

    def count(event: object) -> None:
        left[0] -= isinstance(event, ResultWritten)
        if left[0] == 0 and versions:
            os.kill(os.getpid(), signal.SIGKILL)

    with distributed.Client(address):
        streamsvd.update(model, stored, callback=count, **OPTIONS)


@pytest.mark.slow
def test_clients_that_are_killed_or_write_at_once_make_the_same_model(
    cluster, stored, undisturbed, tmp_path
):
    model, address = str(tmp_path / "m"), cluster.scheduler_address
    context = multiprocessing.get_context("spawn")

    def started(versions: int) -> multiprocessing.process.BaseProcess:
        arguments = (address, str(stored), model, versions)
        process = context.Process(target=update_and_die, args=arguments, daemon=True)
        process.start()
        return process

    killed = started(1)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert 0 < Model.open(model).n_rows < M
    both = [started(0), started(0)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert_same(Model.open(model), undisturbed)
    with distributed.Client(cluster) as client:
        assert not any(client.processing().values())


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["top", "online", "shuffle", "block"])
def test_a_killed_worker_changes_no_bit_of_what_is_taken_in_order(cluster, stored, tmp_path, verb):
    def run(A, name):
        if verb == "top":
            found = streamsvd.top_eigenvectors(A, 2, passes=2, memory="256MiB")
            return found.components
        if verb == "online":
            return streamsvd.sample_rows(A, method="online", oversampling=0.02, gamma=50.0).indices
        if verb == "block":
            streamsvd.update(tmp_path / name, A, "one", **OPTIONS)
            model = Model.open(tmp_path / name)
            assert streamsvd.update(tmp_path / name, A, "one").skip_reason == "known"
            return np.concatenate([model.Vh, model.U[:].T @ model.U[:] @ model.Vh])
        return zarr.open_array(streamsvd.shuffle(A, tmp_path / name, seed=1, memory="64MiB"))[...]

    here = run(streamsvd.open(Deadly(stored, -1, tmp_path / "never")), "here")
    with distributed.Client(cluster):
        there = run(streamsvd.open(Deadly(stored, 3300, tmp_path / "died")), "there")
    assert (tmp_path / "died").exists()
    np.testing.assert_array_equal(here, there)


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, N])
@pytest.mark.parametrize(
    "options",
    [
        {"rank": 3, "u": True},
        {"tol": 0.3, "center": True},
        {"rank": 3, "axis": "columns", "u": True},
        {"rank": 3, "forget": 0.9},
        {"rank": 3, "window": 1500, "center": True},
        {"rank": 3, "robust": True, "column_weights": True},
        {"rank": 3, "center": True, "nonfinite": "mean"},
    ],
)
def test_workers_in_processes_make_the_model_of_threads(
    cluster, tmp_path, monkeypatch, width, options
):
    monkeypatch.setattr(cut, "MAX_PIECE_BYTES", 8 * width * CHUNK)
    A = values()[:, :width].astype("f4")
    if options.get("nonfinite"):
        A[::17, 3] = np.nan
    turned = options.get("axis") == "columns"
    if options.get("column_weights"):
        options = options | {"column_weights": np.arange(width) % 3 + 0.5}
    chunks = (width, CHUNK) if turned else (CHUNK, width)
    zarr.create_array(tmp_path / "A.zarr", data=A.T if turned else A, chunks=chunks)

    def run(name):
        streamsvd.update(tmp_path / name, tmp_path / "A.zarr", memory="128MiB", **options)
        return Model.open(tmp_path / name)

    here = run("here")
    with distributed.Client(cluster):
        there = run("there")
    assert len(here.blocks) > 3
    assert there.ledger == here.ledger
    for name in ("s", "Vh", *(["mean"] if options.get("center") else [])):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    if options.get("u"):
        np.testing.assert_array_equal(there.U[:], here.U[:])

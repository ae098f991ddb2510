"""Kernels as graphs: the same bits on a cluster and after a kill, no pass made twice, memory kept."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import dask
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.events import PassStarted, SpanDone

ROOT = Path(__file__).parents[2]


class Killed(Exception):
    """Stands for a kill in the middle."""


class After:
    """Raises when so many runs of a pass of some purpose are done; counts runs."""

    def __init__(self, purpose=None, runs=10**9):
        self.purpose, self.left, self.current_purpose, self.done = purpose, runs, "", []

    def __call__(self, event):
        if isinstance(event, PassStarted):
            self.current_purpose = event.purpose
        if isinstance(event, SpanDone):
            self.done.append(self.current_purpose)
            if self.purpose is not None and self.current_purpose.startswith(self.purpose):
                self.left -= 1
                if self.left < 0:
                    raise Killed


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (4_000, 3))
    path = tmp_path_factory.mktemp("kernels") / "x.zarr"
    zarr.create_array(path, shape=X.shape, chunks=(250, 3), dtype="f8")[...] = X
    return path, np.sin(2 * X[:, 0]) * X[:, 1] + 0.1 * rng.standard_normal(4_000)


OPTIONS = {"n_centres": 40, "length": 1.5, "seed": 3, "budget": 250}
RUNS = 4
NBYTES = 4_000 * 3 * 8


@pytest.mark.parametrize("purpose", ["dictionary", "error"])
@pytest.mark.parametrize("runs", [1, 3])
def test_a_killed_run_goes_on_to_the_same_bits(data, tmp_path, purpose, runs):
    path, _ = data
    whole = streamsvd.nystrom(path, **OPTIONS)
    place = {"checkpoint": tmp_path / "saves", "save_seconds": 0}
    with pytest.raises(Killed):
        streamsvd.nystrom(path, **OPTIONS, **place, callback=After(purpose, runs))
    rest = After()
    place["save_seconds"] = 30
    again = streamsvd.nystrom(path, **OPTIONS, **place, callback=rest)
    np.testing.assert_array_equal(again.indices, whole.indices)
    np.testing.assert_array_equal(again.dictionary.chance, whole.dictionary.chance)
    np.testing.assert_array_equal(again.feature_map.whitening, whole.feature_map.whitening)
    assert again.certificate == whole.certificate
    assert rest.done.count(purpose) <= RUNS + 1 - runs
    assert whole.info.bytes_read == NBYTES  # it stays in memory for the second pass
    left = len(rest.done) if purpose == "error" else RUNS
    assert again.info.bytes_read == left * NBYTES // RUNS
    assert (purpose == "dictionary") == ("dictionary" in rest.done)
    assert not list((tmp_path / "saves").rglob("*.json"))


@pytest.mark.parametrize(
    ("solver", "purpose"),
    [
        ("direct", "sums"),
        ("onepass", "dictionary and sums"),
        ("pcg", "right-hand side"),
        ("pcg", "fit without judges, iteration 3"),
        ("pcg", "judgement"),
        ("pcg", "fit, iteration 2"),
    ],
)
def test_a_killed_regression_goes_on_to_the_same_bits(data, tmp_path, solver, purpose):
    path, y = data
    options = OPTIONS | {"solver": solver, "ridge": 0.05, "tol": 1e-4}
    whole = streamsvd.kernel_ridge(path, y, **options)
    place = {"checkpoint": tmp_path / "saves", "save_seconds": 0}
    with pytest.raises(Killed):
        streamsvd.kernel_ridge(path, y, **options, **place, callback=After(purpose, 2))
    rest = After()
    place["save_seconds"] = 30
    again = streamsvd.kernel_ridge(path, y, **options, **place, callback=rest)
    np.testing.assert_array_equal(again.coefficients, whole.coefficients)
    np.testing.assert_array_equal(again.held_out_rmse, whole.held_out_rmse)
    assert again.residuals == whole.residuals
    assert 0 < rest.done.count(purpose) < RUNS
    assert again.info.bytes_read == min(len(rest.done), RUNS) * NBYTES // RUNS


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 4}, "seed=3"), ({"length": 2.0}, "length=1.5"), ({"budget": 251}, "budget=250")],
)
def test_the_saves_of_another_run_are_refused(data, tmp_path, change, message):
    path, _ = data
    place = {"checkpoint": tmp_path / "saves", "save_seconds": 0}
    with pytest.raises(Killed):
        streamsvd.nystrom(path, **OPTIONS, **place, callback=After("dictionary", 3))
    with pytest.raises(streamsvd.SpecError, match=message):
        streamsvd.nystrom(path, **(OPTIONS | change), **place)
    with pytest.raises(streamsvd.SpecError, match="checkpoint is empty"):
        streamsvd.nystrom(path, **OPTIONS, checkpoint="")
    with pytest.raises(streamsvd.StoreError, match="was saved by nystrom"):
        streamsvd.kernel_ridge(path, data[1], **OPTIONS, **place)


def test_other_targets_are_another_run(data, tmp_path):
    path, y = data
    place = {"checkpoint": tmp_path / "saves", "save_seconds": 0, "ridge": 0.1}
    with pytest.raises(Killed):
        streamsvd.kernel_ridge(path, y, **OPTIONS, **place, callback=After("sums", 3))
    with pytest.raises(streamsvd.SpecError, match="y="):
        streamsvd.kernel_ridge(path, y + 1, **OPTIONS, **place)


def test_a_process_that_was_killed_goes_on(data, tmp_path):
    path, _ = data
    whole = streamsvd.nystrom(path, **OPTIONS)
    program = f"""
        import streamsvd
        from tests.faults.dying import die_at
        die_at(40)  # in the middle of its second save
        streamsvd.nystrom({str(path)!r}, n_centres=40, length=1.5, seed=3, budget=250, checkpoint={str(tmp_path / "saves")!r},
                          save_seconds=0)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "saves" / "log").glob("*.json"))) == 1
    again = streamsvd.nystrom(path, **OPTIONS, checkpoint=tmp_path / "saves")
    np.testing.assert_array_equal(again.dictionary.chance, whole.dictionary.chance)
    assert again.certificate == whole.certificate


@pytest.mark.parametrize("solver", ["direct", "onepass", "pcg"])
def test_a_cluster_gives_the_same_bits(data, solver):
    from distributed import Client, LocalCluster

    path, y = data
    options = OPTIONS | {"solver": solver, "ridge": 0.05}
    with dask.config.set(num_workers=1):
        here = streamsvd.kernel_ridge(path, y, **options)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    with cluster, Client(cluster):
        there = streamsvd.kernel_ridge(path, y, **options)
    np.testing.assert_array_equal(here.coefficients, there.coefficients)
    np.testing.assert_array_equal(here.held_out_rmse, there.held_out_rmse)


def test_a_dask_array_is_read_as_any_other(data):
    import dask.array as da

    path, _ = data
    lazy = da.from_array(zarr.open_array(path)[...], chunks=(1000, 3))  # a chunk of it is a task
    here, there = (streamsvd.nystrom(X, **OPTIONS) for X in (path, lazy))
    np.testing.assert_array_equal(here.indices, there.indices)
    assert here.certificate == there.certificate


@pytest.mark.parametrize("solver", ["direct", "onepass", "pcg"])
def test_memory_is_as_planned(data, solver):
    path, y = data
    fit = streamsvd.kernel_ridge(
        path, y, n_centres=150, length=1.5, ridge=0.1, solver=solver, memory="300MiB"
    )
    assert fit.info.peak_bytes <= fit.info.projected_bytes <= 300 << 20

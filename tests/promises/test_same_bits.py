"""One plan and one seed are one answer, to the last bit, wherever and however the passes run."""

from __future__ import annotations

import os
import signal
import threading

import dask
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

import streamsvd
from streamsvd.engine.events import SpanDone
from streamsvd.testing.spectra import KnownMatrix


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    known = KnownMatrix("pow1", 6000, 300, dtype="float32", seed=5)
    path = tmp_path_factory.mktemp("bits") / "A.zarr"
    array = zarr.create_array(str(path), shape=(6000, 300), chunks=(250, 300), dtype="float32")
    array[...] = known.rows(0, 6000)
    return path, known


def planned(path):
    A = streamsvd.open(path)
    return A, streamsvd.plan_svd(A, 8, route="krylov", memory="400MiB", tol=1e-5)


def bits(result):
    return result.s.tobytes() + result.Vh.tobytes() + result.certificate.sigma_upper.tobytes()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_do_not_change_a_bit(stored, workers):
    A, plan = planned(stored[0])
    reference = bits(streamsvd.svd(A, plan=plan))
    with dask.config.set(num_workers=workers):
        assert bits(streamsvd.svd(A, plan=plan)) == reference


def cluster(n_workers):
    return LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_cluster_gives_the_bits_of_threads(stored, n_workers):
    A, plan = planned(stored[0])
    reference = bits(streamsvd.svd(A, plan=plan))
    with cluster(n_workers) as scheduler, Client(scheduler):
        assert bits(streamsvd.svd(A, plan=plan)) == reference


def test_u_written_by_a_cluster_is_that_of_threads(stored, tmp_path):
    A, _ = planned(stored[0])
    local = streamsvd.svd(A, 8, u=True, out=tmp_path / "local.zarr")
    with cluster(2) as scheduler, Client(scheduler):
        remote = streamsvd.svd(A, 8, u=True, out=tmp_path / "remote.zarr")
        far = rows_of(local, A, tmp_path, "far")
    np.testing.assert_allclose(remote.U[...], local.U[...], atol=1e-5)
    assert far == rows_of(local, A, tmp_path, "near")


def rows_of(result, A, folder, name):
    """Rows that are projected, subtracted and given back: bits of each."""
    scores = result.transform(A, out=folder / f"{name}-scores")
    left = result.residual(A, out=folder / f"{name}-left")
    back = result.reconstruct(slice(5, 5000, 3), out=folder / f"{name}-back")
    kept = result.transform(A)
    return [np.asarray(x[:]).tobytes() for x in (scores, left, back, kept)]


def test_a_killed_worker_costs_time_and_not_a_bit(stored):
    A, plan = planned(stored[0])
    reference = bits(streamsvd.svd(A, plan=plan))
    with cluster(2) as scheduler, Client(scheduler) as client:
        victims = list(client.run(os.getpid).values())
        killed = threading.Event()

        def kill_once(event):
            if type(event).__name__ == "SpanDone" and not killed.is_set():
                killed.set()
                os.kill(victims[0], signal.SIGKILL)

        result = streamsvd.svd(A, plan=plan, callback=kill_once)
        assert killed.is_set()
        assert bits(result) == reference


@pytest.mark.slow
def test_ten_workers_killed_after_random_spans_cost_not_a_bit(stored):
    A, plan = planned(stored[0])
    seen = []
    reference = bits(streamsvd.svd(A, plan=plan, callback=seen.append))
    spans = sum(isinstance(event, SpanDone) for event in seen)
    rng = np.random.default_rng(0)
    for _ in range(10):
        with cluster(2) as scheduler, Client(scheduler) as client:
            victim = list(client.run(os.getpid).values())[int(rng.integers(2))]
            left = int(rng.integers(1, spans))

            def kill(event, victim=victim):
                nonlocal left
                left -= isinstance(event, SpanDone)
                if left == 0:
                    left = spans
                    os.kill(victim, signal.SIGKILL)

            assert bits(streamsvd.svd(A, plan=plan, callback=kill)) == reference


@pytest.mark.parametrize("chunks", [(250, 300), (1000, 77), (6000, 50), (333, 300), (6000, 300)])
def test_any_chunking_gives_the_same_factors(stored, tmp_path, chunks):
    path, known = stored
    array = zarr.create_array(
        str(tmp_path / "A.zarr"), shape=(6000, 300), chunks=chunks, dtype="float32"
    )
    array[...] = zarr.open_array(str(path))[...]
    A = streamsvd.open(tmp_path / "A.zarr")
    plan = streamsvd.plan_svd(A, 8, route="krylov", tol=1e-6)
    result = streamsvd.svd(A, plan=plan)
    np.testing.assert_allclose(result.s, known.s[:8], rtol=2e-6)
    np.testing.assert_allclose(np.abs(result.Vh @ known.Vh(8).T), np.eye(8), atol=1e-4)


def test_another_seed_is_another_draw_and_the_same_values(stored):
    A, plan = planned(stored[0])
    a, b = streamsvd.svd(A, plan=plan, seed=1), streamsvd.svd(A, plan=plan, seed=2)
    assert bits(a) != bits(b)
    np.testing.assert_allclose(a.s, b.s, rtol=2e-5)

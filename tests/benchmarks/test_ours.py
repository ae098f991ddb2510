"""Runs of ours report what a store saw, what is true, and what they cost."""

import json

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from benchmarks import data, ours, peers
from streamsvd.errors import BudgetError
from streamsvd.testing.stores import CountingStore


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return data.make(
        tmp_path_factory.mktemp("ours") / "a.zarr", "pow1", 3000, 200, chunks=(250, 200)
    )


@pytest.mark.parametrize("through", ours.DOORS)
def test_a_run_reports_cost_certificate_and_truth_through_every_door(path, through):
    run = ours.run(path, rank=5, tol=1e-3, memory="128MiB", route="krylov", through=through)
    assert run["status"] == "converged"
    assert run["error"] <= run["width"] <= 1e-3
    assert run["holds"]
    assert len(run["s"]) == 5
    assert 0 <= run["peak_rss_bytes"] <= run["projected_bytes"] <= run["budget_bytes"]
    assert run["wall_s"] > 0
    assert run["cpu_s"] > 0
    assert run["looks"] == len(run["widths"])
    read = run["bytes_read"] / (
        3000 * 200 * 4
    )  # less than the passes, where the matrix stays in memory
    assert 1 <= read <= run["passes"]
    if through != "web":  # what comes over a network is no file
        assert run["file_passes"] > 0.9 * read  # and modules imported late, which are files too
    if through == "store":
        assert run["counted_passes"] == pytest.approx(read)
    json.dumps(run, default=str)


def test_the_budget_may_be_a_multiple_of_the_smallest(path):
    run = ours.run(path, rank=5, tol=1e-3, memory="1.5x")
    assert run["budget_bytes"] == int(1.5 * run["smallest_bytes"])
    with pytest.raises(BudgetError):
        ours.run(path, rank=5, memory=run["smallest_bytes"] - 1)


def test_a_run_that_does_not_converge_is_reported(path):
    run = ours.run(path, rank=50, tol=1e-9, route="krylov", max_passes=1)
    assert run["status"] == "not converged"
    assert run["width"] > 1e-9


def test_calibration_makes_another_prediction(path):
    plain, measured = (ours.run(path, rank=5, tol=1e-3, calibrate=c) for c in (False, True))
    assert plain["planned_seconds"] != measured["planned_seconds"]


def test_intervals_that_miss_the_truth_are_seen(path):
    class Certificate:
        sigma_lower = np.array([1.0, 0.6])
        sigma_upper = np.array([1.0, 0.7])

    class Result:
        s = np.array([1.0, 0.5])
        certificate = Certificate

    known = data.Truth(np.array([1.0, 0.5]), np.eye(2), np.zeros(2), "gram")
    seen = ours.against_truth(Result, known, np.dtype("float32"))
    assert (seen["error"], seen["holds"]) == (0, False)


def test_a_store_counts_parts_of_chunks_as_parts_and_edges_as_far_as_they_are_matrix(tmp_path):
    path = data.make(tmp_path / "a.zarr", "pow1", 10, 7, chunks=(4, 4), codec="none")
    store = CountingStore(LocalStore(path, read_only=True))
    A = zarr.open_array(store, mode="r")
    assert peers.counted_passes(store, path) == 0
    A[...]
    assert peers.counted_passes(store, path) == pytest.approx(1)
    A[8:, 4:]
    assert peers.counted_passes(store, path) == pytest.approx(1 + 2 * 3 / 70)


def test_bytes_of_a_folder_and_of_a_file(tmp_path):
    (tmp_path / "c").mkdir()
    for name in ("a", "c/b"):
        (tmp_path / name).write_bytes(bytes(10))
    assert ours.stored_bytes(tmp_path) == 20
    assert ours.stored_bytes(tmp_path / "a") == 10


def test_passes_of_a_peer_are_counted_too(path):
    figures = peers.run("dask-tuned", path, k=5, power=1, count=True)
    assert figures["counted_passes"] == pytest.approx(4)

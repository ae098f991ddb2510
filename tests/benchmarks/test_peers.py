"""The peers run on what the generator writes, and fail where we say they fail."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import data, peers

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    return data.make(folder / "a.zarr", "geometric", 600, 40, chunks=(100, 40))


@pytest.mark.parametrize(
    ("name", "options", "rtol"),
    [
        ("dask-default", {"k": 5}, 0.2),
        ("dask-tuned", {"k": 5, "power": 2, "oversample": 20}, 1e-5),
        ("incremental-pca", {"k": 5}, 0.02),
        ("incremental-pca", {"k": 5, "batch_rows": 199}, 0.2),  # the last batch would have 3 rows
        ("plain-read", {}, None),
    ],
)
def test_a_peer_reports_values_error_and_cost(path, name, options, rtol):
    figures = peers.run(name, path, **options)
    assert figures["peer"] == name
    assert figures["wall_s"] > 0
    assert figures["cpu_s"] > 0
    assert figures["peak_rss_bytes"] >= 0
    assert "numpy" in figures["versions"]
    if rtol is not None:
        assert len(figures["s"]) == 5
        assert figures["error"] < rtol
    json.dumps(figures)


def test_the_command_prints_one_line_of_json_from_a_fresh_process(path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers", "dask-tuned", str(path), "--k=5"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    figures = json.loads(done.stdout)
    assert figures["options"] == {"k": 5, "power": 2, "oversample": 50}
    assert figures["error"] < 1e-4


def test_measured_peak_is_that_of_the_work_alone():
    np.ones(50_000_000)  # a peak before the work
    total, cost = peers.measured(lambda: np.ones(25_000_000).sum())
    assert total == 25_000_000
    assert 190e6 < cost["peak_rss_bytes"] < 230e6


def test_m8_one_nan_is_not_located():
    assert peers.FAILURES["M8"]() == {"outcome": "LinAlgError: SVD did not converge"}


def test_m9_float32_covariance_cancels():
    found = peers.FAILURES["M9"]()
    assert found["offset 1000"]["smallest_eigenvalue"] < 0
    assert found["offset 10000"]["leading_variance_over_truth"] > 10


@pytest.mark.slow
def test_m1_m2_defaults_are_wrong():
    slow, spikes = peers.FAILURES["M1"](), peers.FAILURES["M2"]()
    for found in (slow, spikes):
        assert found["0 iterations"]["error"] > 0.3
        assert found["0 iterations"]["angle_degrees"] > 45
    assert slow["4 iterations"]["error"] < 1e-3
    assert spikes["4 iterations"]["error"] > 1e-3


@pytest.mark.slow
def test_m3_a_seed_fixes_nothing_across_chunkings():
    found = peers.FAILURES["M3"]()
    assert len(set(found["s1_by_chunk_columns"].values())) == 3
    assert found["largest_difference_in_Vh"] > 0.05


@pytest.mark.slow
def test_m4_float32_overflows_in_unnormalised_iterations():
    found = peers.FAILURES["M4"]()
    for case in ("2000x1000, 5 iterations", "20000x1000, 4 iterations"):
        assert found[case] == "LinAlgError: SVD did not converge"
        assert found[f"{case}, QR"] == "ran"
    assert found["geometric of size 1e-3, 8 iterations: error"] > 0.5


@pytest.mark.slow
def test_m5_dask_ml_fails_on_ordinary_float32():
    found = peers.FAILURES["M5"]()
    if "unavailable" in found:
        pytest.skip(found["unavailable"])
    assert found["outcome"] == "LinAlgError: SVD did not converge"


@pytest.mark.slow
def test_m14_complex_input_is_silently_wrong():
    assert all(error > 0.5 for error in peers.FAILURES["M14"]().values())

"""Streamed predictions keep the least budget that is named: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.kernels.ridge
from benchmarks.peers import measured
source, targets, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = numpy.random.default_rng(0)
X = rng.standard_normal((2_000, 20))
fit = streamsvd.kernel_ridge(X, rng.standard_normal((2_000, targets)), n_centres=200, budget=200, ridge=1.0)
try:
    fit.predict_to(source, out, memory=1 << 20)
except streamsvd.BudgetError as error:
    least = error.needs
_, cost = measured(lambda: fit.predict_to(source, out, memory=least))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("predictions") / "x.zarr"
    X = np.random.default_rng(0).standard_normal((100_000, 20), dtype=np.float32)
    zarr.create_array(path, shape=X.shape, chunks=(5_000, 20), dtype="f4")[...] = X
    return path


@pytest.mark.parametrize("targets", [1, 100])
def test_the_peak_stays_within_the_least_budget(rows, tmp_path, targets):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, str(targets), tmp_path / "p.zarr"],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["least"]

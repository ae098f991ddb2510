"""Dictionaries and regressions keep the least budget that is named: measured in a fresh process, above its imports."""

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
import numpy, scipy.linalg, scipy.spatial.distance, zarr, streamsvd
import streamsvd.kernels.ridge
from benchmarks.peers import measured
path, verb, options = sys.argv[1:]
options = json.loads(options)
given = (path, numpy.ones(20_000)) if verb == "kernel_ridge" else (path,)
run = getattr(streamsvd, verb)
try:
    run(*given, memory=1 << 20, **options)
except streamsvd.BudgetError as error:
    least = error.needs
found, cost = measured(lambda: run(*given, memory=least, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least, "projected": found.info.projected_bytes}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("kernels") / "x.zarr"
    X = np.random.default_rng(0).standard_normal((20_000, 20), dtype=np.float32)
    zarr.create_array(path, shape=X.shape, chunks=(2_500, 20), dtype="f4")[...] = X
    return path


SHARED = {"n_centres": 200, "budget": 300, "length": 5.0}


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("nystrom", {}),
        ("kernel_ridge", {"solver": "direct", "ridge": 1.0}),
        ("kernel_ridge", {"solver": "pcg", "ridge": 1.0}),
        ("kernel_ridge", {"solver": "onepass", "ridge": 1.0}),
    ],
)
def test_the_peak_stays_within_the_least_budget(rows, verb, options):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, verb, json.dumps(SHARED | options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] == found["least"]

"""Means of groups of rows keep the least budget that is named, and so does what then reads without them: measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_known

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.factor.svd, streamsvd.engine.transforms, streamsvd.store.sources.zarr_store.array
from benchmarks.peers import measured
path, groups, trend = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "trend"
A = streamsvd.open(path)
labels = numpy.arange(A.shape[0]) % groups
times = numpy.linspace(-1, 1, A.shape[0]) if trend else False
def fit(memory):
    return streamsvd.anomalies(A, labels, detrend=times, memory=memory)
try:
    fit(1 << 20)
except streamsvd.BudgetError as error:
    least = error.needs
B, cost = measured(lambda: fit(least))
try:
    streamsvd.svd(B, 5, memory=1 << 20)
except streamsvd.BudgetError as error:
    enough = error.needs
found, after = measured(lambda: streamsvd.svd(B, 5, tol=0.1, memory=enough))
print(json.dumps({
    "peak": cost["peak_rss_bytes"], "least": least,
    "peak_of_svd": after["peak_rss_bytes"], "enough": enough,
}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_known(folder / "A.zarr", KnownMatrix("geometric", 4_000, 1_000, "float32"))
    return folder / "A.zarr"


@pytest.mark.parametrize(
    ("groups", "trend"),
    [
        (12, "trend"),
        pytest.param(366, "trend", marks=pytest.mark.slow),
        pytest.param(366, "none", marks=pytest.mark.slow),
    ],
)
def test_the_peak_stays_within_the_least_budget(rows, groups, trend):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, str(groups), trend],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["least"]
    assert found["peak_of_svd"] <= found["enough"]

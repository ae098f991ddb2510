"""The pass that counts for steps keeps the least budget that is named, and so does what reads through them: measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

ROOT = Path(__file__).parents[2]
M, N, EACH = 40_000, 2_000, 100
CHILD = """
import json, sys
import numpy, scipy.linalg, scipy.sparse, zarr, streamsvd
import streamsvd.factor.svd, streamsvd.engine.steps, streamsvd.store.sources.zarr_store.array
from benchmarks.peers import measured
A = streamsvd.open(sys.argv[1])
def count(memory):
    return streamsvd.apply_steps(A, sys.argv[2], memory=memory)
try:
    count(1 << 20)
except streamsvd.BudgetError as error:
    least = error.needs
B, cost = measured(lambda: count(least))
def factorise(memory):
    return streamsvd.svd(B, 5, tol=0.5, max_passes=2, memory=memory, seed=1)
try:
    factorise(1 << 20)
except streamsvd.BudgetError as error:
    enough = error.needs
def run():
    try:
        return factorise(enough)
    except streamsvd.NotConverged as error:
        return error.result
found, after = measured(run)
print(json.dumps({
    "peak": cost["peak_rss_bytes"], "least": least,
    "peak_of_svd": after["peak_rss_bytes"], "enough": enough, "with_zeros": B.nbytes,
}))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Counts in rows, stored without zeros; with them they are 640 MB in float64."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("steps") / "A.zarr"
    attributes = {
        "encoding-type": "csr_matrix",
        "encoding-version": "0.1.0",
        "shape": [M, N],
    }
    group = zarr.create_group(folder, attributes=attributes)
    gaps = rng.integers(1, N // EACH, (M, EACH))
    indices = (np.cumsum(gaps, axis=1) - 1).astype(np.int32)
    values = (rng.poisson(1.0, M * EACH) + 1).astype(np.float32)
    offsets = np.arange(M + 1) * EACH
    for name, array in (("data", values), ("indices", indices.reshape(-1)), ("indptr", offsets)):
        group.create_array(name, data=array, chunks=(1 << 17,))
    return folder


@pytest.mark.parametrize(
    "steps", ["normalize,log1p", "tfidf", pytest.param("pearson", marks=pytest.mark.slow)]
)
def test_the_peak_stays_within_the_least_budget(path, steps):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), steps],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["least"]
    assert found["peak_of_svd"] <= found["enough"]
    assert found["enough"] < found["with_zeros"] / 2

"""What estimators make of stored rows keeps the least budget that is named: measured in a fresh process, above its imports."""

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
import numpy, scipy.linalg, zarr, streamsvd, streamsvd.estimators, streamsvd.factor.pca
from benchmarks.peers import measured
path, name, act = sys.argv[1:]
form = getattr(streamsvd.estimators, name)
made = form(n_components=200 if name == "Nystroem" else 5, memory="256MiB")
if act != "fit":
    made.fit(numpy.random.default_rng(0).standard_normal((500, 400)))
made.set_params(memory=1 << 20)
try:
    getattr(made, act)(path)
except streamsvd.BudgetError as error:
    least = error.needs
made.set_params(memory=least)
found, cost = measured(lambda: getattr(made, act)(path))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("estimators") / "x.zarr"
    X = np.random.default_rng(0).standard_normal((100_000, 400), dtype=np.float32)
    zarr.create_array(path, shape=X.shape, chunks=(5_000, 400), dtype="f4")[...] = X
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("PCA", "transform"),
        ("PCA", "score_samples"),
        ("TruncatedSVD", "transform"),
        ("IncrementalPCA", "transform"),
        ("IncrementalPCA", "fit"),
        ("Nystroem", "transform"),
    ],
)
def test_the_peak_stays_within_the_least_budget(rows, name, act):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, name, act],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["least"]
    assert found["least"] < 400 << 20

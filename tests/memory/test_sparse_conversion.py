"""A conversion of a sparse matrix keeps the least budget that is named, by every way: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import io as scipy_io
from scipy import sparse

import streamsvd

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, zarr, scipy.io, scipy.sparse, streamsvd
import streamsvd.conversion.convert
from benchmarks.peers import measured
path, more, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
if path.endswith((".csv", ".parquet")):
    import pyarrow.csv, pyarrow.parquet
try:
    streamsvd.plan("convert", path, memory=1, **options)
except streamsvd.BudgetError as error:
    budget = error.needs + more
plan = streamsvd.plan("convert", path, memory=budget, **options)
made, cost = measured(lambda: streamsvd.convert(path, path + ".out", memory=budget, overwrite=True, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "budget": budget, "projected": plan.projected_bytes, "passes": made.info.passes}))
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    rng = np.random.default_rng(0)
    A = sparse.random_array((60_000, 3000), density=0.02, format="csr", rng=rng)
    streamsvd.convert(A, folder / "rows.zarr")
    scipy_io.mmwrite(folder / "rows.mtx", A[:20_000])
    scipy_io.mmwrite(folder / "columns.mtx", A[:20_000].tocsc())
    edges = rng.integers(0, 300_000, (3_000_000, 2))
    np.save(folder / "e.npy", edges)
    np.savetxt(folder / "e.csv", edges[:500_000], fmt="%d", delimiter=",")
    return folder


@pytest.mark.parametrize(
    ("name", "more", "options", "passes"),
    [
        ("rows.zarr", 0, {}, 1),
        ("rows.zarr", 0, {"transpose": True}, 2),
        pytest.param("rows.zarr", 1 << 30, {"transpose": True}, 1, marks=pytest.mark.slow),
        pytest.param("rows.mtx", 0, {}, 1, marks=pytest.mark.slow),
        pytest.param("columns.mtx", 0, {"out_dtype": "float32"}, 2, marks=pytest.mark.slow),
        pytest.param("e.npy", 0, {"edges": True, "nodes": 300_000}, 2, marks=pytest.mark.slow),
        pytest.param("e.npy", 1 << 30, {"edges": True, "nodes": 300_000}, 1, marks=pytest.mark.slow),
        pytest.param(
            "e.csv", 0, {"edges": True, "nodes": 300_000, "header": False, "symmetric": True}, 2, marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_the_peak_stays_within_the_least_budget(stored, name, more, options, passes):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, stored / name, str(more), json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["passes"] == passes
    assert found["peak"] <= found["projected"] <= found["budget"]

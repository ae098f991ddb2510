"""Embeddings and eigenvectors of graphs keep the budget: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import sparse

ROOT = Path(__file__).parents[2]
NODES = 200_000
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.graphs.verb, streamsvd.graphs.eigenvectors, streamsvd.store.results.writer, streamsvd.engine.run
from benchmarks.peers import measured
path, verb, options = sys.argv[1:]
options, run = json.loads(options), getattr(streamsvd, verb)
more = options.pop("more", 0)
try:
    run(path, memory=1 << 20, **options)
except streamsvd.BudgetError as error:
    least = error.needs
allowed = least + more
done, cost = measured(lambda: run(path, memory=allowed, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "allowed": allowed, "projected": done.info.projected_bytes}))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """Nodes of ten edges, and a hub of many."""
    rng = np.random.default_rng(0)
    i = np.repeat(np.arange(NODES), 5)
    j = rng.integers(NODES, size=i.size)
    j[::40] = 3
    there = sparse.coo_array((np.ones(i.size, "f4"), (i, j)), shape=(NODES, NODES)).tocsr()
    matrix = (there + there.T).tocsr()
    kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [NODES, NODES]}
    path = tmp_path_factory.mktemp("graph") / "graph.zarr"
    group = zarr.create_group(path, attributes=kind)
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(matrix, name), chunks=(1 << 16,))
    return path


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("embed", {"dim": 2, "out": "E"}),
        ("embed", {"dim": 32, "step_weights": [0, 1], "more": 100_000_000}),
        pytest.param(
            "embed",
            {"dim": 24, "out": "E", "step_weights": [1, 1], "normalize": True, "more": 80_000_000},
            marks=pytest.mark.slow,
        ),
        pytest.param("graph_eigenvectors", {"rank": 2, "tol": 0.5}, marks=pytest.mark.slow),
    ],
)
def test_the_peak_stays_within_the_budget(graph, tmp_path, verb, options):
    if "out" in options:
        options = options | {"out": str(tmp_path / "E")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, graph, verb, json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] <= found["allowed"], found

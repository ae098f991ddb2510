"""Counts of cells become components in the least budget that is named, which grows by what is counted of each cell and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from streamsvd.single_cell.planning import CELL_BYTES

pytest.importorskip("skmisc")
ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, scipy.sparse, zarr, streamsvd, skmisc.loess
import streamsvd.single_cell.verb, streamsvd.engine.run, streamsvd.store.results.writer
from benchmarks.peers import measured
path, out = sys.argv[1:]
asked = {"genes": 500, "rank": 20, "out": out}
try:
    streamsvd.cells(path, memory=1 << 20, **asked)
except streamsvd.BudgetError as error:
    least = error.needs
done, cost = measured(lambda: streamsvd.cells(path, memory=least, **asked))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least, "projected": done.info.projected_bytes}))
"""


def write_cells(place: Path, m: int, n: int = 3000) -> Path:
    """A CSR group as AnnData writes it, of 100 counts a cell."""
    import zarr

    rng = np.random.default_rng(0)
    group = zarr.create_group(place)
    part = group.create_group("X")
    part.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [m, n]})
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    rates = rng.gamma(0.4, 1.0, n)
    X = sparse.vstack([
        sparse.csr_array(rng.poisson(rates / rates.sum() * 150, (1000, n)).astype("f4"))
        for _ in range(m // 1000)
    ]).tocsr()  # fmt: skip
    for name, values in (("data", X.data), ("indices", X.indices), ("indptr", X.indptr)):
        part.create_array(name, data=values, chunks=(1 << 17,))
    return place


def figures(place: Path, out: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, place, out], capture_output=True, text=True, cwd=ROOT, timeout=250, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_peak_stays_within_the_least_budget(tmp_path):
    found = figures(write_cells(tmp_path / "cells.zarr", 20_000), tmp_path / "out")
    assert found["peak"] <= found["projected"] == found["least"]


@pytest.mark.slow
def test_the_budget_grows_by_what_is_counted_of_a_cell(tmp_path):
    few, many = (
        figures(write_cells(tmp_path / f"{m}.zarr", m), tmp_path / f"out{m}")
        for m in (20_000, 200_000)
    )
    assert many["peak"] <= many["projected"] == many["least"]
    assert many["least"] - few["least"] <= 1.01 * CELL_BYTES * 180_000

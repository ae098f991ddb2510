"""Counts of cells become components in the least budget that is named; what a plan takes grows by what is counted of a cell."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import streamsvd
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
def test_the_peak_stays_within_it_of_ten_times_the_cells(tmp_path):
    found = figures(write_cells(tmp_path / "cells.zarr", 200_000), tmp_path / "out")
    assert found["peak"] <= found["projected"] == found["least"]


@dataclass(frozen=True)
class ManyCells:
    """So many cells of 1,500 counts each, of which nothing may be read."""

    shape: tuple[int, int]
    dtype = np.dtype(np.float32)
    name = "many"
    sparse_axis = "rows"
    read_bytes = 64 << 20
    entries_of_row = 1500

    @property
    def chunks(self):
        return 64, self.shape[1]

    @property
    def nbytes(self):
        return 4 * self.shape[0] * self.shape[1]

    @property
    def entries(self):
        return self.entries_of_row * self.shape[0]

    @property
    def stored_bytes(self):
        return 8 * self.entries

    def most_entries(self, length):
        return self.entries_of_row * length

    def sparse_bytes(self, entries):
        return 32 * entries

    def read(self, rows, columns, out):
        raise AssertionError(f"rows {rows} were read")

    def read_sparse(self, run):
        raise AssertionError(f"rows {run} were read")

    def locate(self, row, column):
        return self.name


def test_a_plan_grows_by_what_is_counted_of_a_cell_and_no_more():
    few, many = 10_000_000, 100_000_000  # both have as many tasks as there are
    plans = [
        streamsvd.plan("cells", ManyCells((m, 30_000)), out="out", memory="16GiB")
        for m in (few, many)
    ]
    assert all("Gram" not in note for p in plans for note in p.notes)  # it fits
    grown = plans[1].projected_bytes - plans[0].projected_bytes
    waiting = 8 * 32 << 20  # sums of more tasks, a logarithm of their number
    assert grown <= CELL_BYTES * (many - few) + waiting
    assert plans[0].projected_bytes - CELL_BYTES * few < 1.1 * 2**30

"""A conversion keeps the least budget that is named, by every way: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from tests.store.sources.test_plink import genotypes
from tests.store.sources.test_plink import write as write_plink

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, zarr, streamsvd
import streamsvd.conversion.convert
from benchmarks.peers import measured
path, more, options = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
source = path
if path.endswith(".zarr"):
    source = streamsvd.open(path)
try:
    streamsvd.plan("convert", source, memory=1 << 20, **options)
except streamsvd.BudgetError as error:
    budget = error.needs + more
plan = streamsvd.plan("convert", source, memory=budget, **options)
made, cost = measured(lambda: streamsvd.convert(source, path + ".out", memory=budget, overwrite=True, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "budget": budget, "projected": plan.projected_bytes, "passes": made.info.passes}))
"""
SHAPE = (12_000, 1_000)
LAYOUTS = {
    "rows": (500, 1000),
    "columns": (12_000, 20),
    "grid": (4000, 100),
    "tall": (12_000, 1000),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    A = np.random.default_rng(0).standard_normal(SHAPE, dtype="f4")
    for name, chunks in LAYOUTS.items():
        zarr.create_array(folder / f"{name}.zarr", data=A, chunks=chunks)
    write_plink(folder, genotypes(4000, 3000), "g")
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset(
            "A", data=A, chunks=(12_000, 20), compression="gzip", compression_opts=1
        )
    np.save(folder / "F.npy", np.asfortranarray(A))
    header = ",".join(f"c{j}" for j in range(40))
    np.savetxt(folder / "T.csv", A[:8000, :40], delimiter=",", header=header, comments="")
    return folder


@pytest.mark.parametrize(
    ("name", "more", "options"),
    [
        ("rows.zarr", 0, {}),
        pytest.param("rows.zarr", 64 << 20, {"out_dtype": "float64"}, marks=pytest.mark.slow),
        ("columns.zarr", 0, {"chunk": "1MiB"}),
        pytest.param("columns.zarr", 8 << 20, {"chunk": "4MiB"}, marks=pytest.mark.slow),
        pytest.param("grid.zarr", 0, {"chunk": "2MiB"}, marks=pytest.mark.slow),
        pytest.param(
            "grid.zarr", 0, {"chunk_rows": 300, "out_dtype": "float64"}, marks=pytest.mark.slow
        ),
        pytest.param("tall.zarr", 0, {"chunk": "2MiB"}, marks=pytest.mark.slow),
        pytest.param("F.npy", 0, {"chunk": "1MiB"}, marks=pytest.mark.slow),
        pytest.param("T.csv", 0, {}, marks=pytest.mark.slow),
        pytest.param("g.bed", 0, {"chunk": "1MiB"}, marks=pytest.mark.slow),
        pytest.param("x.h5", 0, {"chunk": "1MiB"}, marks=pytest.mark.slow),
    ],
)
def test_the_peak_stays_within_the_least_budget(stored, name, more, options):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, stored / name, str(more), json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] <= found["budget"]


COUNT = """
import json, sys
import numpy, zarr, streamsvd
from benchmarks.peers import measured
from streamsvd.conversion.counting import count_entries, schedule_counting
source = streamsvd.open(sys.argv[1])
try:
    schedule_counting(source, 1 << 20)
except streamsvd.BudgetError as error:
    budget = error.needs
found, cost = measured(lambda: count_entries(source, memory=budget))
print(json.dumps({"peak": cost["peak_rss_bytes"], "budget": budget, "projected": found.info.projected_bytes}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.zarr", "grid.zarr", "g.bed"])
def test_counting_stays_within_the_least_budget(stored, name):
    done = subprocess.run(
        [sys.executable, "-c", COUNT, stored / name], capture_output=True, text=True, cwd=ROOT, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] <= found["budget"]

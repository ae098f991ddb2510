"""Streams and shuffling keep the least budget that is named: measured in a fresh process, above its imports."""

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
import numpy, scipy.linalg, scipy.special, zarr, streamsvd
import streamsvd.streams.verb, streamsvd.streams.shuffle
from benchmarks.peers import measured
path, verb, options = sys.argv[1:]
options = json.loads(options)
out = () if verb == "top_eigenvectors" else (path + ".shuffled",)
try:
    streamsvd.plan(verb, path, memory=1 << 20, **options)
except streamsvd.BudgetError as error:
    least = error.needs
plan = streamsvd.plan(verb, path, memory=least, **options)
_, cost = measured(lambda: getattr(streamsvd, verb)(path, *out, memory=least, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least, "projected": plan.projected_bytes}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_known(folder / "A.zarr", KnownMatrix("geometric", 20_000, 300, "float32"))
    return folder / "A.zarr"


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("top_eigenvectors", {"k": 3}),
        ("top_eigenvectors", {"k": 3, "order": "random", "passes": 2}),
        pytest.param("top_eigenvectors", {"k": 1, "order": "arbitrary"}, marks=pytest.mark.slow),
        ("shuffle", {}),
    ],
)
def test_the_peak_stays_within_the_least_budget(rows, verb, options):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, verb, json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] <= found["least"]

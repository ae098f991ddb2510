"""Sampling rows and least squares keep the least budget that is named: measured in a fresh process, above its imports."""

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
import streamsvd.rows.sample_rows, streamsvd.rows.lstsq, streamsvd.engine.run
from benchmarks.peers import measured
path, verb, options = sys.argv[1:]
options = json.loads(options)
given = (path, numpy.ones(20_000)) if verb == "lstsq" else (path,)
run = getattr(streamsvd, verb)
try:
    run(*given, memory=1 << 20, **options)
except streamsvd.BudgetError as error:
    least = error.needs
done, cost = measured(lambda: run(*given, memory=least, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least, "projected": done.info.projected_bytes}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_known(folder / "A.zarr", KnownMatrix("geometric", 20_000, 300, "float32"))
    return folder / "A.zarr"


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("sample_rows", {"size": 2_000}),
        ("lstsq", {"method": "qr"}),
        ("lstsq", {"method": "precondition", "tol": 1e-3}),
        pytest.param("sample_rows", {"oversampling": 10.0}, marks=pytest.mark.slow),
        pytest.param(
            "sample_rows", {"method": "online", "oversampling": 1.0}, marks=pytest.mark.slow
        ),
        pytest.param("lstsq", {"method": "sketch"}, marks=pytest.mark.slow),
        pytest.param("lstsq", {"method": "sketch", "save_seconds": 0}, marks=pytest.mark.slow),
    ],
)
def test_the_peak_stays_within_the_least_budget(rows, tmp_path, verb, options):
    if "save_seconds" in options:
        options = options | {"checkpoint": str(tmp_path / "saves")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, verb, json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["projected"] == found["least"]

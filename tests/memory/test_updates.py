"""Absorbing rows keeps the budget: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamsvd.engine.memory import parse_bytes
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_known

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.drivers.model, streamsvd.engine.execute
from benchmarks.peers import measured
path, model, memory, options = sys.argv[1:]
options = json.loads(options)
done, cost = measured(lambda: streamsvd.update(model, path, memory=memory, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "absorbed": done.absorbed, "versions": done.versions}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_known(folder / "A.zarr", KnownMatrix("slow", 16_000, 1_000, "float32"))
    return folder / "A.zarr"


@pytest.mark.parametrize(
    ("memory", "options"),
    [
        ("110MiB", {"rank": 20}),
        ("160MiB", {"rank": 20, "center": True, "u": True}),
        ("400MiB", {"rank": 60}),
        pytest.param("300MiB", {"rank": 20, "window": 8000}, marks=pytest.mark.slow),
        pytest.param("300MiB", {"tol": 0.5, "max_rank": 60}, marks=pytest.mark.slow),
        pytest.param("1GiB", {"rank": 100, "u": True}, marks=pytest.mark.slow),
    ],
)
def test_the_peak_of_an_update_stays_within_the_budget(rows, tmp_path, memory, options):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, tmp_path / "m", memory, json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["absorbed"] == 16_000
    assert found["peak"] <= parse_bytes(memory)

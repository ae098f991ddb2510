"""SIGKILL in the middle of rows that are written: nothing is at their place, or what was there before; the next call cleans up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import streamsvd

ROOT = Path(__file__).parents[2]
CHILD = """
import os, signal, sys
import numpy as np, streamsvd
from streamsvd.engine.events import SpanDone
result, source, out, method, event = sys.argv[1:]

def die(told):
    if isinstance(told, SpanDone) and told.n_finished == int(event):
        os.kill(os.getpid(), signal.SIGKILL)

getattr(streamsvd.load(result), method)(source, out=out, overwrite=True, callback=die)
"""


@pytest.mark.parametrize(
    ("method", "there"),
    [("residual", True), pytest.param("transform", False, marks=pytest.mark.slow)],
)
def test_a_kill_leaves_what_was_there(tmp_path, method, there) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4000, 10))
    zarr.create_array(tmp_path / "A.zarr", shape=A.shape, chunks=(250, 10), dtype="f8")[...] = A
    found = streamsvd.pca(A, 2)
    found.save(tmp_path / "result")
    out = tmp_path / "out"
    if there:
        found.transform(A, out=out)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "result", tmp_path / "A.zarr", out, method, "3"],
        cwd=ROOT, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == -9
    beside = {p.name for p in tmp_path.iterdir()} - {"A.zarr", "result", "out"}
    assert len(beside) == 1
    assert out.exists() is there
    if there:
        np.testing.assert_allclose(zarr.open_array(out, mode="r")[:], found.transform(A))
    found.transform(A, out=out, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"A.zarr", "result", "out"}

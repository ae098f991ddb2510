"""T16: what does a matrix cost that is no work at all: the whole process, from the shell to the answer?"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.fresh import ROOT
from benchmarks.tables import Row, Size, Table, judged

SECONDS = 0.8
SHAPE = (300, 40)
NUMPY = "import sys, numpy as np; np.linalg.svd(np.load(sys.argv[1]), full_matrices=False)"


def matrix(folder: str) -> Path:
    """A file of numpy."""
    path = Path(folder) / "tiny.npy"
    np.save(path, np.random.default_rng(0).standard_normal(SHAPE))
    return path


def seconds(path: Path) -> float:
    """Wall seconds of ``streamsvd svd`` in a fresh process."""
    words = ["-m", "streamsvd.cli", "svd", str(path), "--rank", "5", "--quiet", "--json"]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], check=True, capture_output=True, text=True, cwd=ROOT
    )
    took = time.perf_counter() - began
    assert json.loads(done.stdout)["status"] == "converged"
    return took


def numpy_seconds(path: Path) -> float:
    """The same of LAPACK in a fresh process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", NUMPY, str(path)], check=True)
    return time.perf_counter() - began


class Tiny:
    """asv: the whole process."""

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = matrix(self.folder.name)

    def teardown(self) -> None:
        self.folder.cleanup()

    def time_svd(self) -> None:
        seconds(self.path)


def table(size: Size = "full", rounds: int = 5) -> Table:
    """Median seconds, ours and numpy's in turns."""
    rounds = max(rounds, 5) if size == "full" else rounds
    with tempfile.TemporaryDirectory() as folder:
        path = matrix(folder)
        seconds(path)  # the first compiles
        pairs = [(seconds(path), numpy_seconds(path)) for _ in range(rounds)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    row = Row(
        f"streamsvd svd of {SHAPE[0]} x {SHAPE[1]}, a .npy",
        f"<= {SECONDS:g} s, median",
        f"{ours:.3f} s; numpy {theirs:.3f} s",
        judged(ours <= SECONDS),
    )
    return Table("T16", "a tiny matrix", [row], (), {"seconds": [a for a, _ in pairs]})

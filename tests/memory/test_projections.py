"""Rows that are projected, given back and subtracted keep the least budget that is named: in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.factor.reconstruction, streamsvd.factor.residuals, streamsvd.store.writing.rows, streamsvd.store.results.lazy
from benchmarks.peers import measured
kind, source, out = sys.argv[1:]
found = streamsvd.load(out + ".result")
numpy.save(out + ".npy", numpy.random.default_rng(0).standard_normal((6_000, found.rank)))
calls = {
    "scores": lambda memory: found.transform(source, out=out, memory=memory),
    "array": lambda memory: found.transform(source, memory=memory),
    "filled": lambda memory: found.transform(source, out=out, nonfinite="mean", memory=memory),
    "residual": lambda memory: found.residual(source, out=out, memory=memory),
    "rows": lambda memory: found.reconstruct(source=source, out=out, memory=memory),
    "stored": lambda memory: found.reconstruct(out=out, memory=memory),
    "given": lambda memory: found.inverse_transform(out + ".npy", out=out, memory=memory),
    "likelihoods": lambda memory: found.score_samples(source, memory=memory),
}
try:
    calls[kind](1 << 20)
except streamsvd.BudgetError as error:
    least = error.needs
done, cost = measured(lambda: calls[kind](least))
print(json.dumps({"peak": cost["peak_rss_bytes"], "least": least, "shape": list(done.shape)}))
"""
TALL, WIDE = (60_000, 200), (1_500, 12_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


def written(folder, name):
    """A matrix, written once."""
    if not (folder / name).exists():
        m, n = TALL if name == "tall" else WIDE
        X = np.random.default_rng(0).standard_normal((m, n), dtype=np.float32)
        X *= np.float32(0.9) ** (np.arange(n, dtype=np.float32) % 50)
        chunks = (3_000, n) if name == "tall" else (300, 3_000)
        zarr.create_array(folder / name, shape=X.shape, chunks=chunks, dtype="f4")[...] = X + 3
    return folder / name


@pytest.mark.parametrize(
    ("kind", "matrix"),
    [
        ("scores", "tall"),
        pytest.param("rows", "wide", marks=pytest.mark.slow),
        pytest.param("array", "tall", marks=pytest.mark.slow),
        pytest.param("residual", "tall", marks=pytest.mark.slow),
        pytest.param("scores", "wide", marks=pytest.mark.slow),
        pytest.param("filled", "tall", marks=pytest.mark.slow),
        pytest.param("filled", "wide", marks=pytest.mark.slow),
        pytest.param("residual", "wide", marks=pytest.mark.slow),
        pytest.param("rows", "tall", marks=pytest.mark.slow),
        pytest.param("stored", "tall", marks=pytest.mark.slow),
        pytest.param("stored", "wide", marks=pytest.mark.slow),
        pytest.param("given", "wide", marks=pytest.mark.slow),
        pytest.param("likelihoods", "tall", marks=pytest.mark.slow),
        pytest.param("likelihoods", "wide", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_the_peak_stays_within_the_least_budget(folder, tmp_path, kind, matrix):
    import streamsvd

    source, place = written(folder, matrix), folder / f"{matrix}.result"
    if not place.exists():
        streamsvd.pca(
            source,
            20,
            u=True,
            out=place,
            target="error",
            excess_tol=1.0,
            certify="estimate",
        )
    (tmp_path / "out.result").symlink_to(place)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, kind, source, tmp_path / "out"],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] <= found["least"]
    if (kind, matrix) == ("scores", "tall"):  # the matrix has 48 MB
        assert found["least"] < 60 << 20

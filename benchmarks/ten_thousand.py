"""Ten thousand matrices compressed in little memory, in a process of its own.

``python -m benchmarks.ten_thousand`` writes 10 000 matrices of 1440 x 20 in float32, of 50 hidden subspaces of 6
dimensions and 1 % noise (1.15 GB, in the cache of the benchmarks, one array that is cut), compresses them at an error of
0.05 within 1 GiB, and prints its figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh
from benchmarks.peers import measured
from benchmarks.tables import Row, judged
from streamsvd.testing.collections import add_noise, orthonormal

COUNT, ROWS, COLUMNS = 10_000, 1440, 20
SUBSPACES, DIMENSIONS, NOISE = 50, 6, 0.01
PANEL = 50
ERROR, MEMORY = 0.05, "1GiB"
WALL_S, PEAK = 180.0, 1 << 30


def make() -> Path:
    """The array, written once: matrices in turn from each subspace."""
    path = data.cache_folder() / "data" / f"collection-{COUNT}x{ROWS}x{COLUMNS}-alone-seed0.zarr"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    bases = [orthonormal(rng, ROWS, DIMENSIONS) for _ in range(SUBSPACES)]
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        part = Path(scratch, "array")
        shape, chunks = (COUNT, ROWS, COLUMNS), (1, ROWS, COLUMNS)  # each is read alone
        z = zarr.create_array(part, shape=shape, dtype="float32", chunks=chunks)
        for at in range(0, COUNT, PANEL):
            few = range(at, min(at + PANEL, COUNT))
            made = (bases[i % SUBSPACES] @ rng.standard_normal((DIMENSIONS, COLUMNS)) for i in few)
            z[at : at + PANEL] = np.array(
                [add_noise(rng, A, NOISE) for A in made], dtype=np.float32
            )
        part.replace(path)
    return path


def compressed(path: Path) -> Figures:
    """What ``compress`` makes of the array, and what it costs."""
    out = Path(tempfile.mkdtemp(prefix="compressed-", dir=path.parent))
    try:
        done, cost = measured(
            lambda: streamsvd.compress(
                streamsvd.open_collection(path, cut=0), out / "C.zarr", error=ERROR, memory=MEMORY
            )
        )
        held = streamsvd.open_compressed(out / "C.zarr")
        worst, proved = errors_of(held, path)
        return {
            **cost,
            "clusters": len(done.clusters),
            "compression": done.compression_ratio,
            "certified": max(c.error_upper for c in done.clusters),
            "worst": worst,
            "proved": proved,
            "reads": done.reads,
            "projected_bytes": done.info.projected_bytes,
        }
    finally:
        shutil.rmtree(out)


def errors_of(held: Any, path: Path) -> tuple[float, bool]:
    """Worst error of every hundredth matrix as read again, and whether all are within their bounds."""
    z, names = zarr.open_array(path, mode="r"), sorted(held)
    worst, proved = 0.0, True
    for i in range(0, COUNT, 100):
        A = np.asarray(z[i], dtype=np.float64)
        error = float(np.linalg.norm(A - held[names[i]]) / np.linalg.norm(A))
        worst, proved = max(worst, error), proved and error <= held.block_errors[names[i]]
    return worst, proved


def table() -> tuple[list[Row], Figures]:
    """One row."""
    make()
    f = fresh("benchmarks.ten_thousand")
    peak, projected = f["peak_rss_bytes"] / 2**20, f["projected_bytes"] / 2**20
    met = f["wall_s"] <= WALL_S and f["peak_rss_bytes"] <= PEAK and f["proved"]
    said = f"{f['clusters']} clusters, {f['compression']:.1f} x, certified {f['certified']:.3g}, "
    said += f"worst of a hundred {f['worst']:.3g}, {f['reads']:.2g} reads, {f['wall_s']:.0f} s, "
    said += f"{peak:.0f} MiB ({projected:.0f} projected)"
    asked = f"clusters <= {ERROR}, <= {WALL_S:.0f} s, <= 1 GiB"
    case = f"{COUNT} matrices of {ROWS} x {COLUMNS}, compressed in {MEMORY}"
    return [Row(case, asked, said, judged(met and f["certified"] <= ERROR))], f


def main(arguments: list[str] | None = None) -> None:
    """Compress the collection, which is made if it is not there, and print one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ten_thousand", description=main.__doc__
    )
    parser.parse_args(arguments)
    print(json.dumps(compressed(make())))


if __name__ == "__main__":
    main()

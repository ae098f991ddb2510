"""G1: what does a step of an embedding cost beside the same products of scipy in memory, and what do less memory and more reads?

``python -m benchmarks.node_embeddings PATH`` embeds the nodes of a stored graph with memory for all columns and with the least, and
multiplies the same graph in memory. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from threadpoolctl import threadpool_limits

import streamsvd
from benchmarks.fresh import Figures, fresh, median
from benchmarks.memory import Case
from benchmarks.peers import cpu_s
from benchmarks.sparse_pass import matrix
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.protocols import SparseSource

ASKED = 5.0
DIM, STEPS = 64, (0.0, 0.0, 1.0, 1.0)
CASES: dict[Size, Case] = {
    "small": Case((20_000, 20_000), (1 << 16, 1), codec="csr", density=5e-4),
    "full": Case((2_000_000, 2_000_000), (1 << 20, 1), codec="csr", density=5e-6),
}


def measure(path: str | Path, dim: int = DIM) -> Figures:
    """CPU and wall seconds of both embeddings and of the products alone, whether bits agree, and what each read."""
    source = cast(SparseSource, streamsvd.open(path))
    out: Figures = {"entries": source.entries, "nodes": source.shape[0]}
    with tempfile.TemporaryDirectory() as folder:
        least = _least(path, dim, Path(folder) / "E")
        found: dict[str, Any] = {}
        for name, memory in (("wide", "8GiB"), ("narrow", least)):
            cpu, wall = cpu_s(), time.perf_counter()
            made = streamsvd.embed(path, dim, memory=memory, out=Path(folder) / name)
            out[f"{name}_s"], out[f"{name}_cpu_s"] = time.perf_counter() - wall, cpu_s() - cpu
            out[f"{name}_passes"], found[name] = made.info.passes, made.vectors
            out[f"{name}_peak"] = made.info.peak_bytes
        out["same"] = all(
            np.array_equal(found["wide"][a : a + 65_536], found["narrow"][a : a + 65_536])
            for a in range(0, source.shape[0], 65_536)
        )
    A = source.read_sparse(slice(0, source.shape[0])).astype(np.float32)
    X = np.random.default_rng(0).standard_normal((source.shape[0], dim)).astype(np.float32)
    with threadpool_limits(1):
        cpu = cpu_s()
        for _ in STEPS:
            X = A @ X
        out["scipy_cpu_s"] = cpu_s() - cpu
    return out


def _least(path: str | Path, dim: int, out: Path) -> int:
    """The least memory that works."""
    try:
        streamsvd.embed(path, dim, memory=1 << 10, out=out)
    except streamsvd.BudgetError as error:
        return error.needs
    raise AssertionError("so little memory does")


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Medians of fresh processes, each of which measures all."""
    case = CASES[size]
    run = median([fresh("benchmarks.node_embeddings", matrix(case)) for _ in range(rounds)])
    each = 1e9 / (run["entries"] * DIM * len(STEPS))
    ratio = run["wide_cpu_s"] / run["scipy_cpu_s"]
    what = f"{case.shape[0]:,} nodes, {run['entries']:,.0f} edges, {DIM} dimensions"
    rows = [
        Row(
            f"{what}: all columns at once",
            f"<= {ASKED:g} times the CPU of scipy's products in memory",
            f"{ratio:.2f}: {run['wide_cpu_s'] * each:.2g} ns an edge, column and step, scipy {run['scipy_cpu_s'] * each:.2g}; "
            f"{run['wide_passes']:.0f} reads, {run['wide_peak'] / 1e6:.0f} MB",
            judged(ratio <= ASKED, size=size),
        ),
        Row(
            f"{what}: in the least memory",
            "the same bits",
            f"{run['narrow_passes']:.0f} reads, {run['narrow_peak'] / 1e6:.0f} MB, {run['narrow_s'] / run['wide_s']:.1f} times as long",
            judged(bool(run["same"]), size="full"),
        ),
    ]
    notes = (
        f"FastRP, weights {STEPS}, float32; medians of {rounds} fresh processes, page cache warm.",
    )
    return Table(
        "G1", "an embedding of nodes against products in memory", rows, notes, {"graph": run}
    )


def main(arguments: list[str] | None = None) -> None:
    """Embed the nodes of one stored graph."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.node_embeddings", description=main.__doc__
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--dim", type=int, default=DIM)
    print(json.dumps(measure(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()

"""Z1: what does a pass over stored entries cost beside the reading and the multiplying that it cannot do without?

``python -m benchmarks.sparse_pass PATH`` measures, in this process: a pass (``A* A`` times a thin block of 60 columns) over the engine;
reading alone, the same panels; products alone, the same blocks from memory, by the engine and by scipy. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from threadpoolctl import threadpool_limits

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh, median
from benchmarks.memory import Case, write_compressed
from benchmarks.peers import cpu_s
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.device import thread_backend
from streamsvd.engine.passes import Block
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run
from streamsvd.factor.passes import NormalPass, ThinBlock
from streamsvd.numerics.blocks import Preparation
from streamsvd.protocols import SparseSource

ASKED = 1.35
WIDTH = 60
CASES: dict[Size, dict[str, Case]] = {
    "small": {"text": Case((4_000, 3_000), (1 << 16, 1), codec="csr", density=0.01)},
    "full": {
        "text": Case((400_000, 50_000), (1 << 20, 1), codec="csr", density=0.003),
        "cells": Case((50_000, 20_000), (1 << 20, 1), codec="csr", density=0.06),
        "graph": Case((2_000_000, 100_000), (1 << 20, 1), codec="csr", density=1e-4),
    },
}


def matrix(case: Case) -> Path:
    """The stored matrix of a case, written once."""
    (m, n), density = case.shape, case.density
    path = data.cache_folder() / f"csr-{m}-{n}-{density:g}.zarr"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path if path.exists() else write_compressed(case, path)


class StoredParts:
    """The pass and its two parts, on one matrix under one plan."""

    def __init__(self, path: str | Path, memory: str, width: int) -> None:
        self.source = cast(SparseSource, streamsvd.open(path))
        n = self.source.shape[1]
        self.plan = streamsvd.plan_svd(
            self.source, min(20, n - 1), memory=memory, axis="rows", route="krylov"
        )
        assert self.plan.layout.stored is not None
        X = np.random.default_rng(0).standard_normal((n, width)) / n**0.5
        prep = Preparation("rows", single=True, sparse=True)
        self.pass_ = NormalPass(prep, (ThinBlock(X.astype(prep.narrow), True),))

    def whole(self) -> Any:
        """The pass, as a run makes it."""
        reader = MatrixReader(self.source, self.plan.layout, self.plan.prefetch)
        return Run(reader, self.plan.workers)(self.pass_, "measured")

    def read(self) -> None:
        """Every panel read and let go."""

        def span(rows: tuple[int, int]) -> None:
            for start, stop in self.plan.layout.panels(rows):
                self.source.read_sparse(slice(start, stop))

        self._each_span(span)

    def products(self, *, plain: bool = False) -> None:
        """Every block multiplied, from one panel that is in memory; by scipy alone where they are to be ``plain``."""
        layout = self.plan.layout
        panel = self.source.read_sparse(slice(0, min(layout.panel, layout.length)))

        def span(rows: tuple[int, int]) -> None:
            state, whole = self.pass_.init(thread_backend("cpu")), slice(0, layout.width)
            Q = state.thin[0]
            for start, stop in layout.panels(rows):
                for a, b in layout.blocks(start, stop):
                    part = panel[a - start : b - start]
                    if plain:
                        part.T @ (part @ Q)
                    else:
                        self.pass_.update(state, Block(a, whole, part))

        self._each_span(span)

    def _each_span(self, work: Callable[[tuple[int, int]], None]) -> None:
        with (
            held_memory(),
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(self.plan.workers) as pool,
        ):
            for _ in pool.map(work, self.plan.layout.spans):
                pass


def measure(path: str | Path, memory: str = "2GiB", width: int = WIDTH) -> Figures:
    """Wall and CPU seconds of the pass and of its parts; all after one read that warms the cache."""
    parts = StoredParts(path, memory, width)
    parts.read()
    out: Figures = {"entries": parts.source.entries, "nbytes": parts.source.stored_bytes}
    for name, work in (
        ("pass", parts.whole),
        ("read", parts.read),
        ("products", parts.products),
        ("plain", lambda: parts.products(plain=True)),
    ):
        cpu, wall = cpu_s(), time.perf_counter()
        work()
        out[f"{name}_s"], out[f"{name}_cpu_s"] = time.perf_counter() - wall, cpu_s() - cpu
    out["ratio"] = out["pass_s"] / max(out["read_s"], out["products_s"])
    out["cpu_ratio"] = out["pass_cpu_s"] / (out["read_cpu_s"] + out["products_cpu_s"])
    out["plain_ratio"] = out["products_cpu_s"] / out["plain_cpu_s"]
    return out


def table(size: Size = "full", rounds: int = 3) -> Table:
    """Ratios of medians of fresh processes, each of which measures the pass and its parts in turn."""
    rows, figures = [], {}
    for name, case in CASES[size].items():
        run = median([fresh("benchmarks.sparse_pass", matrix(case)) for _ in range(rounds)])
        figures[name] = run
        each = 1e9 / run["entries"]
        what = f"{name}, {case.shape[0]:,} x {case.shape[1]:,}, {run['entries']:,.0f} entries"
        rows += [
            Row(
                what,
                f"<= {ASKED:g} of the dearer of its parts",
                f"{run['ratio']:.2f}: pass {run['pass_s']:.3g} s ({run['nbytes'] / run['pass_s'] / 1e9:.2f} GB/s), "
                f"read {run['read_s']:.3g} s, products {run['products_s']:.3g} s",
                judged(run["ratio"] <= ASKED, size=size),
            ),
            Row(
                f"{name}, CPU an entry",
                "as found",
                f"pass {run['pass_cpu_s'] * each:.3g} ns, read {run['read_cpu_s'] * each:.3g} ns, products "
                f"{run['products_cpu_s'] * each:.3g} ns ({run['products_cpu_s'] * each / WIDTH:.2f} a column; scipy's own two products "
                f"{run['plain_cpu_s'] * each / WIDTH:.2f})",
                "not judged",
            ),
        ]
    notes = (
        f"A* A times {WIDTH} columns in float32 of what AnnData writes (zstd, int32 indices), 2 GiB, page cache warm; medians of "
        f"{rounds} fresh processes.",
    )
    return Table("Z1", "a pass over stored entries against its parts", rows, notes, figures)


def main(arguments: list[str] | None = None) -> None:
    """Measure a pass over one stored sparse matrix."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sparse_pass", description=main.__doc__
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--width", type=int, default=WIDTH)
    print(json.dumps(measure(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()

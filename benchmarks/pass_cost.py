"""T3: what does a pass of the engine cost beside the reading and the multiplying that it cannot do without?

``python -m benchmarks.pass_cost PATH`` measures, in this process: a pass (``A* A`` times a thin block of 120
columns) over the engine; reading alone, the same panels into reused buffers; products alone, the same blocks from
memory. The last two by as many threads as the engine runs spans at once, and by one. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh, median
from benchmarks.peers import cpu_s
from benchmarks.tables import Row, Size, Table, chosen_size, judged
from streamsvd.engine.allocator import PanelBuffer, held_memory
from streamsvd.engine.device import thread_backend
from streamsvd.engine.passes import Block
from streamsvd.engine.reader import MatrixReader, read_part
from streamsvd.engine.run import Run
from streamsvd.factor.passes import NormalPass, ThinBlock
from streamsvd.factor.plan import Plan
from streamsvd.numerics.blocks import Preparation

ASKED = 1.25
CPU_ASKED = 1.1
WIDTH = 120
EXTENTS: dict[Size, tuple[int, int]] = {"small": (4_000, 300), "full": (200_000, 2_000)}
CODECS: tuple[data.Codec, ...] = ("zstd", "none")


def matrix(codec: data.Codec, size: Size) -> Path:
    """1.6 GB, or little."""
    return data.make(None, "slow", *EXTENTS[size], codec=codec, exact=False)


class Parts:
    """The pass and its two parts, on one stored matrix under one plan."""

    def __init__(self, path: str | Path, memory: str = "256MiB", width: int = WIDTH) -> None:
        self.source = streamsvd.open(path)
        n = self.source.shape[1]
        rank = min(50, n - 1)
        self.plan: Plan = streamsvd.plan_svd(
            self.source, rank, memory=memory, axis="rows", route="krylov"
        )
        X = np.random.default_rng(0).standard_normal((n, width)) / n**0.5
        complex_ = self.source.dtype.kind == "c"
        prep = Preparation("rows", single=True, complex_=complex_)
        self.pass_ = NormalPass(prep, (ThinBlock(X.astype(prep.narrow), True),))

    def whole(self) -> Any:
        """The pass, as a run makes it."""
        plan = self.plan
        reader = MatrixReader(self.source, plan.layout, plan.prefetch)
        return Run(reader, plan.workers)(self.pass_, "measured")

    def read(self, threads: int) -> None:
        """Every panel read and let go."""
        layout, dtype = self.plan.layout, self.source.dtype

        def span(rows: tuple[int, int]) -> None:
            buffer = PanelBuffer(layout.panel * layout.width * dtype.itemsize)
            for start, stop in layout.panels(rows):
                out = buffer.array((stop - start, layout.width), dtype)
                read_part(self.source, "rows", slice(start, stop), slice(0, layout.width), out)

        self._each_span(span, threads)

    def products(self, threads: int) -> None:
        """Every block multiplied, from one panel that is in memory."""
        layout = self.plan.layout
        panel = np.empty((layout.panel, layout.width), self.source.dtype)
        read_part(self.source, "rows", slice(0, layout.panel), slice(0, layout.width), panel)

        def span(rows: tuple[int, int]) -> None:
            state, whole = self.pass_.init(thread_backend("cpu")), slice(0, layout.width)
            for start, stop in layout.panels(rows):
                for a, b in layout.blocks(start, stop):
                    self.pass_.update(state, Block(a, whole, panel[a - start : b - start]))
            self.pass_.close(state)

        self._each_span(span, threads)

    def _each_span(self, work: Callable[[tuple[int, int]], None], threads: int) -> None:
        with (
            held_memory(),
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(threads) as pool,
        ):
            for _ in pool.map(work, self.plan.layout.spans):
                pass


def measure(path: str | Path, memory: str = "256MiB", width: int = WIDTH) -> Figures:
    """Wall and CPU seconds of the pass and of its parts; all after one read that warms the cache."""
    parts = Parts(path, memory, width)
    threads = parts.plan.workers
    parts.read(threads)
    parts.products(threads)
    out: Figures = {
        "threads": threads,
        "prefetch": parts.plan.prefetch,
        "nbytes": parts.source.nbytes,
    }
    for name, work in (
        ("pass", parts.whole),
        ("read", lambda: parts.read(threads)),
        ("products", lambda: parts.products(threads)),
        ("read_one", lambda: parts.read(1)),
        ("products_one", lambda: parts.products(1)),
    ):
        cpu, wall = cpu_s(), time.perf_counter()
        work()
        out[f"{name}_s"], out[f"{name}_cpu_s"] = time.perf_counter() - wall, cpu_s() - cpu
    out["ratio"] = out["pass_s"] / max(out["read_s"], out["products_s"])
    out["ratio_one"] = out["pass_s"] / max(out["read_one_s"], out["products_one_s"])
    out["cpu_ratio"] = out["pass_cpu_s"] / (out["read_cpu_s"] + out["products_cpu_s"])
    return out


class PassCost:
    """asv: one pass, and its ratio to the dearer of its parts."""

    params = CODECS
    param_names = ("codec",)
    timeout = 600
    number = 1

    def setup(self, codec: data.Codec) -> None:
        self.path = matrix(codec, chosen_size())
        self.parts = Parts(self.path)

    def time_pass(self, codec: data.Codec) -> None:
        self.parts.whole()

    def time_read(self, codec: data.Codec) -> None:
        self.parts.read(self.parts.plan.workers)

    def time_products(self, codec: data.Codec) -> None:
        self.parts.products(self.parts.plan.workers)

    def track_ratio(self, codec: data.Codec) -> float:
        return float(measure(self.path)["ratio"])


def table(size: Size = "full", rounds: int = 3, cases: Sequence[data.Codec] | None = None) -> Table:
    """Ratios of medians of fresh processes, each of which measures the pass and its parts in turn."""
    rows, figures = [], {}
    for codec in cases or CODECS:
        path = matrix(codec, size)
        run = median([fresh("benchmarks.pass_cost", path) for _ in range(rounds)])
        figures[codec] = run
        gb = run["nbytes"] / 1e9
        seconds = f"pass {run['pass_s']:.3g} s ({gb / run['pass_s']:.2f} GB/s)"
        many, one = run["threads"], "one thread"
        case = f"{codec}, {gb:.2g} GB"
        rows += [
            Row(
                f"{case}, parts alone on {many} threads",
                f"<= {ASKED:g}",
                f"{run['ratio']:.2f}: {seconds}, read {run['read_s']:.3g} s, products {run['products_s']:.3g} s",
                judged(run["ratio"] <= ASKED, size=size),
            ),
            Row(
                f"{case}, parts alone on {one}",
                f"<= {ASKED:g}",
                f"{run['ratio_one']:.2f}: {seconds}, read {run['read_one_s']:.3g} s, "
                f"products {run['products_one_s']:.3g} s",
                judged(run["ratio_one"] <= ASKED, size=size),
            ),
            Row(
                f"{case}, CPU",
                f"<= {CPU_ASKED:g} (read + products)",
                f"{run['cpu_ratio']:.2f}: pass {run['pass_cpu_s']:.3g} s, read {run['read_cpu_s']:.3g} s, "
                f"products {run['products_cpu_s']:.3g} s",
                judged(run["cpu_ratio"] <= CPU_ASKED, size=size),
            ),
        ]
    notes = (
        f"A* A times {WIDTH} columns in float32, under 256 MiB, page cache warm; medians of {rounds} fresh processes.",
        "Where each part alone keeps all cores busy, no pass is faster than their sum: up to 2 times the dearer "
        "when they cost alike. The ratio to one thread's time is what a reader that runs ahead of one "
        "multiplying thread would be measured against.",
    )
    return Table("T3", "one pass against its parts", rows, notes, figures)


def main(arguments: list[str] | None = None) -> None:
    """Measure a pass over one stored matrix."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pass_cost", description=main.__doc__
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--memory", default="256MiB")
    parser.add_argument("--width", type=int, default=WIDTH)
    print(json.dumps(measure(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()

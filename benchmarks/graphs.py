"""T9: what do a plan and a graph cost when the matrix has a million chunks?

``python -m benchmarks.graphs --rows 1000000 --columns 1`` writes the metadata of such an array, opens it, plans, and
builds the graph of one pass in this process, and prints one line of JSON. No chunk exists: none is read.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import numpy as np
import zarr

import streamsvd
from benchmarks.fresh import Figures, fresh, median
from benchmarks.peers import measured
from benchmarks.tables import Row, Size, Table, judged
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.task import Work
from streamsvd.engine.tree import build
from streamsvd.factor.passes import NormalPass, ThinBlock
from streamsvd.numerics.blocks import Preparation

SECONDS, BYTES, TASKS = 2.0, 100e6, 16
CHUNK = (20, 5_000)
GRIDS: dict[Size, tuple[tuple[int, int], ...]] = {
    "small": ((1_000, 1), (40, 25)),
    "full": ((1_000_000, 1), (1_000, 1_000), (1, 1_000_000)),
}
"""Rows and columns of chunks."""


def tall(path: Path, rows: int, columns: int) -> Path:
    """Metadata of an array of so many chunks."""
    zarr.create_array(
        path, shape=(rows * CHUNK[0], columns * CHUNK[1]), chunks=CHUNK, dtype="float32"
    )
    return path


def plan(path: Path) -> Any:
    """A plan for it, in as much memory as it takes."""
    A = streamsvd.open(path)
    return A, streamsvd.plan_svd(A, min(50, *A.shape), memory="16TiB")


def graph_tasks(A: Any, p: Any) -> int:
    """Tasks in the dask graph of one pass."""
    thin = ThinBlock(np.zeros((p.layout.width, 1), np.float32), True)
    pass_ = NormalPass(Preparation(p.layout.axis, single=True), (thin,))
    work = Work(MatrixReader(A, p.layout, p.prefetch), pass_, "cpu", "none")
    graph = build(work, dask.delayed(work, traverse=False))
    return len(dict(graph.root.__dask_graph__()))


def measure(rows: int, columns: int) -> Figures:
    """Seconds and bytes of opening and planning, and the tasks of a pass."""
    with tempfile.TemporaryDirectory() as folder:
        path = tall(Path(folder, "many.zarr"), rows, columns)
        (A, p), cost = measured(lambda: plan(path))
        tasks, building = measured(lambda: graph_tasks(A, p))
    return {
        "chunks": rows * columns,
        "plan_s": cost["wall_s"],
        "plan_peak_bytes": cost["peak_rss_bytes"],
        "graph_s": building["wall_s"],
        "tasks": tasks,
        "planned_tasks": p.tasks,
        "workers": p.workers,
        "passes": p.passes,
        "axis": p.layout.axis,
        "route": p.route,
        "shape": list(p.shape),
    }


class Graphs:
    """asv: planning a matrix of many chunks."""

    params = ((1_000, 1), (1_000, 1_000), (1_000_000, 1))
    param_names = ("grid",)

    def setup(self, grid: tuple[int, int]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = tall(Path(self.folder.name, "many.zarr"), *grid)

    def teardown(self, grid: tuple[int, int]) -> None:
        self.folder.cleanup()

    def time_plan(self, grid: tuple[int, int]) -> None:
        plan(self.path)

    def peakmem_plan(self, grid: tuple[int, int]) -> None:
        plan(self.path)

    def track_tasks(self, grid: tuple[int, int]) -> int:
        return graph_tasks(*plan(self.path))


def table(
    size: Size = "full", rounds: int = 3, cases: Sequence[tuple[int, int]] | None = None
) -> Table:
    """Cost of a plan, and tasks for each worker thread."""
    rows, figures = [], {}
    for grid in cases or GRIDS[size]:
        options = (f"--rows={grid[0]}", f"--columns={grid[1]}")
        run = median([fresh("benchmarks.graphs", *options) for _ in range(rounds)])
        case = f"{grid[0]:,} x {grid[1]:,} chunks of {CHUNK[0]} x {CHUNK[1]}"
        figures[case] = run
        each = run["tasks"] / run["workers"]
        rows += [
            Row(
                f"{case}: plan",
                f"< {SECONDS:g} s, < {BYTES / 1e6:.0f} MB",
                f"{run['plan_s']:.2f} s, {run['plan_peak_bytes'] / 1e6:.1f} MB",
                judged(run["plan_s"] < SECONDS and run["plan_peak_bytes"] < BYTES),
            ),
            Row(
                f"{case}: tasks",
                f"<= {TASKS} for each worker thread and pass",
                f"{each:.3g}: {run['tasks']:.0f} in the graph on {run['workers']:.0f} threads, {run['axis']} streamed",
                judged(each <= TASKS),
            ),
        ]
    notes = (f"Metadata alone; opening is part of planning. Medians of {rounds} fresh processes.",)
    return Table("T9", "a million chunks", rows, notes, figures)


def main(arguments: list[str] | None = None) -> None:
    """Plan a matrix of many chunks in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.graphs", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=1)
    print(json.dumps(measure(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()

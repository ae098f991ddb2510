"""T7: a square matrix cut along both axes, with room for rows of chunks, and with too little for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh
from benchmarks.memory import lawful
from benchmarks.tables import Row, Size, Table, chosen_size, judged

EXTENTS: dict[Size, tuple[int, int, int]] = {"small": (1_600, 200, 10), "full": (16_000, 2_000, 50)}
TOL = 1e-3
ASKED = 2.2
BUDGETS: dict[Size, tuple[str, ...]] = {"small": ("256MiB", "1x"), "full": ("1GiB", "1x")}
"""One that is asked for, and the smallest that works, as a multiple of itself."""


def matrix(size: Size) -> Path:
    """``n x n`` in square chunks, an eighth of it a side."""
    n, chunk, _ = EXTENTS[size]
    return data.make(None, "pow1", n, n, chunks=(chunk, chunk))


def run(size: Size, memory: str, through: str = "path") -> Figures:
    """A certified run under a budget."""
    rank = f"--rank={EXTENTS[size][2]}"
    return fresh(
        "benchmarks.ours",
        matrix(size),
        rank,
        f"--tol={TOL}",
        f"--memory={memory}",
        f"--through={through}",
    )


class Grids:
    """asv: time and passes by budget."""

    params = (0, 1)
    param_names = ("budget",)
    timeout = 3600
    number = 1

    def setup(self, budget: int) -> None:
        self.size = chosen_size()
        self.path = matrix(self.size)
        self.memory = BUDGETS[self.size][budget]

    def time_largest_budget(self, budget: int) -> None:
        streamsvd.svd(self.path, EXTENTS[self.size][2], tol=TOL, memory=BUDGETS[self.size][0])

    def track_passes(self, budget: int) -> float:
        return float(run(self.size, self.memory)["passes"])


def table(size: Size = "full", rounds: int = 1, cases: Sequence[str] | None = None) -> Table:
    """Passes counted at the store, and the seconds of a run on the files themselves."""
    del rounds
    rows, figures = [], {}
    for memory in cases or BUDGETS[size]:
        counted, timed = run(size, memory, "store"), run(size, memory)
        asked_first = memory == BUDGETS[size][0]
        name = (
            memory
            if asked_first
            else f"{timed['budget_bytes'] / 2**20:.0f} MiB, the least that works"
        )
        figures[name] = {"through a store": counted, "from files": timed}
        right = timed["status"] == "converged" and timed["error"] <= TOL and timed["holds"]
        right = right and lawful(timed)
        few = counted["counted_passes"] <= ASKED
        rows.append(
            Row(
                name,
                f"certified {TOL:g} in <= {ASKED:g} passes"
                if asked_first
                else f"certified {TOL:g} within it; what it costs",
                f"{timed['status']}, width {timed['width']:.1e}, true error {timed['error']:.1e}; "
                f"{counted['counted_passes']:.2f} passes counted at the store, {timed['passes']:.2f} from files; "
                f"{_cut(timed)}; {timed['wall_s']:.1f} s, {timed['cpu_s']:.1f} s CPU, peak "
                f"{timed['peak_rss_bytes'] / 2**20:.0f} MiB of {timed['projected_bytes'] / 2**20:.0f} projected",
                judged(right and (few or not asked_first), size=size),
            )
        )
    n, chunk, k = EXTENTS[size]
    note = f"{n:,} x {n:,} float32 in {chunk:,} x {chunk:,} chunks, zstd, pow1, k = {k}."
    return Table("T7", "two-dimensional chunk grids", rows, (note,), figures)


def _cut(found: Figures) -> str:
    columns = "whole rows" if found["tile"] is None else f"tiles of {found['tile']:,} columns"
    return f"{found['axis']} streamed, panels of {found['panel_rows']:,}, {columns}"

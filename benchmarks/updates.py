"""T6: what does it cost to absorb new rows, against factorising everything again?

``python -m benchmarks.updates PATH --rank 100 --rows 4000`` factorises the stored matrix without its last rows, absorbs
them into that result, factorises all of it again, and prints one line of JSON: seconds of both, those of the durable
commit, and how far the updated values are from the true ones and from their intervals.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh, median
from benchmarks.peers import cpu_s
from benchmarks.tables import Row, Size, Table, chosen_size, judged
from streamsvd.store.versions import ModelStore

SHARE, COMMIT_S = 1 / 30, 0.05
JOBS: dict[Size, tuple[tuple[str, int, int, int, int], ...]] = {
    "small": (("pow1", 6_000, 300, 20, 500),),
    "full": (("pow1", 50_000, 2_000, 100, 4_000), ("slow", 200_000, 2_000, 100, 4_000)),
}
"""Spectrum, rows, columns, rank, new rows."""


@dataclass(frozen=True)
class Head:
    """The first rows of a stored array."""

    array: Any
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.array.shape[1]

    dtype = property(lambda self: self.array.dtype)
    chunks = property(lambda self: self.array.chunks)

    def read(self, rows: slice) -> Any:
        return self.array[rows]


def measure(path: str | Path, rank: int, rows: int, tol: float = 1e-3) -> Figures:
    """Seconds of the update, of its commit and of a refit, and what the updated model says."""
    array = zarr.open_array(path, mode="r")
    known = data.truth(path)
    commits: list[float] = []
    commit = ModelStore.commit

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        try:
            return commit(*arguments, **options)
        finally:
            commits.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "model.zarr")
        streamsvd.svd(Head(array, array.shape[0] - rows), rank, tol=tol, out=out)
        warm = Path(folder, "warm.zarr")  # what a process pays once is not the cost of a block
        streamsvd.update(warm, np.asarray(array[:rows]), "warm", rank=rank)
        model = streamsvd.Model.open(out)
        ModelStore.commit = timed  # type: ignore[method-assign]
        cpu, wall = cpu_s(), time.perf_counter()
        done = model.update(str(path))
        update_s, update_cpu_s = time.perf_counter() - wall, cpu_s() - cpu
        ModelStore.commit = commit  # type: ignore[method-assign]
        cpu, wall = cpu_s(), time.perf_counter()
        streamsvd.svd(str(path), rank, tol=tol)
        refit_s, refit_cpu_s = time.perf_counter() - wall, cpu_s() - cpu
        c, s = model.certificate, model.s
    true = known.s[: s.size]
    slack = 1e-6 * true[0]
    error = float(np.sqrt(max(c.energy - np.sum(true**2), 0.0)))
    return {
        "rows": array.shape[0],
        "absorbed": done.n_absorbed,
        "update_s": update_s,
        "update_cpu_s": update_cpu_s,
        "commit_s": max(commits),
        "refit_s": refit_s,
        "refit_cpu_s": refit_cpu_s,
        "value_error": float(np.max(np.abs(s - true) / true)),
        "holds": bool(
            (c.sigma_lower <= true + slack).all() and (true <= c.sigma_upper + slack).all()
        ),
        "error": c.frobenius_error,
        "best_error": error,
        "excess": c.frobenius_error / error - 1 if error else 0.0,
        "proved_excess": c.excess,
        "width": c.relative_width,
        "resolved": int(c.resolved.sum()),
        "buffer": model.spec.buffer,
    }


class Updates:
    """asv: an update, and its share of a refit."""

    params = (0,)
    param_names = ("job",)
    timeout = 1200

    def setup(self, job: int) -> None:
        spectrum, m, n, self.rank, self.rows = JOBS[chosen_size()][job]
        self.path = data.make(None, spectrum, m, n, exact=False)

    def track_share_of_refit(self, job: int) -> float:
        run = measure(self.path, self.rank, self.rows)
        return float(run["update_s"] / run["refit_s"])


def table(size: Size = "full", rounds: int = 3, cases: Sequence[int] | None = None) -> Table:
    """Updates against refits."""
    rows, figures = [], {}
    jobs = JOBS[size]
    for spectrum, m, n, rank, new in [jobs[i] for i in cases or range(len(jobs))]:
        path = data.make(None, spectrum, m, n, exact=False)
        run = median(
            [
                fresh("benchmarks.updates", path, f"--rank={rank}", f"--rows={new}")
                for _ in range(rounds)
            ]
        )
        case = f"{spectrum}, {new:,} rows into rank {rank} of {m:,} x {n:,}"
        figures[case] = run
        wall, cpu = run["update_s"] / run["refit_s"], run["update_cpu_s"] / run["refit_cpu_s"]
        rows += [
            Row(
                case,
                f"<= 1/{1 / SHARE:.0f} of a refit to 1e-3",
                f"1/{1 / wall:.1f} of the wall, 1/{1 / cpu:.1f} of the CPU: {run['update_s']:.3f} s against "
                f"{run['refit_s']:.2f} s",
                judged(wall <= SHARE, size=size),
            ),
            Row(
                f"{case}: commit",
                f"durable within {1e3 * COMMIT_S:.0f} ms",
                f"{1e3 * run['commit_s']:.1f} ms",
                judged(run["commit_s"] <= COMMIT_S, size=size),
            ),
            Row(
                f"{case}: truth",
                "every interval holds, the error is certified",
                f"intervals {'hold' if run['holds'] else 'DO NOT HOLD'}; values off by at most {run['value_error']:.1e}; error "
                f"{run['excess']:.2%} above the best of this rank, {run['proved_excess']:.2%} proved; "
                f"{run['resolved']:.0f} of {rank} values resolved, widest interval {run['width']:.1e}; "
                f"{run['buffer']:.0f} directions beyond the rank",
                judged(bool(run["holds"])),
            ),
        ]
    notes = (
        f"Medians of {rounds} fresh processes, each after one update of another model; the new rows are read from the "
        "store, page cache warm.",
    )
    return Table("T6", "new rows against a refit", rows, notes, figures)


def main(arguments: list[str] | None = None) -> None:
    """Measure one matrix in this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.updates", description=main.__doc__)
    parser.add_argument("path")
    parser.add_argument("--rank", type=int, default=100)
    parser.add_argument("--rows", type=int, default=4_000)
    parser.add_argument("--tol", type=float, default=1e-3)
    print(json.dumps(measure(**vars(parser.parse_args(arguments)))))


if __name__ == "__main__":
    main()

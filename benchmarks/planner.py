"""T8: does the plan, once it has measured the machine, say what the run then does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import data
from benchmarks.fresh import Figures, fresh, median
from benchmarks.tables import Row, Size, Table, chosen_size, judged

PEAK, WALL = (0.6, 1.0), (0.7, 1.4)
FILES = 0.02
"""Share of the bytes read that may be metadata, modules imported late, and the like."""


@dataclass(frozen=True, slots=True)
class Job:
    """A stored matrix and what is asked of it."""

    name: str
    spectrum: str
    m: int
    n: int
    chunks: tuple[int, int]
    options: tuple[str, ...]
    dtype: str = "float32"
    codec: data.Codec = "zstd"


JOBS: dict[Size, tuple[Job, ...]] = {
    "small": (
        Job(
            "tall",
            "pow1",
            8_000,
            300,
            (500, 300),
            ("--rank=10", "--route=krylov", "--memory=96MiB"),
        ),
        Job("tall, Gram", "slow", 8_000, 100, (500, 100), ("--rank=10", "--memory=96MiB")),
    ),
    "full": (
        Job("tall, 1e-3", "pow1", 200_000, 2_000, (2_000, 2_000), ("--rank=50", "--memory=256MiB")),
        Job(
            "tall, 1e-6",
            "step",
            200_000,
            2_000,
            (2_000, 2_000),
            ("--rank=50", "--tol=1e-6", "--memory=512MiB"),
        ),
        Job(
            "uncompressed",
            "pow1",
            200_000,
            2_000,
            (2_000, 2_000),
            ("--rank=50", "--memory=256MiB"),
            codec="none",
        ),
        Job(
            "double",
            "pow1",
            50_000,
            2_000,
            (1_000, 2_000),
            ("--rank=20", "--memory=256MiB"),
            "float64",
        ),
        Job(
            "complex",
            "pow1",
            50_000,
            1_000,
            (1_000, 1_000),
            ("--rank=20", "--memory=256MiB"),
            "complex64",
        ),
        Job("Gram", "slow", 400_000, 300, (20_000, 300), ("--rank=20", "--memory=256MiB")),
        Job("wide", "pow1", 2_000, 100_000, (2_000, 2_000), ("--rank=20", "--memory=512MiB")),
        Job("grid", "pow1", 16_000, 16_000, (2_000, 2_000), ("--rank=50", "--memory=1GiB")),
        Job(
            "centred, with U",
            "pow1",
            200_000,
            1_000,
            (4_000, 1_000),
            ("--rank=50", "--center", "--u", "--memory=512MiB"),
        ),
        Job("least memory", "pow1", 50_000, 2_000, (2_000, 2_000), ("--rank=50", "--memory=1x")),
    ),
}


def measure(job: Job) -> Figures:
    """One calibrated run in a fresh process."""
    path = data.make(
        None, job.spectrum, job.m, job.n, job.dtype, job.chunks, job.codec, exact=False
    )
    return fresh("benchmarks.ours", path, *job.options, "--calibrate")


class Planner:
    """asv: what was measured over what was planned."""

    params = tuple(range(2))
    param_names = ("job",)
    timeout = 3600

    def setup(self, job: int) -> None:
        self.run = measure(JOBS[chosen_size()][job])

    def track_passes(self, job: int) -> float:
        return float(self.run["passes"] / self.run["planned_passes"])

    def track_peak(self, job: int) -> float:
        return float(self.run["peak_rss_bytes"] / self.run["projected_bytes"])

    def track_wall(self, job: int) -> float:
        return float(self.run["wall_s"] / self.run["planned_seconds"])


def table(size: Size = "full", rounds: int = 3, cases: Sequence[Job] | None = None) -> Table:
    """Measured over planned: bytes, peak, wall."""
    rows, figures = [], {}
    for job in cases or JOBS[size]:
        runs = [measure(job) for _ in range(rounds)]
        run = median(runs)
        run["peak_rss_bytes"] = max(r["peak_rss_bytes"] for r in runs)
        figures[job.name] = run
        as_planned = run["looks"] == run["planned_looks"]
        seen = f"{run['passes']:.4f} of {run['planned_passes']:.4f} passes"
        if not as_planned:
            seen += f"; it converged at look {run['looks']:.0f}, {run['planned_looks']:.0f} were expected"
        peak = run["peak_rss_bytes"] / run["projected_bytes"]
        wall = run["wall_s"] / run["planned_seconds"]
        per_pass = wall * run["planned_passes"] / run["passes"]
        exact = run["bytes_read"] == run["planned_bytes"]
        rows += [
            Row(f"{job.name}: passes", "as planned", seen, judged(as_planned, size=size)),
            Row(
                f"{job.name}: bytes",
                "exactly as planned, where the passes are",
                f"{run['bytes_read']:.0f} of {run['planned_bytes']:.0f}",
                judged(exact, size=size) if as_planned else "not judged",
            ),
            Row(
                f"{job.name}: bytes of files",
                f"the reads reported, within {FILES:.0%}",
                f"{run['file_passes']:.3f} times the stored bytes were read, {run['reads']:.3f} reported",
                judged(abs(run["file_passes"] / run["reads"] - 1) <= FILES, size=size),
            ),
            Row(
                f"{job.name}: peak",
                f"{PEAK[0]:g} to {PEAK[1]:g} of the projection",
                f"{peak:.2f}: {run['peak_rss_bytes'] / 2**20:.0f} of {run['projected_bytes'] / 2**20:.0f} MiB",
                judged(PEAK[0] <= peak <= PEAK[1], size=size),
            ),
            Row(
                f"{job.name}: wall",
                f"{WALL[0]:g} to {WALL[1]:g} of the prediction",
                f"{wall:.2f} ({per_pass:.2f} per pass): {run['wall_s']:.2f} of {run['planned_seconds']:.2f} s",
                judged(WALL[0] <= (wall if as_planned else per_pass) <= WALL[1], size=size),
            ),
        ]
    notes = (
        f"Measured over planned, plan calibrated on the machine; medians of {rounds} fresh processes, highest peak.",
        "Where the run converged at another look than expected, wall is judged per pass.",
    )
    return Table("T8", "the plan against the run", rows, notes, figures)

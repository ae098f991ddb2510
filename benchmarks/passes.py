"""T1: how many reads of the matrix until every one of the leading values is certified?

Passes are bytes delivered by a store that counts, over the bytes of the matrix; the sample is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamsvd
from benchmarks import data
from benchmarks.fresh import Figures, fresh
from benchmarks.tables import Row, Size, Table, chosen_size, judged

SPECTRA = ("pow1", "slow", "step", "drift")
TOLERANCES = (1e-3, 1e-6)
LIMITS = {
    (spectrum, tol): 2.2 + (spectrum == "slow") + (tol == 1e-6)
    for spectrum in SPECTRA
    for tol in TOLERANCES
}
DASK_POWER = {1e-3: 2, 1e-6: 4}
"""Power iterations of the tuned peer shown beside, two reads each and two more."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A matrix, and the triplets wanted of it."""

    m: int
    n: int
    k: int


EXTENTS: dict[Size, Extent] = {"small": Extent(6_000, 300, 10), "full": Extent(50_000, 2_000, 50)}

ROUTE: dict[Size, tuple[str, ...]] = {"small": ("--route=krylov",), "full": ()}
"""A matrix of few columns would take the Gram route; the plan of a large one is its own."""


def matrix(spectrum: str, size: Size) -> Path:
    """The stored matrix of a spectrum."""
    extent = EXTENTS[size]
    chunks = None if size == "full" else (500, extent.n)
    return data.make(None, spectrum, extent.m, extent.n, chunks=chunks)


def ours(path: Path, size: Size, tol: float) -> Figures:
    """A certified run, its reads counted at the store."""
    options = (f"--rank={EXTENTS[size].k}", f"--tol={tol}", "--through=store", *ROUTE[size])
    return fresh("benchmarks.ours", path, *options)


class Passes:
    """asv: passes, proved width and true error of a certified factorisation."""

    params = (SPECTRA, TOLERANCES)
    param_names = ("spectrum", "tol")
    timeout = 600
    number = 1

    def setup(self, spectrum: str, tol: float) -> None:
        self.size = chosen_size()
        self.path = matrix(spectrum, self.size)

    def time_fit(self, spectrum: str, tol: float) -> None:
        streamsvd.svd(self.path, EXTENTS[self.size].k, tol=tol, memory="256MiB")

    def track_passes(self, spectrum: str, tol: float) -> float:
        return float(ours(self.path, self.size, tol)["counted_passes"])

    def track_certified_width(self, spectrum: str, tol: float) -> float:
        return float(ours(self.path, self.size, tol)["width"])

    def track_true_error(self, spectrum: str, tol: float) -> float:
        return float(ours(self.path, self.size, tol)["error"])


def table(
    size: Size = "full", rounds: int = 1, cases: Sequence[tuple[str, float]] | None = None
) -> Table:
    """Passes and errors, ours and the peers'; the same in every round, so one is enough."""
    del rounds
    rows, figures = [], {}
    defaults: dict[str, Any] = {}
    for spectrum, tol in cases or LIMITS:
        path, k = matrix(spectrum, size), EXTENTS[size].k
        run = ours(path, size, tol)
        power = DASK_POWER[tol]
        tuned = fresh(
            "benchmarks.peers", "dask-tuned", path, f"--k={k}", f"--power={power}", "--count"
        )
        if spectrum not in defaults:
            defaults[spectrum] = fresh(
                "benchmarks.peers", "dask-default", path, f"--k={k}", "--count"
            )
        figures[f"{spectrum}, {tol:g}"] = {
            "ours": run,
            "dask tuned": tuned,
            "dask default": defaults[spectrum],
        }
        right = (
            run["status"] == "converged"
            and run["width"] <= tol
            and run["error"] <= tol
            and run["holds"]
        )
        case = f"{spectrum}, tol {tol:g}"
        rows.append(
            Row(
                case,
                f"certified and true within {tol:g}, every interval holds the truth",
                f"{run['status']}, width {run['width']:.1e}, true error {run['error']:.1e}, intervals "
                f"{'hold' if run['holds'] else 'DO NOT HOLD'}",
                judged(right),
            )
        )
        rows.append(
            Row(
                case,
                f"<= {LIMITS[spectrum, tol]:.1f} passes",
                f"{run['counted_passes']:.3f} counted at the store ({run['passes']:.3f} reported, "
                f"{run['planned_passes']:.3f} planned); beside: {_peer('dask QR, 50 oversamples', tuned)}, "
                f"{_peer('dask default', defaults[spectrum])}",
                judged(run["counted_passes"] <= LIMITS[spectrum, tol], size=size),
            )
        )
    extent = EXTENTS[size]
    note = f"{extent.m:,} x {extent.n:,} float32, zstd, k = {extent.k}, 256 MiB, default options."
    return Table("T1", "passes to a certificate", rows, (note,), figures)


def _peer(name: str, run: Figures) -> str:
    return f"{name} {run['counted_passes']:.2f} passes, error {run['error']:.1e}"

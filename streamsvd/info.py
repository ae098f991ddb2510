"""How a result came about: one record for every verb, and how a run ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How a run ended; `advice` says what to do about it."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not converged"
    INTERRUPTED = "interrupted"
    DONE = "done"

    @property
    def advice(self) -> str:
        """One sentence for the user."""
        return _ADVICE[self]


_ADVICE = {
    Status.CONVERGED: "What was asked is proved.",
    Status.NOT_CONVERGED: "What was asked is not proved; the certificate says what is, and the error what to do.",
    Status.INTERRUPTED: "The run was stopped; the result is that of the last whole pass.",
    Status.DONE: "The run did what was asked; its certificate, where there is one, says what is proved.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """How a result came about.

    Attributes
    ----------
    status
        Whether the certificate met the tolerance; ``DONE`` where a verb has none to meet.
    passes
        Passes over the rows that the result rests on, whether they were read or were in memory. Of `svd` and `pca`: bytes of
        all passes over those of the matrix; the sample counts as the fraction it is.
    bytes_read
        Decoded bytes that this run asked of the store; less than its passes where it went on from saves, or where what a pass
        read stayed in memory for the next.
    peak_bytes, projected_bytes
        Resident memory of this process above the start: measured, and projected before reading.
    elapsed_s
        Wall seconds.
    n_rows
        Rows seen.
    seed
        Of all random numbers.
    warnings
        What a careful user should know, a sentence each.
    route, axis, precision
        ``"krylov"``, ``"gram"``, or ``"krylov, then gram"``; the axis that was streamed; precision of the products.
    nonfinite
        What a missing value was: ``"raise"``, or the policy.
    missing
        Number of missing entries that the policy replaced, or left out with their columns; 0 where nobody counted, as under
        ``"zero"`` but in `svd` and `pca`.
    dropped_columns
        Columns left out: without any value or by the mask, where factors are NaN; of `svd` and `pca` also those with missing
        values under that policy, constant ones under scaling, or those of weight 0, where they are zero.
    widths
        Largest relative width of the intervals after each pass that told something of them.
    freedom
        Degrees of freedom of a variance: ``n_rows - 1``; under row weights ``(n - 1)`` times their mean over the
        n rows of positive weight, so that a weight of 0 is the row left out and a common factor changes nothing.
    criterion
        What is proved of what was asked: ``"values"``, every interval within the tolerance; ``"error"``, an error close
        enough to the best of the rank; empty where neither is.
    """

    status: Status
    passes: float
    bytes_read: int
    peak_bytes: int
    projected_bytes: int
    elapsed_s: float
    n_rows: int
    seed: int
    warnings: tuple[str, ...] = ()
    route: str = ""
    axis: str = "rows"
    precision: str = "double"
    nonfinite: str = "raise"
    missing: int = 0
    dropped_columns: tuple[int, ...] = ()
    widths: tuple[float, ...] = ()
    freedom: float = 0.0
    criterion: str = ""

    @property
    def cost(self) -> str:
        """Passes and seconds, in words."""
        return (
            f"{self.passes:.3g} {'pass' if self.passes == 1 else 'passes'}, {self.elapsed_s:.3g} s"
        )

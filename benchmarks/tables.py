"""What a benchmark reports: for each case what was asked, what was measured, and whether that meets it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Size = Literal["small", "full"]
Verdict = Literal["met", "MISSED", "not judged"]


def chosen_size() -> Size:
    """``$STREAMSVD_BENCH_SIZE`` for asv: small unless it says full."""
    return "full" if os.environ.get("STREAMSVD_BENCH_SIZE") == "full" else "small"


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a target.

    Attributes
    ----------
    case
        What was run.
    asked, measured
        In words, with their numbers.
    verdict
        Whether the one meets the other; targets for full sizes are not judged at small ones.
    """

    case: str
    asked: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Table:
    """Everything measured for one target.

    Attributes
    ----------
    target, question
        As in the list of targets.
    rows
        One for each case and thing asked of it.
    notes
        How it was measured, where that is not plain.
    figures
        The raw figures, by case.
    """

    target: str
    question: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def missed(self) -> int:
        """How many rows were missed."""
        return sum(row.verdict == "MISSED" for row in self.rows)

    def markdown(self) -> str:
        """The table for people."""
        bars = r"\|\|"  # of a norm, not of the table
        lines = [f"## {self.target}: {self.question}", ""]
        lines += [f"- {note}" for note in self.notes] + ([""] if self.notes else [])
        lines += ["| case | asked | measured | verdict |", "|---|---|---|---|"]
        for row in self.rows:
            cells = [row.case, row.asked, row.measured, row.verdict]
            lines.append(f"| {' | '.join(cells).replace('||', bars)} |")
        return "\n".join(lines)


def judged(met: bool, *, size: Size = "full") -> Verdict:
    """The verdict on a case; at small size only laws are judged, which leave ``size`` out."""
    if size == "small":
        return "not judged"
    return "met" if met else "MISSED"

"""Missing values for verbs whose mathematics has no place for them: filled, or left out with their columns.

`svd`, `pca` and models treat a NaN in the sums of their own passes. All others see a matrix without any: one more pass counts
what is missing in each column, where the policy needs to know it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.events import Callback
from streamsvd.engine.passes import Block
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.errors import SpecError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.options import POLICIES
from streamsvd.protocols import Source
from streamsvd.store.sources.views.filled import FilledColumns
from streamsvd.typing import Real

HEIGHT = 1024
"""Rows of a block that is counted."""
COUNT_NOTES = {
    "mean": 'nonfinite="mean": one pass more, before the others, for the means; where a value is missing, entries are then float64.',
    "drop_columns": 'nonfinite="drop_columns": one pass more, before the others, counts what is missing; columns that lack a value are '
    "left out.",
}
"""What a plan says of the policies that need that pass."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnCounts:
    """Of each column: entries that are missing, and the sum of the others."""

    missing: npt.NDArray[np.int64]
    total: Real


@dataclass(slots=True, eq=False)
class _Counting:
    counts: ColumnCounts
    device: Device


@dataclass(frozen=True, slots=True)
class CountPass:
    """What is missing in each of the ``n`` columns, and the sum of what is not.

    Notes
    -----
    Cost: ``2 n`` additions a row, ``16 n`` bytes a span.
    """

    n: int

    def init(self, device: Device) -> _Counting:
        """No rows."""
        return _Counting(ColumnCounts(np.zeros(self.n, np.int64), np.zeros(self.n)), device)

    def update(self, state: _Counting, block: Block) -> _Counting:
        """With the rows of a block."""
        rows = block.float64_on_host(state.device)
        holes = np.isnan(rows)
        rows[holes] = 0
        total = rows.sum(axis=0)
        if not np.isfinite(total).all() and np.isinf(rows).any():
            i, j = np.unravel_index(int(np.argmax(np.isinf(rows))), rows.shape)
            raise BadEntry("Inf", block.first + int(i), int(j))
        state.counts = self.merge(state.counts, ColumnCounts(holes.sum(axis=0), total))
        return state

    def close(self, state: _Counting) -> ColumnCounts:
        """The counts."""
        return state.counts

    def merge(self, left: ColumnCounts, right: ColumnCounts) -> ColumnCounts:
        """Added."""
        return ColumnCounts(left.missing + right.missing, left.total + right.total)


def check_policy(nonfinite: Any, allowed: tuple[str, ...] = POLICIES) -> None:
    """Refuse a policy that is unknown, or that this verb cannot follow.

    Raises
    ------
    SpecError
        It names those that can be passed.
    """
    if nonfinite not in allowed:
        raise SpecError(
            f"nonfinite={nonfinite!r} is unknown here. Pass one of {', '.join(allowed)}."
        )


def count_missing(
    source: Source, memory: int | float | str | None, notify: Callback
) -> ColumnCounts:
    """One pass: what is missing in each column, and the sums of the others.

    Raises
    ------
    NonFiniteError
        If an entry is Inf; it names row and column.
    BudgetError
        If a block does not fit in the memory.
    """
    schedule = schedule_counting(source, memory)
    reader = replace(schedule.reader, checks_entries=False)
    assert isinstance(reader, MatrixReader)
    run = Run(
        reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, notify
    )
    with in_run(run):
        return run(CountPass(source.shape[1]), "missing values")


def schedule_counting(source: Source, memory: int | float | str | None) -> Schedule:
    """How that pass runs within the memory."""
    n = source.shape[1]
    return schedule_rows(
        source, HEIGHT, allowed_bytes(memory), work=lambda height: 9 * height * n, partial=16 * n,
        what=f"counting what is missing in {n:,} columns", remedy="",
    )  # fmt: skip


def fill_missing(source: Source, nonfinite: str, counts: ColumnCounts | None) -> Source:
    """The matrix with 0, or the mean of its column, in place of each NaN."""
    fill = np.zeros(source.shape[1])
    if nonfinite == "mean":
        assert counts is not None
        there = source.shape[0] - counts.missing
        fill = np.divide(counts.total, there, out=fill, where=there > 0)
    return FilledColumns(source, fill)


def fill_unread(source: Source, nonfinite: str) -> Source:
    """The matrix as `fill_missing` makes it, before its means are known: of the same shape and type, not to be read."""
    if nonfinite not in ("zero", "mean") or source.dtype.kind not in "fc":
        return source
    return FilledColumns(source, np.full(source.shape[1], float(nonfinite == "mean")))

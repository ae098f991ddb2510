"""One pass for what steps are to know of all rows: their sums, how many have a column, and what columns sum to.

Sums are taken of runs whose cut depends on the matrix alone, and joined in a tree: they are the same bits on any number of threads.
Sums of counts are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.events import Callback
from streamsvd.engine.passes import Block
from streamsvd.engine.row_runs import schedule_row_runs
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import MOST_SPANS, Schedule, allowed_bytes
from streamsvd.numerics.row_entries import DenseEntries, Entries, SparseEntries, refuse_infinite
from streamsvd.numerics.row_steps import (
    CountTotals,
    Need,
)
from streamsvd.protocols import Source
from streamsvd.typing import Real

SUMS_BYTES = 256 << 20
"""What the sums of all spans take together, about: of many columns there are fewer spans."""
PURPOSE = "counts of rows"


@dataclass(slots=True, eq=False)
class CountState:
    """Counts of a span so far."""

    device: Device
    n_rows: int
    row_sums: list[Real]
    column_sums: Real | None
    documents: np.ndarray[Any, np.dtype[np.int64]] | None


@dataclass(frozen=True, slots=True, eq=False)
class StepCountPass:
    """What steps need of all rows.

    Attributes
    ----------
    needs
        Which counts are taken.
    n
        Columns.

    Notes
    -----
    Cost: about 3 ns a stored entry; ``8 n`` bytes a span for each kind of count of columns, ``8 m`` for sums of rows.
    """

    needs: frozenset[Need]
    n: int

    def init(self, device: Device) -> CountState:
        """No rows."""
        sums = np.zeros(self.n) if "column sums" in self.needs else None
        documents = np.zeros(self.n, np.int64) if "documents" in self.needs else None
        return CountState(device, 0, [], sums, documents)

    def update(self, state: CountState, block: Block) -> CountState:
        """With the rows of a block."""
        entries = block_entries(block, state.device)
        refuse_infinite(entries)
        state.n_rows += block.n_rows
        if "row sums" in self.needs:
            state.row_sums.append(entries.row_sums())
        if state.column_sums is not None:
            state.column_sums += entries.column_sums()
        if state.documents is not None:
            state.documents += entries.documents()
        return state

    def close(self, state: CountState) -> CountTotals:
        """The counts."""
        sums = np.concatenate(state.row_sums) if state.row_sums else None
        return CountTotals(state.n_rows, sums, state.column_sums, state.documents)

    def merge(self, left: CountTotals, right: CountTotals) -> CountTotals:
        """Of both."""
        rows = None
        if left.row_sums is not None and right.row_sums is not None:
            rows = np.concatenate([left.row_sums, right.row_sums])
        return CountTotals(
            left.n_rows + right.n_rows,
            rows,
            _add(left.column_sums, right.column_sums),
            _add(left.documents, right.documents),
        )


def _add(left: Any, right: Any) -> Any:
    return None if left is None else left + right


def block_entries(block: Block, device: Device) -> Entries:
    """Entries of a block, dense or sparse, in float64."""
    data = block.data
    if hasattr(data, "indptr"):
        return SparseEntries(
            data.data.astype(np.float64, copy=False), data.indices, data.indptr, data.shape[1], block.first
        )  # fmt: skip
    rows = device.to_host(data).astype(np.float64, copy=False)
    return DenseEntries(rows, block.first, block.columns.start)


def plan_counts(
    source: Source, needs: frozenset[Need], memory: int | float | str | None
) -> Schedule:
    """How the pass that counts runs within the memory; it reads nothing.

    Raises
    ------
    BudgetError
        If the counts and a block do not fit; it names the least memory that works.
    """
    m, n = source.shape
    partial = 8 * n * (1 + len(needs - {"row sums"}))
    shared = (
        3 * 8 * m if "row sums" in needs else 0
    )  # in the order of rows, and as the median sorts them
    return schedule_row_runs(
        source, allowed_bytes(memory), work=lambda entries, rows: 3 * 8 * entries + partial, shared=shared, partial=partial,
        most=max(1, min(MOST_SPANS, SUMS_BYTES // partial)), what=f"counts of {m:,} rows and {n:,} columns",
    )  # fmt: skip


def count_rows(
    source: Source, needs: frozenset[Need], memory: int | float | str | None, notify: Callback
) -> CountTotals:
    """One pass for what steps are to know of all rows.

    Raises
    ------
    NonFiniteError
        If an entry is Inf; it names row and column.
    BudgetError
        If the counts do not fit in the memory.
    """
    plan = plan_counts(source, needs, memory)
    reader = replace(plan.reader, checks_entries=False)  # what is missing counts for nothing
    run = Run(
        reader, plan.workers, "cpu", plan.projected_bytes, plan.task_bytes, notify, is_preparing=True
    )  # fmt: skip
    with in_run(run):
        found: CountTotals = run(StepCountPass(needs, source.shape[1]), PURPOSE)
    return found

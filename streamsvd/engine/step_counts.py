"""One pass for what steps are to know of all rows: their sums, how many have a column, and what columns sum to.

Sums are taken of runs whose cut depends on the matrix alone, and joined in a tree: they are the same bits on any number of threads.
Sums of counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.device import Device
from streamsvd.engine.events import Callback
from streamsvd.engine.layout import span_limit
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.passes import Block, P, Pass, S, Span, Task
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import SPAN_BLOCKS, allowed_bytes, row_spans, schedule_rows
from streamsvd.errors import BudgetError
from streamsvd.numerics.row_entries import DenseEntries, Entries, SparseEntries, refuse_infinite
from streamsvd.numerics.row_steps import (
    CountTotals,
    Need,
)
from streamsvd.protocols import Source, is_sparse
from streamsvd.typing import Real

BLOCK_ITEMS = 1 << 19
"""Entries of a block, about; a block has no fewer than 16 rows and no more than 1024."""
RUN_ENTRIES = 1 << 19
"""Stored entries that are read at once, about."""
RUN_ROWS = 1 << 16
"""Rows of such a run, at most."""
SUMS_BYTES = 256 << 20
"""What the sums of all spans take together, about: of many columns there are fewer spans."""
MOST_SPANS = 64
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
class CountPass:
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


@dataclass(frozen=True, slots=True, eq=False)
class StoredRowsReader:
    """Rows of a sparse matrix as they are stored, in runs of about as many entries.

    Attributes
    ----------
    source
        A sparse matrix whose axis is rows.
    spans
        First and last row (exclusive) of each task.
    rows
        How many are read at once.
    """

    source: Any
    spans: Sequence[Span]
    rows: int

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of a pass over these spans."""
        del pass_
        rows = sum(stop - start for start, stop in spans)
        return int(self.source.stored_bytes) * rows // int(self.source.shape[0])

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None are in memory."""
        del spans, pass_
        return 0

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the runs of a span, from zero."""
        state = pass_.init(device)
        for block in self._blocks(span):
            task.check()
            state = pass_.update(state, block)
        return pass_.close(state)

    def _blocks(self, span: Span) -> Iterator[Block]:
        whole = slice(0, self.source.shape[1])
        for start in range(span[0], span[1], self.rows):
            stop = min(span[1], start + self.rows)
            yield Block(start, whole, self.source.read_sparse(slice(start, stop)))


@dataclass(frozen=True, slots=True, eq=False)
class CountPlan:
    """How the pass runs within the memory.

    Attributes
    ----------
    reader
        What makes blocks of the matrix.
    workers
        Tasks that run at once in this process.
    pass_bytes, projected_bytes
        Decoded bytes that it reads, and an upper bound of the memory.
    task_bytes
        Of these, what the tasks of a worker of a cluster take.
    """

    reader: StoredRowsReader | MatrixReader
    workers: int
    pass_bytes: int
    projected_bytes: int
    task_bytes: int


def plan_counts(
    source: Source, needs: frozenset[Need], memory: int | float | str | None
) -> CountPlan:
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
    allowed, most = allowed_bytes(memory), max(1, min(MOST_SPANS, SUMS_BYTES // partial))
    what = f"counts of {m:,} rows and {n:,} columns"
    if is_sparse(source) and source.sparse_axis == "rows":  # type: ignore[attr-defined]
        return _plan_stored(source, shared, partial, allowed, most, what)
    height = max(16, min(1024, BLOCK_ITEMS // n))
    schedule = schedule_rows(
        source, height, allowed, work=lambda rows: rows * n * 3 * 8 + 8 * n, shared=shared, partial=partial, most=most,
        what=what, remedy="",
    )  # fmt: skip
    reader = replace(schedule.reader, checks_entries=False)
    return CountPlan(
        reader, schedule.workers, schedule.pass_bytes, schedule.projected_bytes, schedule.task_bytes
    )


def _plan_stored(
    source: Any, shared: int, partial: int, allowed: int, most: int, what: str
) -> CountPlan:
    """The same of a matrix that is read as it is stored; the runs depend on it alone."""
    rows = min(source.shape[0], RUN_ROWS)
    while rows > 1 and source.most_entries(rows) > RUN_ENTRIES:
        rows = -(-rows // 2)
    spans = row_spans(source, SPAN_BLOCKS * rows, span_limit(most, source.stored_bytes, partial))
    entries = source.most_entries(rows)
    reading = source.sparse_bytes(entries) + 3 * 8 * entries + 2 * partial
    fewest = min(concurrency()[1], len(spans))
    waiting = len(spans).bit_length()
    for workers in range(fewest, 1 if not is_on_cluster() else fewest, -1):
        needed = BASE_BYTES + shared + workers * reading + partial * (workers + waiting)
        if needed <= allowed:
            break
    else:
        workers = fewest if is_on_cluster() else 1
        needed = BASE_BYTES + shared + workers * reading + partial * (workers + waiting)
        if needed > allowed:
            raise BudgetError(
                f"{what} from {source.name}", needed, allowed, f"Pass memory={needed} or more."
            )
    reader = StoredRowsReader(source, spans, rows)
    return CountPlan(reader, workers, source.stored_bytes, needed, needed - shared)


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
    run = Run(plan.reader, plan.workers, "cpu", plan.projected_bytes, plan.task_bytes, notify)
    with in_run(run):
        found: CountTotals = run(CountPass(needs, source.shape[1]), PURPOSE)
    return found

"""What one read says of the entries of a matrix: how many are missing, which columns say nothing, and between which values they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.layout import BLOCK_ITEMS
from streamsvd.engine.opening import as_source
from streamsvd.engine.passes import Block
from streamsvd.engine.run import running
from streamsvd.engine.schedule import Schedule, allowed_bytes, schedule_rows
from streamsvd.info import Info
from streamsvd.protocols import Source

Reals = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(slots=True, eq=False)
class ColumnEntries:
    """Of each column the least and the largest entry, and how many are NaN or Inf.

    Attributes
    ----------
    low, high
        Of the finite entries, of complex ones their moduli; inf and -inf where there are none.
    missing, infinite
        Entries that are NaN, and that are Inf.
    changes
        Whether two finite entries differ.
    first
        A finite entry; NaN where there is none.
    """

    low: Reals
    high: Reals
    missing: Counts
    infinite: Counts
    changes: npt.NDArray[np.bool_]
    first: npt.NDArray[np.complex128]


@dataclass(frozen=True, slots=True)
class CountingPass:
    """Adds up `ColumnEntries` of ``n`` columns."""

    n: int

    def init(self, device: Device) -> tuple[ColumnEntries, Device]:
        """Of no rows."""
        return _empty(self.n), device

    def update(
        self, state: tuple[ColumnEntries, Device], block: Block
    ) -> tuple[ColumnEntries, Device]:
        """With the rows of a block."""
        counts, device = state
        _join(counts, _of_rows(device.to_host(block.data)))
        return state

    def close(self, state: tuple[ColumnEntries, Device]) -> ColumnEntries:
        """The counts."""
        return state[0]

    def merge(self, left: ColumnEntries, right: ColumnEntries) -> ColumnEntries:
        """Of both."""
        return _join(_join(_empty(self.n), left), right)


def _empty(n: int) -> ColumnEntries:
    return ColumnEntries(
        np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool),
        np.full(n, np.nan, np.complex128),
    )  # fmt: skip


def _of_rows(rows: npt.NDArray[Any]) -> ColumnEntries:
    """Of some rows."""
    n = rows.shape[1]
    none = np.zeros(n, np.int64)
    values = np.abs(rows) if rows.dtype.kind == "c" else rows
    if rows.dtype.kind in "iu":
        low, high = values.min(axis=0), values.max(axis=0)
        first = low.astype(np.complex128)
        return ColumnEntries(low.astype(float), high.astype(float), none, none, low != high, first)
    missing, infinite = np.isnan(values), np.isinf(values)
    out = missing | infinite
    low = np.min(values, axis=0, initial=np.inf, where=~out).astype(np.float64)
    high = np.max(values, axis=0, initial=-np.inf, where=~out).astype(np.float64)
    first = rows[np.argmax(~out, axis=0), np.arange(n)].astype(np.complex128)
    first[out.all(axis=0)] = np.nan
    # Of complex entries moduli may agree where they do not; of others the ends tell.
    changes = ((rows != first) & ~out).any(axis=0) if rows.dtype.kind == "c" else low < high
    return ColumnEntries(low, high, missing.sum(axis=0), infinite.sum(axis=0), changes, first)


def _join(left: ColumnEntries, right: ColumnEntries) -> ColumnEntries:
    """Both, in the memory of the left."""
    here, there = np.isfinite(left.first), np.isfinite(right.first)
    left.changes |= right.changes | (here & there & (left.first != right.first))
    np.copyto(left.first, right.first, where=~here & there)
    np.minimum(left.low, right.low, out=left.low)
    np.maximum(left.high, right.high, out=left.high)
    left.missing += right.missing
    left.infinite += right.infinite
    return left


@dataclass(frozen=True, slots=True)
class EntryCounts:
    """What one read says of a matrix.

    Attributes
    ----------
    entries, missing, infinite
        All of them, and those that are NaN or Inf.
    rows, columns
        Of the matrix.
    columns_with_missing, columns_without_values, constant_columns
        Columns with a missing entry, without any that is not, and whose entries are all the same.
    low, high
        Least and largest finite entry, of complex ones modulus; None where there is none.
    info
        How it came about.
    """

    entries: int
    missing: int
    infinite: int
    rows: int
    columns: int
    columns_with_missing: int
    columns_without_values: int
    constant_columns: int
    low: float | None
    high: float | None
    info: Info


def schedule_counting(source: Source, memory: int | float | str | None) -> Schedule:
    """How the pass runs within the memory.

    Raises
    ------
    BudgetError
        If a block does not fit; it names the least memory that works.
    """
    n = source.shape[1]
    state = 49 * n
    item = source.dtype.itemsize
    return schedule_rows(
        source, max(16, min(1024, BLOCK_ITEMS // n)), allowed_bytes(memory),
        work=lambda rows: rows * n * (2 * item + 5) + 3 * state, partial=state,
        what=f"counting in {n:,} columns", remedy="",
    )  # fmt: skip


def count_entries(
    A: Any, *, memory: int | float | str | None = None, callback: Callback = ignore_event
) -> EntryCounts:
    """Read a matrix once, and say what is missing in it, which columns are constant, and between which values entries lie.

    Parameters
    ----------
    A
        A matrix as `svd` takes it.
    memory
        Bytes this process may use above its imports, or a text such as ``"256MiB"``; half of what is free if left out.
    callback
        Receives events.

    Raises
    ------
    BudgetError
        If the memory is too small; it names the smallest that works.

    Notes
    -----
    Cost: one pass; ``49 n`` bytes a span of ``n`` columns.

    Examples
    --------
    >>> import numpy as np
    >>> found = count_entries(np.array([[1.0, np.nan], [1.0, 2.0]]))
    >>> found.missing, found.constant_columns
    (1, 2)
    """
    source = as_source(A)
    schedule = schedule_counting(source, memory)
    with running(schedule, notify=callback) as run:
        reader = replace(schedule.reader, checks_entries=False)
        found: ColumnEntries = run(
            CountingPass(source.shape[1]), "counts of entries", reader=reader
        )
    filled = np.isfinite(found.low)
    m, n = source.shape
    return EntryCounts(
        entries=m * n,
        missing=int(found.missing.sum()),
        infinite=int(found.infinite.sum()),
        rows=m,
        columns=n,
        columns_with_missing=int((found.missing > 0).sum()),
        columns_without_values=int((found.missing == m).sum()),
        constant_columns=int((filled & ~found.changes).sum()),
        low=float(found.low[filled].min()) if filled.any() else None,
        high=float(found.high[filled].max()) if filled.any() else None,
        info=run.info(),
    )

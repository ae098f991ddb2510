"""One pass for the means of groups of rows and the trend beside them: what the rows of a matrix have in common.

It reads the rows that are fitted and no others, in spans that depend on these and their chunks alone: rows that come later change
no bit of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.checks.sizes import check_size
from streamsvd.engine.device import Device
from streamsvd.engine.events import Callback
from streamsvd.engine.passes import Block
from streamsvd.engine.reader import find_nonfinite
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import MOST_SPANS, Schedule, allowed_bytes, schedule_rows
from streamsvd.errors import NonFiniteError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.numerics.row_fits import (
    GroupSums,
    RowFit,
    add_rows,
    copy_sums,
    join_sums,
    row_fit,
    sums_bytes,
    zero_sums,
)
from streamsvd.protocols import Source
from streamsvd.store.sources.views.adjusted import RowLabels, RowRange, wide_dtype

BLOCK_ITEMS = 1 << 19
"""Entries of a block, about; a block has no fewer than 16 rows and no more than 1024."""
SUMS_BYTES = 256 << 20
"""What the sums of all spans take together, about: of many groups there are fewer spans."""
PURPOSE = "means of rows"


@dataclass(slots=True, eq=False)
class SumsState:
    """Sums of a span so far, and the device that its blocks come from."""

    sums: GroupSums
    device: Device


@dataclass(frozen=True, slots=True, eq=False)
class RowFitPass:
    """Sums of groups of rows.

    Attributes
    ----------
    labels
        Of the rows; those whose group is below 0 are left out.
    n_groups, n
        Groups and columns.
    dtype
        Of the matrix.
    name
        Of the matrix.

    Notes
    -----
    Cost: two additions an entry, with a trend about ten flops; ``16 n_groups n`` bytes a span, with a trend and entries that
    may be missing ``24 n_groups n``.
    """

    labels: RowLabels
    n_groups: int
    n: int
    dtype: np.dtype[np.generic]
    name: str

    @property
    def has_trend(self) -> bool:
        """Whether there is a trend."""
        return self.labels.times is not None

    @property
    def has_gaps(self) -> bool:
        """Whether entries can be missing."""
        return self.dtype.kind in "fc"

    @property
    def sums_bytes(self) -> int:
        """Bytes of the sums of a span."""
        item = wide_dtype(self.dtype).itemsize
        return sums_bytes(
            self.n_groups, self.n, item, has_gaps=self.has_gaps, has_trend=self.has_trend
        )

    def init(self, device: Device) -> SumsState:
        """No rows."""
        sums = zero_sums(
            self.n_groups, self.n, wide_dtype(self.dtype), has_gaps=self.has_gaps, has_trend=self.has_trend
        )  # fmt: skip
        return SumsState(sums, device)

    def update(self, state: SumsState, block: Block) -> SumsState:
        """With the rows of a block."""
        data = state.device.to_host(block.data)
        bad = find_nonfinite(data, nan_counts=False)
        if bad is not None:
            raise BadEntry(bad[0], block.first + bad[1], bad[2])
        if data.dtype.kind in "iu" and data.dtype.itemsize == 8:
            check_size(data, self.name)
        run = slice(block.first, block.first + block.n_rows)
        times = None if self.labels.times is None else self.labels.times[run]
        add_rows(
            state.sums,
            data.astype(wide_dtype(self.dtype), copy=True),
            self.labels.groups[run],
            times,
        )
        return state

    def close(self, state: SumsState) -> GroupSums:
        """The sums."""
        return state.sums

    def merge(self, left: GroupSums, right: GroupSums) -> GroupSums:
        """Joined."""
        return join_sums(copy_sums(left), right)

    def absorb(self, left: GroupSums, right: GroupSums) -> GroupSums:
        """Joined in the memory of the left."""
        return join_sums(left, right)


@dataclass(frozen=True, slots=True, eq=False)
class RowFitRequest:
    """What is fitted, known before anything of the matrix is read.

    Attributes
    ----------
    source
        The matrix.
    labels
        Of all its rows.
    reference
        Which of them are fitted.
    n_groups
        Groups that these rows have.
    """

    source: Source
    labels: RowLabels
    reference: np.ndarray[tuple[int], np.dtype[np.bool_]]
    n_groups: int

    @property
    def rows(self) -> RowRange:
        """The rows that are read: from the chunk of the first that is fitted to the last."""
        numbers = np.flatnonzero(self.reference)
        chunk = self.source.chunks[0]
        return RowRange(self.source, int(numbers[0]) // chunk * chunk, int(numbers[-1]) + 1)

    @property
    def reference_labels(self) -> RowLabels:
        """Labels of the rows that are read."""
        read = self.rows
        run = slice(read.start, read.stop)
        groups = np.where(self.reference[run], self.labels.groups[run], -1).astype(np.int32)
        return RowLabels(groups, None if self.labels.times is None else self.labels.times[run])

    @property
    def fit_pass(self) -> RowFitPass:
        """The pass."""
        source = self.source
        return RowFitPass(
            self.reference_labels, self.n_groups, source.shape[1], source.dtype, source.name
        )


def schedule_fit(request: RowFitRequest, memory: int | float | str | None) -> Schedule:
    """How the pass runs within the memory.

    Raises
    ------
    BudgetError
        If the sums and a block do not fit; it names the least memory that works.
    """
    read, pass_ = request.rows, request.fit_pass
    n, wide = read.shape[1], wide_dtype(read.dtype).itemsize
    height = max(16, min(1024, BLOCK_ITEMS // n))
    most = max(1, min(MOST_SPANS, SUMS_BYTES // pass_.sums_bytes))
    line = n * (wide + 32)
    return schedule_rows(
        read, height, allowed_bytes(memory),
        # the block, its rows of a group, where they are there, and their times
        work=lambda rows: rows * n * (2 * wide + 8 + 2) + line,
        shared=2 * request.labels.nbytes + pass_.labels.nbytes, partial=pass_.sums_bytes, most=most,
        what=f"means of {request.n_groups:,} groups of rows in {n:,} columns",
        remedy=", or ask for fewer groups, such as those of months",
    )  # fmt: skip


def fit_rows(request: RowFitRequest, memory: int | float | str | None, notify: Callback) -> RowFit:
    """One pass over the rows that are fitted.

    Raises
    ------
    NonFiniteError
        If an entry is Inf; it names row and column.
    BudgetError
        If the sums do not fit in the memory.
    """
    schedule, pass_ = schedule_fit(request, memory), request.fit_pass
    reader = replace(schedule.reader, checks_entries=False)
    run = Run(
        reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, notify, is_preparing=True
    )  # fmt: skip
    try:
        with in_run(run):
            return row_fit(run(pass_, PURPOSE))
    except NonFiniteError as bad:
        row = bad.row + request.rows.start
        raise NonFiniteError(bad.value, row, bad.column, bad.chunk, bad.remedy) from None

"""A source whose rows have lost the mean of their group, and a trend: ``x - level[g] - slope * t``, times a factor of the column.

That is computed in double precision, and delivered in it: rounded to float32, no true value would lie in its interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.sizes import check_size
from streamsvd.numerics.row_fits import RowFit
from streamsvd.protocols import Source
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.store.sources.views.sparse_view import EntriesView, pick_columns, picking_bytes
from streamsvd.store.sources.views.stepped import SteppedRows, step_rows
from streamsvd.store.sources.views.view import SourceView
from streamsvd.typing import Real

BYTES_AT_ONCE = 1 << 20
"""Bytes of rows that are converted, or of levels that are put together, at once, about."""


@dataclass(frozen=True, slots=True, eq=False)
class RowLabels:
    """What is known of each row beside its entries.

    Attributes
    ----------
    groups
        Number of its group, ``(m,)``; below 0 where it is in none.
    times
        Its time, near 1, ``(m,)``; None without a trend.
    """

    groups: npt.NDArray[np.int32]
    times: Real | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return int(self.groups.nbytes) + (0 if self.times is None else int(self.times.nbytes))


@dataclass(frozen=True, eq=False)
class AdjustedRows(SourceView):
    """A matrix without what its rows have in common.

    It holds its fit, as `FilledColumns` holds its means: one copy goes to each worker with the passes, and no file has to be there.

    Attributes
    ----------
    whole
        The matrix as it is stored.
    row_labels
        Of its rows; None where nothing is subtracted.
    fit
        What is subtracted; None where it is not known yet, and the source is not to be read, or nothing is.
    factors
        Of the columns, ``(n,)``; None for 1.
    climatology
        What the fit is part of, by which rows that come later lose the same; None where nobody knows.
    """

    __repr__ = matrix_text

    row_labels: RowLabels | None
    fit: RowFit | None
    factors: Real | None = None
    climatology: Any = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return wide_dtype(self.whole.dtype)

    @property
    def read_bytes(self) -> int:
        converted = 0 if self.dtype == self.whole.dtype else self._height * self._row_bytes
        line = self.shape[1] * self.dtype.itemsize
        return self.whole.read_bytes + converted + 2 * max(BYTES_AT_ONCE, line)

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self.whole.dtype.itemsize

    @property
    def _height(self) -> int:
        """Rows that are converted at once: whole chunks."""
        chunk = self.chunks[0]
        return min(self.shape[0], chunk * max(1, BYTES_AT_ONCE // (chunk * self._row_bytes)))

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if self.row_labels is not None and self.fit is None:
            raise RuntimeError(f"{self.name} is read before its means are known")
        if out.dtype == self.whole.dtype:
            self.whole.read(rows, columns, out)
        else:
            self._convert(rows, columns, out)
        for start, stop in _runs(rows, out):
            self._adjust(slice(start, stop), columns, out[start - rows.start : stop - rows.start])

    def _convert(self, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        """Rows as stored, in double precision."""
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            part = np.empty((stop - start, out.shape[1]), dtype=self.whole.dtype)
            self.whole.read(slice(start, stop), columns, part)
            if part.dtype.kind in "iu" and part.dtype.itemsize == 8:
                check_size(part, self.name)
            out[start - rows.start : stop - rows.start] = part
            start = stop

    def _adjust(self, rows: slice, columns: slice, place: npt.NDArray[Any]) -> None:
        if self.row_labels is not None and self.fit is not None:
            place -= self.fit.level[self.row_labels.groups[rows], columns]
            if self.fit.slope is not None and self.row_labels.times is not None:
                place -= self.row_labels.times[rows, None] * self.fit.slope[columns]
        if self.factors is not None:
            place *= self.factors[columns]


def _runs(rows: slice, out: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Runs of rows whose levels are put together at once."""
    step = max(1, BYTES_AT_ONCE // max(1, out.shape[1] * out.dtype.itemsize))
    for start in range(rows.start, rows.stop, step):
        yield start, min(start + step, rows.stop)


def wide_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that differences of values of a type are computed and delivered in."""
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def stored_rows(source: Source) -> Source:
    """A matrix as it was before its rows were adjusted, or had steps: where rows are still to be written, these are zeros."""
    if isinstance(source, AdjustedRows | SteppedRows):
        return stored_rows(source.whole)
    if isinstance(source, KeptColumns) and isinstance(source.whole, AdjustedRows | SteppedRows):
        return replace(source, whole=stored_rows(source.whole))
    return source


def with_stored_rows(source: Source, stored: Source) -> Source:
    """The same matrix, adjusted as it was, read from another object that holds what is stored."""
    if isinstance(source, AdjustedRows):
        return replace(source, whole=with_stored_rows(source.whole, stored))
    if isinstance(source, SteppedRows):
        return step_rows(stored, source.row_steps, precise=source.precise)
    return stored


@dataclass(frozen=True, eq=False)
class RowRange(EntriesView):
    """Consecutive rows of a source, from the beginning of a chunk on.

    Attributes
    ----------
    whole
        The matrix.
    start, stop
        Its first row, which begins a chunk, and its last (exclusive).
    """

    __repr__ = matrix_text

    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.stop - self.start, self.whole.shape[1]

    @property
    def chunks(self) -> tuple[int, int]:
        rows, columns = self.whole.chunks
        return min(rows, self.shape[0]), columns

    @property
    def entries(self) -> int:
        """At most so many entries are stored in these rows."""
        if self.sparse_axis == "columns":
            return self.sparse_whole.entries
        return self.sparse_whole.most_entries(self.shape[0])

    @property
    def stored_bytes(self) -> int:
        """Decoded bytes of what is read in one pass; of CSC, that is the whole."""
        stored = self.sparse_whole
        return stored.stored_bytes * self.entries // max(1, stored.entries)

    def read_sparse(self, run: slice, /) -> Any:
        """Of CSR, some of the rows; of CSC, columns without the entries of other rows."""
        if self.sparse_axis == "rows":
            return self.sparse_whole.read_sparse(
                slice(run.start + self.start, run.stop + self.start)
            )
        return pick_columns(self.sparse_whole.read_sparse(run), np.arange(self.start, self.stop))

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        copied = 0 if self.sparse_axis == "rows" else picking_bytes(self.sparse_whole, entries)
        return EntriesView.sparse_bytes(self, entries) + copied

    def addresses(self) -> list[Any]:
        """Where other processes read it."""
        found: list[Any] = getattr(self.whole, "addresses", list)()
        return found

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        self.whole.read(slice(rows.start + self.start, rows.stop + self.start), columns, out)

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row + self.start, column)

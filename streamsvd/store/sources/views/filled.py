"""A source whose missing values are filled as they are read.

A fill that the type of the data does not hold exactly would be another matrix than the one meant: such data are read in double
precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.numerics.sparse_rows import with_values
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.sparse_view import EntriesView
from streamsvd.typing import Real

ROWS_AT_ONCE = 1 << 20
"""Bytes of rows that are converted at once, about."""


@dataclass(frozen=True, eq=False)
class FilledColumns(EntriesView):
    """A matrix in which each NaN is a number of its column.

    Attributes
    ----------
    whole
        The matrix as it is stored.
    fill
        What takes the place of a NaN in each column, ``(n,)``.
    """

    __repr__ = matrix_text

    fill: Real

    @property
    def dtype(self) -> np.dtype[Any]:
        stored = self.whole.dtype
        if not self.fill.any():
            return stored
        return np.dtype(np.complex128 if stored.kind == "c" else np.float64)

    @property
    def read_bytes(self) -> int:
        same = self.dtype == self.whole.dtype
        return self.whole.read_bytes + (0 if same else self._height * self._row_bytes)

    @property
    def _row_bytes(self) -> int:
        return self.shape[1] * self.whole.dtype.itemsize

    @property
    def _height(self) -> int:
        """Rows that are converted at once: whole chunks, or some of them."""
        return min(self.shape[0], max(self.chunks[0], ROWS_AT_ONCE // self._row_bytes, 1))

    @property
    def stored_bytes(self) -> int:
        """Decoded bytes of what is stored, as it is read: values and indices."""
        wider = self.dtype.itemsize - self.whole.dtype.itemsize
        return self.sparse_whole.stored_bytes + self.sparse_whole.entries * wider

    def read_sparse(self, run: slice, /) -> Any:
        """Rows (of CSC: columns) whose stored entries are not NaN; what is not stored is 0 and no gap."""
        rows = self.sparse_whole.read_sparse(run)
        holes = np.flatnonzero(np.isnan(rows.data))
        if not holes.size and rows.dtype == self.dtype:
            return rows
        values = rows.data.astype(self.dtype)
        if self.sparse_axis == "rows":
            numbers = rows.indices[holes]
        else:
            numbers = run.start + np.searchsorted(rows.indptr, holes, side="right") - 1
        values[holes] = self.fill[numbers]
        return with_values(rows, values)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back: a mask, places, and values."""
        places = 3 * np.dtype(np.intp).itemsize + 1
        return EntriesView.sparse_bytes(self, entries) + entries * (self.dtype.itemsize + places)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if out.dtype == self.whole.dtype:
            self.whole.read(rows, columns, out)
            self._put(out, columns)
            return
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            part = np.empty((stop - start, out.shape[1]), dtype=self.whole.dtype)
            self.whole.read(slice(start, stop), columns, part)
            place = out[start - rows.start : stop - rows.start]
            place[...] = part
            self._put(place, columns)
            start = stop

    def _put(self, rows: npt.NDArray[Any], columns: slice) -> None:
        holes = np.isnan(rows)
        if holes.any():
            np.copyto(rows, self.fill[columns].astype(rows.dtype)[None, :], where=holes)

"""A source that shows only some columns of another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.numerics.columns import Columns
from streamsvd.protocols import Source, SparseSource, is_sparse
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.sparse.compressed import (
    fill_rectangle,
    piece_entries,
    scattered_bytes,
)
from streamsvd.store.sources.views.sparse_view import (
    EntriesView,
    pick_columns,
    pick_rows,
    picking_bytes,
    stack_rows,
)

Array = npt.NDArray[Any]
FEWEST_PER_RUN = 16
"""Columns of a run, on average, from which runs are copied one by one."""
NEAR = 16
"""Columns between two that are kept, up to which they are read together where columns are compressed."""


@dataclass(frozen=True, eq=False)
class KeptColumns(EntriesView):
    """The columns of a source that are kept, side by side.

    Attributes
    ----------
    whole
        The source with all columns.
    columns
        Which are kept.
    look_bytes
        Decoded bytes that were read to know that.
    refuses_values
        Whether a value in a column that is known as missing throughout is refused as it is read: all of the rows are
        read then.
    """

    __repr__ = matrix_text

    columns: Columns
    look_bytes: int = 0
    refuses_values: bool = False
    _indices: npt.NDArray[np.intp] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_indices", self.columns.indices)

    @property
    def shape(self) -> tuple[int, int]:
        return (self.whole.shape[0], int(self._indices.size))

    @property
    def chunks(self) -> tuple[int, int]:
        rows, columns = self.whole.chunks
        most = int(np.bincount(self._indices // columns).max())
        return (rows, min(most, self.shape[1]))

    @property
    def read_bytes(self) -> int:
        if is_sparse(self):
            mine = cast(SparseSource, self)
            return mine.sparse_bytes(piece_entries(mine)) + scattered_bytes(self.dtype)
        rows, columns = self._read_shape
        one = min(rows, self.shape[0]) * min(columns, self.whole.shape[1]) * self.dtype.itemsize
        return self.whole.read_bytes + 2 * max(one, BLOCK_BYTES if self._whole_has_no_chunks else 0)

    @property
    def _whole_has_no_chunks(self) -> bool:
        return bool(getattr(self.whole, "has_no_chunks", False))

    @property
    def _read_shape(self) -> tuple[int, int]:
        """Rows and columns of the whole that are read at once: a chunk, or some whole rows where there are none."""
        rows, columns = self.whole.chunks
        return (rows, self.whole.shape[1]) if self._whole_has_no_chunks else (rows, columns)

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        """As of the whole; values that would be refused are looked for among all entries, stored or not.

        Raises
        ------
        AttributeError
            Where they are.
        """
        if self.refuses_values:
            raise AttributeError("sparse_axis")
        return self.sparse_whole.sparse_axis

    def most_entries(self, length: int, /) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows (of CSC: kept columns)."""
        if self.sparse_axis == "rows":
            return min(self.sparse_whole.most_entries(length), length * self.shape[1])
        return min(self.sparse_whole.most_entries(self._span(length)), length * self.shape[0])

    def _span(self, length: int) -> int:
        """Columns of the whole, at most, from the first to the last of so many that are kept one after another."""
        length = min(length, self.shape[1])
        spans = self._indices[length - 1 :] - self._indices[: self._indices.size - length + 1]
        return int(spans.max()) + 1

    def read_sparse(self, run: slice, /) -> Any:
        """Of CSR, rows without the entries of other columns; of CSC, the columns that are kept, side by side."""
        if self.sparse_axis == "rows":
            return pick_columns(self.sparse_whole.read_sparse(run), self._indices)
        wanted = self._indices[run]
        ends = [0, *(np.flatnonzero(np.diff(wanted) > NEAR) + 1).tolist(), wanted.size]
        parts = []
        for a, b in pairwise(ends):
            first, last = int(wanted[a]), int(wanted[b - 1]) + 1
            part = self.sparse_whole.read_sparse(slice(first, last))
            parts.append(part if last - first == b - a else pick_rows(part, wanted[a:b] - first))
        return stack_rows(parts, self.dtype, self.shape[0])

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back: more are read than are kept."""
        most = self.sparse_whole.most_entries
        if self.sparse_axis == "rows":
            read = max(entries, most(-(-entries // self.shape[1])))
        else:
            read = max(entries, most(self._span(max(1, -(-entries // self.shape[0])))))
        read = min(read, self.sparse_whole.entries)
        return self.sparse_whole.sparse_bytes(read) + picking_bytes(self.sparse_whole, read)

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        wanted = self._indices[columns]
        if not wanted.size or rows.start == rows.stop:
            return
        first, last = int(wanted[0]), int(wanted[-1])
        if is_sparse(self):
            fill_rectangle(cast(SparseSource, self), rows, columns, out)
            return
        if not self.refuses_values and last + 1 - first == wanted.size:  # they lie side by side
            self.whole.read(rows, slice(first, last + 1), out)
            return
        for chunk, places in self._by_chunk(wanted):
            part = wanted[places]
            whole = chunk if self.refuses_values else slice(int(part[0]), int(part[-1]) + 1)
            self._pick(rows, whole, part - whole.start, out[:, places])
        if self.refuses_values:
            self._check_chunks_without(rows, columns)

    def _by_chunk(self, wanted: npt.NDArray[np.intp]) -> Iterator[tuple[slice, slice]]:
        """Columns of each chunk of the whole that has some of those wanted, and their places among these."""
        width, count = self._read_shape[1], self.whole.shape[1]
        at = 0
        while at < wanted.size:
            chunk = int(wanted[at]) // width
            end = int(np.searchsorted(wanted, (chunk + 1) * width))
            yield slice(chunk * width, min((chunk + 1) * width, count)), slice(at, end)
            at = end

    def _row_chunks(self, rows: slice, width: int) -> Iterator[tuple[int, int]]:
        height, start = self._read_shape[0], rows.start
        if self._whole_has_no_chunks:
            height = max(height, BLOCK_BYTES // (width * self.dtype.itemsize))
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            yield start, stop
            start = stop

    def _pick(
        self, rows: slice, whole: slice, local: npt.NDArray[np.intp], place: Array | None
    ) -> None:
        """Read a chunk's columns, a chunk of rows at a time, and hand on those that are kept."""
        for start, stop in self._row_chunks(rows, whole.stop - whole.start):
            buffer = np.empty((stop - start, whole.stop - whole.start), dtype=self.dtype)
            self.whole.read(slice(start, stop), whole, buffer)
            if self.refuses_values:
                self._check(buffer, start, whole)
            if place is not None:
                _copy_columns(buffer, local, place[start - rows.start : stop - rows.start])

    def _check_chunks_without(self, rows: slice, columns: slice) -> None:
        """Look at the chunks that none of the kept columns lie in, once for all columns."""
        width, count = self._read_shape[1], self.whole.shape[1]
        if columns.start != 0:
            return
        seen = set((self._indices // width).tolist())
        none = np.empty(0, dtype=np.intp)
        for chunk in range(-(-count // width)):
            whole = slice(chunk * width, min((chunk + 1) * width, count))
            if chunk not in seen and (self.columns.marks[whole] == Columns.MARK_EMPTY).any():
                self._pick(rows, whole, none, None)

    def _check(self, buffer: Array, first: int, whole: slice) -> None:
        """Refuse values in columns that are missing throughout in what is known already."""
        empty = np.flatnonzero(self.columns.marks[whole] == Columns.MARK_EMPTY)
        there = ~np.isnan(buffer[:, empty])
        if not there.any():
            return
        i, j = (int(k) for k in np.unravel_index(int(np.argmax(there)), there.shape))
        column = whole.start + int(empty[j])
        raise SpecError(
            f"column {column} has a value at row {first + i} of {self.name}, and had none in any row absorbed before: "
            "it is left out. Begin anew with all rows, or leave the column out here too: pass rows that are NaN there."
        )

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, int(self._indices[column]))


def _copy_columns(buffer: Array, local: npt.NDArray[np.intp], place: Array) -> None:
    """Some columns of a buffer side by side: run by run where they lie in few, which is several times as fast."""
    ends = np.flatnonzero(np.diff(local) != 1) + 1
    if ends.size * FEWEST_PER_RUN > local.size:
        place[...] = buffer[:, local]
        return
    for a, b in zip([0, *ends.tolist()], [*ends.tolist(), local.size], strict=True):
        place[:, a:b] = buffer[:, int(local[a]) : int(local[a]) + b - a]


def column_extents(source: Source) -> tuple[int, ...]:
    """Extents of the dimensions that make the columns of a source."""
    layout = getattr(source, "layout", None)
    if layout is None:
        return (source.shape[1],)
    return tuple(layout.extents[axis] for axis in layout.column_axes)

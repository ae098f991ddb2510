"""A source that shows some rows of another one, in whatever order, some of them perhaps more than once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.labels import Dimension, Labels
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.sparse_view import (
    EntriesView,
    canonical,
    entry_bytes,
    pick_rows,
    picking_bytes,
    stack_rows,
)

Numbers = range | npt.NDArray[np.intp]
"""Numbers of rows or columns: a range takes no memory, however long it is."""
SPARE = 4
"""Rows are read from the first to the last of some that are wanted, where these are no more than so many times as many."""


@dataclass(frozen=True, eq=False)
class ChosenRows(EntriesView):
    """Some rows of a source.

    Attributes
    ----------
    whole
        The matrix.
    numbers
        Of its rows, in the order in which they are shown.
    """

    __repr__ = matrix_text

    numbers: Numbers

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.numbers), self.whole.shape[1]

    @property
    def chunks(self) -> tuple[int, int]:
        rows, columns = self.whole.chunks
        return max(1, min(rows, self.shape[0])), columns

    @property
    def read_bytes(self) -> int:
        row = self.shape[1] * self.dtype.itemsize
        return self.whole.read_bytes + SPARE * max(BLOCK_BYTES, row) + row

    @property
    def labels(self) -> Labels | None:
        """What is known of its columns: rows have lost their coordinates."""
        found = getattr(self.whole, "labels", None)
        if not isinstance(found, Labels) or not found.rows:
            return None
        return found.with_rows((Dimension(found.rows[0].name, self.shape[0]),))

    def addresses(self) -> list[Any]:
        """Where other processes read it."""
        found: list[Any] = getattr(self.whole, "addresses", list)()
        return found

    @property
    def entries(self) -> int:
        """At most so many entries are stored in these rows."""
        if self.sparse_axis == "columns":
            return self.most_entries(self.shape[1])
        return self.most_entries(self.shape[0])

    @property
    def stored_bytes(self) -> int:
        """Decoded bytes of what one pass reads, at most."""
        stored = self.sparse_whole
        return stored.stored_bytes * self.entries // max(1, stored.entries)

    def most_entries(self, length: int, /) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows (of CSC: columns)."""
        most, rows = self.sparse_whole.most_entries, self.shape[0]
        if self.sparse_axis == "columns":
            repeated = 1 if _ascend(self.numbers) else rows
            return min(repeated * most(length), length * rows)
        length = min(length, rows)
        if isinstance(self.numbers, range):
            return min(length * most(1), most((length - 1) * abs(self.numbers.step) + 1))
        return length * most(1)

    def read_sparse(self, run: slice, /) -> Any:
        """Of CSR, these rows; of CSC, columns with the entries of these rows."""
        if self.sparse_axis == "columns":
            numbers = np.asarray(self.numbers, np.intp)
            found = self.sparse_whole.read_sparse(run)[:, numbers].tocsr()
            found.sort_indices()
            return canonical(found)
        wanted = self.numbers[run]
        if isinstance(wanted, range) and wanted.step == 1:
            return self.sparse_whole.read_sparse(slice(wanted.start, wanted.stop))
        numbers = np.asarray(wanted, np.intp)
        return stack_rows(list(self._row_parts(numbers)), self.dtype, self.shape[1])

    def _row_parts(self, numbers: npt.NDArray[np.intp]) -> Iterator[Any]:
        """Rows from the first to the last at once, where few lie between; else run by run."""
        if not numbers.size:
            return
        low, high = int(numbers.min()), int(numbers.max()) + 1
        if high - low <= SPARE * numbers.size:
            yield pick_rows(self.sparse_whole.read_sparse(slice(low, high)), numbers - low)
            return
        ends = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), numbers.size]
        for a, b in pairwise(ends):
            yield self.sparse_whole.read_sparse(slice(int(numbers[a]), int(numbers[b - 1]) + 1))

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back: more may be read than are shown."""
        stored, most = self.sparse_whole, self.sparse_whole.most_entries
        if self.sparse_axis == "rows":
            rows = SPARE * -(-entries // max(1, most(1)))
        else:
            rows = -(-entries // self.shape[0])
        read = min(stored.entries, max(entries, most(rows)))
        picked = picking_bytes(stored, max(read, entries)) + 2 * 8 * self.shape[0]
        return stored.sparse_bytes(read) + picked + entries * entry_bytes(stored)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        wanted = self.numbers[rows]
        if isinstance(wanted, range) and wanted.step == 1:
            if len(wanted):
                self.whole.read(slice(wanted.start, wanted.stop), columns, out)
            return
        step = max(1, BLOCK_BYTES // max(1, out.shape[1] * out.dtype.itemsize))
        for start in range(0, len(wanted), step):
            part = np.asarray(wanted[start : start + step])
            self._read_some(part, columns, out[start : start + step])

    def _read_some(self, numbers: Any, columns: slice, out: npt.NDArray[Any]) -> None:
        """From the first to the last at once, where few lie between; else run by run."""
        low, high = int(numbers.min()), int(numbers.max()) + 1
        if high - low <= SPARE * numbers.size:
            buffer = np.empty((high - low, out.shape[1]), dtype=self.dtype)
            self.whole.read(slice(low, high), columns, buffer)
            np.take(buffer, numbers - low, axis=0, out=out)
            return
        ends = [*(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), numbers.size]
        start = 0
        for stop in ends:
            first = int(numbers[start])
            self.whole.read(slice(first, first + stop - start), columns, out[start:stop])
            start = stop

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(int(self.numbers[row]), column)


def _ascend(numbers: Numbers) -> bool:
    """Whether none is there twice, as far as that is seen at once."""
    return isinstance(numbers, range) or bool((np.diff(numbers) > 0).all())


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """Rows of something that is sliced as an array is, in memory or not: left vectors of a result, wherever they are.

    Attributes
    ----------
    array
        With ``shape``, ``dtype`` and slices of rows.
    name
        In messages.
    """

    __repr__ = matrix_text

    array: Any
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.array.shape
        return int(rows), int(columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = np.dtype(self.array.dtype)
        return found

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, int]:
        stored = getattr(self.array, "chunks", None)
        line = max(1, self.shape[1] * self.dtype.itemsize)
        rows = max(1, BLOCK_BYTES // line) if stored is None else int(stored[0])
        return max(1, min(rows, self.shape[0])), self.shape[1]

    @property
    def read_bytes(self) -> int:
        """A chunk, its bytes, and what is cut from it."""
        return 3 * self.chunks[0] * self.shape[1] * self.dtype.itemsize

    @property
    def originals(self) -> list[Any]:
        """What it is read from."""
        return [self.array]

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        height = self.chunks[0]
        start = rows.start
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            part = np.asarray(self.array[start:stop])
            out[start - rows.start : stop - rows.start] = part[:, columns]
            start = stop

    def locate(self, row: int, column: int, /) -> str:
        del column
        return f"row {row} of {self.name}"

"""A source that shows some rows of another one, in whatever order, some of them perhaps more than once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.labels import Dimension, Labels
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.view import SourceView

Numbers = range | npt.NDArray[np.intp]
"""Numbers of rows or columns: a range takes no memory, however long it is."""
SPARE = 4
"""Rows are read from the first to the last of some that are wanted, where these are no more than so many times as many."""


@dataclass(frozen=True, eq=False)
class ChosenRows(SourceView):
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

"""A source that shows the columns of another one in another order, or some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.labels import Labels
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.sparse_view import (
    EntriesView,
    canonical,
    picking_bytes,
)


@dataclass(frozen=True, eq=False)
class ChosenColumns(EntriesView):
    """Columns of a source, in the order of a result.

    Attributes
    ----------
    whole
        The matrix.
    numbers
        Of its columns, in the order in which they are shown.
    labels
        What the matrix says of these, and of its rows.
    """

    __repr__ = matrix_text

    numbers: npt.NDArray[np.intp]
    labels: Labels = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.whole.shape[0], int(self.numbers.size)

    @property
    def chunks(self) -> tuple[int, int]:
        return self.whole.chunks[0], self.shape[1]

    @property
    def layout(self) -> None:
        """None: the dimensions are those of the labels."""
        return

    @property
    def _height(self) -> int:
        """Rows that are read at once: a chunk, or some rows where there are none."""
        line = max(1, self.whole.shape[1] * self.dtype.itemsize)
        if getattr(self.whole, "has_no_chunks", False):
            return max(1, BLOCK_BYTES // line)
        return self.whole.chunks[0]

    @property
    def read_bytes(self) -> int:
        rows = min(self._height, self.shape[0])
        return self.whole.read_bytes + 2 * rows * self.whole.shape[1] * self.dtype.itemsize

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        """Along rows; columns in another order are no runs.

        Raises
        ------
        AttributeError
            Where the whole is compressed along columns.
        """
        if self.sparse_whole.sparse_axis == "columns":
            raise AttributeError("sparse_axis")
        return "rows"

    def most_entries(self, length: int, /) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows."""
        return min(self.sparse_whole.most_entries(length), length * self.shape[1])

    def read_sparse(self, run: slice, /) -> Any:
        """Rows with the columns as they are shown."""
        found = self.sparse_whole.read_sparse(run)[:, self.numbers].tocsr()
        found.sort_indices()
        return canonical(found)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        stored = self.sparse_whole
        read = max(entries, stored.most_entries(-(-entries // self.shape[1])))
        return stored.sparse_bytes(read) + 2 * picking_bytes(stored, read)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        wanted = self.numbers[columns]
        if not wanted.size:
            return
        low, high = int(wanted.min()), int(wanted.max()) + 1
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            buffer = np.empty((stop - start, high - low), dtype=self.dtype)
            self.whole.read(slice(start, stop), slice(low, high), buffer)
            place = out[start - rows.start : stop - rows.start]
            place[...] = buffer[:, wanted - low]
            start = stop

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, int(self.numbers[column]))

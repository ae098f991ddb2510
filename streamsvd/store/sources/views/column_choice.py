"""A source that shows the columns of another one in another order, or some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.labels import Labels
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.view import SourceView


@dataclass(frozen=True, eq=False)
class ChosenColumns(SourceView):
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

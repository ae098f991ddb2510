"""A source whose rows went through steps: normalised, logarithms taken, weighted by documents, as they are read.

Steps are computed in double precision. So they are delivered too: rounded to float32, no true value would lie in its interval,
unless that is widened by `SteppedRows.step_rounding`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.checks.sizes import check_size
from streamsvd.errors import NonFiniteError
from streamsvd.numerics.blocks import BadEntry
from streamsvd.numerics.row_entries import DenseEntries, SparseEntries
from streamsvd.numerics.row_steps import RowStep, apply_in_order
from streamsvd.protocols import Source, SparseSource, is_sparse
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.sparse.compressed import (
    fill_rectangle,
    piece_entries,
    scattered_bytes,
)
from streamsvd.store.sources.views.view import SourceView

Array = npt.NDArray[Any]
BYTES_AT_ONCE = 1 << 20
"""Bytes of dense rows in double precision that steps are applied to at once, about."""
STEP_ENTRIES = 1 << 16
"""Stored entries that steps are applied to at once, about: they stay in the cache."""


@dataclass(frozen=True, eq=False)
class SteppedRows(SourceView):
    """A matrix after its steps. They are of whole rows: columns are chosen from what they leave.

    Attributes
    ----------
    whole
        The matrix as it is stored.
    row_steps
        What is done to each row, in this order.
    precise
        Whether it is delivered in float64; otherwise what is not stored so is rounded to float32.
    """

    __repr__ = matrix_text

    row_steps: tuple[RowStep, ...]
    precise: bool = True

    @property
    def dtype(self) -> np.dtype[Any]:
        wide = self.precise or self.whole.dtype == np.float64
        return np.dtype(np.float64 if wide else np.float32)

    @property
    def step_rounding(self) -> float:
        """Bound of the relative error of an entry that comes of its rounding to float32; 0 in float64."""
        return 0.0 if self.dtype == np.float64 else 2.0**-24

    @property
    def chunks(self) -> tuple[int, int]:
        rows, columns = self.whole.chunks
        return (rows, self.shape[1]) if self._is_of_whole_rows else (rows, columns)

    @property
    def _is_of_whole_rows(self) -> bool:
        return any(step.of_whole_rows for step in self.row_steps)

    @property
    def _height(self) -> int:
        """Dense rows that steps are applied to at once: whole chunks."""
        chunk, row = self.chunks[0], self.shape[1] * 8
        found: int = min(self.shape[0], chunk * max(1, BYTES_AT_ONCE // (chunk * row)))
        return found

    @property
    def read_bytes(self) -> int:
        """Rows as stored and in float64, with what a step puts beside them."""
        entry = self.whole.dtype.itemsize + 3 * 8 + 2
        total: int = self._height * self.shape[1] * entry
        return self.whole.read_bytes + total

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        start, height = rows.start, self._height
        wanted = slice(0, self.shape[1]) if self._is_of_whole_rows else columns
        picked = slice(columns.start - wanted.start, columns.stop - wanted.start)
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            place = out[start - rows.start : stop - rows.start]
            stored = np.empty((stop - start, wanted.stop - wanted.start), self.whole.dtype)
            self.whole.read(slice(start, stop), wanted, stored)
            place[...] = self._dense_steps(stored, start, wanted.start)[:, picked]
            start = stop

    def _dense_steps(self, stored: Array, first: int, first_column: int) -> Array:
        self._check_integers(stored)
        values = stored.astype(np.float64, copy=stored.dtype != np.float64)
        self._apply(DenseEntries(values, first, first_column))
        return values

    def _check_integers(self, stored: Array) -> None:
        if stored.dtype.kind in "iu" and stored.dtype.itemsize == 8 and stored.size:
            check_size(stored, self.name)

    def _apply(self, entries: DenseEntries | SparseEntries) -> None:
        if any(step.need is not None for step in self.row_steps):
            raise RuntimeError(f"{self.name} is read before its steps have counted")
        try:
            apply_in_order(entries, self.row_steps)
        except BadEntry as bad:
            chunk = self.locate(bad.row, bad.column)
            raise NonFiniteError(
                bad.value, bad.row, bad.column, chunk, "Mend or leave out the row."
            ) from None


@dataclass(frozen=True, eq=False)
class SparseSteppedRows(SteppedRows):
    """The same of a sparse matrix, after steps that leave zeros as they are.

    Attributes
    ----------
    whole, row_steps, precise
        As of `SteppedRows`.
    """

    __repr__ = matrix_text

    @property
    def _stored(self) -> SparseSource:
        return self.whole  # type: ignore[return-value]  # `step_rows` has seen that it is

    @property
    def entries(self) -> int:
        return self._stored.entries

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        return self._stored.sparse_axis

    @property
    def stored_bytes(self) -> int:
        return self._stored.stored_bytes

    def most_entries(self, length: int, /) -> int:
        return self._stored.most_entries(length)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back, and a piece with what steps put beside."""
        of_whole = self._stored.sparse_bytes(entries)
        piece = min(entries, max(STEP_ENTRIES, self.most_entries(1)))
        return of_whole + entries * self.dtype.itemsize + piece * 4 * 8

    def read_sparse(self, run: slice, /) -> Any:
        stored = self._stored.read_sparse(run)
        self._check_integers(stored.data)
        values, by_columns = np.empty(stored.data.size, self.dtype), self.sparse_axis == "columns"
        for a, b in _pieces(stored.indptr):
            offsets = stored.indptr[a : b + 1]
            part = slice(int(offsets[0]), int(offsets[-1]))
            wide = stored.data[part].astype(np.float64)
            self._apply(
                SparseEntries(
                    wide, stored.indices[part], offsets - offsets[0], stored.shape[1], run.start + a, by_columns
                )
            )  # fmt: skip
            values[part] = wide
        found = sparse.csr_array((values, stored.indices, stored.indptr), shape=stored.shape)
        found.has_sorted_indices = found.has_canonical_format = True
        return found

    @property
    def read_bytes(self) -> int:
        """A piece, and what is scattered of it."""
        return self.sparse_bytes(piece_entries(self)) + scattered_bytes(self.dtype)

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        fill_rectangle(self, rows, columns, out)


def _pieces(offsets: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Runs of rows of about as many entries, or one row."""
    start, rows = 0, offsets.size - 1
    while start < rows:
        end = int(np.searchsorted(offsets, int(offsets[start]) + STEP_ENTRIES, side="right")) - 1
        stop = min(rows, max(start + 1, end))
        yield start, stop
        start = stop


def step_rows(source: Source, steps: tuple[RowStep, ...], *, precise: bool = True) -> SteppedRows:
    """A matrix after steps that know all they need; of a matrix that has had some, these come after them."""
    if isinstance(source, SteppedRows):
        return step_rows(source.whole, (*source.row_steps, *steps), precise=precise)
    stays = is_sparse(source) and all(step.keeps_zeros for step in steps)
    return (SparseSteppedRows if stays else SteppedRows)(source, steps, precise)

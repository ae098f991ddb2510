"""A matrix that is compressed along its rows (CSR) or its columns (CSC), in three stored arrays of any kind.

The arrays of values, indices and offsets are matrices of one column, so that whatever reads a chunk of zarr, of HDF5 or of a file
reads theirs. Whole chunks are decoded once: the last of a run is kept for the run that follows it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.errors import StoreError
from streamsvd.protocols import Source
from streamsvd.store.sight import Address
from streamsvd.store.sources.border import check_rectangle, strips
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.sparse.offsets import OffsetTable, read_vector

Array = npt.NDArray[Any]

PIECE_ENTRIES = 1 << 20
"""Entries that are read at once where a rectangle is filled."""

KEPT_ENTRIES = 1 << 12
"""A chunk of fewer entries is decoded again rather than kept."""


class ChunkKeeper:
    """The last chunk of each thread, of a stored array of one dimension: the run that follows begins in it.

    It is no part of the array: a copy that is sent to another process has none.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkKeeper, ()

    def read(self, source: Source, start: int, stop: int) -> Array:
        """A run of the array; chunks that it has a part of are decoded whole, and the last one is kept."""
        chunk, end = source.chunks[0], source.shape[0]
        if chunk < KEPT_ENTRIES or stop <= start:
            return read_vector(source, start, stop)
        out = np.empty(stop - start, source.dtype)
        at = start
        first, kept = getattr(self._local, "chunk", (0, None))
        if kept is not None and first <= at < first + kept.size:
            count = min(stop, first + kept.size) - at
            out[:count] = kept[at - first : at - first + count]
            at += count
        whole = stop if stop == end else stop - stop % chunk
        if at < whole:
            out[at - start : whole - start] = read_vector(source, at, whole)
            at = whole
        if at < stop:
            kept = read_vector(source, at, min(at + chunk, end)) if at % chunk == 0 else None
            if kept is None:
                out[at - start :] = read_vector(source, at, stop)
            else:
                self._local.chunk = at, kept
                out[at - start :] = kept[: stop - at]
        elif whole == stop:
            self._local.chunk = 0, None
        return out


@dataclass(frozen=True, eq=False)
class CompressedSource:
    """A matrix in three stored arrays.

    Attributes
    ----------
    values, indices, offsets
        Matrices of one column: the stored entries, their columns (of CSC: rows), and where each row (column) begins.
    table
        Some of the offsets.
    shape
        Rows and columns.
    sparse_axis
        ``"rows"`` of CSR, ``"columns"`` of CSC.
    name
        How messages call it.
    """

    __repr__ = matrix_text

    values: Source = field(repr=False)
    indices: Source = field(repr=False)
    offsets: Source = field(repr=False)
    table: OffsetTable = field(repr=False)
    shape: tuple[int, int]
    sparse_axis: Literal["rows", "columns"]
    name: str
    _keepers: tuple[ChunkKeeper, ChunkKeeper] = field(
        default_factory=lambda: (ChunkKeeper(), ChunkKeeper()), repr=False
    )

    has_no_chunks = True
    """Whether its chunks are only a way to read it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return compressed_chunks(self.shape, self.dtype.itemsize, self.sparse_axis)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def entries(self) -> int:
        return self.table.entries

    @property
    def stored_bytes(self) -> int:
        return self.entries * (self.dtype.itemsize + self.indices.dtype.itemsize)

    @property
    def read_bytes(self) -> int:
        """Of `read`: a piece as it is stored, turned, and with its zeros; and one chunk of each array that is kept."""
        return self.sparse_bytes(min(self.entries, self._most_in_piece)) + _dense_bytes(self)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        item = self.dtype.itemsize + 2 * self.indices.dtype.itemsize
        kept = sum(
            min(each.chunks[0], each.shape[0]) * each.dtype.itemsize
            for each in (self.values, self.indices)
        )
        return 2 * entries * item + kept + max(self.values.read_bytes, self.indices.read_bytes)

    @property
    def _most_in_piece(self) -> int:
        return max(PIECE_ENTRIES, self.table.most_entries(1))

    def most_entries(self, length: int, /) -> int:
        return self.table.most_entries(length)

    def read_sparse(self, run: slice, /) -> Any:
        width = self._extents[1]
        offsets = read_vector(self.offsets, run.start, run.stop + 1).astype(np.int64)
        first, last = int(offsets[0]), int(offsets[-1])
        values = self._keepers[0].read(self.values, first, last)
        indices = self._keepers[1].read(self.indices, first, last)
        return compressed_rows(values, indices, offsets - first, width, run.start, self)

    @property
    def _extents(self) -> tuple[int, int]:
        m, n = self.shape
        return (m, n) if self.sparse_axis == "rows" else (n, m)

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        along = self.sparse_axis == "rows"
        run, other = (rows, columns) if along else (columns, rows)
        for start, stop in self._pieces(run):
            piece = self.read_sparse(slice(start, stop))
            place = slice(start - run.start, stop - run.start)
            fill_dense(piece, other, out[place] if along else out[:, place].T)

    def _pieces(self, run: slice) -> Iterator[tuple[int, int]]:
        """Runs that are read at once: so many entries, or one row."""
        start, step = run.start, PIECE_ENTRIES
        while start < run.stop:
            stop = min(run.stop, start + step)
            while stop > start + 1 and self.table.most_entries(stop - start) > PIECE_ENTRIES:
                stop = start + max(1, (stop - start) // 2)
            yield start, stop
            start, step = stop, stop - start

    def locate(self, row: int, column: int, /) -> str:
        at = row if self.sparse_axis == "rows" else column
        offset = int(read_vector(self.offsets, at, at + 1)[0])
        return self.values.locate(min(offset, max(self.entries - 1, 0)), 0)

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        found: list[Address] = []
        for part in (self.values, self.indices, self.offsets):
            found += getattr(part, "addresses", list)()
        return found

    @property
    def originals(self) -> list[Any]:
        """The files that it is read from."""
        found: list[Any] = []
        for part in (self.values, self.indices, self.offsets):
            found += getattr(part, "originals", [])
        return found


def compressed_chunks(
    shape: tuple[int, int], itemsize: int, axis: Literal["rows", "columns"]
) -> tuple[int, int]:
    """How a compressed matrix is read with its zeros: some rows of CSR, some columns of CSC, all of the other."""
    m, n = shape
    if axis == "rows":
        return strips(shape, itemsize)[0], n
    return m, strips((n, m), itemsize)[0]


def _dense_bytes(source: CompressedSource) -> int:
    """What is put together of a piece beside its place, where that does not lie in one run."""
    return math.prod(source.chunks) * source.dtype.itemsize


def compressed_rows(
    values: Array, indices: Array, offsets: Array, width: int, first: int, source: Any
) -> Any:
    """Rows as a ``csr_array`` in canonical form, once all indices are known to lie inside.

    Raises
    ------
    StoreError
        If an index does not; it names the row and what it says.
    """
    along = "row" if source.sparse_axis == "rows" else "column"
    if indices.size:
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= width:
            bad = int(np.argmax((indices < 0) | (indices >= width)))
            row = first + int(np.searchsorted(offsets, bad, side="right")) - 1
            other = "column" if along == "row" else "row"
            raise StoreError(
                f"{source.name}: {along} {row} names {other} {indices[bad]}, but there are {width} (0..{width - 1}). "
                "It is damaged: write the matrix again."
            )
    kind = np.int32 if width <= np.iinfo(np.int32).max else np.int64
    indices = indices.astype(kind, copy=False)
    rows = sparse.csr_array(
        (values, indices, offsets.astype(kind)), shape=(offsets.size - 1, width)
    )
    if not _ascends(indices, offsets):
        rows.sum_duplicates()  # which sorts
    rows.has_sorted_indices = rows.has_canonical_format = True
    return rows


def _ascends(indices: Array, offsets: Array) -> bool:
    """Whether the indices of each row ascend and differ."""
    if indices.size < 2:
        return True
    falls = indices[1:] <= indices[:-1]
    begins = offsets[1:-1]
    begins = begins[(begins > 0) & (begins < indices.size)]
    falls[begins - 1] = False
    return not falls.any()


def fill_dense(rows: Any, columns: slice, place: Array) -> None:
    """Rows with their zeros, of some columns, in their place."""
    if columns != slice(0, rows.shape[1]):
        rows = rows[:, columns]
    if place.flags.c_contiguous and place.dtype == rows.dtype:
        place[...] = 0
        rows.toarray(out=place)
        return
    step = max(1, PIECE_ENTRIES // max(1, rows.shape[1]))
    for a in range(0, rows.shape[0], step):
        place[a : a + step] = rows[a : a + step].toarray()


def check_lengths(name: str, values: Source, indices: Source, table: OffsetTable) -> None:
    """Refuse arrays that do not belong together.

    Raises
    ------
    StoreError
        It says how long each is.
    """
    said = values.shape[0], indices.shape[0], table.entries
    if len(set(said)) > 1:
        raise StoreError(
            f"{name}: data holds {said[0]:,} entries, indices {said[1]:,}, and indptr ends at {said[2]:,}. The three must agree: an "
            "interrupted write, or a foreign file. Write the matrix again."
        )

"""A matrix that is compressed along its rows (CSR) or its columns (CSC), in three stored arrays of any kind.

The arrays of values, indices and offsets are matrices of one column, so that whatever reads a chunk of zarr, of HDF5 or of a file
reads theirs. Whole chunks are decoded once: the last of a run is kept for the run that follows it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.errors import MissingChunkError, MissingEntriesError, StoreError
from streamsvd.protocols import Source, SparseSource
from streamsvd.store.sight import Address
from streamsvd.store.sources.border import check_rectangle, strips
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.sparse.offsets import OffsetTable, checked_table
from streamsvd.store.sources.sparse.vectors import (
    KeptChunks,
    as_numbers,
    check_integers,
    chunk_entries,
    read_vector,
)

Array = npt.NDArray[Any]

PIECE_ENTRIES = 1 << 20
"""Entries that are read at once where a rectangle is filled."""

SCATTERED_ENTRIES = 1 << 16
"""Entries that are put into their places at once, where these do not lie in one run."""


class CompressedMatrix(ABC):
    """What matrices have in common that are compressed along one axis, wherever their three arrays are.

    Attributes
    ----------
    values, indices
        The stored entries, and their columns (of CSC: rows): arrays, or addresses of them.
    table
        Some of the offsets.
    shape
        Rows and columns.
    sparse_axis
        ``"rows"`` of CSR, ``"columns"`` of CSC.
    """

    values: Any
    indices: Any
    table: OffsetTable
    shape: tuple[int, int]
    sparse_axis: Literal["rows", "columns"]
    name: str

    has_no_chunks = True
    """Whether its chunks are only a way to read it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = self.values.dtype
        return found

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
        return self.entries * (self.dtype.itemsize + int(self.indices.dtype.itemsize))

    def most_entries(self, length: int, /) -> int:
        return self.table.most_entries(length)

    @abstractmethod
    def sparse_bytes(self, entries: int, /) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        ...

    @abstractmethod
    def read_sparse(self, run: slice, /) -> Any:
        """Rows (of CSC: columns) as a ``csr_array``."""
        ...

    @property
    @abstractmethod
    def read_bytes(self) -> int: ...

    @abstractmethod
    def locate(self, row: int, column: int, /) -> str:
        """Where an entry is stored."""
        ...

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        fill_rectangle(self, rows, columns, out)


@dataclass(frozen=True, eq=False)
class CompressedSource(CompressedMatrix):
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
    _kept: KeptChunks = field(default_factory=KeptChunks, repr=False)

    @property
    def read_bytes(self) -> int:
        """Of `read`: a piece as it is stored, put in order, and what is scattered of it; its offsets; one chunk of each array that is kept."""
        rows = min(self._extents[0], PIECE_ENTRIES)
        offsets = rows * (self.offsets.dtype.itemsize + 2 * np.dtype(np.int64).itemsize)
        return self.sparse_bytes(piece_entries(self)) + offsets + scattered_bytes(self.dtype)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back."""
        item = self.dtype.itemsize + 2 * self.indices.dtype.itemsize
        parts = (self.values, self.indices, self.offsets)
        kept = sum(min(part.chunks[0], part.shape[0]) * part.dtype.itemsize for part in parts)
        reading = max(part.read_bytes for part in parts)
        # what lies whole in memory, all at once
        reading += sum(getattr(part, "loaded_bytes", 0) for part in parts)
        return 2 * entries * item + kept + reading

    def read_sparse(self, run: slice, /) -> Any:
        width = self._extents[1]
        offsets = self._kept.read(self.offsets, run.start, run.stop + 1).astype(np.int64)
        first, last = int(offsets[0]), int(offsets[-1])
        with self._naming_rows(first, last):
            values = self._kept.read(self.values, first, last)
            indices = self._kept.read(self.indices, first, last)
        return compressed_rows(values, indices, offsets - first, width, run.start, self)

    @contextmanager
    def _naming_rows(self, first: int, last: int) -> Iterator[None]:
        """Tell of an absent chunk which rows it holds, and whether it may be filled.

        Raises
        ------
        MissingEntriesError
            In the place of `MissingChunkError`.
        """
        try:
            yield
        except MissingChunkError as error:
            part = self.values if error.where == self.values.name else self.indices
            held = chunk_entries(part, error.key, first, last)
            if held is None:
                raise
            a, b = (self.table.row_of(entry, self.offsets) for entry in held)
            side = "row" if self.sparse_axis == "rows" else "column"
            raise MissingEntriesError(
                error.key, error.where, side, a, b, part is self.values
            ) from error

    @property
    def _extents(self) -> tuple[int, int]:
        m, n = self.shape
        return (m, n) if self.sparse_axis == "rows" else (n, m)

    def locate(self, row: int, column: int, /) -> str:
        """Of an entry that is not stored, where those of its row (of CSC: column) begin."""
        at, other = (row, column) if self.sparse_axis == "rows" else (column, row)
        first, last = (int(x) for x in read_vector(self.offsets, at, at + 2))
        if not self.entries:
            return self.name
        found = np.flatnonzero(read_vector(self.indices, first, last) == other)
        entry = first + int(found[0]) if found.size else min(first, self.entries - 1)
        return f"entry {entry} of {self.values.name}, {self.values.locate(entry, 0)}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        found: list[Address] = []
        for part in (self.values, self.indices, self.offsets):
            found += getattr(part, "addresses", list)()
        return found

    @property
    def originals(self) -> list[Any]:
        """What it is read from."""
        return [self.values, self.indices, self.offsets]


def compressed_chunks(
    shape: tuple[int, int], itemsize: int, axis: Literal["rows", "columns"]
) -> tuple[int, int]:
    """How a compressed matrix is read with its zeros: some rows of CSR, some columns of CSC, all of the other."""
    m, n = shape
    if axis == "rows":
        return strips(shape, itemsize)[0], n
    return m, strips((n, m), itemsize)[0]


def scattered_bytes(dtype: np.dtype[Any]) -> int:
    """Of entries that are put into their places at once: two indices each, of two types, and themselves."""
    return SCATTERED_ENTRIES * (4 * np.dtype(np.intp).itemsize + dtype.itemsize)


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
    most = max(width, int(offsets[-1]))
    kind = np.int32 if most <= np.iinfo(np.int32).max else np.int64
    indices = indices.astype(kind, copy=False)
    rows = sparse.csr_array(
        (values, indices, offsets.astype(kind)), shape=(offsets.size - 1, width)
    )
    if not _ascends(indices, offsets):
        rows = rows.copy()  # what is in memory is somebody's
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


def fill_rectangle(source: SparseSource, rows: slice, columns: slice, out: Array) -> None:
    """A rectangle of a sparse matrix with its zeros, some stored entries at a time; its bounds are known to be right."""
    along = source.sparse_axis == "rows"
    run, other = (rows, columns) if along else (columns, rows)
    for start, stop in _pieces(source, run):
        piece = source.read_sparse(slice(start, stop))
        place = slice(start - run.start, stop - run.start)
        fill_dense(piece, other, out[place] if along else out[:, place].T)


def piece_entries(source: SparseSource) -> int:
    """Stored entries that are read at once for a rectangle, at most."""
    return min(source.entries, max(PIECE_ENTRIES, source.most_entries(1)))


def _pieces(source: SparseSource, run: slice) -> Iterator[tuple[int, int]]:
    """Runs that are read at once: so many entries, or one row."""
    start, step = run.start, PIECE_ENTRIES
    while start < run.stop:
        stop = min(run.stop, start + step)
        while stop > start + 1 and source.most_entries(stop - start) > PIECE_ENTRIES:
            stop = start + max(1, (stop - start) // 2)
        yield start, stop
        start, step = stop, stop - start


def fill_dense(rows: Any, columns: slice, place: Array) -> None:
    """Rows with their zeros, of some columns, in their place."""
    if columns != slice(0, rows.shape[1]):
        rows = rows[:, columns]
    place[...] = 0
    if place.flags.c_contiguous and rows.data.dtype == place.dtype:
        rows.toarray(out=place)
        return
    for start in range(0, rows.nnz, SCATTERED_ENTRIES):
        stop = min(start + SCATTERED_ENTRIES, rows.nnz)
        first = int(np.searchsorted(rows.indptr, start, side="right")) - 1
        last = int(np.searchsorted(rows.indptr, stop, side="left"))
        ends = np.clip(rows.indptr[first : last + 1], start, stop)
        numbers = np.repeat(np.arange(first, last), np.diff(ends))
        place[numbers, rows.indices[start:stop]] = rows.data[start:stop]


Vectors = tuple[Source, Source, Source]


def checked_parts(
    parts: Vectors, shape: tuple[int, int], axis: Literal["rows", "columns"], name: str
) -> tuple[Source, Source, Source, OffsetTable]:
    """Values, indices and offsets that belong together, and the table of the offsets, which are read once.

    Raises
    ------
    StoreError
        If they do not belong together, or are no indices.
    SpecError
        If the values are no numbers.
    """
    values, indices, offsets = parts
    values = as_numbers(values)
    check_integers(indices)
    table = checked_table(offsets, shape, axis, name)
    check_lengths(name, values, indices, table)
    return values, indices, offsets, table


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

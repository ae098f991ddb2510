"""Entries of a sparse matrix as they come: pieces of rows, columns and values, whatever they are read from.

A stream says where it goes on after each piece, so that a run that was stopped reads no piece again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.conversion.identity import source_identity
from streamsvd.conversion.passes import as_type
from streamsvd.conversion.sorting import sorted_rows
from streamsvd.labels import Labels
from streamsvd.store.sources.files.annotated import AnnotatedFile, AnnotatedMatrix
from streamsvd.store.sources.files.tenx import BarcodeMatrix
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.sparse.compressed import CompressedSource
from streamsvd.store.sources.sparse.in_memory import ScipySource

Array = npt.NDArray[Any]
Position = tuple[int, ...]

LEAST_PIECE = 1 << 14
"""Entries that are read at once at least, where rows are not longer."""
MOST_PIECE = 1 << 20
ROWS_AT_ONCE = 1 << 20
"""Of rows that may be empty."""


@dataclass(frozen=True, slots=True, eq=False)
class EntryPiece:
    """Some entries, and where the stream goes on.

    Attributes
    ----------
    rows, columns, values
        One of each an entry.
    position
        Of what follows.
    """

    rows: Array
    columns: Array
    values: Array
    position: Position


@dataclass(frozen=True, slots=True, eq=False)
class RowRun:
    """Consecutive rows with all their entries, and where the stream goes on.

    Attributes
    ----------
    rows
        A ``csr_array`` in canonical form.
    position
        Of what follows.
    """

    rows: Any
    position: Position


class OutOfOrder(Exception):
    """Rows cannot be written as they come: one came again after others, or does not fit."""


class EntryStream(Protocol):
    """All entries of a sparse matrix, in an order that is always the same.

    Attributes
    ----------
    name
        How messages call what is read.
    shape, dtype
        Of the matrix that is written.
    most_entries
        So many come at most.
    read_bytes
        Decoded bytes that one read of them asks of the store.
    is_ordered
        Whether rows come one after another, as far as it was looked at.
    columns_ascend
        Whether columns do, each place once.
    is_text
        Whether what was wrong with it stays so until it is written again.
    start
        Position of the first piece.
    remarks
        What is to be known of it, as far as it was read.
    """

    name: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    most_entries: int
    read_bytes: int
    is_ordered: bool
    columns_ascend: bool
    is_text: bool
    start: Position
    remarks: list[str]

    @property
    def source(self) -> Any:
        """What is read, for what must be apart from it."""
        ...

    @property
    def labels(self) -> Labels:
        """Of the matrix that is written."""
        ...

    @property
    def least_piece(self) -> int:
        """Entries that a piece has at most, however few are asked for."""
        ...

    def piece_bytes(self, entries: int) -> int:
        """Upper bound on what reading a piece takes, with what it hands over."""
        ...

    def pieces(self, position: Position, entries: int) -> Iterator[EntryPiece]:
        """Pieces of at most about so many entries, from a position on."""
        ...

    def row_runs(self, position: Position, first: int, entries: int) -> Iterator[RowRun]:
        """Of an ordered stream: rows from the first on that is not written, all of them.

        Raises
        ------
        OutOfOrder
            If a row comes again.
        """
        ...

    def identity(self) -> dict[str, Any]:
        """What tells it from others."""
        ...


class CompressedEntries:
    """Entries of a matrix that is compressed along rows or columns.

    Parameters
    ----------
    source
        The matrix.
    dtype
        Type in which they are written.
    transpose
        Whether the adjoint is written.
    """

    is_text = False
    columns_ascend = True
    start: Position = (0,)

    def __init__(self, source: Any, dtype: np.dtype[Any], *, transpose: bool) -> None:
        self.source, self.dtype, self._transpose = source, dtype, transpose
        m, n = source.shape
        self.name: str = source.name
        self.shape: tuple[int, int] = (n, m) if transpose else (m, n)
        self.most_entries: int = source.entries
        self.read_bytes: int = source.stored_bytes
        self.is_ordered: bool = (source.sparse_axis == "rows") != transpose
        self.remarks: list[str] = []

    @property
    def labels(self) -> Labels:
        """Of the matrix that is written."""
        found = source_labels(self.source)
        if not self._transpose:
            return found
        return Labels(
            found.name, found.attributes, found.columns, found.rows, found.coordinates, found.notes
        )

    @property
    def _length(self) -> int:
        m, n = self.source.shape
        return int(m if self.source.sparse_axis == "rows" else n)

    @property
    def least_piece(self) -> int:
        """The entries of the longest run that cannot be cut."""
        return int(self.source.most_entries(1))

    def piece_bytes(self, entries: int) -> int:
        """What the source takes, and a number of the run of each entry."""
        entries = max(entries, self.least_piece)
        item = self.source.dtype.itemsize
        along = 24 * self._most_rows(entries)
        reading: int = self.source.sparse_bytes(entries)
        return int(reading + entries * (8 + self.dtype.itemsize + item) + along)

    def _most_rows(self, entries: int) -> int:
        """Rows of what is stored that are read at once at most, though they are empty."""
        return min(self._length, max(1, 2 * entries))

    def _stop(self, start: int, entries: int) -> int:
        """Where a run ends that has at most so many entries, or is one long."""
        end = min(self._length, start + self._most_rows(entries))
        whole = self.source
        while isinstance(whole, AnnotatedFile | AnnotatedMatrix | BarcodeMatrix):  # which add names
            whole = whole.whole
        if isinstance(whole, CompressedSource | ScipySource):
            return max(start + 1, whole.table.last_within(start, end, entries))
        while end > start + 1 and self.source.most_entries(end - start) > entries:
            end = start + -(-(end - start) // 2)
        return end

    def _runs(self, position: Position, entries: int) -> Iterator[tuple[int, int, Any]]:
        (start,), entries = position, max(entries, self.least_piece)
        while start < self._length:
            stop = self._stop(start, entries)
            rows = self.source.read_sparse(slice(start, stop))
            values = as_type(rows.data, self.dtype)
            if self._transpose and self.dtype.kind == "c":
                values = values.conj()
            if values is not rows.data:
                rows = sparse.csr_array((values, rows.indices, rows.indptr), shape=rows.shape)
                rows.has_sorted_indices = rows.has_canonical_format = True
            yield start, stop, rows
            start = stop

    def pieces(self, position: Position, entries: int) -> Iterator[EntryPiece]:
        """Runs of what is stored, which lie across the rows that are written."""
        m = self.shape[0]
        kind = np.int32 if max(m, self._length) <= np.iinfo(np.int32).max else np.int64
        for start, stop, run in self._runs(position, entries):
            along = np.repeat(np.arange(start, stop, dtype=kind), np.diff(run.indptr))
            yield EntryPiece(run.indices, along, run.data, (stop,))

    def row_runs(self, position: Position, first: int, entries: int) -> Iterator[RowRun]:
        """Runs of what is stored, which are the rows that are written."""
        assert position == (first,)
        for _, stop, run in self._runs(position, entries):
            yield RowRun(run, (stop,))

    def identity(self) -> dict[str, Any]:
        """What tells the source from others."""
        said = source_identity(self.source, source_labels(self.source))
        return {**said, "entries stored": self.most_entries, "transpose": self._transpose}


def ordered_rows(
    stream: EntryStream, position: Position, first: int, entries: int, most: int
) -> Iterator[RowRun]:
    """Whole rows of pieces whose rows never fall; what is not whole yet waits for the next piece.

    Parameters
    ----------
    stream, position
        What is read, and from where on.
    first
        The first row that is not written; entries of those before it are left out.
    entries
        Of a piece.
    most
        Entries that may wait.

    Raises
    ------
    OutOfOrder
        If a row comes again, or has more entries.
    """
    m = stream.shape[0]
    waiting, begin = _nothing(stream), position  # where the piece begins that what waits came in
    for piece in stream.pieces(position, entries):
        rows, columns, values = piece.rows, piece.columns, piece.values
        if rows.size and rows[0] < first:
            kept = np.flatnonzero(rows >= first)
            rows, columns, values = rows[kept], columns[kept], values[kept]
        if rows.size:
            before = waiting[0][-1] if waiting[0].size else first
            if rows[0] < before or (rows[1:] < rows[:-1]).any():
                raise OutOfOrder(f"rows of {stream.name} are in no order")
            last = int(rows[-1])
            cut = int(np.searchsorted(rows, last))
            if cut or not waiting[0].size or int(waiting[0][0]) < last:
                whole = _join(waiting, (rows[:cut], columns[:cut], values[:cut]))
                for run in _some_rows(whole, first, last, stream.shape[1]):
                    yield RowRun(run, begin)
                first, waiting = last, tuple(each[cut:].copy() for each in (rows, columns, values))
                begin = position
            else:
                waiting = _join(waiting, (rows, columns, values))
            if waiting[0].size > most:
                raise OutOfOrder(f"row {last:,} of {stream.name} has more than {most:,} entries")
        position = piece.position
    for run in _some_rows(waiting, first, m, stream.shape[1]):
        yield RowRun(run, begin)


def _some_rows(entries: tuple[Array, ...], first: int, stop: int, width: int) -> Iterator[Any]:
    """Rows in canonical form, not too many at once, of entries whose rows ascend."""
    for start in range(first, stop, ROWS_AT_ONCE):
        end, part = min(stop, start + ROWS_AT_ONCE), entries
        if end - start < stop - first:
            run = slice(*np.searchsorted(entries[0], (start, end)))
            part = tuple(each[run] for each in entries)
        yield sorted_rows(part, start, end, width)


def _nothing(stream: EntryStream) -> tuple[Array, ...]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, stream.dtype)


def _join(one: tuple[Array, ...], other: tuple[Array, ...]) -> tuple[Array, ...]:
    if not one[0].size:
        return other
    return tuple(np.concatenate(pair) for pair in zip(one, other, strict=True))

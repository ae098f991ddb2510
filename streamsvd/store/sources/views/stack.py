"""Matrices of the same columns, one below another: the rows of a list of sources, or of the files of a folder."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from stat import S_ISREG
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.labels import NO_LABELS, Coordinate, Dimension, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sight import MOST_ADDRESSES, Address
from streamsvd.store.sources.border import BLOCK_BYTES, check_rectangle, row_block
from streamsvd.store.sources.column_agreement import column_difference
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.labels import MOST_ALONG_ROWS, source_labels
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.opening import open_source
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.tables.columns import ColumnChoice
from streamsvd.store.sources.views.shards import ShardList, shard_list
from streamsvd.store.sources.views.sparse_view import stack_rows
from streamsvd.store.sources.views.stacked_entries import PartCounts, StackedEntries

UNKNOWN = -1
"""Where there is no stamp."""
MOST_OPEN = 64
"""Parts that stay open in a process, beside those that were given open."""


@dataclass(frozen=True, eq=False)
class StackedRows:
    """Several matrices as one, the rows of each below those of the one before.

    It holds where its parts are and where they begin; each is opened where it is read.

    Attributes
    ----------
    parts
        Where each is.
    request
        What is asked of each as it is opened.
    starts
        Number of the first row of each, and of the row after the last, ``(parts + 1,)``.
    dtype
        The common one.
    chunks, read_bytes
        As a source has them.
    has_no_chunks
        Whether no part has any.
    width
        Number of columns.
    name
        How messages call it.
    layout
        Rows in one dimension, columns in those of the first part.
    stamps
        Bytes of each part that is a file, and when it was written, ``(parts, 2)``.
    stored
        What is known of stored entries where every part is sparse along rows; None elsewhere, and it is not sparse.
    """

    __repr__ = matrix_text

    parts: ShardList
    request: OpenRequest
    starts: npt.NDArray[np.int64]
    dtype: np.dtype[Any]
    chunks: tuple[int, int]
    read_bytes: int
    has_no_chunks: bool
    width: int
    name: str
    layout: Flattening
    stamps: npt.NDArray[np.int64] = field(repr=False)
    stored: StackedEntries | None = field(default=None, repr=False)
    _open: dict[int, Source] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        stamps = self.stamps.copy()
        stamps[:, 1] = UNKNOWN  # another machine may have copies
        return {**self.__dict__, "stamps": stamps, "_open": {}}

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.starts[-1]), self.width

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.width * self.dtype.itemsize

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was left out of a folder."""
        return self.parts.remarks

    @property
    def originals(self) -> list[Any]:
        """What it is read from."""
        return self.parts.originals

    @property
    def _entries(self) -> StackedEntries:
        """What is known of stored entries.

        Raises
        ------
        AttributeError
            Where it is not sparse.
        """
        if self.stored is None:
            raise AttributeError("entries")
        return self.stored

    @property
    def entries(self) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        return self._entries.count

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        """As of `streamsvd.protocols.SparseSource`: rows."""
        return "rows"

    @property
    def stored_bytes(self) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        stored = self._entries
        return stored.count * (self.dtype.itemsize + stored.index_bytes)

    def most_entries(self, length: int, /) -> int:
        """As of `streamsvd.protocols.SparseSource`."""
        return self._entries.most(self.starts, length)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries, with what it hands back: parts, and these together."""
        stored = self._entries
        joined = 2 * (self.dtype.itemsize + np.dtype(np.int64).itemsize)
        return stored.read_bytes + entries * (stored.entry_bytes + joined)

    def read_sparse(self, run: slice, /) -> Any:
        """As of `streamsvd.protocols.SparseSource`."""
        found, start = [], run.start
        index = self._index(start)
        while start < run.stop:
            first, last = int(self.starts[index]), int(self.starts[index + 1])
            stop = min(run.stop, last)
            part: Any = self.part(index)
            found.append(part.read_sparse(slice(start - first, stop - first)))
            index, start = index + 1, stop
        return stack_rows(found, self.dtype, self.width)

    def part(self, index: int) -> Source:
        """One of the matrices.

        Raises
        ------
        StoreError
            If it is no more what it was.
        """
        found = self._open.get(index)
        if found is None:
            _check_stamp(self.parts, index, self.stamps[index])
            found = _open_part(self.parts, index, self.request)
            rows = int(self.starts[index + 1] - self.starts[index])
            if found.shape != (rows, self.width) or not _holds(self.dtype, found.dtype):
                raise StoreError(
                    f"{found.name} is {found.dtype} {found.shape} now, and was {(rows, self.width)} when {self.name} was opened. "
                    "Open it again."
                )
            for old in list(self._open)[
                : max(0, len(self._open) + 1 - MOST_OPEN)
            ]:  # a copy: others read too
                self._open.pop(old, None)
            self._open[index] = found
        return found

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        index, start = self._index(rows.start), rows.start
        while start < rows.stop:
            first, last = int(self.starts[index]), int(self.starts[index + 1])
            stop = min(rows.stop, last)
            place = out[start - rows.start : stop - rows.start]
            self._read_part(self.part(index), slice(start - first, stop - first), columns, place)
            index, start = index + 1, stop

    def _read_part(
        self, part: Source, rows: slice, columns: slice, place: npt.NDArray[Any]
    ) -> None:
        if part.dtype == self.dtype:
            part.read(rows, columns, place)
            return
        start, height = rows.start, _conversion_height(part)
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            values = np.empty((stop - start, place.shape[1]), dtype=part.dtype)
            part.read(slice(start, stop), columns, values)
            place[start - rows.start : stop - rows.start] = values
            start = stop

    def _index(self, row: int) -> int:
        """Which part a row is in."""
        return min(bisect_right(self.starts, row) - 1, len(self.parts) - 1)

    def locate(self, row: int, column: int, /) -> str:
        index = self._index(row)
        return self.part(index).locate(row - int(self.starts[index]), column)

    def addresses(self) -> list[Address]:
        """Where other processes read it: of many parts, some from the first to the last."""
        count = min(len(self.parts), MOST_ADDRESSES)
        spread = np.linspace(0, len(self.parts) - 1, count).astype(int).tolist()
        found: list[Address] = []
        for index in dict.fromkeys(spread):
            found += getattr(self.part(index), "addresses", list)()
        return found

    @property
    def labels(self) -> Labels:
        """Those of the columns, of the first part; those of the rows where each part has them."""
        first = source_labels(self.part(0))
        rows, along = self.shape[0], first.rows[0].name if len(first.rows) == 1 else "row"
        joined = tuple(self._row_coordinates(first)) if rows <= MOST_ALONG_ROWS else ()
        return first.with_rows((Dimension(along, rows),), joined)

    def _row_coordinates(self, first: Labels) -> Iterator[Coordinate]:
        """Coordinates along the rows that all parts have, in one type and unit."""
        if len(first.rows) != 1 or not first.row_coordinates:
            return
        all_labels = [source_labels(self.part(i)) for i in range(len(self.parts))]
        for mine in first.row_coordinates:
            theirs = [labels.coordinate(mine.name) for labels in all_labels]
            found = [c for c in theirs if c is not None and _same_kind(c, mine)]
            if len(found) == len(theirs) and all(len(c.dims) == 1 for c in found):
                values: Any = np.concatenate([c.array for c in found])
                if isinstance(mine.values, TextValues):
                    values = TextValues.of(values)
                yield replace(mine, values=values)

    def __getattr__(self, name: str) -> Any:
        """Arrays beside the first part are those beside all."""
        if name != "neighbour" or "parts" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.part(0), name)


def _same_kind(mine: Coordinate, other: Coordinate) -> bool:
    texts = [isinstance(c.values, TextValues) for c in (mine, other)]
    return texts[0] == texts[1] and mine.attributes == other.attributes and mine.dims == other.dims


def _conversion_height(part: Source) -> int:
    """Rows that are converted at once: whole chunks."""
    line = part.shape[1] * part.dtype.itemsize
    chunk = part.chunks[0]
    return chunk * max(1, BLOCK_BYTES // (chunk * line))


def open_stack(source: Any, request: OpenRequest) -> StackedRows:
    """Sources one below another; of each only what it says of itself is read.

    Parameters
    ----------
    source
        A list or tuple of what `open_source` takes; or a folder of files of one kind, in the natural order of their names.
    request
        What is asked of each of them.

    Raises
    ------
    ShapeError
        If two have different numbers of columns; it names both.
    SpecError
        If two have different types or columns of different names.
    StoreError
        If one cannot be read, or a folder holds several kinds.
    """
    parts = shard_list(source)
    stamps = np.array([_stamp(parts, i) for i in range(len(parts))], np.int64)
    plain = replace(request, missing_value=None)  # which is applied to all of them at once
    first = _open_part(parts, 0, plain)
    name = parts.name or f"{first.name} and {len(parts) - 1:,} more"
    seen = _Common(name, first)
    for index in range(1, len(parts)):
        seen.add(_open_part(parts, index, plain))
    return StackedRows(
        parts,
        plain,
        np.cumsum([0, *seen.counts]),
        seen.dtype,
        seen.chunks,
        seen.read_bytes,
        seen.has_no_chunks,
        first.shape[1],
        name,
        seen.layout,
        stamps,
        seen.entries,
    )


def _stamp(parts: ShardList, index: int) -> tuple[int, int]:
    """Bytes of a part that is a file, and when it was written."""
    place = parts[index]
    if not isinstance(place, Path):
        return UNKNOWN, UNKNOWN
    try:
        seen = place.stat()
    except OSError:  # who opens it says why
        return UNKNOWN, UNKNOWN
    return (seen.st_size, seen.st_mtime_ns) if S_ISREG(seen.st_mode) else (UNKNOWN, UNKNOWN)


def _check_stamp(parts: ShardList, index: int, before: npt.NDArray[np.int64]) -> None:
    """Refuse a part that is another file now."""
    now = np.array(_stamp(parts, index))
    if ((before != UNKNOWN) & (now != UNKNOWN) & (now != before)).any():
        raise StoreError(
            f"{parts[index]} has changed since it was opened: it was written again. Run again once nobody writes there."
        )


def _open_part(parts: ShardList, index: int, request: OpenRequest) -> Source:
    asked = {name: getattr(request, name) for name in ("dtype", "shape", "offset")}
    try:
        return open_source(parts[index], request.variable, request.rows, request.missing, **asked)
    except SpecError as error:
        if parts.folder is not None:  # the path is in the message
            raise
        raise SpecError(f"entry {index} of the list: {error}") from error


class _Common:
    """What parts have in common, and whether they do, as one after another is seen."""

    def __init__(self, name: str, first: Source) -> None:
        self.name, self.first = name, first
        self.dtype, self._of_dtype = first.dtype, first
        self.counts: list[int] = []
        self.has_no_chunks, self._read_bytes = True, 0
        self._tall, self._wide, self._converted = 1, 1, 0
        self._mixes = False
        self._titles = _column_labels(first)
        self._stored: PartCounts | None = PartCounts()
        self.add(first)

    def add(self, part: Source) -> None:
        """See another one."""
        self._check(part)
        self.counts.append(part.shape[0])
        self.has_no_chunks &= bool(getattr(part, "has_no_chunks", False))
        self._read_bytes = max(self._read_bytes, part.read_bytes)
        self._tall = max(self._tall, part.chunks[0])
        self._wide = max(self._wide, part.chunks[1])
        line = part.shape[1] * part.dtype.itemsize
        self._converted = max(self._converted, min(_conversion_height(part), part.shape[0]) * line)
        self._mixes |= part.dtype != self.first.dtype
        if self._stored is not None and not self._stored.add(part):
            self._stored = None

    @property
    def entries(self) -> StackedEntries | None:
        """What is known of stored entries; None where a part is not sparse along rows."""
        return None if self._stored is None else self._stored.totals

    def _check(self, part: Source) -> None:
        first = self.first
        if part.shape[1] != first.shape[1]:
            raise ShapeError(
                f"{first.name} has {first.shape[1]:,} columns and {part.name} has {part.shape[1]:,}; rows that are stacked need as many. "
                "Leave one of them out."
            )
        common = common_dtype(self.dtype, part.dtype)
        tables = [getattr(p, "integers_may_be_missing", False) for p in (self._of_dtype, part)]
        if common is None and all(tables):
            common = np.dtype(np.float64)
        if common is None:
            raise SpecError(
                f"{self._of_dtype.name} holds {self.dtype} values and {part.name} holds {part.dtype}, which have no type in common that "
                "keeps both as they are. Convert one of them, or leave it out."
            )
        if common != self.dtype:
            self.dtype, self._of_dtype = common, part
        if self._titles.columns and part is not first:
            _check_titles(first, self._titles, part)

    @property
    def chunks(self) -> tuple[int, int]:
        """Rows of whole chunks of every part, at least about a mebibyte; strips of columns as the parts have them."""
        rows, n = sum(self.counts), self.first.shape[1]
        least = row_block((rows, n), self.dtype.itemsize)[0]
        few = self._tall * n * self.dtype.itemsize < BLOCK_BYTES
        return min(rows, max(self._tall, least) if few else self._tall), min(n, self._wide)

    @property
    def layout(self) -> Flattening:
        """Rows in one dimension, columns in those of the first part."""
        of = getattr(self.first, "layout", None)
        rows, n = sum(self.counts), self.first.shape[1]
        if not isinstance(of, Flattening) or of.shape != self.first.shape:
            return Flattening((rows, n), (0,), (1,))
        names = None
        if of.names is not None:
            row = of.names[of.row_axes[0]] if len(of.row_axes) == 1 else None
            names = (row, *(of.names[axis] for axis in of.column_axes))
        extents = tuple(of.extents[axis] for axis in of.column_axes)
        return Flattening((rows, *extents), (0,), tuple(range(1, len(extents) + 1)), names)

    @property
    def read_bytes(self) -> int:
        """Of one read, what is converted beside."""
        return self._read_bytes + (self._converted if self._mixes else 0)


def common_dtype(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any] | None:
    """The type that holds values of both as they are: of floats, or of integers; None where there is none."""
    kinds = {"i": "i", "u": "i", "f": "f", "c": "f"}
    if kinds[a.kind] != kinds[b.kind]:
        return None
    found: np.dtype[Any] = np.result_type(a, b)
    return found if kinds[found.kind] == kinds[a.kind] else None


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    return bool(np.can_cast(narrow, wide, "safe"))


def _column_labels(part: Source) -> Labels:
    """What is said of the columns; nothing is read of what says nothing, nor of tables."""
    choice = getattr(part, "choice", None)
    if isinstance(choice, ColumnChoice):
        return choice.labels(part.shape)
    return source_labels(part) if hasattr(part, "labels") else NO_LABELS


def _check_titles(first: Source, titles: Labels, part: Source) -> None:
    """Refuse a part whose columns are called otherwise, or whose numbers are in another unit."""
    difference = column_difference(titles, _column_labels(part))
    if difference is not None:
        raise SpecError(
            f"{first.name} and {part.name} have different columns: {difference.sentence(first.name, part.name)} Leave one of them out, or "
            "choose columns of tables by name: variable='a,b,c'."
        )

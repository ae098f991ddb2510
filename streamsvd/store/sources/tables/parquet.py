"""A parquet file: a table in groups of rows, whose columns are stored apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, StoreError
from streamsvd.labels import Labels
from streamsvd.store.explanations import access_error, is_access
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.labels import MOST_ALONG_ROWS
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp
from streamsvd.store.sources.tables.arrow_types import (
    arrow,
    arrow_columns,
    row_names,
    write_column,
    write_lists,
)
from streamsvd.store.sources.tables.columns import ColumnChoice, choose_columns

DECODED_BYTES = 4 << 20
"""Of columns that are decoded at once, about."""
PAGE_BYTES = 1 << 20
"""That writers make a page of, about: what a library holds of each column as it decodes."""


@dataclass(frozen=True, eq=False)
class ParquetSource:
    """Address of the columns of numbers in a parquet file.

    Attributes
    ----------
    path, stamp
        Of the file, when it was opened.
    choice
        Which columns.
    starts
        Number of the first row of each group, and of the row after the last, ``(groups + 1,)``.
    height
        Rows of the largest group.
    width
        Columns of the matrix.
    column_bytes
        Of the largest column of a group, as it is stored and as it is decoded.
    """

    __repr__ = matrix_text

    path: Path
    stamp: FileStamp
    choice: ColumnChoice
    starts: npt.NDArray[np.int64]
    height: int
    width: int
    column_bytes: int
    _metadata: list[Any] = field(default_factory=list, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_metadata": []}

    integers_may_be_missing = True
    """Whether integers are read as floats where some are missing."""

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def originals(self) -> list[Path]:
        """The file."""
        return [self.path]

    @property
    def shape(self) -> tuple[int, int]:
        return int(self.starts[-1]), self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.choice.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        """A group of rows, of all columns where it is small; else of so many as are decoded at once."""
        if self.choice.of_lists:
            return self.height, self.width
        return self.height, min(self.width, self._columns_at_once)

    @property
    def _columns_at_once(self) -> int:
        return max(1, DECODED_BYTES // max(1, self.column_bytes))

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.width * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """Columns that are decoded at once: as stored, as pages, decoded, and as numbers; a page of each."""
        if self.choice.of_lists:
            return self.list_bytes
        return 6 * max(DECODED_BYTES, self.column_bytes)

    @property
    def list_bytes(self) -> int:
        """Of lists that are decoded at once, with their levels, and of what the library reads ahead of them."""
        line = self.width * (self.dtype.itemsize + 8)
        return 6 * max(DECODED_BYTES, line) + min(2 * self.column_bytes, 16 * PAGE_BYTES)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if rows.start == rows.stop or columns.start == columns.stop:
            return
        with self._file() as file:
            group, start = bisect_right(self.starts, rows.start) - 1, rows.start
            while start < rows.stop:
                first, last = int(self.starts[group]), int(self.starts[group + 1])
                stop = min(rows.stop, last)
                place = out[start - rows.start : stop - rows.start]
                inner = slice(start - first, stop - first)
                if self.choice.of_lists:
                    self._read_lists(file, group, inner, columns, place)
                else:
                    self._read_columns(file, group, inner, columns, place)
                group, start = group + 1, stop
            self.stamp.check(self.path)

    def _read_columns(
        self, file: Any, group: int, rows: slice, columns: slice, place: npt.NDArray[Any]
    ) -> None:
        step = self._columns_at_once
        for begin in range(columns.start, columns.stop, step):
            names = self.choice.names[begin : min(begin + step, columns.stop)]
            table = file.read_row_group(group, columns=list(names), use_threads=False)
            for j, name in enumerate(names, begin - columns.start):
                values = table.column(name).slice(rows.start, rows.stop - rows.start)
                write_column(values, place[:, j], f"column {name!r} of {self.path}")

    def _read_lists(
        self, file: Any, group: int, rows: slice, columns: slice, place: npt.NDArray[Any]
    ) -> None:
        (name,) = self.choice.names
        height = max(1, DECODED_BYTES // (self.width * (self.dtype.itemsize + 8)))
        at, first = 0, int(self.starts[group])
        for batch in file.iter_batches(
            height, row_groups=[group], columns=[name], use_threads=False
        ):
            a, b = max(rows.start, at), min(rows.stop, at + batch.num_rows)
            if a < b:
                values = batch.column(0).slice(a - at, b - a)
                part = place[a - rows.start : b - rows.start]
                where = f"column {name!r} of {self.path}"
                write_lists(values, columns, part, where, first + a, self.width)
            at += batch.num_rows
            if at >= rows.stop:
                break

    @contextmanager
    def _file(self) -> Iterator[Any]:
        """The file, opened with the metadata that are known."""
        ahead = PAGE_BYTES if self.choice.of_lists else 0
        with parquet_file(self.path, next(iter(self._metadata), None), ahead) as file:
            if not self._metadata:
                self._check(file.metadata)
                self._metadata.append(file.metadata)
            yield file

    def _check(self, metadata: Any) -> None:
        """Refuse a file that is another one in this process."""
        if metadata.num_rows != self.shape[0] or metadata.num_row_groups != self.starts.size - 1:
            raise StoreError(
                f"{self.path} has changed since it was opened: it had {self.shape[0]:,} rows in {self.starts.size - 1:,} groups and has "
                f"{metadata.num_rows:,} in {metadata.num_row_groups:,}. Run again once nobody writes there."
            )

    def locate(self, row: int, column: int, /) -> str:
        group = bisect_right(self.starts, row) - 1
        name = self.choice.names[0 if self.choice.of_lists else column]
        return f"column {name!r}, row group {group}, of {self.path}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, 0)]

    @property
    def labels(self) -> Labels:
        """Names of its columns; of its rows where pandas wrote an index."""
        found = None
        if self.choice.index is not None and self.shape[0] <= MOST_ALONG_ROWS:
            lib = arrow(f"{self.path} is a parquet table")
            with self._file() as file:
                found = row_names(lib, file.read(columns=[self.choice.index.name]).column(0))
        return self.choice.labels(self.shape, found)


@contextmanager
def parquet_file(path: Path, metadata: Any = None, ahead: int = 0) -> Iterator[Any]:
    """A parquet file that is open, of which so many bytes are read ahead (0: whole columns); what is wrong with it in our words.

    Raises
    ------
    StoreError
        If it is damaged or cannot be read.
    """
    lib = arrow(f"{path} is a parquet table")
    from pyarrow import parquet

    try:
        with (
            path.open("rb") as stream,
            parquet.ParquetFile(
                lib.PythonFile(stream, mode="r"), metadata=metadata, buffer_size=ahead
            ) as file,
        ):
            yield file
    except StoreError:
        raise
    except OSError as error:
        if is_access(error):
            raise access_error(error, "read", path) from error
        raise _damage(path, error) from error
    except lib.ArrowException as error:
        raise _damage(path, error) from error


def _damage(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path} is no complete parquet file: {str(error).rstrip('.')}. Write it again, or restore it from a copy."
    )


def open_parquet(path: Path, request: OpenRequest) -> ParquetSource:
    """A parquet file as a source; its metadata are read, of lists whose type has no length the first one.

    Raises
    ------
    ShapeError
        If it has no rows.
    SpecError
        If a column is no numbers; it names those, and how to choose others.
    StoreError
        If it is damaged.
    """
    lib = arrow(f"{path} is a parquet table")
    with parquet_file(path) as file:
        stamp = FileStamp.of(path)
        metadata, schema = file.metadata, file.schema_arrow
        lacks = _lacking(metadata)
        choice = choose_columns(arrow_columns(lib, schema, lacks), request.variable, str(path))
        counts = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
        counts = [count for count in counts if count] if all(counts) else counts
        if not sum(counts):
            raise ShapeError(f"{path} has no rows. A matrix needs at least one entry.")
        width = _list_length(file, choice, path) if choice.of_lists else len(choice.columns)
        size = _column_bytes(metadata, choice)
    starts = np.cumsum([0, *counts]).astype(np.int64)
    return ParquetSource(path, stamp, choice, starts, max(counts), width, size, [metadata])


def _lacking(metadata: Any) -> dict[str, bool]:
    """Whether entries of a column are missing, as the statistics of its groups know it."""
    found: dict[str, bool] = {}
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for j in range(metadata.num_columns):
            chunk = group.column(j)
            name = chunk.path_in_schema.partition(".")[0]
            seen = chunk.statistics if chunk.is_stats_set else None
            none = seen is not None and seen.has_null_count and not seen.null_count
            found[name] = found.get(name, False) or not none
    return found


def _column_bytes(metadata: Any, choice: ColumnChoice) -> int:
    """Of the largest of the columns in any group: stored, unpacked, or as numbers."""
    names, most = set(choice.names), 1
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for j in range(metadata.num_columns):
            chunk = group.column(j)
            if chunk.path_in_schema.partition(".")[0] in names:
                decoded = chunk.num_values * choice.dtype.itemsize
                most = max(
                    most, chunk.total_uncompressed_size, chunk.total_compressed_size, decoded
                )
    return most


def _list_length(file: Any, choice: ColumnChoice, path: Path) -> int:
    (column,) = choice.columns
    if column.length > 0:
        return column.length
    for batch in file.iter_batches(1, columns=[column.name], use_threads=False):
        (values,) = batch.column(0).to_pylist()
        if values is not None:
            if not values:
                break
            return len(values)
    raise ShapeError(f"column {column.name!r} of {path} has no list of numbers in it.")

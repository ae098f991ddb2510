"""A file of Arrow, feather among them: record batches one after another, each known by the few bytes before it.

A batch begins with ``FFFFFFFF``, the length of its metadata, and these as a table of flatbuffers, which says how many rows and bytes follow
(Arrow columnar format, "Encapsulated message format"; ``Message.fbs``): so batches are found without their values.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, StoreError
from streamsvd.labels import Labels
from streamsvd.store.explanations import access_error
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

MAGIC = b"ARROW1"
OLD_MAGIC = b"FEA1"
RECORD_BATCH = 3
"""Of the kinds of messages."""
MOST_METADATA = 1 << 30


@dataclass(frozen=True, eq=False)
class ArrowFileSource:
    """Address of the columns of numbers in a file of Arrow.

    Attributes
    ----------
    path, stamp
        Of the file, when it was opened.
    choice
        Which columns.
    starts
        Number of the first row of each batch, and of the row after the last, ``(batches + 1,)``.
    numbers
        Number of each in the file, where some are empty, ``(batches,)``.
    height
        Rows of the largest.
    width
        Columns of the matrix.
    batch_bytes
        Of the largest batch, as it is stored and as it is unpacked.
    """

    __repr__ = matrix_text

    path: Path
    stamp: FileStamp
    choice: ColumnChoice
    starts: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    height: int
    width: int
    batch_bytes: int

    integers_may_be_missing = True
    """Whether integers are read as floats, since some may be missing."""

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
        return self.height, self.width

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.width * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """A batch as stored and unpacked, and a column of it as numbers."""
        return 2 * self.batch_bytes + (1 << 20)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if rows.start == rows.stop or columns.start == columns.stop:
            return
        with _arrow_errors(self.path) as lib, self.path.open("rb") as file:
            reader = _reader(lib, file, self._columns(columns))
            batch, start = bisect_right(self.starts, rows.start) - 1, rows.start
            while start < rows.stop:
                first, last = int(self.starts[batch]), int(self.starts[batch + 1])
                stop = min(rows.stop, last)
                values = reader.get_batch(int(self.numbers[batch]))
                if values.num_rows != last - first:
                    raise StoreError(
                        f"{self.path} has changed since it was opened. Run again once nobody writes there."
                    )
                place = out[start - rows.start : stop - rows.start]
                self._write(values.slice(start - first, stop - start), columns, place, start)
                batch, start = batch + 1, stop
            self.stamp.check(self.path)

    def _columns(self, columns: slice) -> tuple[str, ...]:
        return self.choice.names if self.choice.of_lists else self.choice.names[columns]

    def _write(self, values: Any, columns: slice, place: npt.NDArray[Any], first: int) -> None:
        if self.choice.of_lists:
            (name,) = self.choice.names
            where = f"column {name!r} of {self.path}"
            write_lists(values.column(name), columns, place, where, first, self.width)
            return
        for j, name in enumerate(self.choice.names[columns]):
            write_column(values.column(name), place[:, j], f"column {name!r} of {self.path}")

    def locate(self, row: int, column: int, /) -> str:
        name = self.choice.names[0 if self.choice.of_lists else column]
        return f"column {name!r}, batch {bisect_right(self.starts, row) - 1}, of {self.path}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, 0)]

    @property
    def labels(self) -> Labels:
        """Names of its columns; of its rows where pandas wrote an index."""
        found = None
        if self.choice.index is not None and self.shape[0] <= MOST_ALONG_ROWS:
            with _arrow_errors(self.path) as lib, self.path.open("rb") as file:
                names = _reader(lib, file, [self.choice.index.name]).read_all()
                found = row_names(lib, names.column(0))
        return self.choice.labels(self.shape, found)


def open_arrow(path: Path, request: OpenRequest) -> ArrowFileSource:
    """A file of Arrow as a source; of each batch the bytes before it are read, of lists whose type has no length the first batch.

    Raises
    ------
    ShapeError
        If it has no rows.
    SpecError
        If a column is no numbers; it names those, and how to choose others.
    StoreError
        If it is damaged, or a file of feather as it was before Arrow 1.0.
    """
    with _arrow_errors(path) as lib, path.open("rb") as file:
        stamp, head = FileStamp.of(path), file.read(8)
        if head[:4] == OLD_MAGIC:
            raise StoreError(
                f"{path} is feather of version 1, which is not read. Write it again: pyarrow.feather.write_feather(pyarrow.feather."
                f"read_table('{path}'), '{path}')"
            )
        if head[:6] != MAGIC:
            raise lib.ArrowInvalid("it does not begin with ARROW1")
        schema = _reader(lib, file).schema
        choice = choose_columns(arrow_columns(lib, schema), request.variable, str(path))
        found = list(_batches(lib, file))
        counts = [rows for rows, _ in found]
        if not sum(counts):
            raise ShapeError(f"{path} has no rows. A matrix needs at least one entry.")
        numbers = np.flatnonzero(counts)
        counts = [count for count in counts if count]
        width = len(choice.columns)
        if choice.of_lists:
            width = _list_length(lib, file, choice, path, int(numbers[0]))
        line = sum(
            _line_bytes(field.type, choice, width) for field in schema if field.name in choice.names
        )
        size = max(max(size for _, size in found), max(counts) * line)
    starts = np.cumsum([0, *counts]).astype(np.int64)
    return ArrowFileSource(path, stamp, choice, starts, numbers, max(counts), width, size)


def _line_bytes(kind: Any, choice: ColumnChoice, width: int) -> int:
    """Of one row of a column."""
    item = choice.dtype.itemsize + 1
    return 2 * item * (width if choice.of_lists else 1)


def _list_length(lib: Any, file: IO[bytes], choice: ColumnChoice, path: Path, batch: int) -> int:
    (column,) = choice.columns
    if column.length > 0:
        return column.length
    lengths = _reader(lib, file, choice.names).get_batch(batch).column(0).value_lengths()
    found = lengths.drop_null()
    if not len(found) or not found[0].as_py():
        raise ShapeError(f"column {column.name!r} of {path} has no list of numbers in it.")
    return int(found[0].as_py())


def _reader(lib: Any, file: IO[bytes], names: Sequence[str] = ()) -> Any:
    """A reader of some columns by name; of all where none is named."""
    file.seek(0)
    stream = lib.PythonFile(file, mode="r")
    if not names:
        return lib.ipc.open_file(stream)
    schema = lib.ipc.open_file(stream).schema
    fields = [schema.get_field_index(name) for name in names]
    options = lib.ipc.IpcReadOptions(included_fields=sorted(fields), use_threads=False)
    return lib.ipc.open_file(stream, options=options)


def _batches(lib: Any, file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Of each batch its rows and its bytes."""
    position, end = 8, file.seek(0, 2)
    while position < end:
        file.seek(position)
        prefix = file.read(8)
        if len(prefix) < 8:
            raise lib.ArrowInvalid(f"it ends at byte {end:,}, in the midst of a message")
        mark, size = struct.unpack("<Ii", prefix)
        if mark != 0xFFFFFFFF or size == 0:
            break
        if not 0 < size <= min(MOST_METADATA, end - position):
            raise lib.ArrowInvalid(
                f"its message at byte {position:,} has {size:,} bytes of metadata"
            )
        table = _FlatTable.root(file.read(size))
        body = table.number(3, "<q")
        if table.number(1, "<B") == RECORD_BATCH:
            yield table.table(2).number(0, "<q"), body
        position += 8 + size + body
        if body < 0 or position > end:
            raise lib.ArrowInvalid(f"it ends at byte {end:,}, {position - end:,} bytes too early")


@dataclass(frozen=True, slots=True)
class _FlatTable:
    """A table of flatbuffers: at its place stands how far before it the offsets of its fields are."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> _FlatTable:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _field(self, index: int) -> int:
        """Where a field is; 0 where it is left out."""
        (back,) = struct.unpack_from("<i", self.data, self.place)
        fields = self.place - back
        (size,) = struct.unpack_from("<H", self.data, fields)
        if 4 + 2 * index >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, fields + 4 + 2 * index)
        return self.place + offset if offset else 0

    def number(self, index: int, form: str) -> int:
        place = self._field(index)
        return int(struct.unpack_from(form, self.data, place)[0]) if place else 0

    def table(self, index: int) -> _FlatTable:
        place = self._field(index)
        return _FlatTable(self.data, place + struct.unpack_from("<I", self.data, place)[0])


@contextmanager
def _arrow_errors(path: Path) -> Iterator[Any]:
    """The library; what is wrong with a file in our words."""
    lib = arrow(f"{path} is a table of Arrow")
    try:
        yield lib
    except StoreError:
        raise
    except (lib.ArrowException, struct.error, EOFError) as error:
        raise StoreError(
            f"{path} is no complete file of Arrow: {str(error).rstrip('.')}. Write it again, or restore it from a copy."
        ) from error
    except OSError as error:
        if error.errno is None:
            raise StoreError(
                f"{path} is no complete file of Arrow: {str(error).rstrip('.')}. Write it again, or restore it from a copy."
            ) from error
        raise access_error(error, "read", path) from error

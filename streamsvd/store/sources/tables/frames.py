"""Tables in memory, of pandas, polars and Arrow: their columns of numbers as a matrix, without a copy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError
from streamsvd.labels import Labels
from streamsvd.store.sources.border import check_rectangle, row_block
from streamsvd.store.sources.labels import MOST_ALONG_ROWS
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest, source_text
from streamsvd.store.sources.tables.arrow_types import (
    arrow_columns,
    row_names,
    write_column,
    write_lists,
)
from streamsvd.store.sources.tables.columns import ColumnChoice, TableColumn, choose_columns

Values = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class FrameSource:
    """Columns of a table in memory; holds a reference, never a copy.

    Attributes
    ----------
    columns
        Those of the matrix, as their library has them; one of lists alone.
    choice
        What they are.
    rows
        How many.
    width
        Columns of the matrix.
    row_names
        Of its rows; None where they have none.
    library
        Whose table it is: ``"pandas"``, ``"polars"`` or ``"pyarrow"``.
    name
        How messages call it.
    """

    __repr__ = matrix_text

    columns: tuple[Any, ...] = field(repr=False)
    choice: ColumnChoice
    rows: int
    width: int
    row_names: Any = field(repr=False)
    library: str
    name: str

    integers_may_be_missing = True
    """Whether integers are read as floats where some are missing."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.width

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.choice.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return row_block(self.shape, self.dtype.itemsize)

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return self.rows * self.width * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """A block of one column as numbers, and which are missing; of lists, a block of rows."""
        block = self.chunks[0] * (self.width if self.choice.of_lists else 1)
        return 4 * block * max(8, self.dtype.itemsize) + (1 << 16)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        height = self.chunks[0]
        for start in range(rows.start, rows.stop, height):
            stop = min(rows.stop, start + height)
            place = out[start - rows.start : stop - rows.start]
            if self.choice.of_lists:
                values = self.columns[0].slice(start, stop - start)
                write_lists(values, columns, place, self.name, start, self.width)
                continue
            for j in range(columns.start, columns.stop):
                part = place[:, j - columns.start]
                _WRITERS[self.library](self.columns[j], start, stop, part)

    def locate(self, row: int, column: int, /) -> str:
        name = self.choice.names[0 if self.choice.of_lists else column]
        return f"column {name!r} of {self.name}"

    @property
    def labels(self) -> Labels:
        """Names of its columns, and of its rows where they have some."""
        return self.choice.labels(self.shape, self.row_names)


def _write_pandas(column: Any, start: int, stop: int, place: Values) -> None:
    values = column.iloc[start:stop]
    if isinstance(values.dtype, np.dtype):
        place[...] = values.to_numpy()
    else:
        place[...] = values.to_numpy(dtype=place.dtype, na_value=_missing(place.dtype))


def _missing(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else 0  # none is missing in a column of integers


def _write_polars(column: Any, start: int, stop: int, place: Values) -> None:
    place[...] = column.slice(start, stop - start).to_numpy()


def _write_arrow(column: Any, start: int, stop: int, place: Values) -> None:
    write_column(column.slice(start, stop - start), place, "a column of the table")


_WRITERS: dict[str, Callable[[Any, int, int, Values], None]] = {
    "pandas": _write_pandas,
    "polars": _write_polars,
    "pyarrow": _write_arrow,
}


def open_pandas(frame: Any, request: OpenRequest) -> FrameSource:
    """A table of pandas as a source; its index names the rows.

    Raises
    ------
    ShapeError
        If it has no rows or columns.
    SpecError
        If a column is no numbers; it names those, and how to choose others.
    """
    described = [
        _pandas_column(str(name), frame.iloc[:, j]) for j, name in enumerate(frame.columns)
    ]
    choice = choose_columns(described, request.variable, source_text(frame))
    places = _places(choice, described)
    index = frame.index
    plain = (
        type(index).__name__ == "RangeIndex" or index.nlevels > 1 or len(frame) > MOST_ALONG_ROWS
    )
    names = None if plain else index.to_numpy()
    if names is not None and index.dtype.kind not in "iufM":
        names = np.array([str(value) for value in names], object)
    columns = tuple(frame.iloc[:, j] for j in places)
    return _frame(columns, choice, len(frame), names, "pandas", source_text(frame))


def _pandas_column(name: str, column: Any) -> TableColumn:
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        if dtype.kind in "iufc":
            return TableColumn(name, dtype)
        words = {"b": "true and false", "M": "times", "m": "times", "O": "objects"}
        what = words.get(dtype.kind, str(dtype))
        if dtype.kind == "O" and len(column) and isinstance(column.iloc[0], str):
            what = "text"
        return TableColumn(name, None, what)
    inner = getattr(dtype, "numpy_dtype", None)
    if isinstance(inner, np.dtype) and inner.kind in "iuf":
        return TableColumn(name, inner, "numbers", bool(column.isna().any()))
    words = {"category": "categories", "string": "text", "str": "text", "boolean": "true and false"}
    return TableColumn(name, None, words.get(str(dtype), str(dtype)))


def open_polars(frame: Any, request: OpenRequest) -> FrameSource:
    """A table of polars as a source.

    Raises
    ------
    ShapeError, SpecError
        As `open_pandas`.
    """
    described = [_polars_column(column) for column in frame.get_columns()]
    choice = choose_columns(described, request.variable, source_text(frame))
    columns = tuple(frame.get_column(name) for name in choice.names)
    return _frame(columns, choice, frame.height, None, "polars", source_text(frame))


def _polars_column(column: Any) -> TableColumn:
    kind = column.dtype
    if kind.is_integer() or kind.is_float():
        lacks = bool(column.null_count())
        return TableColumn(column.name, column.head(0).to_numpy().dtype, "numbers", lacks)
    words = {
        "String": "text",
        "Categorical": "categories",
        "Enum": "categories",
        "Boolean": "true and false",
    }
    what = (
        "times"
        if kind.is_temporal()
        else words.get(type(kind).__name__, words.get(str(kind), str(kind)))
    )
    return TableColumn(column.name, None, what)


def open_arrow_table(table: Any, request: OpenRequest) -> FrameSource:
    """A table or a record batch of Arrow as a source; an index that pandas left in it names the rows.

    Raises
    ------
    ShapeError, SpecError
        As `open_pandas`.
    """
    import pyarrow as lib

    lacks = {name: bool(table.column(name).null_count) for name in table.schema.names}
    name = source_text(table)
    choice = choose_columns(arrow_columns(lib, table.schema, lacks), request.variable, name)
    names = None
    if choice.index is not None and table.num_rows <= MOST_ALONG_ROWS:
        names = row_names(lib, table.column(choice.index.name))
    columns = tuple(table.column(c) for c in choice.names)
    return _frame(columns, choice, table.num_rows, names, "pyarrow", name)


def _frame(
    columns: tuple[Any, ...], choice: ColumnChoice, rows: int, names: Any, library: str, name: str
) -> FrameSource:
    if not rows:
        raise ShapeError(f"{name} has no rows. A matrix needs at least one entry.")
    width = len(columns)
    if choice.of_lists:
        width = choice.columns[0].length
        if width < 0:
            lengths = [
                x
                for chunk in _chunks(columns[0])
                for x in chunk.value_lengths().drop_null().slice(0, 1).to_pylist()
            ]
            width = lengths[0] if lengths else 0
        if not width:
            raise ShapeError(f"column {choice.names[0]!r} of {name} has no list of numbers in it.")
    return FrameSource(columns, choice, rows, width, names, library, name)


def _chunks(column: Any) -> list[Any]:
    found: list[Any] = getattr(column, "chunks", [column])
    return found


def _places(choice: ColumnChoice, described: list[TableColumn]) -> list[int]:
    """Numbers of the columns that were chosen; several may have one name in a table of pandas, where all are taken."""
    if len(choice.columns) == len(described):
        return list(range(len(described)))
    first = {column.name: j for j, column in reversed(list(enumerate(described)))}
    return [first[name] for name in choice.names]

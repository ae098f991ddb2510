"""Which columns of a table make the matrix: those of numbers, by their names, or one whose entries are lists of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.checks.masks import dtype_with_nan
from streamsvd.errors import ShapeError, SpecError
from streamsvd.labels import COLUMN, ROW, Coordinate, Dimension, Labels

MOST_NAMES = 8
"""Of columns that a message lists."""
NUMBERS = "iufc"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """What a table says of one of its columns.

    Attributes
    ----------
    name
        Its own.
    dtype
        Of its numbers, or of those in its lists; None where they are none.
    what
        What it is, for messages: ``"text"``.
    may_lack
        Whether an entry may be missing.
    length
        Of its lists: 0 where it holds none, -1 where the type does not say it.
    names_rows
        Whether it is the index of the table, and no data.
    """

    name: str
    dtype: np.dtype[Any] | None
    what: str = "numbers"
    may_lack: bool = False
    length: int = 0
    names_rows: bool = False

    @property
    def delivered_dtype(self) -> np.dtype[Any]:
        """Of its numbers, missing ones NaN."""
        assert self.dtype is not None
        plain = self.dtype.newbyteorder("=")
        return dtype_with_nan(plain) if self.may_lack else plain


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """The columns of a table that make a matrix.

    Attributes
    ----------
    columns
        In the order of the matrix; one alone where its lists are the rows.
    dtype
        The common type of their numbers.
    index
        The column that names the rows.
    """

    columns: tuple[TableColumn, ...]
    dtype: np.dtype[Any]
    index: TableColumn | None = None

    @classmethod
    def of(cls, columns: Sequence[TableColumn], index: TableColumn | None = None) -> ColumnChoice:
        """Of columns of numbers, or one of lists of them."""
        types = {column.delivered_dtype for column in columns}
        return cls(tuple(columns), np.result_type(*types), index)

    @property
    def of_lists(self) -> bool:
        """Whether rows are the lists of one column."""
        return self.columns[0].length != 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    def labels(self, shape: tuple[int, int], row_names: Any = None) -> Labels:
        """Names of columns, and of rows where there are some."""
        found = []
        if row_names is not None:
            found.append(Coordinate.of(ROW, (ROW,), row_names))
        if not self.of_lists:
            found.append(Coordinate.of(COLUMN, (COLUMN,), np.array(self.names, object)))
        name = self.columns[0].name if self.of_lists else ""
        rows, columns = Dimension(ROW, shape[0]), Dimension(COLUMN, shape[1])
        return Labels(name, {}, (rows,), (columns,), tuple(found))


def choose_columns(
    columns: Sequence[TableColumn], variable: str | None, where: str
) -> ColumnChoice:
    """The columns that make the matrix: those that are asked for, or all.

    Parameters
    ----------
    columns
        All of the table.
    variable
        Name of one, or of several with commas between them; None for all.
    where
        How messages call the table.

    Raises
    ------
    ShapeError
        If there are none.
    SpecError
        If one of them is no column of numbers, or there is none of that name.
    """
    index = next((c for c in columns if c.names_rows), None)
    if variable is None:
        chosen = [c for c in columns if not c.names_rows]
    else:
        chosen = _named_columns(columns, variable, where)
    if not chosen:
        raise ShapeError(f"{where} has no columns. A matrix needs at least one entry.")
    wrong = [c for c in chosen if c.dtype is None]
    lists = [c for c in chosen if c.dtype is not None and c.length]
    if (not wrong and not lists) or (len(chosen) == len(lists) == 1):
        return ColumnChoice.of(chosen, index)
    usable = [c for c in chosen if c.dtype is not None and not c.length]
    if wrong:
        told = _listing(f"{c.name!r} ({c.what})" for c in wrong)
        said = f"{where} has columns that are no numbers: {told}."
    else:
        told = _listing(repr(c.name) for c in lists)
        said = f"{where} has columns of lists beside others: {told}."
    if lists:
        said += f" Choose one of lists by variable={lists[0].name!r} of streamsvd.open."
    if usable:
        said += f" Choose columns of numbers by their names: variable={_example(usable)!r} of streamsvd.open."
    raise SpecError(said if usable or lists else f"{said} None is left.")


def _named_columns(columns: Sequence[TableColumn], variable: str, where: str) -> list[TableColumn]:
    by_name = {column.name: column for column in columns}
    if variable in by_name:
        return [by_name[variable]]
    names = [name.strip() for name in variable.split(",")]
    for name in names:
        if name not in by_name:
            raise SpecError(
                f"{where} has no column {name!r}; it has {_listing(repr(known) for known in by_name)}."
            )
    if len(set(names)) < len(names):
        raise SpecError(f"variable={variable!r} names a column twice. Name each once.")
    return [by_name[name] for name in names]


def _listing(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f" and {len(found) - MOST_NAMES:,} more" if len(found) > MOST_NAMES else ""
    return ", ".join(found[:MOST_NAMES]) + more


def _example(columns: Sequence[TableColumn]) -> str:
    return ",".join(column.name for column in columns[:3]) + (",..." if len(columns) > 3 else "")

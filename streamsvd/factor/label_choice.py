"""Labels of some rows and columns, and rows by their labels."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.labels import COLUMN, Coordinate, Dimension, Labels, TextValues
from streamsvd.store.sources.times import day_number, read_times
from streamsvd.store.sources.views.row_choice import Numbers


def take_rows(labels: Labels, numbers: Numbers) -> Labels:
    """Labels of some rows, where one dimension makes them; else rows lose their coordinates."""
    if _is_all(numbers, labels.rows):
        return labels
    taken: tuple[Coordinate, ...] = ()
    name = labels.rows[0].name
    if len(labels.rows) == 1:
        taken = tuple(_take(c, numbers) for c in labels.row_coordinates)
    return labels.with_rows((Dimension(name, len(numbers)),), taken)


def take_columns(labels: Labels, numbers: Numbers) -> Labels:
    """Labels of some columns: in their dimensions where all are there; else one dimension, with coordinates if it was one."""
    if _is_all(numbers, labels.columns):
        return labels
    one = len(labels.columns) == 1
    name = labels.columns[0].name if one else COLUMN
    taken = tuple(_take(c, numbers) for c in labels.column_coordinates) if one else ()
    return replace(
        labels, columns=(Dimension(name, len(numbers)),), coordinates=(*labels.row_coordinates, *taken)
    )  # fmt: skip


def both_labels(rows: Labels, columns: Labels, shape: tuple[int, int]) -> Labels:
    """Rows of one, columns and the variable of another; plain ones where either does not fit the matrix."""
    plain = Labels.plain(shape)
    if not rows.rows or math.prod(d.length for d in rows.rows) != shape[0]:
        rows = plain
    if not columns.columns or math.prod(d.length for d in columns.columns) != shape[1]:
        columns = plain
    return columns.with_rows(rows.rows, rows.row_coordinates)


def _is_all(numbers: Numbers, dimensions: tuple[Dimension, ...]) -> bool:
    return isinstance(numbers, range) and numbers == range(math.prod(d.length for d in dimensions))


def _take(coordinate: Coordinate, numbers: Numbers) -> Coordinate:
    values = coordinate.array[np.asarray(numbers, dtype=np.intp)]
    if isinstance(coordinate.values, TextValues):
        return replace(coordinate, values=TextValues.of(values))
    return replace(coordinate, values=values)


def row_numbers(text: str, labels: Labels) -> Numbers:
    """Rows by the label of their coordinate: ``"2000-01:2000-12"``, both ends included; a name, or names from one to another.

    Raises
    ------
    SpecError
        If rows have no coordinate, or it has no such labels.
    """
    m = labels.shape[0]
    coordinate = labels.coordinate(labels.rows[0].name) if len(labels.rows) == 1 else None
    if coordinate is None or coordinate.dims != (coordinate.name,):
        raise SpecError(
            f"rows={text!r} are labels, and rows have none here. Pass numbers, such as 0:{min(m, 12)}."
        )
    first, cut, last = (part.strip() for part in text.partition(":"))
    found: Any
    if " since " in coordinate.units:
        found = _times(coordinate, first, last if cut else first)
    elif isinstance(coordinate.values, TextValues):
        return _names(coordinate, first, last if cut else first)
    else:
        found = _numbers(coordinate, first, last if cut else first)
    numbers = np.flatnonzero(found)
    if not numbers.size:
        raise SpecError(
            f"no row has {coordinate.name} from {first or 'the first'} to {last or 'the last'}: it runs from {_end(coordinate, 0)} to "
            f"{_end(coordinate, -1)}."
        )
    whole = range(int(numbers[0]), int(numbers[-1]) + 1)
    return whole if len(whole) == numbers.size else numbers


def _times(coordinate: Coordinate, first: str, last: str) -> Any:
    days = read_times(coordinate.array, coordinate.attributes, coordinate.name).day
    try:
        low = day_number(first, last=0) if first else int(days.min())
        high = day_number(last, last=1) if last else int(days.max())
    except SpecError:
        raise SpecError(
            f"rows={first}:{last} are no days, and {coordinate.name} has times. Pass such as 2000-01:2000-12, or numbers of rows."
        ) from None
    return (days >= low) & (days <= high)


def _numbers(coordinate: Coordinate, first: str, last: str) -> Any:
    try:
        low = float(first) if first else -math.inf
        high = float(last) if last else math.inf
    except ValueError:
        raise SpecError(
            f"rows={first}:{last} are no numbers, and {coordinate.name} has numbers. Pass such as 10.5:20."
        ) from None
    return (coordinate.array >= low) & (coordinate.array <= high)


def _names(coordinate: Coordinate, first: str, last: str) -> Numbers:
    names = [str(name) for name in coordinate.array]
    ends = []
    for name, default in ((first, 0), (last, len(names) - 1)):
        if name and name not in names:
            raise SpecError(f"no row is called {name!r} in {coordinate.name}.")
        ends.append(names.index(name) if name else default)
    if ends[0] > ends[1]:
        raise SpecError(
            f"{first!r} comes after {last!r} in {coordinate.name}. Pass the first of both first."
        )
    return range(ends[0], ends[1] + 1)


def _end(coordinate: Coordinate, at: int) -> str:
    if " since " in coordinate.units:
        day = int(read_times(coordinate.array, coordinate.attributes, coordinate.name).day[at])
        return f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
    return str(coordinate.array[at])

"""Whether new rows have the columns of a result: held against its labels, or put in their order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.column_choice import ChosenColumns

TOLERANCE = 1e-4
"""Numbers are the same label where they differ by no more than this part of the usual step between neighbours."""
REMEDY = "Pass align=True to put columns in the order of the result, or rows with the same columns."


def align_columns(labels: Labels, source: Source, *, align: bool) -> Source:
    """Rows whose columns are those of a result, in its order.

    Parameters
    ----------
    labels
        Of the result.
    source
        The rows.
    align
        Whether columns may be put in order, and those that the result has not left out.

    Raises
    ------
    SpecError
        If coordinates of columns differ; it names the coordinate and the first value that does. With ``align``, if a column of the
        result is not there, or nothing says which it is.
    """
    theirs = source_labels(source)
    if not labels.columns:
        if align:
            raise SpecError(
                "align=True puts columns in the order of the result by their labels, and the result has none. Leave it out."
            )
        return source
    if align:
        return _in_order(labels, theirs, source)
    check_columns(labels, source)
    return source


def check_columns(
    labels: Labels, source: Source, owner: str = "the result", remedy: str = REMEDY
) -> None:
    """Refuse rows with other columns than those of a result, or of a model, as far as labels tell.

    Raises
    ------
    SpecError
        It names the coordinate and the first value that differs.
    """
    theirs = source_labels(source)
    mine, its = ([d.name for d in part.columns] for part in (labels, theirs))
    if mine != its and sorted(mine) == sorted(its):  # as many columns, and none in its place
        raise SpecError(
            f"the columns of {source.name} are made of the dimensions {', '.join(its)}, those of {owner} of {', '.join(mine)}. {remedy}"
        )
    for wanted in labels.column_coordinates:
        found = theirs.coordinate(wanted.name)
        if found is not None and found.dims == wanted.dims and _decides(wanted):
            _check_values(wanted, found, source.name, owner, remedy)


def _decides(coordinate: Coordinate) -> bool:
    """Whether it is the coordinate of a dimension, which says which column is which."""
    return coordinate.dims == (coordinate.name,)


def _check_values(mine: Coordinate, its: Coordinate, name: str, owner: str, remedy: str) -> None:
    one, other = mine.array.reshape(-1), its.array.reshape(-1)
    count = min(one.size, other.size)
    differs = ~_same(one[:count], other[:count], _step(one))
    if differs.any():
        i = int(np.argmax(differs))
        units = [f" {c.units}" if c.units and mine.units != its.units else "" for c in (its, mine)]
        raise SpecError(
            f"{mine.name} of {name} differs from that of {owner}: at {i} it is {_show(other[i])}{units[0]}, {owner} has "
            f"{_show(one[i])}{units[1]}. {remedy}"
        )
    if one.size != other.size:
        raise SpecError(
            f"{mine.name} of {name} has {other.size:,} values, that of {owner} {one.size:,}. {remedy}"
        )


def _step(values: npt.NDArray[Any]) -> float:
    """The usual step between neighbours; 0 of texts."""
    if values.dtype.kind not in "iuf" or values.size < 2:
        return 0.0 if values.dtype.kind not in "iuf" else float(np.abs(values).max(initial=0))
    return float(np.median(np.abs(np.diff(values.astype(np.float64)))))


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any], step: float) -> npt.NDArray[np.bool_]:
    numbers = one.dtype.kind in "biuf" and other.dtype.kind in "biuf"
    if not numbers:
        return np.array([str(a) == str(b) for a, b in zip(one, other, strict=True)], bool)
    a, b = one.astype(np.float64), other.astype(np.float64)
    return np.asarray((np.abs(a - b) <= TOLERANCE * step) | (np.isnan(a) & np.isnan(b)))


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _in_order(labels: Labels, theirs: Labels, source: Source) -> Source:
    """The columns of the result, wherever they are among those of the source."""
    mine, its = {d.name: d for d in labels.columns}, {d.name: d for d in theirs.columns}
    if set(mine) != set(its):
        raise SpecError(
            f"the columns of {source.name} are made of the dimensions {', '.join(its)}, those of the result of {', '.join(mine)}: they "
            "cannot be put in order by label. Rename the dimensions."
        )
    steps, step = {}, 1
    for dimension in reversed(theirs.columns):
        steps[dimension.name] = step
        step *= dimension.length
    numbers = np.zeros(1, np.intp)
    for dimension in labels.columns:
        place = _places(dimension, its[dimension.name], labels, theirs, source.name)
        numbers = (numbers[:, None] + steps[dimension.name] * place[None, :]).reshape(-1)
    if np.array_equal(numbers, np.arange(source.shape[1])):
        return source
    kept = replace(
        labels, rows=theirs.rows, coordinates=(*theirs.row_coordinates, *labels.column_coordinates)
    )
    return ChosenColumns(source, numbers, kept)


def _places(
    mine: Dimension, its: Dimension, labels: Labels, theirs: Labels, name: str
) -> npt.NDArray[np.intp]:
    """Where along a dimension of the source the values of the result are."""
    here, there = labels.coordinate(mine.name), theirs.coordinate(mine.name)
    if here is None or there is None:
        if mine.length == its.length and here is None and there is None:
            return np.arange(mine.length)
        lacks = name if there is None else "the result"
        raise SpecError(
            f"{lacks} has no coordinate of {mine.name}, by which columns could be put in order. Leave align=True out, or add it."
        )
    wanted, values = here.array.reshape(-1), there.array.reshape(-1)
    if isinstance(here.values, TextValues) or isinstance(there.values, TextValues):
        known: dict[str, int] = {}
        for i, value in enumerate(values):
            known.setdefault(str(value), i)
        found = np.array([known.get(str(value), -1) for value in wanted], np.intp)
    else:
        order = np.argsort(values, kind="stable")
        near = np.searchsorted(values[order], wanted)
        sides = np.stack([np.clip(near - 1, 0, values.size - 1), np.clip(near, 0, values.size - 1)])
        away = np.abs(values[order][sides].astype(np.float64) - wanted.astype(np.float64))
        found = order[np.take_along_axis(sides, np.argmin(away, axis=0)[None, :], axis=0)[0]]
        found = np.where(_same(wanted, values[found], _step(wanted)), found, -1)
    if (found < 0).any():
        i = int(np.argmax(found < 0))
        raise SpecError(
            f"{name} has no column where {mine.name} is {_show(wanted[i])}, as the result has. Pass rows that have all its columns."
        )
    return np.asarray(found, dtype=np.intp)

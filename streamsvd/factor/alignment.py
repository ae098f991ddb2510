"""Whether new rows have the columns of a result: held against its labels, or put in their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sources.column_agreement import (
    column_difference,
    coordinate_difference,
    same_values,
    show_label,
    taken_along,
    usual_step,
)
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.views.column_choice import ChosenColumns

REMEDY = "Pass align=True to put columns in the order of the result, or rows with the same columns."
UNKNOWN = "Leave align=True out if the columns are in the same order."
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


def align_columns(
    labels: Labels, source: Source, *, align: bool, needed: Mask | None = None
) -> Source:
    """Rows whose columns are those of a result, in its order.

    Parameters
    ----------
    labels
        Of the result.
    source
        The rows.
    align
        Whether columns may be put in order, and those that the result has not left out.
    needed
        Which columns took part, ``(n,)``: the others need not be there to be put in order. None for all.

    Raises
    ------
    SpecError
        If columns differ; it names the coordinate and the first value that does. With ``align``, if a column that is needed is not
        there, or nothing says which it is: none has labels, or two have the same.
    """
    if not align:
        check_columns(labels, source)
        return source
    if not labels.columns:
        raise SpecError(
            "align=True puts columns in the order of the result by their labels, and the result has none. Leave it out."
        )
    return _in_order(labels, source_labels(source), source, needed)


def check_columns(
    labels: Labels, source: Source, owner: str = "the result", remedy: str = REMEDY
) -> None:
    """Refuse rows with other columns than those of a result, or of a model, as far as labels tell.

    Raises
    ------
    SpecError
        It names the coordinate and the first value that differs.
    """
    if not labels.columns:
        return
    difference = column_difference(labels, source_labels(source))
    if difference is not None:
        raise SpecError(f"{difference.sentence(owner, source.name)} {remedy}")


def _in_order(labels: Labels, theirs: Labels, source: Source, needed: Mask | None) -> Source:
    """The columns of the result, wherever they are among those of the source."""
    mine, its = {d.name: d for d in labels.columns}, {d.name: d for d in theirs.columns}
    if set(mine) != set(its):
        raise SpecError(
            f"the columns of {source.name} are made of the dimensions {', '.join(its)}, those of the result of {', '.join(mine)}: they "
            "cannot be put in order by label. Rename the dimensions."
        )
    if [*mine] == [*its] and _are_the_same(labels, theirs):
        return source
    places = {d.name: _places(d, its[d.name], labels, theirs, source.name) for d in labels.columns}
    _check_known(labels, source.name)
    _check_others(labels, theirs, places, source.name)
    steps, step = {}, 1
    for dimension in reversed(theirs.columns):
        steps[dimension.name] = step
        step *= dimension.length
    numbers, absent = np.zeros(1, np.intp), np.zeros(1, bool)
    for dimension in labels.columns:
        place = places[dimension.name]
        numbers = (numbers[:, None] + steps[dimension.name] * place[None, :]).reshape(-1)
        absent = (absent[:, None] | (place < 0)[None, :]).reshape(-1)
    numbers = _without_absent(numbers, absent, needed, labels, places, source.name)
    kept = replace(
        labels, rows=theirs.rows, coordinates=(*theirs.row_coordinates, *labels.column_coordinates)
    )
    return ChosenColumns(source, numbers, kept)


def _are_the_same(labels: Labels, theirs: Labels) -> bool:
    """Whether both say all the same of their columns, and say which is which."""
    if {d.name: d.length for d in labels.columns} != {d.name: d.length for d in theirs.columns}:
        return False
    found = [theirs.coordinate(c.name) for c in labels.column_coordinates]
    same = all(
        f is not None and f.dims == c.dims and coordinate_difference(c, f) is None
        for c, f in zip(labels.column_coordinates, found, strict=True)
    )
    return bool(found) and same


def _check_known(labels: Labels, name: str) -> None:
    """Refuse columns of which no dimension has a coordinate."""
    if not any(_decides(c) for c in labels.column_coordinates):
        raise SpecError(
            f"no dimension of the columns of the result has a coordinate, by which those of {name} could be put in order. {UNKNOWN}"
        )


def _decides(coordinate: Coordinate) -> bool:
    """Whether it is the coordinate of a dimension, which says which column is which."""
    return coordinate.dims == (coordinate.name,)


def _check_others(labels: Labels, theirs: Labels, places: dict[str, Places], name: str) -> None:
    """Refuse columns of one label that differ in what else is said of them, such as the alleles of a variant."""
    for wanted in labels.column_coordinates:
        found = theirs.coordinate(wanted.name)
        if _decides(wanted) or found is None or set(found.dims) != set(wanted.dims):
            continue
        if found.dims != wanted.dims:
            continue  # another order of its own axes says nothing that can be held against it
        there = {d: np.maximum(places[d], 0) for d in found.dims}
        present = np.ones(1, bool)
        for d in found.dims:
            present = (present[:, None] & (places[d] >= 0)[None, :]).reshape(-1)
        taken = taken_along(found, there)
        same = same_values(wanted.array.reshape(-1), taken.array.reshape(-1), usual_step(wanted))
        wrong = ~same & present
        if wrong.any():
            i = int(np.argmax(wrong))
            a, b = (c.array.reshape(-1)[i] for c in (wanted, taken))
            raise SpecError(
                f"{wanted.name} of {name} differs in a column of the same label: at {i} it is {show_label(b)}, the result has "
                f"{show_label(a)}. Pass rows whose columns mean the same."
            )


def _without_absent(
    numbers: Places,
    absent: Mask,
    needed: Mask | None,
    labels: Labels,
    places: dict[str, Places],
    name: str,
) -> Places:
    """Numbers of columns, those that are not there and not needed told as another one, which is read and not looked at.

    Raises
    ------
    SpecError
        If one that is needed is not there; it names its label.
    """
    lacking = absent if needed is None else absent & needed
    if lacking.any():
        for dimension in labels.columns:
            gone = places[dimension.name] < 0
            coordinate = labels.coordinate(dimension.name)
            if gone.any() and coordinate is not None:
                i = int(np.argmax(gone))
                raise SpecError(
                    f"{name} has no column where {dimension.name} is {show_label(coordinate.array.reshape(-1)[i])}, as the result has. "
                    "Pass rows that have all its columns."
                )
    if absent.all():
        raise SpecError(f"{name} has no column of the result. Pass rows that have its columns.")
    there = numbers[~absent]
    return np.where(absent, there[0], numbers)


def _places(mine: Dimension, its: Dimension, labels: Labels, theirs: Labels, name: str) -> Places:
    """Where along a dimension of the source the values of the result are; below 0 where they are not.

    Raises
    ------
    SpecError
        If one of them has no coordinate, or two values of it are the same.
    """
    here, there = labels.coordinate(mine.name), theirs.coordinate(mine.name)
    if here is None or there is None:
        if mine.length == its.length and here is None and there is None:
            return np.arange(mine.length)
        lacks = name if there is None else "the result"
        raise SpecError(
            f"{lacks} has no coordinate of {mine.name}, by which columns could be put in order. Leave align=True out, or add it."
        )
    wanted, values = here.array.reshape(-1), there.array.reshape(-1)
    if wanted.size == values.size and same_values(wanted, values, usual_step(here)).all():
        return np.arange(mine.length)
    for owner, labelled in (("the result", here), (name, there)):
        _check_distinct(owner, labelled)
    if isinstance(here.values, TextValues) or isinstance(there.values, TextValues):
        known = {str(value): i for i, value in enumerate(values)}
        return np.array([known.get(str(value), -1) for value in wanted], np.intp)
    order = np.argsort(values, kind="stable")
    near = np.searchsorted(values[order], wanted)
    sides = np.stack([np.clip(near - 1, 0, values.size - 1), np.clip(near, 0, values.size - 1)])
    away = np.abs(values[order][sides].astype(np.float64) - wanted.astype(np.float64))
    away = np.where(np.isnan(away), np.inf, away)
    found = order[np.take_along_axis(sides, np.argmin(away, axis=0)[None, :], axis=0)[0]]
    nothing = np.flatnonzero(np.isnan(values)) if values.dtype.kind == "f" else np.zeros(0, np.intp)
    if nothing.size:
        found = np.where(np.isnan(wanted.astype(np.float64)), nothing[0], found)
    return np.where(same_values(wanted, values[found], usual_step(here)), found, -1)


def _check_distinct(owner: str, coordinate: Coordinate) -> None:
    """Refuse labels of which two are the same: which column is which is not known then."""
    values = coordinate.array.reshape(-1)
    texts = isinstance(coordinate.values, TextValues)
    distinct, counts = np.unique(values.astype(str) if texts else values, return_counts=True)
    if (counts > 1).any():
        twice = distinct[int(np.argmax(counts > 1))]
        raise SpecError(
            f"{coordinate.name} of {owner} is {show_label(twice)} of more than one column, so that which is which is not known. {UNKNOWN}"
        )

"""Labels of the rows of a matrix: the groups that they are of, their times, and which of them are fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.neighbours import (
    NeighbourArray,
    matrix_dimensions,
    matrix_layout,
    neighbour,
)
from streamsvd.store.sources.times import FIELDS, check_period, describe_group, read_times
from streamsvd.typing import Real

if TYPE_CHECKING:
    from streamsvd.store.sources.times import Times

Keys = npt.NDArray[np.int64]
_RADIX = 1000
"""Fields of a time are below it."""


@dataclass(frozen=True, slots=True)
class RowTransform:
    """What is asked of the rows of a matrix.

    Attributes
    ----------
    by
        Fields of the time by which rows are grouped, of `FIELDS`; none for one group.
    of
        The dimension whose coordinate has these times; None for the one that makes the rows.
    has_trend, along
        Whether a trend is taken away, and along which dimension.
    reference
        First and last day of the rows that are fitted; None for all rows.
    """

    by: tuple[str, ...] = ()
    of: str | None = None
    has_trend: bool = False
    along: str | None = None
    reference: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        for field in self.by:
            if field not in FIELDS:
                raise SpecError(
                    f"by={field!r} is unknown. Pass one or more of {', '.join(FIELDS)}."
                )
        if len(set(self.by)) < len(self.by):
            raise SpecError(f"by={list(self.by)} names a field twice. Name each once.")
        if self.reference is not None:
            check_period(self.reference)


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """What is known of rows before any is read.

    Attributes
    ----------
    keys
        A number for each group, ``(m,)``.
    times
        ``(m,)``, None without a trend.
    reference
        Which rows are fitted, ``(m,)``.
    describe
        A group in words, by its number.
    asked
        How the coordinates of the matrix led to them; None where the caller gave some of them.
    """

    keys: Keys
    times: Real | None
    reference: npt.NDArray[np.bool_]
    describe: Callable[[int], str]
    asked: RowTransform | None = None


def label_rows(source: Source, asked: RowTransform) -> LabelledRows:
    """Labels of the rows of a matrix from the coordinates in its zarr group.

    Raises
    ------
    SpecError
        If a dimension does not make rows, has no coordinate or one of another length, or holds no times.
    """
    keys = np.zeros(source.shape[0], np.int64)
    describe: Callable[[int], str] = _whole
    times: Real | None = None
    when: Times | None = None
    if asked.by or asked.reference is not None:
        dimension = _row_dimension(
            source, asked.of if asked.by else asked.along, "of" if asked.by else "along"
        )
        when = _times(_coordinate(source, dimension))
        if asked.by:
            keys = _spread(source, dimension, _keys(when, asked.by))
            describe = _describer(asked.by)
    reference = np.ones(source.shape[0], bool)
    if asked.reference is not None:
        assert when is not None
        reference = _spread(source, dimension, when.within(asked.reference))
        if not reference.any():
            days = [
                f"{d // 10000:04d}-{d // 100 % 100:02d}-{d % 100:02d}"
                for d in (when.day.min(), when.day.max())
            ]
            raise SpecError(
                f"reference={list(asked.reference)} has no row of {source.name}, whose {dimension} goes from {days[0]} to {days[1]}. "
                "Pass a period within it."
            )
    if asked.has_trend:
        dimension = _row_dimension(source, asked.along, "along")
        times = _spread(source, dimension, _numbers(_coordinate(source, dimension)))
    return LabelledRows(keys, times, reference, describe, asked)


def _whole(key: int) -> str:
    del key
    return "the one group"


def _describer(by: tuple[str, ...]) -> Callable[[int], str]:
    def describe(key: int) -> str:
        parts = []
        for field in reversed(by):
            key, value = divmod(key, _RADIX)
            parts.append(describe_group(field, value))
        return ", ".join(reversed(parts))

    return describe


def _keys(when: Times, by: tuple[str, ...]) -> Keys:
    found = np.zeros(when.day.shape, np.int64)
    for field in by:
        found = found * _RADIX + getattr(when, field)
    return found


def _row_dimension(source: Source, name: str | None, argument: str) -> str:
    """The dimension of the rows that is meant.

    Raises
    ------
    SpecError
        If there are several, or it makes no rows.
    """
    names, layout = matrix_dimensions(source), matrix_layout(source)
    if names is None or layout is None:
        raise SpecError(
            f"times of rows are the coordinate of a dimension, and dimensions of {source.name} have no names. Write it into a group with "
            "names and coordinates, as xarray does, or pass arrays with one label for each row."
        )
    rows = [str(names[axis]) for axis in layout.row_axes]
    if name is None and len(rows) == 1:
        return rows[0]
    if name is None:
        raise SpecError(
            f"rows of {source.name} are made by {' and '.join(rows)}. Say which of them has the times, such as {argument}={rows[0]!r}."
        )
    if name not in rows:
        here = "makes columns" if name in names else "is none"
        raise SpecError(
            f"{argument}={name!r} {here} of {source.name}, whose rows are made by {' and '.join(rows)}. Name one of these, or open it "
            "with other rows=."
        )
    return name


def _coordinate(source: Source, dimension: str) -> NeighbourArray:
    """The coordinate of a dimension.

    Raises
    ------
    SpecError
        If there is none, or it is not one number for each index.
    """
    found = neighbour(source, dimension, f"the coordinate {dimension!r} of the rows")
    layout, names = matrix_layout(source), matrix_dimensions(source)
    assert layout is not None
    assert names is not None
    extent = layout.extents[list(names).index(dimension)]
    if found.values.shape != (extent,) or found.values.dtype.kind not in "iufM":
        raise SpecError(
            f"{found.place} is {found.values.dtype} of shape {found.values.shape}, and {source.name} has {extent:,} along {dimension}. "
            "Write one number for each; where the array has just grown, its coordinate must too."
        )
    return found


def _times(found: NeighbourArray) -> Times:
    return read_times(found.values, found.attributes, found.place)


def _numbers(found: NeighbourArray) -> Real:
    """What a trend is along: days where they are times, else the numbers themselves."""
    if found.values.dtype.kind == "M" or " since " in str(found.attributes.get("units", "")):
        return _times(found).days
    return _finite(found.values, found.place)


def _finite(values: Any, where: str) -> Real:
    given = as_array(values)
    if given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise SpecError(
            f"{where} has entries that are no finite numbers. Pass one number for each row."
        )
    return given.astype(np.float64)


def _spread(source: Source, dimension: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What belongs to one dimension of the rows, for each row."""
    layout, names = matrix_layout(source), matrix_dimensions(source)
    assert layout is not None
    assert names is not None
    axis = list(names).index(dimension)
    extents = tuple(layout.extents[a] for a in layout.row_axes)
    shape = [layout.extents[a] if a == axis else 1 for a in layout.row_axes]
    return np.ascontiguousarray(np.broadcast_to(values.reshape(shape), extents)).reshape(-1)


def given_rows(source: Source, labels: Any, of: str | None) -> LabelledRows:
    """Rows by labels of the caller.

    Raises
    ------
    SpecError
        If they are not one integer for each row.
    """
    keys = as_array(labels)
    m = source.shape[0]
    if of is not None:
        raise SpecError(f"of={of!r} names a coordinate, and by= is an array. Leave it out.")
    if keys.shape != (m,) or keys.dtype.kind not in "iu":
        raise SpecError(
            f"by= is {keys.dtype} of shape {keys.shape}, and {source.name} has {m:,} rows. Pass {', '.join(FIELDS)}, or one integer "
            "for each row."
        )
    return LabelledRows(keys.astype(np.int64), None, np.ones(m, bool), lambda key: f"label {key}")


def with_reference(source: Source, rows: LabelledRows, reference: Any) -> LabelledRows:
    """The same with the rows that the caller wants fitted.

    Raises
    ------
    SpecError
        If they are not one boolean for each row, some of them true.
    """
    mask = as_array(reference)
    if mask.shape != (source.shape[0],) or mask.dtype.kind != "b" or not mask.any():
        raise SpecError(
            f"reference= is {mask.dtype} of shape {mask.shape}, and {source.name} has {source.shape[0]:,} rows. Pass booleans, one for "
            "each row, true for those that are fitted."
        )
    return replace(rows, reference=mask)


def with_times(source: Source, rows: LabelledRows, times: Any) -> LabelledRows:
    """The same with times of the caller.

    Raises
    ------
    SpecError
        If they are not one finite number for each row.
    """
    given = _finite(times, "the times of the trend")
    if given.shape != (source.shape[0],):
        raise SpecError(
            f"the times of the trend have shape {given.shape}, and {source.name} has {source.shape[0]:,} rows. Pass one for each."
        )
    return replace(rows, times=given, asked=None)

"""Whether what a user gave with labels, weights or a mask, lies at the places that the matrix has: held against its coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.store.sources.times import usual_dates

Array = npt.NDArray[Any]
CLOSE = 1e-6
"""Relative difference up to which coordinates are the same: they may have been written in single precision."""
SAME_TIME = np.timedelta64(1, "ms")
"""Times are the same up to this: days are stored as fractions."""


def given_coordinates(given: Any, side: Sequence[Dimension] = ()) -> tuple[Coordinate, ...]:
    """What stands along the dimensions of what a user gave: a DataArray, a Series of pandas, or values that keep them.

    Parameters
    ----------
    given
        Anything; what has no labels has no coordinates.
    side
        The dimensions that make the rows, or the columns: a Series lies along the one that there is.
    """
    kept = getattr(given, "coordinates", None)
    if isinstance(kept, tuple) and all(isinstance(c, Coordinate) for c in kept):
        if kept and not kept[0].name and len(side) == 1:  # of a Series, kept before this was known
            return (replace(kept[0], name=side[0].name, dims=(side[0].name,)),)
        return kept
    if hasattr(given, "dims") and hasattr(given, "coords") and hasattr(given, "variable"):
        from streamsvd.store.sources.objects.xarray_variables import xarray_context

        context = xarray_context(given, None)
        found = [context.find(str(dim)) for dim in given.dims if str(dim) in context.beside]
        near = [variable.as_neighbour() for variable in found]
        return tuple(
            Coordinate.of(v.name, [str(d) for d in v.dims or ()], v.values, v.attributes)
            for v in near
        )
    index = getattr(given, "index", None)
    if index is None or not hasattr(given, "iloc") or len(side) != 1:
        return ()
    values = index.to_numpy()
    if values.dtype.kind in "iu" and np.array_equal(values, np.arange(values.size)):
        return ()  # counted, not named
    if values.dtype.kind == "O" and any(not isinstance(v, str | int | float) for v in values):
        return ()  # levels, or what has no text of its own
    return (Coordinate.of(side[0].name, (side[0].name,), values),)


def check_places(given: Any, labels: Labels, side: Sequence[Dimension], name: str) -> None:
    """Refuse what has labels that contradict those of a matrix.

    Parameters
    ----------
    given
        Weights or a mask, as the user gave them.
    labels
        Of the matrix.
    side
        Its dimensions that they lie along.
    name
        How messages call what was given.

    Raises
    ------
    SpecError
        It names the coordinate and the first place that differs.
    """
    names = {dimension.name for dimension in side}
    wanted = [c for c in labels.coordinates if c.dims == (c.name,) and c.name in names]
    check_coordinates(given_coordinates(given, side), wanted, name, "the matrix")


def check_coordinates(
    its: Iterable[Coordinate], wanted: Iterable[Coordinate], name: str, owner: str
) -> None:
    """Refuse coordinates with other values than those of the same name; of another length they are left to who checks shapes.

    Raises
    ------
    SpecError
        It names the coordinate and the first place that differs.
    """
    known = {c.name: c for c in wanted}
    for mine in its:
        other = known.get(mine.name)
        if other is None or len(mine.array) != len(other.array):
            continue
        a, b = _comparable(mine, other)
        differ = _differ(a, b)
        if differ.any():
            at = int(np.argmax(differ))
            raise SpecError(
                f"{name} has {mine.name}={_show(a[at])} at place {at:,}, where {owner} has {_show(b[at])} ({int(np.sum(differ)):,} of "
                f"{differ.size:,} differ). Bring it to the same coordinates: sortby, reindex_like or interp_like."
            )


def _comparable(mine: Coordinate, other: Coordinate) -> tuple[Array, Array]:
    """Values of both in the same terms: dates where both are dates, numbers of one unit, or texts."""
    times = [usual_dates(c.array, c.attributes) for c in (mine, other)]
    if times[0] is not None and times[1] is not None:
        return times[0], times[1]
    return mine.array, other.array


def _differ(a: Array, b: Array) -> npt.NDArray[np.bool_]:
    """Where values differ, by more than rounding."""
    if a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        one, two = a.astype(np.float64), b.astype(np.float64)
        size = float(np.abs(two[np.isfinite(two)]).max(initial=0))
        same = (one == two) | (np.abs(one - two) <= CLOSE * size) | (np.isnan(one) & np.isnan(two))
        return ~np.asarray(same, bool)
    if a.dtype.kind == b.dtype.kind == "M":
        return np.asarray(np.abs(a - b) > SAME_TIME, bool)
    return np.array([str(x) != str(y) for x, y in zip(a, b, strict=True)], bool)


def _show(value: Any) -> str:
    """A value in words: a date without the part of the day that is 0."""
    return str(value).removesuffix(".000000").removesuffix("T00:00:00")

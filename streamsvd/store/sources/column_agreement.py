"""Whether two matrices have the same columns, as far as their labels tell: dimensions, all coordinates along them, units.

What one of them does not say is no difference. Dimensions that are called otherwise are compared by their places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.labels import Coordinate, Labels, TextValues

TOLERANCE = 1e-4
"""Numbers are the same label where they differ by no more than this part of the usual step between neighbours."""
SPELLINGS = (
    {"k", "kelvin", "degk", "degree_k", "degrees_k", "degree_kelvin"},
    {"degc", "c", "celsius", "°c", "degree_c", "degrees_c", "degree_celsius", "degrees_celsius"},
    {"1", "", "dimensionless", "none", "-"},
    {"m", "metre", "meter", "metres", "meters"},
    {"m/s", "m s-1", "m s**-1", "m s^-1", "m.s-1", "meter second-1"},
    {"kg/kg", "kg kg-1", "kg kg**-1", "kg kg^-1", "1"},
)
"""Units that are one."""


@dataclass(frozen=True, slots=True)
class ColumnDifference:
    """How columns of two matrices differ.

    Attributes
    ----------
    mine, theirs
        What the first and the second say, in words; the second begins with what it says it of.
    """

    mine: str
    theirs: str

    def sentence(self, owner: str, other: str) -> str:
        """The difference of the columns of ``other`` from those of ``owner``."""
        return (self.theirs + self.mine).replace("{owner}", owner).replace("{other}", other) + "."


def column_difference(mine: Labels, theirs: Labels) -> ColumnDifference | None:
    """The first difference of columns that labels tell; None where they tell none."""
    names, others = [d.name for d in mine.columns], [d.name for d in theirs.columns]
    if names != others and sorted(names) == sorted(others):
        return ColumnDifference(
            f"those of {{owner}} of {', '.join(names)}",
            f"the columns of {{other}} are made of the dimensions {', '.join(others)}, ",
        )
    found = _unit_difference(mine, theirs)
    for coordinate in mine.column_coordinates:
        found = found or coordinate_difference(coordinate, _counterpart(coordinate, mine, theirs))
    return found


def _unit_difference(mine: Labels, theirs: Labels) -> ColumnDifference | None:
    """Numbers in two units."""
    here, there = (str(labels.attributes.get("units", "")) for labels in (mine, theirs))
    if not here or not there or same_unit(here, there):
        return None
    return ColumnDifference(f"{{owner}} in {here!r}", f"{{other}} is in {there!r}, ")


def same_unit(one: str, other: str) -> bool:
    """Whether two spellings are one unit."""
    a, b = (" ".join(text.lower().split()) for text in (one, other))
    return a == b or any({a, b} <= group for group in SPELLINGS)


def _counterpart(wanted: Coordinate, mine: Labels, theirs: Labels) -> Coordinate | None:
    """The coordinate of the same name and dimensions; of a dimension that is called otherwise, the one in its place."""
    places = {}
    if [d.length for d in mine.columns] == [d.length for d in theirs.columns]:
        pairs = zip(mine.columns, theirs.columns, strict=True)
        places = {a.name: b.name for a, b in pairs}
    dims = tuple(places.get(name, name) for name in wanted.dims)
    found = theirs.coordinate(wanted.name)
    if found is not None and found.dims in (wanted.dims, dims):
        return found
    if wanted.dims == (wanted.name,):
        found = theirs.coordinate(dims[0])
        if found is not None and found.dims == dims:
            return found
    return None


def coordinate_difference(mine: Coordinate, its: Coordinate | None) -> ColumnDifference | None:
    """How the values of two coordinates differ; None where they do not, or one is not there."""
    if its is None:
        return None
    name = mine.name if its.name == mine.name else f"{its.name}, in the place of {mine.name},"
    if mine.units and its.units and not same_unit(mine.units, its.units):
        return ColumnDifference(
            f"that of {{owner}} in {mine.units!r}", f"{name} of {{other}} is in {its.units!r}, "
        )
    one, other = mine.array.reshape(-1), its.array.reshape(-1)
    count = min(one.size, other.size)
    differs = ~same_values(one[:count], other[:count], usual_step(mine))
    if differs.any():
        i = int(np.argmax(differs))
        return ColumnDifference(
            f"at {i} it is {show_label(other[i])}, {{owner}} has {show_label(one[i])}",
            f"{name} of {{other}} differs from that of {{owner}}: ",
        )
    if one.size != other.size:
        return ColumnDifference(
            f"that of {{owner}} {one.size:,}", f"{name} of {{other}} has {other.size:,} values, "
        )
    return None


def usual_step(coordinate: Coordinate) -> float:
    """The usual step between neighbours that differ, or the size of all where none do; 0 of texts."""
    if isinstance(coordinate.values, TextValues) or coordinate.values.dtype.kind not in "iuf":
        return 0.0
    values = coordinate.values.astype(np.float64)
    values = values.reshape(-1)
    values = values[np.isfinite(values)]
    steps = np.abs(np.diff(values))
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else float(np.abs(values).max(initial=0.0))


def same_values(
    one: npt.NDArray[Any], other: npt.NDArray[Any], step: float
) -> npt.NDArray[np.bool_]:
    """Which labels are the same: numbers but for rounding, nothing and nothing, texts letter for letter."""
    numbers = one.dtype.kind in "biuf" and other.dtype.kind in "biuf"
    if not numbers:
        return np.array([str(a) == str(b) for a, b in zip(one, other, strict=True)], bool)
    a, b = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinite labels
        near = np.abs(a - b) <= TOLERANCE * step
    return np.asarray(near | (a == b) | (np.isnan(a) & np.isnan(b)))


def show_label(value: Any) -> str:
    """A label in a message."""
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def taken_along(coordinate: Coordinate, places: dict[str, npt.NDArray[np.intp]]) -> Coordinate:
    """A coordinate at some places of each of its dimensions."""
    values = coordinate.array
    for axis, name in enumerate(coordinate.dims):
        if name in places:
            values = np.take(values, places[name], axis=axis)
    kept: Any = (
        TextValues.of(values.reshape(-1)) if isinstance(coordinate.values, TextValues) else values
    )
    return replace(coordinate, values=kept)

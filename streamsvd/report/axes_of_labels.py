"""What stands along the axes of a plot: places and names of rows and columns, from the labels of a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.labels import COLUMN, ROW, Coordinate, Dimension, Labels
from streamsvd.store.sources.times import USUAL, read_times

LATITUDES, LONGITUDES = ("lat", "latitude", "nav_lat"), ("lon", "longitude", "nav_lon")
DAY_US = 86_400_000_000
MOST_BARS = 40
"""Columns up to which each has a bar."""


@dataclass(frozen=True, slots=True, eq=False)
class AxisValues:
    """One axis.

    Attributes
    ----------
    label
        What is written beside it: name and unit.
    values
        Numbers or dates along it, one for each place; ``0, 1, ...`` where nobody knows.
    names
        Texts in the place of numbers; None where there are none.
    role
        ``"latitude"``, ``"longitude"``, ``"time"`` or empty.
    has_values
        Whether the values are from labels, and not numbers of places.
    """

    label: str
    values: npt.NDArray[Any]
    names: tuple[str, ...] | None = None
    role: str = ""
    has_values: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class ColumnGeometry:
    """What a row of ``n`` entries is drawn as.

    Attributes
    ----------
    kind
        ``"map"``: a grid of latitudes and longitudes; ``"image"``: any other grid; ``"points"``: places with a latitude and a longitude each;
        ``"line"``; ``"bars"``: few columns that have names.
    axes
        Of a grid down and across, of points latitude and longitude, of others the one.
    shape
        Of a grid.
    first
        Where several slices make the columns, which one is drawn, in words.
    """

    kind: str
    axes: tuple[AxisValues, ...]
    shape: tuple[int, ...] = ()
    first: str = ""

    def field(self, row: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The entries that are drawn, in the shape that they are drawn in."""
        return row.reshape(-1, *self.shape)[0] if self.shape else row


def column_geometry(labels: Labels, n: int) -> ColumnGeometry:
    """How the columns of a result are drawn."""
    dimensions = tuple(d for d in labels.columns if d.length > 1)
    if not labels.columns or math.prod(d.length for d in labels.columns) != n:
        return _bars_or_line(_numbers(COLUMN, n), n)
    if len(dimensions) < 2:
        return _one_dimension(labels, n)
    down, across = dimensions[-2:]
    axes = tuple(_axis(labels, d) for d in (down, across))
    roles = {axis.role for axis in axes}
    first = ""
    if len(dimensions) > 2:
        words = [f"{d.name} {_first_value(labels, d)}" for d in dimensions[:-2]]
        first = f"{', '.join(words)}, the first of {math.prod(d.length for d in dimensions[:-2]):,}"
    kind = "map" if roles == {"latitude", "longitude"} else "image"
    return ColumnGeometry(kind, axes, (down.length, across.length), first)


def _one_dimension(labels: Labels, n: int) -> ColumnGeometry:
    along = next((d for d in labels.columns if d.length > 1), labels.columns[-1])
    beside = [c for c in labels.column_coordinates if c.dims == (along.name,)]
    found = {_role(c): c for c in beside}
    if "latitude" in found and "longitude" in found and found["latitude"].name != along.name:
        places = tuple(
            AxisValues(role, np.asarray(found[role].array, np.float64), role=role)
            for role in ("latitude", "longitude")
        )
        if all(np.isfinite(axis.values).all() for axis in places):
            return ColumnGeometry("points", places)
    return _bars_or_line(_axis(labels, along), n)


def _bars_or_line(axis: AxisValues, n: int) -> ColumnGeometry:
    """Few columns that have names, or nothing but numbers, are bars."""
    if n <= MOST_BARS and not axis.has_values:
        axis = replace(axis, names=tuple(str(i) for i in range(n)))
    return ColumnGeometry("bars" if axis.names and n <= MOST_BARS else "line", (axis,))


def row_axis(labels: Labels, m: int) -> AxisValues:
    """What the rows of a result lie along."""
    if len(labels.rows) == 1 and labels.rows[0].length == m:
        return _axis(labels, labels.rows[0])
    if len(labels.rows) > 1 and math.prod(d.length for d in labels.rows) == m:
        return _numbers(f"{ROW}, along {' × '.join(d.name for d in labels.rows)}", m)
    return _numbers(ROW, m)


def _numbers(label: str, count: int) -> AxisValues:
    return AxisValues(label, np.arange(count), has_values=False)


def _axis(labels: Labels, dimension: Dimension) -> AxisValues:
    """Along one dimension: its coordinate where it has one that can be drawn."""
    found = labels.coordinate(dimension.name)
    if found is None or found.dims != (dimension.name,):
        return _numbers(dimension.name, dimension.length)
    array = found.array
    if array.dtype.kind == "O":
        return AxisValues(found.name, np.arange(array.size), tuple(map(str, array)))
    role = _role(found)
    if role == "time":
        times = _times(found)
        return times or _numbers(dimension.name, dimension.length)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        return _numbers(dimension.name, dimension.length)
    return AxisValues(_label(found), array.astype(np.float64), role=role)


def _label(coordinate: Coordinate) -> str:
    """Its long name and its unit."""
    name = str(
        coordinate.attributes.get("long_name")
        or coordinate.attributes.get("standard_name")
        or coordinate.name
    )
    units = coordinate.units
    return f"{name} in {units}" if units not in ("", "1") else name


def _role(coordinate: Coordinate) -> str:
    """Whether it is a latitude, a longitude or a time."""
    units, name = coordinate.units.lower(), coordinate.name.lower()
    standard = str(coordinate.attributes.get("standard_name", ""))
    if np.asarray(coordinate.array).dtype.kind not in "iuf":
        return ""
    if " since " in units:
        return "time"
    if standard == "latitude" or units.startswith("degrees_n") or name in LATITUDES:
        return "latitude"
    if standard == "longitude" or units.startswith("degrees_e") or name in LONGITUDES:
        return "longitude"
    return ""


def _times(coordinate: Coordinate) -> AxisValues | None:
    """Dates, or years and their fractions in a calendar that dates have not; None where they cannot be read."""
    calendar = str(coordinate.attributes.get("calendar") or "standard").lower()
    try:
        found = read_times(np.asarray(coordinate.array), coordinate.attributes, coordinate.name)
    except SpecError:
        return None
    if calendar in USUAL:
        dates = np.rint(found.days * DAY_US).astype(np.int64).astype("M8[us]")
        return AxisValues(coordinate.name, dates, role="time")
    length = {"360_day": 360, "noleap": 365, "365_day": 365}.get(calendar, 366)
    years = found.day // 10000 + (found.dayofyear - 1 + found.hour / 24) / length
    return AxisValues(f"{coordinate.name}, year ({calendar})", years, role="year")


def _first_value(labels: Labels, dimension: Dimension) -> str:
    axis = _axis(labels, dimension)
    if axis.names:
        return axis.names[0]
    value = axis.values[0]
    text = str(value.astype("M8[s]")) if axis.values.dtype.kind == "M" else f"{float(value):g}"
    return f"{text} {axis.label.rpartition(' in ')[2]}" if " in " in axis.label else text


def shorten(names: Sequence[str], most: int = 18) -> list[str]:
    """Long names cut, so that they fit beside an axis."""
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in names]

"""Weights of columns by the dimensions that make them: the cosine of the latitude, or an array beside the matrix.

A weight counts in sums of squares, as the area of a cell does in a mean over the sphere; so the factor of a column is its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.checks.masks import require_unmasked
from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import plain_labels, source_labels
from streamsvd.store.sources.neighbours import (
    NeighbourArray,
    has_neighbours,
    in_order,
    matrix_dimensions,
    names_of,
    neighbour,
)
from streamsvd.store.sources.same_places import check_places
from streamsvd.typing import Real

COSINE, COSINE_OF_LATITUDE = "cos", "coslat"
"""Weights that are computed: that of a latitude in degrees, and of the one that is found among the columns."""
LATITUDE_NAMES = ("lat", "latitude")
LATITUDE_UNITS = (
    "degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn",
)  # fmt: skip
"""Of the CF conventions, 4.1, in small letters."""
LATITUDE_STANDARDS = ("latitude", "grid_latitude")


def column_factors(source: Source, weights: str | Mapping[str, Any], name: str = "weights") -> Real:
    """One factor for each column, in the order of the columns.

    Parameters
    ----------
    source
        A matrix whose dimensions have names.
    weights
        ``"coslat"``, the cosine of the latitude among the columns; the name of an array beside the matrix, such as
        ``"cell_area"``; or of each dimension that has weights ``"cos"``, for a latitude, the name of an array along it, or an
        array.
    name
        How messages call them.

    Returns
    -------
    factors
        ``(n,)``: the root of the weight.

    Raises
    ------
    SpecError
        If a dimension makes no columns, has no coordinate, is no latitude, or a weight is none.
    """
    table = _Columns.of(source)
    if isinstance(weights, str):
        asked = f"{name}={weights!r}"
        if weights == COSINE_OF_LATITUDE:
            product = table.cosine(table.latitude(asked), asked)
        else:
            product = table.weights(weights, asked, table.names)
        return np.sqrt(product).reshape(-1)
    product = np.ones(table.extents)
    for along, kind in weights.items():
        shown = repr(kind) if isinstance(kind, str) else "an array"
        asked = f"{name} {{{along} = {shown}}}"
        if along not in table.names:
            raise SpecError(
                f"{asked} is of {table.role(along)}; columns of {source.name} are made by {', '.join(table.names)}. Name one of "
                "these."
            )
        if not isinstance(kind, str):
            product = product * table.along(along, kind, asked)
        elif kind == COSINE:
            product = product * table.cosine(along, asked)
        else:
            product = product * table.weights(kind, asked, [along])
    return np.sqrt(product).reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The dimensions that make the columns of a matrix, and what lies along them.

    Attributes
    ----------
    source, labels
        The matrix, and what it says of itself.
    names, extents
        Of those dimensions.
    """

    source: Source
    labels: Labels
    names: list[str]
    extents: tuple[int, ...]

    @classmethod
    def of(cls, source: Source) -> _Columns:
        """Of a matrix with names.

        Raises
        ------
        SpecError
            If its dimensions have none.
        """
        labels = source_labels(source)
        names = [dimension.name for dimension in labels.columns]
        plain = [dimension.name for dimension in plain_labels(source).columns]
        if matrix_dimensions(source) is None and names == plain:
            raise SpecError(
                f"weights by dimension need names of dimensions, and {source.name} has none. Write it with names, as xarray does, "
                "or pass column_weights=."
            )
        extents = tuple(dimension.length for dimension in labels.columns)
        return cls(source, labels, names, extents)

    def dimension(self, name: str) -> Dimension:
        """One of those that make the columns."""
        return self.labels.columns[self.names.index(name)]

    def role(self, name: str) -> str:
        """What a dimension that makes no columns is."""
        rows = [dimension.name for dimension in self.labels.rows]
        return (
            f"the dimension {name!r}, which makes rows"
            if name in rows
            else f"no dimension {name!r}"
        )

    def latitude(self, asked: str) -> str:
        """The name of the latitude among the columns: along a dimension of its name, or along several.

        Raises
        ------
        SpecError
            If there is none, or more than one.
        """
        there = [c.name for c in self.labels.column_coordinates if is_latitude(c)]
        named = [name for name in self.names if name.lower() in LATITUDE_NAMES]
        found = [name for name in there if name in self.names] or named or there
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} of them: {', '.join(found)}" if found else "none"
        raise SpecError(
            f"{asked} needs one latitude among the columns, and there is {what}. Columns of {self.source.name} are made by "
            f"{', '.join(self.names)}. Name it, such as {{'lat': 'cos'}}, or give the coordinate units=degrees_north."
        )

    def beside(self, name: str, asked: str) -> NeighbourArray:
        """An array beside the matrix, or a coordinate that it has.

        Raises
        ------
        SpecError
            If there is neither.
        """
        try:
            return neighbour(self.source, name, f"{asked}: {name!r}")
        except SpecError as error:
            found = self.labels.coordinate(name)
            if found is None:
                if has_neighbours(self.source) or not self.labels.coordinates:
                    raise
                has = ", ".join(c.name for c in self.labels.column_coordinates) or "none"
                raise SpecError(
                    f"{asked}: {self.source.name} has no coordinate {name!r} along its columns, only {has}."
                ) from error
            place = f"the coordinate {name!r} of {self.source.name}"
            return NeighbourArray(name, place, found.array, found.dims, found.attributes)

    def cosine(self, name: str, asked: str) -> Real:
        """The cosine of a latitude."""
        found = self.beside(name, asked)
        dims = [name] if name in self.names else self.names
        values = self._over_columns(found, asked, dims)
        units = str(found.attributes.get("units", "degrees")).lower()
        standard = str(found.attributes.get("standard_name", ""))
        east = "east" in units or standard.endswith("longitude")
        most = float(np.abs(values).max())
        if east or not units.startswith("deg") or not most <= 90:
            what = (
                f"goes to {most:g}"
                if not most <= 90
                else f"has units={found.attributes.get('units')!r}"
            )
            raise SpecError(
                f"{asked} needs a latitude in degrees, and {found.place} {what}. Name the dimension of the latitude."
            )
        return np.clip(np.cos(np.deg2rad(values)), 0.0, 1.0)

    def weights(self, name: str, asked: str, dims: Sequence[str]) -> Real:
        """Weights that are an array beside the matrix, along some of its dimensions."""
        found = self.beside(name, asked)
        values = self._over_columns(found, asked, dims)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise SpecError(
                f"{asked}: {found.place} has weights that are negative or missing. Write 0 where a cell does not count."
            )
        return values

    def along(self, name: str, given: Any, asked: str) -> Real:
        """Weights that the caller has, along one dimension.

        Raises
        ------
        SpecError
            If they are not as many as its indices, or no weights.
        """
        check_places(given, self.labels, [self.dimension(name)], asked)
        its = names_of(given)
        if its and its != (name,) and set(its) & set(self.names):
            raise SpecError(
                f"{asked} lies along {', '.join(its)}. Pass one that lies along {name}."
            )
        values = require_unmasked(given, asked)
        extent = self.extents[self.names.index(name)]
        if values.shape != (extent,) or values.dtype.kind not in "biuf":
            raise SpecError(
                f"{asked} is {values.dtype} of shape {values.shape}, and {self.source.name} has {extent:,} along {name}. Pass one "
                "number for each."
            )
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise SpecError(f"{asked} has weights that are negative or missing. Pass 0 for none.")
        whole = NeighbourArray(name, asked, values, (name,), {})
        return np.asarray(in_order(whole, self.names, self.extents), np.float64)

    def _over_columns(self, found: NeighbourArray, asked: str, dims: Sequence[str]) -> Real:
        """Values of an array over these dimensions alone, over all columns."""
        its: Any = found.dims
        if its is None or not set(its) <= set(dims) or found.values.dtype.kind not in "iuf":
            raise SpecError(
                f"{asked}: {found.place} is {found.values.dtype} over {its}, and numbers over {' and '.join(dims)} are needed."
            )
        values = in_order(found, self.names, self.extents)
        if values.shape != self.extents:
            raise SpecError(
                f"{asked}: {found.place} has shape {found.values.shape}, which is not that of its dimensions here. Write it anew."
            )
        return np.asarray(values, np.float64)


def is_latitude(coordinate: Coordinate) -> bool:
    """Whether a coordinate is a latitude, by its units, its standard name or its own."""
    units = str(coordinate.attributes.get("units", "")).lower()
    standard = str(coordinate.attributes.get("standard_name", ""))
    if units in LATITUDE_UNITS or standard in LATITUDE_STANDARDS:
        return True
    return coordinate.name.lower() in LATITUDE_NAMES and not standard and units in ("", "degrees")

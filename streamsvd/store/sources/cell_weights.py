"""Weights of columns by the dimensions that make them: the cosine of the latitude, or an array beside the matrix.

A weight counts in sums of squares, as the area of a cell does in a mean over the sphere; so the factor of a column is its root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.columns import column_extents
from streamsvd.store.sources.neighbours import (
    NeighbourArray,
    in_order,
    matrix_dimensions,
    matrix_layout,
    neighbour,
)
from streamsvd.typing import Real

COSINE = "cos"
"""The weight that is computed: that of a latitude in degrees."""


def column_factors(source: Source, weights: str | Mapping[str, str]) -> Real:
    """One factor for each column, in the order of the columns.

    Parameters
    ----------
    source
        An array of a zarr group whose dimensions have names.
    weights
        The name of an array beside it, such as ``"cell_area"``; or of each dimension that has weights ``"cos"``, for a latitude,
        or the name of an array along it.

    Raises
    ------
    SpecError
        If a dimension makes no columns, has no coordinate, is no latitude, or a weight is none.
    """
    columns = _column_dimensions(source)
    extents = column_extents(source)
    if isinstance(weights, str):
        return np.sqrt(
            _weights_of(source, weights, f"weights={weights!r}", columns, extents)
        ).reshape(-1)
    product = np.ones(extents)
    for name, kind in weights.items():
        asked = f"weights {{{name} = {kind!r}}}"
        if name not in columns:
            raise SpecError(
                f"{asked} is of {_role(source, name)}; columns of {source.name} are made by {', '.join(columns)}. Name one of these."
            )
        if kind == COSINE:
            product = product * _cosine(source, name, asked, columns, extents)
        else:
            product = product * _weights_of(source, kind, asked, [name], extents, columns)
    return np.sqrt(product).reshape(-1)


def _column_dimensions(source: Source) -> list[str]:
    """Names of the dimensions that make the columns.

    Raises
    ------
    SpecError
        If they have none.
    """
    names, layout = matrix_dimensions(source), matrix_layout(source)
    if layout is None or names is None:
        raise SpecError(
            f"weights by dimension need names of dimensions, and {source.name} has none. Write it with names, as xarray does, "
            "or pass column_weights=."
        )
    return [str(names[axis]) for axis in layout.column_axes]


def _role(source: Source, name: str) -> str:
    names = matrix_dimensions(source) or ()
    return (
        f"the dimension {name!r}, which makes rows" if name in names else f"no dimension {name!r}"
    )


def _cosine(
    source: Source, name: str, asked: str, columns: list[str], extents: tuple[int, ...]
) -> Real:
    """The cosine of a latitude."""
    found = neighbour(source, name, f"{asked}: {name!r}")
    values = _along(found, asked, [name], extents, columns)
    units = str(found.attributes.get("units", "degrees")).lower()
    east = "east" in units or str(found.attributes.get("standard_name", "")).endswith("longitude")
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


def _weights_of(
    source: Source,
    name: str,
    asked: str,
    dims: list[str],
    extents: tuple[int, ...],
    columns: list[str] | None = None,
) -> Real:
    """Weights that are an array beside the matrix, along some of its dimensions."""
    found = neighbour(source, name, f"{asked}: {name!r}")
    values = _along(found, asked, dims, extents, columns or dims)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise SpecError(
            f"{asked}: {found.place} has weights that are negative or missing. Write 0 where a cell does not count."
        )
    return values


def _along(
    found: NeighbourArray,
    asked: str,
    dims: Sequence[str],
    extents: tuple[int, ...],
    columns: Sequence[str],
) -> Real:
    """Values of an array over these dimensions alone, over all columns."""
    its: Any = found.dims
    if its is None or not set(its) <= set(dims) or found.values.dtype.kind not in "iuf":
        raise SpecError(
            f"{asked}: {found.place} is {found.values.dtype} over {its}, and numbers over {' and '.join(dims)} are needed."
        )
    values = in_order(found, list(columns), extents)
    if values.shape != extents:
        raise SpecError(
            f"{asked}: {found.place} has shape {found.values.shape}, which is not that of its dimensions here. Write it anew."
        )
    return np.asarray(values, np.float64)

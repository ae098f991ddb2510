"""A DataArray as a matrix, and arrays over its columns in the order of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from streamsvd.engine.opening import open
from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.same_places import check_coordinates, given_coordinates

Dims = str | Sequence[str]


def row_names(dim: Dims) -> tuple[str, ...]:
    """The dimensions of the rows."""
    return (dim,) if isinstance(dim, str) else tuple(dim)


def check_field(field: Any, dim: Dims) -> None:
    """Refuse what is no field with these dimensions and others.

    Raises
    ------
    SpecError
        If it is no DataArray, or lacks a dimension; it lists those that there are.
    ShapeError
        If no dimension is left for the columns, or there is no entry.
    """
    if isinstance(field, xr.Dataset):
        names = ", ".join(map(str, field.data_vars)) or "none"
        raise SpecError(
            f"a Dataset was passed, with the variables {names}. Pass one of them, such as dataset[name]; to take several together, "
            'stack them first: dataset.to_stacked_array("column", [dim]).'
        )
    if not isinstance(field, xr.DataArray):
        raise SpecError(
            f"{type(field).__module__}.{type(field).__qualname__} is no DataArray. Pass one, such as xarray.open_dataset(path)[name]; "
            "streamsvd.pca takes matrices."
        )
    rows = row_names(dim)
    sizes = ", ".join(f"{name}: {size}" for name, size in field.sizes.items())
    strange = [name for name in rows if name not in field.dims]
    if strange or not rows or len(set(rows)) != len(rows):
        raise SpecError(
            f"dim={dim!r} must name one or more different dimensions of the field, which has ({sizes}). "
            "Name those whose values are the observations."
        )
    if len(rows) == field.ndim:
        raise ShapeError(
            f"dim={dim!r} takes every dimension of the field, which has ({sizes}). Leave one for the columns."
        )
    if field.size == 0:
        raise ShapeError(f"the field is empty: ({sizes}). Select what has entries.")


def open_field(field: Any, dim: Dims) -> Source:
    """The matrix of a field: rows along the dimensions named, columns along the others in their order.

    Raises
    ------
    SpecError, ShapeError
        As `check_field`, and what `streamsvd.open` refuses.
    """
    check_field(field, dim)
    return open(field, rows=row_names(dim))


def over_columns(given: Any, field: Any, dim: Dims, name: str) -> Any:
    """What has one value for each column, in the shape of the dimensions of the columns; anything else as it came.

    Parameters
    ----------
    given
        A DataArray over some of those dimensions, or an array that broadcasts to them.
    field, dim
        The field, and the dimensions of its rows.
    name
        How messages call it.

    Raises
    ------
    SpecError
        If a DataArray has other dimensions or coordinates.
    ShapeError
        If an array has another shape.
    """
    columns = {n: s for n, s in field.sizes.items() if n not in row_names(dim)}
    made = ", ".join(f"{n}: {s}" for n, s in columns.items())
    if isinstance(given, xr.DataArray):
        strange = [n for n in given.dims if n not in columns]
        if strange:
            raise SpecError(
                f"{name} lies along {', '.join(map(str, strange))}, and columns are made by ({made}). Select one along it, or name it in "
                "the field."
            )
        for along, size in given.sizes.items():
            if size != columns[along]:
                raise ShapeError(
                    f"{name} has {size:,} along {along}, and columns are made by ({made}). Pass one for each."
                )
        check_coordinates(given_coordinates(given), given_coordinates(field), name, "the field")
        missing = {n: s for n, s in columns.items() if n not in given.dims}
        return given.expand_dims(missing).transpose(*columns).to_numpy()
    if given is None or isinstance(given, str | dict):
        return given
    values, extents = np.ma.asanyarray(given), tuple(columns.values())
    if values.shape == (int(np.prod(extents)),):
        return given
    try:
        shown = np.broadcast_shapes(values.shape, extents)
    except ValueError:
        shown = ()
    if shown != extents:
        raise ShapeError(
            f"{name} has shape {values.shape}, and columns are made by ({made}). Pass one for each column, in their shape."
        )
    return np.broadcast_to(values, extents, subok=True)

"""The labels of an array that is written: dimensions, and the coordinates along them beside it, as xarray writes and reads them."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr

from streamsvd.checks.paths import PathOrUrl
from streamsvd.labels import MODE, ROW, Coordinate, Dimension, Labels, TextValues
from streamsvd.store.places import Location, location_of

MARK = "streamsvd_rows"
"""Attribute of a group that we wrote, which may be replaced."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayLabels:
    """What an array of rows is written with.

    Attributes
    ----------
    name
        Of the array in its group, where it has coordinates.
    dims
        Its dimensions: one of rows, and those that columns come from.
    coordinates
        What lies along them.
    attributes
        Plain values.
    """

    name: str
    dims: tuple[Dimension, ...]
    coordinates: tuple[Coordinate, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return tuple(d.length for d in self.dims)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return tuple(d.name for d in self.dims)


def score_labels(rows: Labels, k: int) -> ArrayLabels:
    """Of scores: the rows of a source, and components."""
    along, coordinates = _rows_of(rows)
    return ArrayLabels("scores", (along, Dimension(MODE, k)), coordinates)


def matrix_labels(rows: Labels, columns: Labels, name: str) -> ArrayLabels:
    """Of rows of a matrix: the rows of one source, and the columns of another, each in the dimensions that it comes from."""
    along, coordinates = _rows_of(rows)
    taken = {along.name, *(d.name for d in columns.columns)}
    if len(taken) <= len(columns.columns):  # a name comes twice
        along, coordinates = Dimension(f"{along.name}_", along.length), ()
    return ArrayLabels(
        name, (along, *columns.columns), (*coordinates, *columns.column_coordinates), columns.attributes
    )  # fmt: skip


def _rows_of(rows: Labels) -> tuple[Dimension, tuple[Coordinate, ...]]:
    """One dimension of rows with its coordinates; several are one without any."""
    if len(rows.rows) == 1:
        return rows.rows[0], rows.row_coordinates
    return Dimension(ROW, math.prod(d.length for d in rows.rows)), ()


def create_labelled(
    place: Location,
    labels: ArrayLabels,
    *,
    chunks: tuple[int, int],
    dtype: Any,
    codecs: dict[str, Any],
) -> tuple[Any, str]:
    """A new array: by itself, or in a group with its coordinates; and where it lies in the place.

    Parameters
    ----------
    place
        Of the array, or of the group.
    labels
        Dimensions whose name is empty have none.
    chunks
        Rows and columns of a chunk.
    dtype, codecs
        Of the array.

    Returns
    -------
    array, inside
        The array, and its path within the place; empty where it is the place.
    """
    given: dict[str, Any] = {
        "shape": labels.shape, "chunks": _chunks(labels.shape, chunks), "dtype": dtype, "fill_value": 0,
        "config": {"write_empty_chunks": True}, **codecs,
    }  # fmt: skip
    if all(labels.names):
        given["dimension_names"] = labels.names
    attributes = dict(labels.attributes)
    if not labels.coordinates:
        return zarr.create_array(place.store(), attributes=attributes, **given), ""
    group = zarr.create_group(place.store(), attributes={MARK: labels.name})
    named = [c.name for c in labels.coordinates if c.dims != (c.name,)]
    if named:
        attributes["coordinates"] = " ".join(named)
    array = group.create_array(labels.name, attributes=attributes, **given)
    for coordinate in labels.coordinates:
        if coordinate.name != labels.name:
            write_coordinate(group, coordinate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that not every reader knows it: those read the rest
        zarr.consolidate_metadata(place.store())  # xarray warns where it is not
    return array, labels.name


def _chunks(shape: tuple[int, ...], chunks: tuple[int, int]) -> tuple[int, ...]:
    """Chunks of as many rows, and about as many columns, whole along all dimensions of these but the first."""
    inner = math.prod(shape[2:])
    first = max(1, min(shape[1], chunks[1] // inner))
    return (max(1, min(chunks[0], shape[0])), first, *shape[2:])


def write_coordinate(group: Any, coordinate: Coordinate) -> None:
    """Write a coordinate beside the array of a group."""
    values = coordinate.array
    texts = isinstance(coordinate.values, TextValues)
    values = values if texts or values.dtype.kind != "b" else values.astype(np.int8)
    array = group.create_array(
        coordinate.name, shape=values.shape, chunks=tuple(max(1, n) for n in values.shape), dtype=str if texts else values.dtype,
        dimension_names=coordinate.dims, attributes=dict(coordinate.attributes),
    )  # fmt: skip
    array[...] = values


def is_labelled(place: PathOrUrl) -> bool:
    """Whether a folder is a group that `create_labelled` made."""
    try:
        return MARK in zarr.open_group(location_of(place).store(read_only=True), mode="r").attrs
    except Exception:  # whatever it is, it is not ours
        return False

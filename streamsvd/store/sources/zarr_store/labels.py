"""The labels of an array in a zarr group: names of its dimensions, and the arrays of the group that lie along them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store

from streamsvd.errors import StreamSVDError
from streamsvd.labels import Coordinate, Labels
from streamsvd.store.sources.beside import MOST_ENTRIES, visible_attributes
from streamsvd.store.sources.files.annotated import annotated_labels, name_tables
from streamsvd.store.sources.labels import dimension_labels, layout_labels
from streamsvd.store.sources.zarr_store.anndata import ROOT, encoding_of
from streamsvd.store.sources.zarr_store.array import ZarrSource, dimension_names
from streamsvd.store.sources.zarr_store.neighbours import array_path, open_beside, small_array
from streamsvd.store.sources.zarr_store.sparse_groups import SparseGroup


def zarr_labels(source: ZarrSource) -> Labels:
    """What an array of a zarr store says of its rows and columns, and the coordinates beside it.

    Coordinates are the arrays of its group named as its dimensions, and those that its attribute ``coordinates`` names.
    """
    plain, path = layout_labels(source.layout), array_path(source)
    data = zarr.open_array(source.array.store, path=path, mode="r")
    attributes = dict(data.attrs)
    if (
        "encoding-type" in attributes
        and (named := _annotations(source.array.store, path, source.shape)) is not None
    ):
        return named
    found: list[Coordinate] = []
    notes: list[str] = []
    if path and source.layout.names is not None:
        extents = dict(zip(dimension_labels(source.layout), source.layout.extents, strict=True))
        more = str(attributes.get("coordinates", "")).split()
        for name in dict.fromkeys([*(n for n in source.layout.names if n), *more]):
            try:
                coordinate = _coordinate(source, name, extents)
            except StreamSVDError as error:
                notes.append(f"the coordinate {name!r} is left out: {error}")
                continue
            if coordinate is not None:
                found.append(coordinate)
    return Labels(
        path.rpartition("/")[2],
        visible_attributes(attributes),
        plain.rows,
        plain.columns,
        tuple(found),
        tuple(notes),
    )


def sparse_labels(source: SparseGroup) -> Labels:
    """The same of a sparse matrix, whose arrays lie in a group of its own."""
    assert isinstance(source.values, ZarrSource)
    path = array_path(source.values).rpartition("/")[0]
    named = _annotations(source.values.array.store, path, source.shape) if path else None
    return Labels.plain(source.shape) if named is None else named


def _annotations(store: Store, path: str, shape: tuple[int, int]) -> Labels | None:
    """Names of observations and variables, where the array is a matrix of AnnData."""
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        home = "/".join(parts[:-depth])
        try:
            group = zarr.open_group(store, path=home, mode="r", use_consolidated=False)
        except (FileNotFoundError, KeyError):
            continue
        if encoding_of(group) == ROOT:
            variable = "/".join(parts[-depth:])
            names = {table: _index(group, table) for table in name_tables(variable) if table}
            return annotated_labels(variable, shape, names)
    return None


def _index(group: zarr.Group, table: str) -> Any:
    """The index of a table of AnnData, as texts; None where it is stored in no known way."""
    try:
        home: Any = group[table]
        return np.asarray(home[str(home.attrs.get("_index", "_index"))][:], object)
    except (KeyError, AttributeError):
        return None


def _coordinate(source: ZarrSource, name: str, extents: Mapping[str, int]) -> Coordinate | None:
    """The array of a name beside a matrix, if it lies along dimensions of the matrix."""
    try:
        array = open_beside(source, name)
    except KeyError:
        return None
    attributes = dict(array.attrs)
    dims = dimension_names(array, attributes) or ((name,) if array.ndim == 1 else ())
    lengths = tuple(extents.get(str(dim), -1) for dim in dims)
    if not dims or lengths != tuple(array.shape) or math.prod(lengths) > MOST_ENTRIES:
        return None
    values = small_array(array, "fill" if source.array.fill_missing else "error")
    return Coordinate.of(name, [str(dim) for dim in dims], values, visible_attributes(attributes))

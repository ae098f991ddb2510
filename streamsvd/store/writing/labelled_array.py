"""The metadata of a new zarr array of whole rows, and what stands along its dimensions, in one folder.

A matrix with coordinates or a name becomes a group: the array, and beside it an array for each coordinate, as xarray lays them out.
Any other becomes an array by itself.
"""

from __future__ import annotations

import base64
import math
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from streamsvd.checks.paths import PathOrUrl
from streamsvd.labels import Coordinate, Labels
from streamsvd.store.places import location_of
from streamsvd.store.sources.beside import visible_attributes
from streamsvd.store.sources.conventions import ROWS
from streamsvd.store.writing.array_labels import MARK, write_coordinate
from streamsvd.store.writing.row_chunks import RowChunks
from streamsvd.store.writing.sparse_groups import SPARSE_MARK

DEFAULT_NAME = "data"
NAN_AS_TEXT = base64.b64encode(struct.pack("<d", math.nan)).decode()
"""NaN as xarray writes ``_FillValue`` in format 3."""


def create_labelled_array(
    folder: PathOrUrl,
    labels: Labels,
    height: int,
    dtype: np.dtype[Any],
    *,
    has_gaps: bool = False,
    beside: Sequence[Coordinate] = (),
) -> RowChunks:
    """Write all but the values of a matrix into a folder.

    Parameters
    ----------
    folder
        Where; it is there.
    labels
        Of the matrix, one dimension of which makes the rows.
    height
        Rows of a chunk.
    dtype
        Of the entries.
    has_gaps
        Whether NaN is a missing value, which is declared then, as xarray does.
    beside
        Arrays over columns that lie beside it, where it has a name.

    Returns
    -------
    chunks
        To be written.
    """
    dims = (*labels.rows, *labels.columns)
    shape = tuple(dimension.length for dimension in dims)
    along = tuple(c for c in labels.coordinates if c.dims)
    attributes = visible_attributes(labels.attributes)
    name = array_name(labels)
    if has_gaps and np.dtype(dtype).kind == "f":
        attributes["_FillValue"] = NAN_AS_TEXT
    named = [c.name for c in along if c.dims != (c.name,)]
    if len(dims) > 2:
        attributes[ROWS] = dims[0].name
    if name and named:
        attributes["coordinates"] = " ".join(named)
    if name and beside:  # so that nothing takes them for another matrix
        said = str(attributes.get("ancillary_variables", "")).split()
        added = [c.name for c in beside if c.name not in said]
        attributes["ancillary_variables"] = " ".join([*said, *added])
    place = location_of(folder)
    if name:
        group = zarr.create_group(place.store(), attributes={MARK: name})
        for coordinate in (*along, *beside):
            shown = visible_attributes(coordinate.attributes)
            plain = replace(coordinate, name=coordinate.name.replace("/", "_"), attributes=shown)
            write_coordinate(group, plain)
    chunks = (height, *shape[1:])
    zarr.create_array(
        place.store(name),
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=0,
        serializer=BytesCodec(),
        filters=[],
        compressors=[Crc32cCodec()],
        dimension_names=[dimension.name for dimension in dims],
        attributes=attributes,
    )
    if name:
        with (
            warnings.catch_warnings()
        ):  # that format 3 says nothing of it; xarray looks for it all the same
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(place.store())
    matrix = (shape[0], math.prod(shape[1:]))
    return RowChunks(folder / name if name else folder, matrix, height, dtype, len(shape))


def array_name(labels: Labels) -> str:
    """The name of the array in its group; empty where it is an array by itself."""
    if not labels.name and not any(c.dims for c in labels.coordinates):
        return ""
    taken = {c.name for c in labels.coordinates}
    name = labels.name.replace("/", "_").strip(". ") or DEFAULT_NAME
    while name in taken:
        name += "_"
    return name


def is_replaceable(path: PathOrUrl) -> bool:
    """Whether a place is a zarr array, or a group of one with its coordinates, or a sparse matrix, that was written here."""
    place = location_of(path)
    if place.size(".zarray") is not None:
        return True
    try:
        found: Mapping[str, Any] = msgspec.json.decode(place.read("zarr.json"))
        marks = {MARK, SPARSE_MARK} & set(found.get("attributes", {}))
        return found["node_type"] == "array" or bool(marks)
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return False

"""The labels of a model: those of its columns, which its first block brings, and those of the rows of each block."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.labels import NO_LABELS, ROW, Coordinate, Dimension, Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.results.values import ResultDecoder, ResultEncoder
from streamsvd.store.sources.labels import source_labels

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]
MOST_BLOCKS = 4096
"""Blocks whose rows' labels are joined: each is an object of the store."""


def pack_labels(labels: Labels) -> Bytes:
    """Labels as one array of bytes, for a model to keep."""
    return pack_record(labels)


def pack_record(record: Any) -> Bytes:
    """A data class of plain values and arrays as one array of bytes."""
    encoder = ResultEncoder()
    plain = encoder.fields(record)
    arrays = {
        name: [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]
        for name, array in encoder.arrays.items()
    }
    return np.frombuffer(msgspec.json.encode([plain, arrays]), np.uint8)


def unpack_labels(data: Bytes) -> Labels:
    """The labels again.

    Raises
    ------
    StoreError
        If they are none.
    """
    return unpack_record(data, Labels, "labels")


def unpack_record(data: Bytes, kind: type[T], what: str) -> T:
    """The data class again; ``what`` is how a message calls it.

    Raises
    ------
    StoreError
        If it is none.
    """
    try:
        plain, arrays = msgspec.json.decode(data.tobytes())
        found: T = ResultDecoder(kind, _PackedArrays(arrays)).result(plain)
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        raise StoreError(
            f"the {what} of the model are damaged: {error}. Run streamsvd repair."
        ) from error
    return found


class _PackedArrays:
    """The arrays of packed labels, by name."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays

    def array(self, name: str) -> Any:
        """One of them."""
        kind, shape, data = self.arrays[name]
        return np.frombuffer(base64.b64decode(data), np.dtype(kind)).reshape(shape)

    lazy_array = array


def first_labels(source: Source) -> Labels:
    """Labels of the columns of a first block; none where it says nothing but its extents."""
    found = source_labels(source)
    if found.is_plain:
        return NO_LABELS
    return replace(found.of_columns, rows=(Dimension(found.rows[0].name, 0),), notes=())


def row_labels(source: Source, start: int, stop: int) -> Labels:
    """Labels of some rows of a block, without those of its columns."""
    part = source_labels(source).row_range(start, stop)
    return Labels(rows=part.rows, coordinates=part.row_coordinates)


def join_rows(parts: Iterable[Labels]) -> tuple[Dimension, tuple[Coordinate, ...]]:
    """The dimension of rows that came in parts, and the coordinates that all parts have in one unit."""
    labels = list(parts)
    names = {part.rows[0].name for part in labels if len(part.rows) == 1}
    name = names.pop() if len(names) == 1 else ROW
    length = sum(part.shape[0] for part in labels)
    if not labels or any(len(part.rows) != 1 for part in labels):
        return Dimension(name, length), ()
    found = []
    for first in labels[0].coordinates:
        same = [part.coordinate(first.name) for part in labels]
        alike = [c for c in same if c is not None and _joins(first, c)]
        if len(alike) == len(labels):
            values = np.concatenate([c.array for c in alike])
            texts = isinstance(first.values, TextValues)
            kept: Any = TextValues.of(values) if texts else values
            found.append(replace(first, dims=(name,), values=kept))
    return Dimension(name, length), tuple(found)


def _joins(first: Coordinate, other: Coordinate) -> bool:
    """Whether numbers of both are of one unit."""
    keys = ("units", "calendar")
    alike = all(first.attributes.get(key) == other.attributes.get(key) for key in keys)
    same = isinstance(first.values, TextValues) == isinstance(other.values, TextValues)
    return alike and same and len(first.dims) == 1 == len(other.dims)

"""Labels of a mask or of weights that a model keeps until its first block comes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from streamsvd.checks.masks import as_array
from streamsvd.labels import Coordinate, Dimension, TextValues
from streamsvd.store.sources.neighbours import NamedValues, names_of
from streamsvd.store.sources.same_places import given_coordinates
from streamsvd.store.versions import StoredCoordinate, StoredNumbers
from streamsvd.typing import Real


def pack_numbers(values: Any) -> StoredNumbers:
    """Numbers of float64 as a model keeps them."""
    numbers = as_array(values).astype(np.float64, order="C", copy=False)
    return StoredNumbers(shape=numbers.shape, data=base64.b64encode(numbers.tobytes()).decode())


def unpack_numbers(stored: StoredNumbers) -> Real:
    """The numbers again."""
    return np.frombuffer(base64.b64decode(stored.data)).reshape(stored.shape)


def pack_labels(given: Any) -> tuple[tuple[str, ...], tuple[StoredCoordinate, ...]]:
    """The names of the dimensions of what a user gave, and what stands along them; nothing where it has no labels.

    Notes
    -----
    What a Series lies along is told by the first block: its dimension is kept without a name.
    """
    found = given_coordinates(given, [Dimension("", 0)])
    return names_of(given), tuple(_pack(c) for c in found)


def _pack(coordinate: Coordinate) -> StoredCoordinate:
    values = coordinate.values
    if isinstance(values, TextValues):
        return StoredCoordinate(coordinate.name, texts=tuple(str(v) for v in values.values))
    calendar = str(coordinate.attributes.get("calendar", ""))
    return StoredCoordinate(
        coordinate.name, pack_numbers(values), units=coordinate.units, calendar=calendar
    )


def with_labels(
    values: Any, dims: tuple[str, ...], stored: tuple[StoredCoordinate, ...]
) -> NamedValues | Any:
    """Values with the labels that they came with; as they are where they had none."""
    if not dims and not stored:
        return values
    return NamedValues(values, dims, tuple(_unpack(each) for each in stored))


def _unpack(stored: StoredCoordinate) -> Coordinate:
    said = {"units": stored.units, "calendar": stored.calendar}
    attributes = {name: text for name, text in said.items() if text}
    values = (
        TextValues.of(stored.texts) if stored.numbers is None else unpack_numbers(stored.numbers)
    )
    return Coordinate(stored.name, (stored.name,), values, attributes)

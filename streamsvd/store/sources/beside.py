"""Arrays that lie beside one another in a file or a data set: which of them is the matrix, and which are its coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StreamSVDError
from streamsvd.labels import Coordinate, Labels, plain_attributes
from streamsvd.protocols import Source
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.conventions import NAMES, ROWS
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.labels import dimension_labels, layout_labels
from streamsvd.store.sources.neighbours import NeighbourArray

Array = npt.NDArray[Any]

STORAGE_NAMES = ("_ARRAY_DIMENSIONS", "coordinates", "grid_mapping", ROWS, *NAMES)
"""Attributes about how an array is stored, which what is read has not."""

MOST_ENTRIES = 1 << 24
"""Of a coordinate that is read."""

MOST_NAMES = 40
"""In a message."""

REFERRING = ("bounds", "climatology", "coordinates", "ancillary_variables")
"""Attributes of the CF conventions that name arrays which belong to another one."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredVariable:
    """An array of a file or a data set, before it is read.

    Attributes
    ----------
    name, place
        Its own, and how messages call it.
    shape, dims
        Its extents, and the names of its dimensions; None where they have none.
    attributes
        As they are stored.
    read
        All of its values as they are meant, missing ones NaN; texts as objects.
    """

    name: str
    place: str
    shape: tuple[int, ...]
    dims: tuple[str | None, ...] | None
    attributes: Mapping[str, Any]
    read: Callable[[], Array]

    def as_neighbour(self) -> NeighbourArray:
        """The same with its values."""
        return NeighbourArray(self.name, self.place, self.read(), self.dims, self.attributes)


def visible_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without those about how values are stored."""
    return {k: v for k, v in plain_attributes(attributes).items() if k not in STORAGE_NAMES}


def variable_labels(
    layout: Flattening,
    name: str,
    attributes: Mapping[str, Any],
    find: Callable[[str], StoredVariable],
    named: tuple[str, ...] = (),
) -> Labels:
    """What a variable says of its rows and columns, and the coordinates beside it.

    Parameters
    ----------
    layout
        How it became a matrix.
    name, attributes
        Of the variable.
    find
        The array of a name beside it; KeyError where there is none.
    named
        Names of coordinates, beside those of its dimensions and in its attribute ``coordinates``.
    """
    plain, found, notes = layout_labels(layout), list[Coordinate](), list[str]()
    if layout.names is not None:
        extents = dict(zip(dimension_labels(layout), layout.extents, strict=True))
        told = str(plain_attributes(attributes).get("coordinates", "")).split()
        for other in dict.fromkeys([*(n for n in layout.names if n), *told, *named]):
            try:
                coordinate = _coordinate(find(other), extents)
            except KeyError:
                continue
            except StreamSVDError as error:
                notes.append(f"the coordinate {other!r} is left out: {error}")
                continue
            if coordinate is not None:
                found.append(coordinate)
    return Labels(
        name, visible_attributes(attributes), plain.rows, plain.columns, tuple(found), tuple(notes)
    )


def _coordinate(variable: StoredVariable, extents: Mapping[str, int]) -> Coordinate | None:
    """A variable as a coordinate, if it lies along dimensions of the matrix."""
    shape = variable.shape
    dims = variable.dims or ((variable.name,) if len(shape) == 1 else ())
    if None in dims or math.prod(shape) > MOST_ENTRIES:
        return None
    attributes = variable.attributes
    lengths = tuple(extents.get(str(dim), -1) for dim in dims)
    if not dims or lengths != shape:
        return None
    values = variable.read()
    if values.dtype.kind not in "biufcmM" and len(dims) != 1:
        return None  # texts lie along one dimension
    names = [str(dim) for dim in dims]
    return Coordinate.of(variable.name, names, values, visible_attributes(attributes))


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be the matrix that is meant.

    Attributes
    ----------
    ndim, dtype
        Its dimensions and the type of its values.
    attributes
        As they are stored.
    """

    ndim: int
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]


def choose_variable(found: Mapping[str, Candidate], where: str) -> str:
    """The name of the one matrix among arrays; those that others name as their bounds or coordinates are none.

    Raises
    ------
    SpecError
        If there is none, or several; it lists them.
    """
    matrices = [n for n, c in found.items() if c.ndim >= 2 and c.dtype.kind in "iufc"]
    named = {
        word
        for candidate in found.values()
        for name in REFERRING
        for word in str(plain_attributes(candidate.attributes).get(name, "")).split()
    }
    meant = [name for name in matrices if name.rpartition("/")[2] not in named] or matrices
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise SpecError(
            f"{where} holds several matrices: {names_text(meant)}. Choose one with variable=."
        )
    raise SpecError(
        f"{where} holds no numeric array of two or more dimensions; it holds {names_text(found)}."
    )


def names_text(names: Any) -> str:
    """Names for a message, the first of very many."""
    parts = sorted(names)
    more = f" and {len(parts) - MOST_NAMES:,} more" if len(parts) > MOST_NAMES else ""
    return (", ".join(repr(name) for name in parts[:MOST_NAMES]) or "nothing") + more


def variables_beside(source: Source) -> tuple[StoredVariable, ...]:
    """All arrays that lie beside a matrix, none of them read; nothing where its kind has none, or they cannot be listed."""
    stored: Any = innermost_source(source)
    try:
        return tuple(stored.beside())
    except Exception:  # a store that lists nothing, a kind without neighbours: names are a help
        return ()

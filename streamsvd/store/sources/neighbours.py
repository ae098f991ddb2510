"""Arrays beside a matrix, in its group, file or data set: coordinates of its dimensions, cell areas, masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate
from streamsvd.protocols import Source
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.same_places import check_places

Array = npt.NDArray[Any]
Names = Sequence[str | None] | None


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourArray:
    """A small array beside a matrix.

    Attributes
    ----------
    name, place
        Its own, and how messages call it.
    values
        As they are meant, missing ones NaN.
    dims
        Names of its dimensions; None where they have none.
    attributes
        As they are stored.
    """

    name: str
    place: str
    values: Array
    dims: Names
    attributes: Mapping[str, Any]


def neighbour(source: Source, name: str, asked: str) -> NeighbourArray:
    """The array of a name beside a matrix.

    Parameters
    ----------
    source
        The matrix. What is stored has a method ``neighbour(name)`` where arrays may lie beside it: it returns one, or raises
        KeyError with the reason where there is none.
    name
        Of the array.
    asked
        What needs it, as messages begin: ``mask='land'``.

    Raises
    ------
    SpecError
        If nothing lies beside the matrix, or no array of this name.
    StoreError
        If it cannot be read.
    """
    look = getattr(innermost_source(source), "neighbour", None)
    if look is None:
        raise SpecError(
            f"{asked} names an array beside {source.name}, which is no array of a group with others."
        )
    try:
        found: NeighbourArray = look(name)
    except KeyError as error:
        why = str(error.args[0]) if error.args else ""
        raise SpecError(f"{asked} is no array beside {source.name}{why}.") from error
    return found


def has_neighbours(source: Source) -> bool:
    """Whether arrays may lie beside a matrix."""
    return hasattr(innermost_source(source), "neighbour")


def matrix_layout(source: Source) -> Flattening | None:
    """How the array that a matrix shows became one; None where it was one already."""
    layout = getattr(innermost_source(source), "layout", None)
    return layout if isinstance(layout, Flattening) else None


def matrix_dimensions(source: Source) -> Names:
    """Names of all dimensions of the array that a matrix shows; None where they have none."""
    layout = matrix_layout(source)
    return None if layout is None else layout.names


def column_names(source: Source) -> str:
    """The dimensions that make the columns, with their extents, as messages say them; empty where they have no names."""
    layout = matrix_layout(source)
    if layout is None or layout.names is None:
        return ""
    return " x ".join(f"{layout.names[a]} ({layout.extents[a]:,})" for a in layout.column_axes)


class NamedValues:
    """Values that know the names of their dimensions, as those of xarray do."""

    def __init__(
        self, values: Array, dims: tuple[str, ...], coordinates: tuple[Coordinate, ...] = ()
    ) -> None:
        self.values, self.dims, self.coordinates = values, dims, coordinates

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype=dtype, copy=copy)


def names_of(given: Any) -> tuple[str, ...]:
    """Names of the dimensions of what a user gave; none where it has none."""
    dims = getattr(given, "dims", None)
    return tuple(str(name) for name in dims) if isinstance(dims, tuple) else ()


def in_column_order(source: Source, given: Any, name: str) -> Any:
    """What has names of dimensions, as of xarray, in the order of those that make the columns; anything else as it came.

    Raises
    ------
    SpecError
        If its labels contradict those of the matrix; ``name`` is how messages call it.
    """
    dims = names_of(given)
    if not dims and not hasattr(given, "iloc") and not isinstance(given, NamedValues):
        return given
    labels = source_labels(source)
    columns = labels.columns
    check_places(given, labels, columns, name)
    if not dims:
        return given
    wanted, extents = [c.name for c in columns], tuple(c.length for c in columns)
    return in_order(NeighbourArray("", "", as_array(given), dims, {}), wanted, extents)


def in_order(found: NeighbourArray, wanted: Names, extents: tuple[int, ...]) -> Array:
    """Values in the order of the dimensions wanted, the same along those that they do not have; as they are if in doubt."""
    its, values = found.dims, found.values
    if its is None or wanted is None:
        return values
    known = None not in its and None not in wanted and len(set(wanted)) == len(wanted)
    if not known or not set(its) <= set(wanted) or len(set(its)) != len(its):
        return values
    lengths = dict(zip(wanted, extents, strict=True))
    if any(lengths[name] != length for name, length in zip(its, values.shape, strict=True)):
        return values
    order = sorted(range(len(its)), key=lambda axis: wanted.index(its[axis]))
    shape = [lengths[name] if name in its else 1 for name in wanted]
    return np.broadcast_to(values.transpose(order).reshape(shape), extents)

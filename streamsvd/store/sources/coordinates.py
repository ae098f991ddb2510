"""Arrays beside a matrix in its zarr group: coordinates of its dimensions, cell areas, masks; read as strictly as the matrix itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.errors import MissingChunkError, SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.zarr_array import (
    ZarrSource,
    chunked_array,
    dimension_names,
    store_name,
)

Array = npt.NDArray[Any]
Names = Sequence[str | None] | None


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourArray:
    """A small array in the same group as a matrix.

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
        The matrix.
    name
        Of the array.
    asked
        What needs it, as messages begin: ``mask='land'``.

    Raises
    ------
    SpecError
        If the matrix is no array of a zarr group, or the group has no array of this name.
    StoreError
        If it cannot be read.
    """
    stored = stored_array(source)
    if stored is None:
        raise SpecError(
            f"{asked} names an array beside {source.name}, which is no array of a zarr group."
        )
    store, prefix = stored.array.store, getattr(stored.array.encode_key, "prefix", "")
    parent = prefix.rpartition("/")[0]
    path = f"{parent}/{name}" if parent else name
    try:
        if not prefix:
            raise FileNotFoundError(name)
        found = zarr.open_array(store=store, path=path, mode="r")
    except Exception as error:
        why = f" ({type(error).__name__})"
        if not prefix:
            why = ", which was opened by itself: open its group, with variable="
        raise SpecError(f"{asked} is no array beside {source.name}{why}.") from error
    attributes = dict(found.attrs)
    values = _values(found, missing="fill" if stored.array.fill_missing else "error")
    return NeighbourArray(
        name, store_name(found), values, dimension_names(found, attributes), attributes
    )


def stored_array(source: Any) -> ZarrSource | None:
    """The stored array that a matrix of all its columns shows; None where it is none of a zarr store."""
    stored = innermost_source(source)
    return stored if isinstance(stored, ZarrSource) else None


def matrix_dimensions(source: Source) -> Names:
    """Names of all dimensions of the array that a matrix shows; None where they have none."""
    stored = stored_array(source)
    return None if stored is None else stored.layout.names


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


def _values(array: zarr.Array, missing: str) -> Array:
    """All of a small array, as strictly as the matrix itself is read."""
    if np.dtype(array.dtype).kind in "iuf":
        strict = chunked_array(array, missing)
        out = np.empty(array.shape, dtype=strict.packing.dtype)
        strict.read(tuple(slice(0, extent) for extent in array.shape), out)
        return out
    if missing == "error" and array.nchunks_initialized != array.nchunks:
        lacking = array.nchunks - array.nchunks_initialized
        raise MissingChunkError(f"{lacking} of {array.nchunks}", store_name(array))
    try:
        return np.asarray(array[...])
    except Exception as error:
        raise StoreError(f"{store_name(array)} cannot be read: {error}. Write it again.") from error

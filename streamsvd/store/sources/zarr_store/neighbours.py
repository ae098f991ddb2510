"""Arrays beside that of a matrix in its zarr group, read as strictly as the matrix itself."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.errors import MissingChunkError, StoreError
from streamsvd.store.sources.beside import StoredVariable, names_text, variables_beside
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.zarr_store.array import (
    ZarrSource,
    chunked_array,
    dimension_names,
    store_name,
)


def zarr_neighbour(source: ZarrSource, name: str) -> NeighbourArray:
    """The array of a name in the group of a matrix.

    Raises
    ------
    KeyError
        If there is none; it says why.
    StoreError
        If it cannot be read.
    """
    array = open_beside(source, name)
    attributes = dict(array.attrs)
    missing = "fill" if source.array.fill_missing else "error"
    dims = dimension_names(array, attributes)
    return NeighbourArray(name, store_name(array), small_array(array, missing), dims, attributes)


def open_beside(source: ZarrSource, name: str) -> zarr.Array:
    """The array of a name in the group of a matrix, of which nothing is read.

    Raises
    ------
    KeyError
        If there is none; it says why.
    """
    prefix = array_path(source)
    if not prefix:
        raise KeyError(", which was opened by itself: open its group, with variable=")
    parent = prefix.rpartition("/")[0]
    path = f"{parent}/{name}" if parent else name
    try:
        return zarr.open_array(store=source.array.store, path=path, mode="r")
    except Exception as error:
        others = [variable.name for variable in variables_beside(source)]
        there = f"there are {names_text(others)}" if others else type(error).__name__
        raise KeyError(f"; {there}") from error


def zarr_variables(source: ZarrSource) -> list[StoredVariable]:
    """All arrays in the group of a matrix but itself, none of them read."""
    parent, _, own = array_path(source).rpartition("/")
    if not own:
        return []
    group = zarr.open_group(source.array.store, path=parent, mode="r")
    missing = "fill" if source.array.fill_missing else "error"
    found = []
    for name, array in group.arrays():
        if name == own:
            continue
        attributes = dict(array.attrs)
        named = dimension_names(array, attributes)
        dims = None if named is None else tuple(named)
        read = partial(small_array, array, missing)
        found.append(
            StoredVariable(name, store_name(array), tuple(array.shape), dims, attributes, read)
        )
    return found


def array_path(source: ZarrSource) -> str:
    """The path of the array of a matrix in its store; empty where the store is that array."""
    return str(getattr(source.array.encode_key, "prefix", ""))


def small_array(array: zarr.Array, missing: str) -> npt.NDArray[Any]:
    """All of a small array, as strictly as the matrix itself is read."""
    if np.dtype(array.dtype).kind in "iuf" and math.prod(array.shape):
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

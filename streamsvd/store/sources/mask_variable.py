"""A mask of columns that is an array beside the matrix, named by the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.errors import MissingChunkError, SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources.columns import column_extents
from streamsvd.store.sources.zarr_array import (
    ZarrSource,
    chunked_array,
    dimension_names,
    store_name,
)

Array = npt.NDArray[Any]


def mask_variable(source: Source, name: str) -> Array:
    """The values of an array beside that of a source, in the order of the dimensions of its columns.

    Raises
    ------
    SpecError
        If the source is no array of a zarr group, or the group has no array of this name.
    StoreError
        If it cannot be read.
    """
    while not isinstance(source, ZarrSource) and hasattr(source, "whole"):
        source = source.whole
    if not isinstance(source, ZarrSource):
        raise SpecError(
            f"mask={name!r} names an array beside {source.name}, which is no array of a zarr group. Pass an array of "
            "booleans, one for each column."
        )
    store, prefix = source.array.store, getattr(source.array.encode_key, "prefix", "")
    parent = prefix.rpartition("/")[0]
    path = f"{parent}/{name}" if parent else name
    try:
        if not prefix:
            raise FileNotFoundError(name)
        found = zarr.open_array(store=store, path=path, mode="r")
        data = zarr.open_array(store=store, path=prefix, mode="r")
    except Exception as error:
        raise SpecError(
            f"mask={name!r} is no array beside {source.name}{_reason_text(prefix, error)}. Pass the name of an array in the same "
            "group, or an array of booleans, one for each column."
        ) from error
    mine, its = (dimension_names(a, dict(a.attrs)) for a in (data, found))
    values = _values(found, missing="fill" if source.array.fill_missing else "error")
    if mine is None or its is None:
        return values
    wanted = [mine[axis] for axis in source.layout.column_axes]
    return _in_order(values, list(its), wanted, column_extents(source))


def _reason_text(prefix: str, error: Exception) -> str:
    """Why there is no such array, in words."""
    if not prefix:
        return ", which was opened by itself: open its group, with variable="
    return f" ({type(error).__name__})"


def _in_order(
    values: Array, its: list[str | None], wanted: list[str | None], extents: tuple[int, ...]
) -> Array:
    """Values in the order of the dimensions wanted, the same along those that they do not have; as they are if in doubt."""
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

"""Arrays of a zarr group, of all levels, read strictly."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.store.collection.stored import InChunks, Refused, Stored
from streamsvd.store.sources.hierarchy import hierarchy, own_array
from streamsvd.store.sources.zarr_array import chunked_array, open_node, store_name


def stored_arrays(source: Any, missing: str) -> tuple[list[tuple[str, Stored]], tuple[str, ...]]:
    """Addresses of the arrays below a group by path, in their order; of an array, its own under its name; and remarks.

    Raises
    ------
    StoreError
        If there is no readable zarr array or group.
    """
    try:
        node = source if isinstance(source, zarr.Array | zarr.Group) else open_node(source)
        if isinstance(node, zarr.Array):
            stored, remarks = stored_array(node, missing)
            return [(node.basename or "", stored)], remarks
        found, remarks = hierarchy(node, store_name(node)).listed(max_depth=None)
        arrays = [(name, value) for name, value in found.items() if isinstance(value, zarr.Array)]
    except StreamSVDError:
        raise
    except Exception as error:  # whatever damaged metadata make zarr trip over
        raise StoreError(
            f"the zarr metadata of {store_name(source)} cannot be read: {type(error).__name__}: {error}. "
            "Restore zarr.json (or .zarray) from a copy, or write the arrays again."
        ) from error
    return [(name, _deferred(name, array, missing)) for name, array in arrays], remarks


def stored_array(array: zarr.Array, missing: str) -> tuple[Stored, tuple[str, ...]]:
    """The address of one array by its own metadata, and what is to be remarked about those in hand."""
    own, remarks = own_array(array, store_name(array))
    return _address(own, missing), remarks


def _address(array: zarr.Array, missing: str) -> Stored:
    values = chunked_array(array, missing)
    return InChunks(values, tuple(int(extent) for extent in array.shape))


def _deferred(name: str, array: zarr.Array, missing: str) -> Stored:
    """The address, or of what holds no real numbers something that is refused unless it is left out."""
    dtype = np.dtype(array.dtype)
    if dtype.kind in "biuf":
        return _address(array, missing)
    return Refused(tuple(array.shape), dtype, str(dtype), name)

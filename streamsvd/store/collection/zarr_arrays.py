"""Arrays of a zarr group, of all levels, read strictly."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.store.collection.stored import InChunks, Refused, Stored
from streamsvd.store.explained import refused
from streamsvd.store.sources.anndata import SPARSE, encoding
from streamsvd.store.sources.zarr_array import chunked_array, open_node, store_name


def stored_arrays(source: Any, missing: str) -> list[tuple[str, Stored]]:
    """Addresses of the arrays below a group by path, in their order; of an array, its own under its name.

    Raises
    ------
    StoreError
        If there is no readable zarr array or group.
    """
    try:
        node = source if isinstance(source, zarr.Array | zarr.Group) else open_node(source)
        if isinstance(node, zarr.Array):
            return [(node.basename or "", stored_array(node, missing))]
        found = sorted(node.members(max_depth=None), key=lambda pair: pair[0])
        arrays = [(name, value) for name, value in found if isinstance(value, zarr.Array)]
        groups = {
            name: value for name, value in [("", node), *found] if isinstance(value, zarr.Group)
        }
        sparse = {name: encoding(g) for name, g in groups.items() if encoding(g) in SPARSE}
    except StreamSVDError:
        raise
    except Exception as error:  # whatever damaged metadata make zarr trip over
        refused(error, store_name(source))
        raise StoreError(
            f"the zarr metadata of {store_name(source)} cannot be read: {type(error).__name__}: {error}. "
            "Restore zarr.json (or .zarray) from a copy, or write the arrays again."
        ) from error
    return [
        (name, _deferred(name, array, missing, sparse.get(name.rpartition("/")[0])))
        for name, array in arrays
    ]


def stored_array(array: zarr.Array, missing: str) -> Stored:
    """The address of one array."""
    values = chunked_array(array, missing)
    return InChunks(values, tuple(int(extent) for extent in array.shape))


def _deferred(name: str, array: zarr.Array, missing: str, sparse: str | None) -> Stored:
    """The address, or of what holds no real numbers something that is refused unless it is left out."""
    dtype = np.dtype(array.dtype)
    if sparse is not None:
        said = f"a part of a sparse matrix ({sparse} of AnnData)"
        return Refused(tuple(array.shape), np.dtype(np.void), said, name)
    if dtype.kind in "biuf":
        return stored_array(array, missing)
    return Refused(tuple(array.shape), dtype, str(dtype), name)

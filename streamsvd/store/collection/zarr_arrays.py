"""Arrays of a zarr group, of all levels, read strictly."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from streamsvd.errors import SpecError, StoreError, StreamSVDError
from streamsvd.store.collection.origin import origin_of
from streamsvd.store.collection.stored import InChunks, Refused, Stored
from streamsvd.store.sources.zarr_array import chunked_array, dimension_names, open_node, store_name


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
    except StreamSVDError:
        raise
    except Exception as error:  # whatever damaged metadata make zarr trip over
        raise StoreError(
            f"the zarr metadata of {store_name(source)} cannot be read: {type(error).__name__}: {error}. "
            "Restore zarr.json (or .zarray) from a copy, or write the arrays again."
        ) from error
    return [(name, _deferred(name, array, missing)) for name, array in arrays]


def stored_array(array: zarr.Array, missing: str) -> Stored:
    """The address of one array."""
    values, attributes = chunked_array(array, missing), dict(array.attrs)
    names = dimension_names(array, attributes)
    masks = array.metadata.zarr_format == 2 and names is not None
    origin = origin_of(
        np.dtype(array.dtype),
        attributes,
        names,
        values.packing.record,
        array.metadata.fill_value if masks else None,
        zeros=missing == "zero",
    )
    return InChunks(values, tuple(int(extent) for extent in array.shape), origin)


def _deferred(name: str, array: zarr.Array, missing: str) -> Stored:
    """The address, or of what holds no real numbers something that is refused unless it is left out."""
    dtype = np.dtype(array.dtype)
    shape = tuple(int(extent) for extent in array.shape)
    if dtype.kind not in "biuf":
        return Refused(shape, dtype, str(dtype), name)
    try:
        return stored_array(array, missing)
    except SpecError as error:  # its attributes cannot be read
        return Refused(shape, dtype, str(dtype), name, str(error))

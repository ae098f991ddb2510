"""Arrays of a zarr group, of all levels, read strictly."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr

from streamsvd.checks.foreign import member_remedy
from streamsvd.errors import SpecError, StoreError, StreamSVDError
from streamsvd.store.collections.arrays import ArrayInChunks, RefusedArray, StoredArray
from streamsvd.store.collections.origin import origin_of
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.sources.zarr_store.anndata import (
    encoding_of,
    is_sparse_group,
    sparse_form,
)
from streamsvd.store.sources.zarr_store.array import (
    chunked_array,
    dimension_names,
    open_node,
    store_name,
)
from streamsvd.store.sources.zarr_store.hierarchy import hierarchy, own_array
from streamsvd.store.sources.zarr_store.url_store import explain_url


def stored_arrays(
    source: Any, missing: str
) -> tuple[list[tuple[str, StoredArray]], tuple[str, ...]]:
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
        found, remarks = hierarchy(node, store_name(node)).list_members(max_depth=None)
        arrays = [(name, value) for name, value in found.items() if isinstance(value, zarr.Array)]
        groups = {"": node} | {
            n: value for n, value in found.items() if isinstance(value, zarr.Group)
        }
        sparse = {name: _sparse_words(g) for name, g in groups.items() if is_sparse_group(g)}
    except StreamSVDError:
        raise
    except Exception as error:  # whatever damaged metadata make zarr trip over
        raise_access_error(error, store_name(source))
        explain_url(store_name(source), error)
        raise StoreError(
            f"the zarr metadata of {store_name(source)} cannot be read: {type(error).__name__}: {error}. "
            "Restore zarr.json (or .zarray) from a copy, or write the arrays again."
        ) from error
    members = [
        (name, _lenient_address(name, array, missing, sparse.get(name.rpartition("/")[0])))
        for name, array in arrays
    ]
    return members, remarks


def stored_array(array: zarr.Array, missing: str) -> tuple[StoredArray, tuple[str, ...]]:
    """The address of one array by its own metadata, and what is to be remarked about those in hand."""
    own, remarks = own_array(array, store_name(array))
    return _address(own, missing), remarks


def _address(array: zarr.Array, missing: str) -> StoredArray:
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
    return ArrayInChunks(values, tuple(int(extent) for extent in array.shape), origin)


def _sparse_words(group: zarr.Group) -> str:
    """Why the arrays of a sparse matrix are refused."""
    where, kind = store_name(group), encoding_of(group)
    values: Any = group.get("data")
    try:
        shape, _ = sparse_form(kind, dict(group.attrs), where)
        remedy = member_remedy(shape, np.dtype(values.dtype).itemsize)
    except (StreamSVDError, AttributeError) as error:  # it is damaged too
        remedy = str(error)
    return f"{where} is sparse ({kind} of AnnData). {remedy}"


def _lenient_address(name: str, array: zarr.Array, missing: str, sparse: str | None) -> StoredArray:
    """The address, or of what holds no real numbers something that is refused unless it is left out."""
    dtype = np.dtype(array.dtype)
    shape = tuple(int(extent) for extent in array.shape)
    if sparse is not None:
        said = f"block {name!r} is a part of a sparse matrix. {sparse}"
        return RefusedArray(shape, np.dtype(np.float64), str(dtype), name, said, is_sparse=True)
    if dtype.kind not in "biuf":
        return RefusedArray(shape, dtype, str(dtype), name)
    try:
        return _address(array, missing)
    except SpecError as error:  # its attributes cannot be read
        return RefusedArray(shape, dtype, str(dtype), name, str(error))

"""A sparse matrix in a group of a zarr store, as AnnData writes it: three arrays of one dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import zarr

from streamsvd.errors import StoreError
from streamsvd.labels import Labels
from streamsvd.store.sources.flatten import vector_layout
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.sparse.compressed import CompressedSource, checked_parts
from streamsvd.store.sources.zarr_store.anndata import PARTS, encoding_of, sparse_form
from streamsvd.store.sources.zarr_store.array import ZarrSource, chunked_array, store_name
from streamsvd.store.sources.zarr_store.hierarchy import hierarchy


@dataclass(frozen=True, eq=False, repr=False)
class SparseGroup(CompressedSource):
    """A sparse matrix in a group of a zarr store."""

    @property
    def labels(self) -> Labels:
        """Names of its rows and columns, where it is part of an AnnData."""
        from streamsvd.store.sources.zarr_store.labels import sparse_labels

        return sparse_labels(self)


def open_sparse_group(group: zarr.Group, request: OpenRequest) -> SparseGroup:
    """The matrix of a group; its offsets are read once.

    Raises
    ------
    StoreError
        If an array is not there, or they do not belong together.
    SpecError
        If it does not hold numbers.
    """
    where = store_name(group)
    shape, axis = sparse_form(encoding_of(group), dict(group.attrs), where)
    asked = dict.fromkeys(PARTS, "error") | {PARTS[0]: request.missing}
    # zarr writes no chunk of zeros; in the place of other indices or offsets they would be another matrix
    if shape[1 if axis == "rows" else 0] == 1:
        asked[PARTS[1]] = "fill"
    values, indices = (_vector(group, part, where, asked[part]) for part in PARTS[:2])
    if values.shape[0] == 0:
        asked[PARTS[2]] = "fill"
    offsets = _vector(group, PARTS[2], where, asked[PARTS[2]])
    parts = checked_parts((values, indices, offsets), shape, axis, where)
    return SparseGroup(*parts, shape, axis, where)


def _vector(group: zarr.Group, name: str, where: str, missing: str) -> ZarrSource:
    try:
        array: Any = hierarchy(group, where).member(name)
    except KeyError:
        array = None
    if not isinstance(array, zarr.Array) or array.ndim != 1:
        raise StoreError(
            f"{where} has no array {name!r} of one dimension, which a sparse matrix needs. Write the matrix again."
        )
    return ZarrSource(chunked_array(array, missing), vector_layout(int(array.shape[0])))

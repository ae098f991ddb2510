"""A sparse matrix in a group of a file of HDF5: three arrays of one dimension."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

from streamsvd.errors import MissingEntriesError, StoreError
from streamsvd.store.sources.flatten import vector_layout
from streamsvd.store.sources.hdf5.array import Hdf5Source, vector_source
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.sparse.compressed import CompressedSource, checked_parts
from streamsvd.store.sources.zarr_store.anndata import PARTS


def open_sparse_hdf5(
    path: Path, group: str, shape: tuple[int, int], axis: Literal["rows", "columns"]
) -> CompressedSource:
    """The matrix of a group with data, indices and indptr; its offsets are read once.

    Raises
    ------
    StoreError
        If an array is not there or has gaps, or they do not belong together.
    SpecError
        If it does not hold numbers.
    """
    where = f"{path}:{group}"
    with reading_hdf5(path) as file:
        vectors = {name: _vector(path, file[group], name, where) for name in PARTS}
        values, indices, offsets, table = checked_parts(
            (vectors["data"], vectors["indices"], vectors["indptr"]), shape, axis, where
        )
        for name in PARTS[:2]:  # the library would fill gaps, which makes another matrix
            found = _first_gap(file[group][name])
            if found is not None:
                key, first, last = found
                first, last = table.row_of(first, offsets), table.row_of(last, offsets)
                side = axis.removesuffix("s")
                raise MissingEntriesError(key, vectors[name].name, side, first, last)
    return CompressedSource(values, indices, offsets, table, shape, axis, where)


def _vector(path: Path, group: Any, name: str, where: str) -> Hdf5Source:
    """One of the arrays, which is known to be there.

    Raises
    ------
    StoreError
        If it is not.
    """
    dataset = group.get(name)
    if dataset is None or getattr(dataset, "ndim", 0) != 1:
        raise StoreError(
            f"{where} has no array {name!r} of one dimension, which a sparse matrix needs. Write the matrix again."
        )
    if name == PARTS[2] and (found := _first_gap(dataset)) is not None:
        last = min(found[2], max(0, int(dataset.shape[0]) - 2))
        raise MissingEntriesError(found[0], f"{path}:{dataset.name}", "row", found[1], last)
    return vector_source(path, dataset, vector_layout(int(dataset.shape[0])))


def _first_gap(dataset: Any) -> tuple[str, int, int] | None:
    """Name, first and last entry of a chunk that was never written; None where all were."""
    size = int(dataset.shape[0])
    if dataset.chunks is None:
        absent = size and not dataset.is_virtual and not dataset.external
        return ("all of it", 0, size - 1) if absent and not dataset.id.get_storage_size() else None
    chunk = int(dataset.chunks[0])
    if dataset.id.get_num_chunks() >= math.ceil(size / chunk):
        return None
    for start in range(0, size, chunk):
        if dataset.id.get_chunk_info_by_coord((start,)).byte_offset is None:
            return str((start // chunk,)), start, min(start + chunk, size) - 1
    return None

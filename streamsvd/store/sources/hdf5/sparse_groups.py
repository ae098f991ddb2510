"""A sparse matrix in a group of a file of HDF5: three arrays of one dimension."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from streamsvd.errors import StoreError
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.flatten import vector_layout
from streamsvd.store.sources.hdf5.array import Hdf5Source, vector_source
from streamsvd.store.sources.hdf5.files import reading_hdf5
from streamsvd.store.sources.sparse.compressed import CompressedSource, check_lengths
from streamsvd.store.sources.sparse.offsets import OffsetTable, check_offset_count


def open_sparse_hdf5(
    path: Path, group: str, shape: tuple[int, int], axis: Literal["rows", "columns"]
) -> CompressedSource:
    """The matrix of a group with data, indices and indptr; its offsets are read once.

    Raises
    ------
    StoreError
        If an array is not there, or they do not belong together.
    SpecError
        If it does not hold numbers.
    """
    where = f"{path}:{group}"
    with reading_hdf5(path) as file:
        values, indices, offsets = (
            _vector(path, file[group], name, where) for name in ("data", "indices", "indptr")
        )
    check_dtype(values.dtype, values.name)
    check_offset_count(offsets, shape, axis, where)
    table = OffsetTable.read(offsets, offsets.name)
    check_lengths(where, values, indices, table)
    return CompressedSource(values, indices, offsets, table, shape, axis, where)


def _vector(path: Path, group: Any, name: str, where: str) -> Hdf5Source:
    dataset = group.get(name)
    if dataset is None or getattr(dataset, "ndim", 0) != 1:
        raise StoreError(
            f"{where} has no array {name!r} of one dimension, which a sparse matrix needs. Write the matrix again."
        )
    return vector_source(path, dataset, vector_layout(int(dataset.shape[0])))

"""A sparse matrix of scipy, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.sparse.compressed import (
    CompressedMatrix,
    compressed_rows,
    piece_entries,
    scattered_bytes,
)
from streamsvd.store.sources.sparse.offsets import OffsetTable
from streamsvd.store.sources.sparse.vectors import number_dtype

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class ScipySource(CompressedMatrix):
    """A matrix of scipy that is compressed along rows or columns; holds a reference, never a copy.

    Attributes
    ----------
    values, indices, offsets
        Its three arrays.
    table, shape, sparse_axis, name
        As of `streamsvd.store.sources.sparse.compressed.CompressedSource`.
    """

    __repr__ = matrix_text

    values: Array = field(repr=False)
    indices: Array = field(repr=False)
    offsets: Array = field(repr=False)
    table: OffsetTable = field(repr=False)
    shape: tuple[int, int]
    sparse_axis: Literal["rows", "columns"]
    name: str

    @property
    def read_bytes(self) -> int:
        return self.sparse_bytes(piece_entries(self)) + scattered_bytes(self.dtype)

    def sparse_bytes(self, entries: int) -> int:
        """Bytes that `read_sparse` takes for a run of so many entries: copies where it has to be put in order."""
        return 2 * entries * (self.dtype.itemsize + self.indices.dtype.itemsize)

    def read_sparse(self, run: slice, /) -> Any:
        width = self.shape[1 if self.sparse_axis == "rows" else 0]
        offsets = self.offsets[run.start : run.stop + 1].astype(np.int64)
        part = slice(int(offsets[0]), int(offsets[-1]))
        values, indices = self.values[part], self.indices[part]
        values.flags.writeable = indices.flags.writeable = False  # they are the caller's
        return compressed_rows(values, indices, offsets - part.start, width, run.start, self)

    def locate(self, row: int, column: int, /) -> str:
        return self.name


def open_scipy(matrix: Any, request: OpenRequest) -> ScipySource:
    """A sparse matrix of scipy as a source: CSR and CSC as they are, others turned into CSR once.

    Raises
    ------
    ShapeError
        If it has no entries at all.
    SpecError
        If it does not hold numbers.
    """
    del request
    kind = f"scipy.sparse.{type(matrix).__name__}"
    if len(matrix.shape) != 2 or 0 in matrix.shape:
        raise ShapeError(f"{kind} has shape {matrix.shape}; a matrix needs at least one entry.")
    if matrix.format not in ("csr", "csc"):
        matrix = matrix.tocsr()
    found = number_dtype(matrix.data.dtype)
    check_dtype(found, kind)
    bits = matrix.data.dtype.kind == "b"
    values = matrix.data.view(found) if bits else matrix.data.astype(found, copy=False)
    shape = int(matrix.shape[0]), int(matrix.shape[1])
    table = OffsetTable.of(matrix.indptr, f"indptr of {kind}")
    axis: Literal["rows", "columns"] = "rows" if matrix.format == "csr" else "columns"
    return ScipySource(values, matrix.indices, matrix.indptr, table, shape, axis, kind)

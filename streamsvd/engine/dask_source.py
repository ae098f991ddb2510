"""A dask array as a source: its own chunk tasks feed the spans, in one graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_dense, is_sparse_object
from streamsvd.checks.masks import as_array, block_dtype, may_be_masked, write_block
from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.blocks import Axis
from streamsvd.numerics.columns import Columns
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.kinds import is_scipy_sparse
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.sparse.vectors import number_dtype
from streamsvd.store.sources.views.missing_number import missing_packing, numbers_as_nan

MADE_DENSE = "streamsvd-dense-chunk"
"""How the layer of a graph is called that makes sparse chunks dense."""


@dataclass(frozen=True, slots=True, eq=False)
class DaskSource:
    """A two-dimensional dask array of numbers.

    Attributes
    ----------
    array
        The dask array; nothing of it is computed until a pass asks.
    """

    __repr__ = matrix_text

    array: Any

    @property
    def shape(self) -> tuple[int, int]:
        return (int(self.array.shape[0]), int(self.array.shape[1]))

    @property
    def dtype(self) -> np.dtype[Any]:
        return block_dtype(self.array)

    @property
    def chunks(self) -> tuple[int, int]:
        rows, columns = self.array.chunks
        return (max(rows), max(columns))

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """Transients along rows, which a rectangle of whole rows needs too."""
        return self.span_bytes("rows")

    def span_bytes(self, axis: Axis) -> int:
        """Two copies of one row (or column) of chunks: as computed, with their masks or as sparse ones, and as assembled."""
        along, across = (0, 1) if axis == "rows" else (1, 0)
        item = 2 * self.dtype.itemsize + may_be_masked(self.array)
        if has_sparse_chunks(self.array):
            item += (
                self.dtype.itemsize + np.dtype(np.int32).itemsize
            )  # at most all entries are stored
        return self.chunks[along] * self.shape[across] * item

    @property
    def name(self) -> str:
        return f"dask array {self.array.name}"

    @property
    def originals(self) -> list[Any]:
        """The arrays that its graph begins with, as far as they stand in it under the name that dask gives them."""
        from streamsvd.store.writing.separation import originals  # half a second of imports

        return originals(self.array)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        """Compute a rectangle; the sample uses it, passes join the graph instead."""
        rows, columns = check_rectangle(self, rows, columns, out)
        block = self.array[rows, columns].compute(scheduler="synchronous")
        check_dense(block, self.name)
        write_block(out, block, name=self.name, row=rows.start, column=columns.start)

    def locate(self, row: int, column: int, /) -> str:
        where = []
        for index, sizes in zip((row, column), self.array.chunks, strict=True):
            where.append(int(np.searchsorted(np.cumsum(sizes), index, side="right")))
        return f"chunk ({where[0]}, {where[1]}) of {self.name}"

    def spans(self, axis: Axis) -> list[tuple[int, int, list[Any]]]:
        """First and last row (column) of each row (column) of chunks that has any, and its delayed chunks in order."""
        edges = np.concatenate([[0], np.cumsum(self.array.chunks[0 if axis == "rows" else 1])])
        grid = self.array.to_delayed()
        return [
            (int(a), int(b), list(chunks))
            for a, b, chunks in zip(
                edges[:-1], edges[1:], grid if axis == "rows" else grid.T, strict=True
            )
            if a < b
        ]


@dataclass(frozen=True, slots=True, eq=False)
class KeptDaskColumns(DaskSource):
    """The columns of a dask array that are kept, side by side.

    Attributes
    ----------
    array
        Of those columns.
    whole, columns, look_bytes
        As of `streamsvd.store.sources.views.kept_columns.KeptColumns`.
    """

    __repr__ = matrix_text

    whole: DaskSource
    columns: Columns
    look_bytes: int = 0

    @classmethod
    def of(cls, whole: DaskSource, columns: Columns, look_bytes: int = 0) -> KeptDaskColumns:
        """The columns of a source that are kept."""
        return cls(whole.array[:, columns.indices], whole, columns, look_bytes)

    @property
    def name(self) -> str:
        return self.whole.name

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, int(self.columns.indices[column]))


def uniform_rows(source: DaskSource) -> DaskSource:
    """The same matrix in chunks of equally many rows, but for the last: each is then whole chunks of what is written of it."""
    *first, last = (int(rows) for rows in source.array.chunks[0])
    height = max([*first, last])
    if all(rows == height for rows in first) and last > 0:
        return source
    return replace(source, array=source.array.rechunk({0: height}))


@dataclass(frozen=True, slots=True, eq=False)
class LoadedSpan:
    """Rows or columns of a matrix that are in memory, under their numbers in the whole."""

    data: npt.NDArray[Any]
    axis: Axis
    start: int
    whole: DaskSource

    @property
    def columns(self) -> Columns | None:
        """Which columns of a larger matrix these are; None for all."""
        return getattr(self.whole, "columns", None)

    @property
    def shape(self) -> tuple[int, int]:
        return self.whole.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.whole.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return self.whole.chunks

    @property
    def nbytes(self) -> int:
        return self.whole.nbytes

    @property
    def read_bytes(self) -> int:
        return 0

    @property
    def name(self) -> str:
        return self.whole.name

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        """Copy from memory."""
        if self.axis == "rows":
            out[...] = self.data[rows.start - self.start : rows.stop - self.start, columns]
        else:
            out[...] = self.data[rows, columns.start - self.start : columns.stop - self.start]

    def locate(self, row: int, column: int, /) -> str:
        return self.whole.locate(row, column)


def is_dask_array(source: object) -> bool:
    """Whether this is a dask array, without importing dask to ask."""
    kind = type(source)
    return kind.__module__.startswith("dask.array") and kind.__name__ == "Array"


def dask_source(array: Any) -> DaskSource:
    """A checked source for a dask array.

    Raises
    ------
    ShapeError
        If the array is not a matrix of known, positive size.
    SpecError
        If its values are not numbers.
    """
    if array.ndim != 2:
        raise ShapeError(
            f"the dask array has {array.ndim} dimensions {array.shape}; a matrix has 2. Reshape it first."
        )
    if any(np.isnan(size) for size in array.shape):
        raise ShapeError(
            f"the dask array has unknown chunk sizes, shape {array.shape}. Call compute_chunk_sizes() on it."
        )
    if 0 in array.shape:
        raise ShapeError(f"the dask array is empty: shape {array.shape}.")
    array = _with_dense_chunks(array)
    if np.dtype(array.dtype).kind not in "fciu":
        raise SpecError(f"the dask array holds {array.dtype}; convert it to numbers first.")
    return DaskSource(array)


def _with_dense_chunks(array: Any) -> Any:
    """The same array; chunks that are sparse are made dense, each when it is computed.

    Raises
    ------
    SpecError
        If they are of another library than scipy, or columns are cut.
    """
    meta = getattr(array, "_meta", None)
    if not is_sparse_object(meta):
        return array
    kind = type(meta).__qualname__
    if not is_scipy_sparse(meta):
        raise SpecError(
            f"the chunks of the dask array are sparse ({kind}), which is not read yet. Make each one of scipy.sparse, or dense: "
            "x.map_blocks(lambda block: block.todense(), dtype=x.dtype, meta=numpy.empty((0, 0), x.dtype))."
        )
    if getattr(meta, "format", "") not in ("csr", "csc"):
        raise SpecError(
            f"the chunks of the dask array are sparse ({kind}), of which dask takes no rows. Make each CSR: "
            "x.map_blocks(lambda block: block.tocsr())."
        )
    if len(array.chunks[1]) > 1:
        raise SpecError(
            f"the chunks of the dask array are sparse ({kind}) and cut along columns: rows of such a matrix are read whole. Make chunks "
            "of whole rows: x.rechunk({1: -1})."
        )
    dtype = number_dtype(np.dtype(array.dtype))
    meta = np.empty((0, 0), dtype)
    return array.map_blocks(dense_chunk, dtype, dtype=dtype, meta=meta, token=MADE_DENSE)


def dense_chunk(block: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A chunk of whole rows with its zeros."""
    found: npt.NDArray[Any] = block.toarray() if hasattr(block, "toarray") else as_array(block)
    return found.astype(dtype, copy=False)


def has_sparse_chunks(array: Any) -> bool:
    """Whether chunks that are sparse were made dense on the way to this array."""
    return any(str(name).startswith(MADE_DENSE) for name in array.dask.layers)


def mark_dask_missing(source: DaskSource, number: float) -> DaskSource:
    """The same array, NaN where it equals a number.

    Raises
    ------
    SpecError
        If no value of the array can equal it.
    """
    packing = missing_packing(source.array.dtype, number, source.name)
    if packing is None:
        return source
    meta = np.empty((0, 0), packing.dtype)
    array = source.array.map_blocks(numbers_as_nan, packing, dtype=packing.dtype, meta=meta)
    return replace(source, array=array)

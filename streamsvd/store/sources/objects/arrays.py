"""A matrix that is in memory already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array, block_dtype, masked_cells, write_block
from streamsvd.store.sources.border import check_dtype, check_rectangle, strips
from streamsvd.store.sources.files.npy import NpySource, maps_whole_file, open_memmap
from streamsvd.store.sources.flatten import Flattening, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A numpy array; holds a reference, never a copy. What is masked is read as NaN."""

    __repr__ = matrix_text

    array: npt.NDArray[Any] = field(repr=False)
    layout: Flattening
    dtype: np.dtype[Any]
    name: str = "ndarray"

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def chunks(self) -> tuple[int, int]:
        return strips(self.shape, self.dtype.itemsize)

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return 0

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        for box, place in self.layout.views(rows, columns, out):
            write_block(place, self.array[box], name=self.name)

    def locate(self, row: int, column: int, /) -> str:
        return self.name


def open_array(array: npt.NDArray[Any], request: OpenRequest) -> ArraySource | NpySource:
    """An in-memory array as a source; of a whole memory map, the file behind it."""
    if maps_whole_file(array):
        return open_memmap(array, request.rows)
    check_dtype(array.dtype, "ndarray")
    if masked_cells(array) is None:
        array = as_array(array)
    return ArraySource(
        array, flattening(array.shape, None, request.rows, "ndarray"), block_dtype(array)
    )

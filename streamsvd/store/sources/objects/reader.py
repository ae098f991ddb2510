"""Anything with ``shape``, ``dtype``, ``chunks`` and ``read(rows)``: the user's own storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_dense
from streamsvd.checks.masks import as_block, write_block
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.explanations import access_error
from streamsvd.store.sources.border import check_dtype, check_rectangle, row_block
from streamsvd.store.sources.flatten import flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest


class RowReader(Protocol):
    """The least that can be read: whole rows at a time, as a new array; what it masks is missing."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> Any: ...

    @property
    def chunks(self) -> Any: ...

    def read(self, rows: slice, /) -> npt.NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class ReaderSource:
    """A `RowReader` whose answers are checked, read by read."""

    __repr__ = matrix_text

    reader: RowReader
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunks: tuple[int, int]
    name: str

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """Two blocks of whole rows: the one returned, and one for what the reader does to make it."""
        return 2 * self._height * self.shape[1] * self.dtype.itemsize

    @property
    def _height(self) -> int:
        return self.chunks[0]

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        start = rows.start
        while start < rows.stop:  # one block of the reader's own grid at a time
            stop = min(rows.stop, (start // self._height + 1) * self._height)
            block = self._block(start, stop)[:, columns]
            place = out[start - rows.start : stop - rows.start]
            write_block(place, block, name=self.name, row=start, column=columns.start)
            start = stop

    def _block(self, start: int, stop: int) -> npt.NDArray[Any]:
        try:
            given = self.reader.read(slice(start, stop))
            check_dense(given, f"{self.name}.read(slice({start}, {stop}))")
            block = as_block(given)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            where = f"rows {start}:{stop} of {self.name}"
            where += "" if error.filename is None else f", {error.filename}"
            raise access_error(error, "read", where) from error
        wanted = (stop - start, self.shape[1])
        if block.shape != wanted or block.dtype.newbyteorder("=") != self.dtype:
            raise ShapeError(
                f"{self.name}.read(slice({start}, {stop})) returned {block.dtype} {block.shape}; "
                f"its shape and dtype promise {self.dtype} {wanted}."
            )
        return block

    def locate(self, row: int, column: int, /) -> str:
        start = row // self._height * self._height
        return f"rows {start}:{min(start + self._height, self.shape[0])} of {self.name}"


def open_reader(reader: RowReader, request: OpenRequest | None = None) -> ReaderSource:
    """The user's own reader as a source; nothing more can be asked of it."""
    del request
    name = type(reader).__name__
    dtype = np.dtype(reader.dtype)
    check_dtype(dtype, name)
    shape = flattening(tuple(reader.shape), None, None, name).shape
    return ReaderSource(reader, shape, dtype.newbyteorder("="), _chunks(reader, shape, dtype), name)


def _chunks(reader: RowReader, shape: tuple[int, int], dtype: np.dtype[Any]) -> tuple[int, int]:
    """Longest chunk per side, from a pair of numbers or, as dask writes them, a pair of tuples."""
    given = getattr(reader, "chunks", None)
    if given is None:
        return row_block(shape, dtype.itemsize)
    sides = [max(side) if isinstance(side, Iterable) else side for side in given]
    if len(sides) != 2 or not all(
        isinstance(side, int | np.integer) and side > 0 for side in sides
    ):
        raise SpecError(
            f"{type(reader).__name__}.chunks is {given!r}; it should be two positive numbers, "
            "(rows, columns), or None."
        )
    return min(int(sides[0]), shape[0]), shape[1]  # it reads whole rows, however they are cut

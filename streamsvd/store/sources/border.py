"""What every source checks of the types it accepts and of the rectangles it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.flatten import Flattening

_ADVICE = {
    "b": "Convert it to uint8 first (array.astype('uint8')), if true and false are meant as 1 and 0.",
    "M": "Dates have no inner product. Convert them to a number of days or seconds first.",
    "m": "Convert it to a float number of days or seconds first.",
    "O": "Objects are never unpickled. Write it again with a numeric type.",
    "V": "Pick one numeric field of the records and store it by itself.",
}


def check_dtype(dtype: np.dtype[Any], where: str) -> None:
    """Refuse what is not an integer, a float or a complex number."""
    if dtype.kind not in "iufc":
        advice = _ADVICE.get(dtype.kind, "Text has no inner product. Encode it as numbers first.")
        raise SpecError(
            f"{where} holds {dtype} values; a matrix needs integers, floats or complex. {advice}"
        )


def check_rectangle(
    source: Source, rows: slice, columns: slice, out: npt.NDArray[Any]
) -> tuple[slice, slice]:
    """The same rectangle with its bounds written out, once it is known to lie inside and to fit ``out``."""
    rectangle = []
    for part, extent, side in (
        (rows, source.shape[0], "rows"),
        (columns, source.shape[1], "columns"),
    ):
        start = 0 if part.start is None else int(part.start)
        stop = extent if part.stop is None else int(part.stop)
        if part.step not in (None, 1) or not 0 <= start <= stop <= extent:
            raise ShapeError(
                f"{side} {part} do not lie inside the {extent} {side} of {source.name}."
            )
        rectangle.append(slice(start, stop))
    wanted = tuple(part.stop - part.start for part in rectangle)
    if out.shape != wanted or out.dtype != source.dtype:
        raise ShapeError(
            f"out is {out.dtype} {out.shape}; reading {source.name} here gives {source.dtype} {wanted}."
        )
    return rectangle[0], rectangle[1]


BLOCK_BYTES = 1 << 20
"""What a chunk of a matrix that is stored without any holds, about."""

RUN_BYTES = (1 << 10, 4 << 10)
"""Least bytes of the consecutive entries of a strip: a read of fewer costs more than the bytes do."""

WHOLE_BYTES = 8 << 10
"""Lines of at most so many bytes are read whole: their parts lie closer together than reads pay for."""

_STRIPS = 16
"""Strips that lines are cut into at least, where their runs stay long enough, so that a sample finds several."""


def row_block(shape: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Chunks of a matrix that is stored without any and read by whole rows, about a mebibyte of them."""
    return min(shape[0], max(1, BLOCK_BYTES // max(1, shape[1] * itemsize))), shape[1]


def strips(shape: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Chunks of a matrix whose rows lie one after another: it can be read along either axis.

    Rows as in `row_block`; columns so that reading a strip of them, one run of each row, asks for little
    more than it wants, and is a mebibyte where that is a small part of the matrix.
    """
    rows, line = row_block(shape, itemsize)[0], shape[1] * itemsize
    if line <= WHOLE_BYTES:
        return rows, shape[1]
    least, most = RUN_BYTES
    run = max(least, min(most, line // _STRIPS)) // itemsize
    block = min(BLOCK_BYTES // (shape[0] * itemsize), -(-shape[1] // _STRIPS))
    return rows, min(shape[1], max(1, run, block))


def stored_strips(layout: Flattening, itemsize: int, *, fortran: bool = False) -> tuple[int, int]:
    """Chunks of an array that lies uncompressed in a file, seen as a matrix.

    Where neighbours of a row lie side by side, or those of a column, strips across them are few runs.
    """
    order = range(len(layout.extents))
    stored = tuple(reversed(order)) if fortran else tuple(order)
    if stored[-len(layout.column_axes) :] == layout.column_axes:
        return strips(layout.shape, itemsize)
    if stored[-len(layout.row_axes) :] == layout.row_axes:
        return strips(layout.shape[::-1], itemsize)[::-1]
    return row_block(layout.shape, itemsize)


def copied_chunks(source: Source) -> tuple[int, int]:
    """Chunks for a copy of a matrix: its own, or blocks of whole rows where it is stored without any."""
    if getattr(source, "has_no_chunks", False):
        return row_block(source.shape, source.dtype.itemsize)
    return source.chunks


def innermost_source(source: Any) -> Any:
    """What is stored, of a source that shows another one."""
    while hasattr(source, "whole"):
        source = source.whole
    return source

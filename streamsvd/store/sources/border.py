"""What every source checks of the types it accepts and of the rectangles it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError
from streamsvd.protocols import Source

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


def checked(
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


def row_block(shape: tuple[int, int], itemsize: int) -> tuple[int, int]:
    """Chunks of a matrix that is stored without any: whole rows, about a mebibyte of them."""
    return min(shape[0], max(1, (1 << 20) // (shape[1] * itemsize))), shape[1]

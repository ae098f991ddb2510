"""Masked cells are missing values: NaN from the door on, for the policy to decide; nothing else knows of masks.

Every array of a user comes in by `as_array` or `masked_to_nan`, is written into memory of ours by `write_block`, or is refused by
`require_unmasked` where a missing value means nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.packed_arrays import check_unpacked
from streamsvd.errors import SpecError

Array = npt.NDArray[Any]
_RANKS = {"b": 0, "i": 0, "u": 0, "f": 1, "c": 2}
"""Kinds of numbers: none may be written where a narrower one was promised."""


def masked_to_nan(block: Any) -> Any:
    """A masked array as a plain one, NaN where it is masked; what dask and xarray hold, computed; anything else as it is.

    Of lists, what they hold.

    Raises
    ------
    SpecError
        If a cell is masked of what no NaN can stand among: text, dates, objects.

    Notes
    -----
    Cost: nothing without masked cells; else one copy. Integers of at most 16 bits become float32, others float64.
    """
    block = _compute_lazy(block)
    if isinstance(block, list | tuple):
        return [masked_to_nan(part) for part in block]
    if not isinstance(block, np.ma.MaskedArray):
        return block
    data, mask = np.asarray(block), masked_cells(block)
    if mask is None:
        return data
    out = data.astype(dtype_with_nan(data.dtype))
    np.copyto(out, np.nan, where=mask)
    return out


def as_array(values: Any) -> Array:
    """What a user gave as an array, NaN where it is masked: numpy, dask, xarray, or lists of these or of numbers.

    Raises
    ------
    SpecError
        As `masked_to_nan`.
    """
    return np.asarray(masked_to_nan(values))


def as_block(block: Any) -> Array:
    """A block that came, with its mask where it has one: for `write_block`."""
    block = _compute_lazy(block)
    return block if isinstance(block, np.ma.MaskedArray) else as_array(block)


def require_unmasked(values: Any, name: str) -> Array:
    """The same where a missing value means nothing: weights, labels, numbers of rows.

    Raises
    ------
    SpecError
        If a cell is masked.
    """
    values = _compute_lazy(values)
    mask = masked_cells(values)
    if mask is not None:
        at = ", ".join(str(i) for i in first_set_cell(mask))
        raise SpecError(
            f"{name} is masked at {at}, and a missing value means nothing there. Fill it first: {name}.filled(...)."
        )
    return as_array(values)


def write_block(out: Array, block: Any, *, name: str, row: int = 0, column: int = 0) -> None:
    """Write a block into memory of ours, NaN where it is masked.

    Parameters
    ----------
    out
        Of the type that was promised.
    block
        What came.
    name
        How messages call the matrix.
    row, column
        Where the block begins in it.

    Raises
    ------
    SpecError
        If a cell is masked and ``out`` holds integers, or numbers came that ``out`` does not hold.
    """
    data, mask = np.asarray(block), masked_cells(block)
    if mask is not None and out.dtype.kind not in "fc":
        where = np.broadcast_to(mask, out.shape)
        i, j = first_set_cell(where)[0], first_set_cell(where)[-1]
        raise SpecError(
            f"row {row + i}, column {column + j} of {name} is masked, and its {out.dtype} values have no NaN to say so. "
            f"Give it as {dtype_with_nan(out.dtype)}; of a dask array, x.astype({str(dtype_with_nan(out.dtype))!r})."
        )
    if _RANKS.get(data.dtype.kind, 0) > _RANKS.get(out.dtype.kind, 2):
        raise SpecError(
            f"{data.dtype} values came of {name}, which promises {out.dtype}: they would be cut off. Let "
            f"it promise {data.dtype}."
        )
    out[...] = data
    if mask is not None:
        np.copyto(out, np.nan, where=mask)


def masked_cells(block: Any) -> Array | None:
    """The mask of an array that has a masked cell; None of any other.

    Raises
    ------
    SpecError
        As `masked_to_nan`.
    """
    if not isinstance(block, np.ma.MaskedArray) or block.dtype.kind == "V":
        return None
    mask: Any = np.ma.getmask(block)
    if mask is np.ma.nomask or not mask.any():
        return None
    if block.dtype.kind not in "biufc":
        raise SpecError(
            f"an array of {block.dtype} is masked at {', '.join(map(str, first_set_cell(mask)))}: there is no NaN among such values. "
            "Convert it to numbers first, or fill it."
        )
    found: Array = mask
    return found


def block_dtype(values: Any) -> np.dtype[Any]:
    """Type, in native byte order, of a block of these values once missing ones are NaN."""
    dtype: np.dtype[Any] = np.dtype(values.dtype).newbyteorder("=")
    return (
        dtype_with_nan(dtype)
        if may_be_masked(values) or masked_cells(values) is not None
        else dtype
    )


def may_be_masked(values: Any) -> bool:
    """Whether a dask array says, by its ``_meta``, that its chunks are masked arrays."""
    return isinstance(getattr(values, "_meta", None), np.ma.MaskedArray)


def dtype_with_nan(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of the same numbers with NaN among them."""
    return dtype if dtype.kind not in "biu" else np.result_type(dtype, np.float32)


def first_set_cell(mask: Array) -> tuple[int, ...]:
    """Place of the first cell that is set."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _compute_lazy(values: Any) -> Any:
    """What lazy wrappers hold: their own conversion to numpy would drop the mask, and of packed arrays what they mean."""
    check_unpacked(values)
    home = type(values).__module__.split(".")[0]
    if home == "xarray" and hasattr(values, "data"):
        values = values.data
        home = type(values).__module__.split(".")[0]
    return values.compute() if home == "dask" and hasattr(values, "compute") else values

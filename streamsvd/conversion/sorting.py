"""Entries put in the order of their rows by counting, so that entries of one place keep the order in which they came."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.errors import SpecError

Array = npt.NDArray[Any]

DIGIT = 16
"""Bits that are counted at once."""


def sorted_rows(
    entries: tuple[Array, ...], first: int, stop: int, width: int, *, ascend: bool = False
) -> Any:
    """Entries as a ``csr_array`` in canonical form.

    Parameters
    ----------
    entries
        Rows, columns and values.
    first, stop
        The rows.
    width
        Columns.
    ascend
        Whether columns ascend already as they come, each place once.

    Raises
    ------
    SpecError
        If finite entries of one place add up beyond their type.

    Notes
    -----
    Duplicates are summed in the order in which they came, so that the bits do not depend on what else is sorted with them. Cost: one
    counting of the rows where columns ascend; else one of each 16 bits of columns and rows, without a table as long as these.
    """
    rows, columns, values = entries
    if first:
        rows = rows - rows.dtype.type(first)
    kind = np.dtype(np.int32 if width <= np.iinfo(np.int32).max else np.int64)
    if ascend:
        shape = stop - first, width
        found = sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
        assert found.has_canonical_format
        return found
    if not _is_sorted(rows, columns):
        order = stable_order(columns, width)
        order = order[stable_order(rows[order], stop - first)]
        rows, columns, values = rows[order], columns[order], values[order]
        del order
        is_new = np.ones(rows.size, bool)
        np.not_equal(rows[1:], rows[:-1], out=is_new[1:])
        is_new[1:] |= columns[1:] != columns[:-1]
        if not is_new.all():
            starts = np.flatnonzero(is_new)
            rows, columns = rows[starts], columns[starts]
            values = _sums(values, starts, rows, columns, first)
    offsets = np.zeros(stop - first + 1, kind)
    np.cumsum(np.bincount(rows, minlength=stop - first), out=offsets[1:])
    found = sparse.csr_array(
        (values, columns.astype(kind, copy=False), offsets), shape=(stop - first, width)
    )
    found.has_sorted_indices = found.has_canonical_format = True
    return found


def _sums(values: Array, starts: Array, rows: Array, columns: Array, first: int) -> Array:
    """Entries of each place added up.

    Raises
    ------
    SpecError
        If finite entries add up beyond their type; it names row and column.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found: Array = np.add.reduceat(values, starts, dtype=values.dtype)
    if values.dtype.kind in "iu":
        most = int(np.iinfo(values.dtype).max)
        largest = max(abs(int(values.max())), abs(int(values.min())))
        if largest * int(np.diff(starts, append=values.size).max()) <= most:
            return found
        beyond = np.abs(np.add.reduceat(values.astype(np.float64), starts)) >= float(most + 1)
    else:
        beyond = ~np.isfinite(found)
        if beyond.any():
            beyond &= np.logical_and.reduceat(np.isfinite(values), starts)
    if beyond.any():
        i = int(np.argmax(beyond))
        raise SpecError(
            f"the entries of row {first + int(rows[i]):,}, column {int(columns[i]):,} are finite, and add up to more than "
            f"{values.dtype} holds. Pass a wider out_dtype=, or scale them."
        )
    return found


def _is_sorted(rows: Array, columns: Array) -> bool:
    """Whether entries are in order already, each place once."""
    same = rows[1:] == rows[:-1]
    ascends = rows[1:] > rows[:-1]
    ascends |= same & (columns[1:] > columns[:-1])
    return bool(ascends.all())


def stable_order(keys: Array, extent: int) -> npt.NDArray[np.int64]:
    """The order of keys from 0 to an extent; equal ones keep theirs."""
    order = np.argsort((keys & 0xFFFF).astype(np.uint16), kind="stable")
    for shift in range(DIGIT, max(extent - 1, 1).bit_length(), DIGIT):
        digits = ((keys >> shift) & 0xFFFF).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def sorting_bytes(itemsize: int, *, ascend: bool) -> int:
    """Bytes that `sorted_rows` takes of an entry, with what is given to it and what it hands back."""
    if ascend:
        return 16 + 3 * itemsize
    return 60 + 2 * itemsize

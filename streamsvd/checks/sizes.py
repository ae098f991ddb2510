"""Sizes of entries whose squares float64 holds: what models and estimators fold is squared."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError

LARGEST, SMALLEST, EXACT = 1e140, 1e-140, 2**53
"""Sizes whose squares float64 holds with room for sums, and the integers that it holds."""


def size_of(rows: npt.NDArray[Any]) -> float:
    """Largest modulus of a part of an entry; a NaN has none, and does not hide that of the others."""
    parts = (rows.real, rows.imag) if rows.dtype.kind == "c" else (rows,)
    ends = (float(f.reduce(p, axis=None, initial=0)) for p in parts for f in (np.fmax, np.fmin))
    return max(abs(end) for end in ends)


def check_size(rows: npt.NDArray[Any], name: str) -> float:
    """Refuse entries whose squares would overflow or vanish, and integers that float64 would round; the largest modulus.

    Parameters
    ----------
    rows
        A block or a part of one; Inf is left to others, who call it what it is.
    name
        How the message calls where they are from.

    Raises
    ------
    SpecError
        With the size and the remedy.
    """
    size = size_of(rows)
    if rows.dtype.kind in "iu" and rows.dtype.itemsize == 8 and size > EXACT:
        raise SpecError(
            f"{name} has integers of size {size:.6g}, which float64 rounds. Divide or cast them first."
        )
    check_magnitude(size, name)
    return size


def check_magnitude(size: float, name: str) -> None:
    """Refuse a size of entries whose squares float64 does not hold."""
    if LARGEST < size < np.inf or 0 < size < SMALLEST:
        raise SpecError(
            f"{name} has entries of size {size:.3g}, whose squares float64 does not hold. Multiply all the data "
            "by a power of two, which changes nothing else."
        )

"""Rows as they were read, in float64 and checked: what is not finite is named by row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.sizes import check_size
from streamsvd.errors import NonFiniteError
from streamsvd.protocols import Source
from streamsvd.typing import Matrix


def finite_rows(source: Source, raw: npt.NDArray[Any], first: int) -> Matrix:
    """Rows from number ``first`` on.

    Raises
    ------
    NonFiniteError
        If an entry is NaN or Inf.
    SpecError
        If squares of entries leave float64.
    """
    check_size(raw, source.name)
    rows = raw.astype(np.float64)
    check_finite(source, rows, first)
    return rows


def largest_finite_modulus(source: Source, raw: npt.NDArray[Any], first: int) -> float:
    """Largest modulus of an entry of rows that stay as they were read, and are as good.

    Raises
    ------
    NonFiniteError, SpecError
        As of `finite_rows`.
    """
    size = check_size(raw, source.name)
    check_finite(source, raw, first)
    return size


def check_finite(source: Source, rows: npt.NDArray[Any], first: int) -> None:
    """Refuse rows, from number ``first`` on, with an entry that is NaN or Inf.

    Raises
    ------
    NonFiniteError
        It names row and column.
    """
    bad = ~np.isfinite(rows)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        value = "NaN" if np.isnan(rows[i, j]) else "Inf"
        row, column = first + int(i), int(j)
        chunk = source.locate(row, column)
        raise NonFiniteError(value, row, column, chunk, "Mend or leave out the row.")

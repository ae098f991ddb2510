"""Rows that must be finite: an entry that is not is named by row and column."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import NonFiniteError
from streamsvd.protocols import Source


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

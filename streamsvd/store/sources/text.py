"""Texts as netCDF stores them: an array of single characters, whose last dimension makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def joined_characters(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Texts; where each character is a value of its own, those along the last dimension are one."""
    if values.dtype != np.dtype("S1") or values.ndim < 2:
        return values
    length = values.shape[-1]
    return np.ascontiguousarray(values).view(f"S{length}")[..., 0]

"""Names for the arrays that the host mathematics works on."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Real: TypeAlias = npt.NDArray[np.float64]
"""Float64 array: norms, eigenvalues, weights."""

Matrix: TypeAlias = npt.NDArray[Any]
"""Float64 or complex128 array: thin blocks and small projected matrices."""

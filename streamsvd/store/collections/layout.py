"""How an array of any shape is seen as a matrix, and how it comes back.

A matrix is itself, a vector is one column, and of more dimensions the last makes the columns and all others, in C order,
the rows. ``columns`` cuts the values in C order into rows of that many instead; transposing comes last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError
from streamsvd.store.sources.flatten import Box


@dataclass(frozen=True, slots=True)
class MemberLayout:
    """The view of one array.

    Attributes
    ----------
    array_shape
        Shape of the array.
    columns
        Columns of the matrix where they were given.
    is_transposed
        Whether the matrix is the transpose of that view.
    """

    array_shape: tuple[int, ...]
    columns: int | None = None
    is_transposed: bool = False

    @property
    def _untransposed_shape(self) -> tuple[int, int]:
        """Rows and columns before transposing."""
        count = math.prod(self.array_shape)
        if self.columns is not None:
            return count // self.columns, self.columns
        if len(self.array_shape) == 1:
            return count, 1
        return math.prod(self.array_shape[:-1]), self.array_shape[-1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        m, n = self._untransposed_shape
        return (n, m) if self.is_transposed else (m, n)

    def require_valid(self, name: str) -> MemberLayout:
        """The same, if the array can be seen so.

        Raises
        ------
        ShapeError
            It names the array.
        """
        if not self.array_shape:
            raise ShapeError(
                f"block {name!r} is a single number, a matrix has 2 dimensions. Leave it out with select."
            )
        count = math.prod(self.array_shape)
        if self.columns is not None and count % self.columns:
            raise ShapeError(
                f"block {name!r} of shape {self.array_shape} has {count:,} values, no multiple of columns={self.columns}. "
                "Pass a divisor, or give it columns of its own by a pattern."
            )
        return self

    def matrix(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array as a matrix."""
        A = array.reshape(self._untransposed_shape)
        return A.T if self.is_transposed else A

    def array(self, matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The matrix as the array."""
        A = matrix.T if self.is_transposed else matrix
        return np.ascontiguousarray(A).reshape(self.array_shape)

    def slab(self, start: int, stop: int) -> Box | None:
        """The rectangle of the array that holds these rows of the matrix; None if no rectangle does."""
        if len(self.array_shape) == 1 and not self.is_transposed and self.columns in (None, 1):
            return (slice(start, stop),)
        if len(self.array_shape) != 2 or (
            self.columns is not None and self.columns != self.array_shape[1]
        ):
            return None
        rows = slice(start, stop)
        if self.is_transposed:
            return slice(0, self.array_shape[0]), rows
        return rows, slice(0, self.array_shape[1])

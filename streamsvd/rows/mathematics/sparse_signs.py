r"""A sketch ``Y = S A`` of a tall matrix with few rows, by a sparse matrix of signs; sketches of parts add up.

Every row of A is added to eight rows of Y, one in each eighth of them, with random signs over ``sqrt(8)``. Places and signs
are a hash of the seed and the row's number, so the sketch of a block needs nothing but the block, and the sum over blocks is
the sketch of all rows (Nelson, Nguyen 2013, OSNAP). With ``8 n`` rows, the columns of ``A R^{-1}``, R the triangle of Y, have
singular values in about ``1 / (1 +- sqrt(1/8))``, as for Gaussian S; of sparse signs that is observed, not proved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from streamsvd.numerics.triangle import Tower, Triangle
from streamsvd.numerics.uniforms import uniforms
from streamsvd.typing import Matrix

NONZEROS = 8
"""Signs a row; and rows of the sketch for each column of A."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseSignSketch:
    """``S A`` of the rows so far.

    Attributes
    ----------
    Y
        ``(8, s / 8, n)``: one part for each sign of a row.
    seed
        Of the signs and places.
    """

    Y: Matrix
    seed: int

    @classmethod
    def zero(cls, n_rows: int, n_columns: int, *, seed: int) -> SparseSignSketch:
        """Of no row; ``n_rows`` in each eighth."""
        return cls(np.zeros((NONZEROS, n_rows, n_columns)), seed)

    def update(self, first: int, rows: Matrix) -> SparseSignSketch:
        """With further rows, numbered from ``first`` on; the memory of this state is used again."""
        p, height = rows.shape[0], self.Y.shape[1]
        u = uniforms(self.seed, np.arange(first, first + p, dtype=np.int64), NONZEROS)
        drawn = (u * (2 * height)).astype(np.int64)
        signs = np.where(drawn % 2, 1.0, -1.0) / np.sqrt(NONZEROS)
        columns = np.arange(p)
        for j in range(NONZEROS):
            S = sparse.csr_array((signs[:, j], (drawn[:, j] // 2, columns)), shape=(height, p))
            self.Y[j] += S @ rows
        return self

    def merge(self, other: SparseSignSketch) -> SparseSignSketch:
        """Of the rows of both."""
        assert self.seed == other.seed, "sketches of different seeds do not add up"
        return SparseSignSketch(self.Y + other.Y, self.seed)

    def triangle(self) -> Triangle:
        """R with ``R* R = Y* Y``."""
        tower = Tower()
        for part in self.Y:
            tower = tower.push(part)
        return tower.top()

r"""Coordinates in which the columns of a tall matrix are orthonormal, from its triangle.

With ``A* A = R* R`` and ``W`` such that ``(R W)* (R W) = I``, the rows ``a_i W`` have the leverage scores as their squared
norms, and every ``x`` of the row space is ``W y`` with ``||A x|| = ||y||``. Columns are scaled to about unit length first, by
powers of two, so that neither scores nor rank depend on their units. Directions that the rounding of R hides are no part
of the row space: with ``D`` the scale and ``eta`` the rounding, those with ``sigma(R D^{-1}) < 4 eta ||R D^{-1}||_F``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.numerics.triangle import Triangle
from streamsvd.typing import Matrix, Real

ROUNDING_LIMIT = 0.25
"""Relative change that rounding may make in a direction that counts."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSpace:
    """The numerical row space of a matrix.

    Attributes
    ----------
    W
        ``(n, rank)``; the columns of ``A W`` are orthonormal.
    scale
        ``D``, the powers of two by which columns are divided, ``(n,)``.
    size
        ``||A D^{-1}||_F``.
    stretch
        Upper bound of ``||D W||_2``, the inverse of the smallest singular value of ``A D^{-1}`` that counts.
    rounding
        ``eta`` of the triangle.
    unseen
        Orthonormal ``(n, n - rank)``: what ``A D^{-1}`` maps to rounding.
    """

    W: Matrix
    scale: Real
    size: float
    stretch: float
    rounding: float
    unseen: Matrix

    @classmethod
    def of(cls, triangle: Triangle) -> RowSpace:
        """From the triangle of all rows.

        Notes
        -----
        Cost: ``n^3 / 3`` flops where all columns count; a singular value decomposition of R where they do not.
        """
        R, eta = triangle.R, triangle.rounding
        scale = _powers_of_two(R)
        S = R / scale
        size = float(np.linalg.norm(S))
        if R.shape[0] == R.shape[1] and np.all(np.diagonal(S)):
            with np.errstate(over="ignore", invalid="ignore"):
                inverse = linalg.lapack.dtrtri(S)[0]
                stretch = float(np.linalg.norm(inverse))
            if eta * size * stretch <= ROUNDING_LIMIT:
                return cls(
                    inverse / scale[:, None], scale, size, stretch, eta, np.zeros((scale.size, 0))
                )
        _, s, Vh = linalg.svd(S, check_finite=False, lapack_driver="gesvd")
        rank = int(np.count_nonzero(s * ROUNDING_LIMIT > eta * size))
        V, unseen, s = Vh[:rank].T, Vh[rank:].T, s[:rank]
        stretch = 1 / float(s[-1]) if s.size else 0.0
        return cls(V / s / scale[:, None], scale, size, stretch, eta, unseen)

    @property
    def rank(self) -> int:
        """Directions that rounding does not hide."""
        return int(self.W.shape[1])

    @property
    def full(self) -> bool:
        """Whether every x is in the row space."""
        return self.rank == int(self.W.shape[0])

    @property
    def distortion(self) -> float:
        """``delta`` with ``(1 - delta) ||y|| <= ||A W y|| <= (1 + delta) ||y||``, from the rounding of the triangle."""
        return self.rounding * self.size * self.stretch

    def least_norm(self, x: Matrix) -> Matrix:
        """Of all that A maps to the same as x ``(n, q)``, the one of least norm.

        Where scales of columns are so far apart that what A does not see is rounding alone, x stays as it is.
        """
        if self.full:
            return x
        # taken away in coordinates in which A does not see it: so A x stays what it is, however columns are scaled
        away = self.unseen / self.scale[:, None]
        size = np.linalg.norm(away, axis=0)
        t = linalg.lstsq(away / size, x, check_finite=False, lapack_driver="gelsy")[0]
        moved = np.linalg.norm(t / size[:, None], axis=0)
        sound = moved <= 10 * np.linalg.norm(self.scale[:, None] * x, axis=0)
        return np.asarray(x - (away / size) @ np.where(sound, t, 0.0))

    def __call__(self, rows: Matrix) -> Matrix:
        """Coordinates of rows ``(p, n)``: ``(p, rank)``."""
        return np.asarray(rows @ self.W)


def _powers_of_two(R: Matrix) -> Real:
    """Of about the norm of each column; 1 for columns of zeros."""
    largest = np.abs(R).max(axis=0, initial=0.0)
    safe = np.where(largest > 0, largest, 1.0)
    norms = safe * np.linalg.norm(R / safe, axis=0)
    return np.asarray(np.ldexp(1.0, np.frexp(np.where(largest > 0, norms, 1.0))[1] - 1))

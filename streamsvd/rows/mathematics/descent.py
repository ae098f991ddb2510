r"""Conjugate gradients on ``min_y ||A W y - b||``, one pass over the rows an iteration, W from a sketch.

A pass takes ``A* (b - A x)`` at the point reached and ``A* A p`` for the direction of the next step together. So every step
begins from a gradient that was measured, not from one carried along by recurrence: rounding does not pile up, and the length of
the step is the best along its direction. As ``A W`` has singular values in about ``1 / (1 +- sqrt(1/8))``, errors fall by about
0.35 a pass whatever the condition of A. A step counts if ``||W* A* r||`` has fallen; the first that does not ends the iteration,
because what follows is rounding, and going on from there diverges. So does one that falls by less than half where x solves the
problem of a b that differs by a few units of rounding.

*The error.* ``x* - x = (A* A)^{-1} A* r``, so ``||x* - x|| <= ||W|| ||W* A* r|| / alpha^2`` with ``alpha`` the least singular value of ``A W``,
plus what rounding hides of the gradient. ``alpha`` is not measured: it is taken as for Gaussian sketches, so this is an estimate.

References: Avron, Maymounkov, Toledo (2010, Blendenpik); Meng, Saunders, Mahoney (2014, LSRN); Epperly (2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.typing import Matrix, Real

MOST_ITERATIONS = 40
ROUNDING_SHARE = 8 * UNIT_ROUNDOFF
"""Gradients below this share of ``||b||`` are as small as those of a b that was rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class DescentSums:
    """Sums over rows for a point X and directions P.

    Attributes
    ----------
    G, H
        ``A* (B - A X)`` and ``A* A P``, ``(n, q)``.
    residual, curvature
        ``||B - A X||^2`` and ``||A P||^2`` of each column.
    """

    G: Matrix
    H: Matrix
    residual: Real
    curvature: Real

    @classmethod
    def zero(cls, n_columns: int, targets: int) -> DescentSums:
        """Of no row."""
        shape = (n_columns, targets)
        return cls(np.zeros(shape), np.zeros(shape), np.zeros(targets), np.zeros(targets))

    def update(self, state: LeastSquaresDescent, rows: Matrix, b: Matrix) -> DescentSums:
        """With further rows of A and of b."""
        q = state.X.shape[1]
        both = rows @ np.concatenate([state.X, state.P], axis=1)
        both[:, :q] = b - both[:, :q]
        down = rows.T @ both
        squares = np.einsum("ij,ij->j", both, both)
        return DescentSums(
            self.G + down[:, :q], self.H + down[:, q:], self.residual + squares[:q], self.curvature + squares[q:]
        )  # fmt: skip

    def merge(self, other: DescentSums) -> DescentSums:
        """Of the rows of both."""
        return DescentSums(
            self.G + other.G,
            self.H + other.H,
            self.residual + other.residual,
            self.curvature + other.curvature,
        )

    def with_ridge(self, state: LeastSquaresDescent, ridge: float) -> DescentSums:
        """With the rows ``sqrt(ridge) I`` of A and zeros of b."""
        if not ridge:
            return self
        X, P = state.X, state.P
        return DescentSums(
            self.G - ridge * X,
            self.H + ridge * P,
            self.residual + ridge * np.einsum("ij,ij->j", X, X),
            self.curvature + ridge * np.einsum("ij,ij->j", P, P),
        )


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquaresDescent:
    """Where the iteration stands, for each of q right-hand sides.

    Attributes
    ----------
    X, P
        The point that the next pass looks at, and the direction to go on from it, ``(n, q)``.
    best
        The point of the least gradient so far.
    gradient, residual
        ``||W* A* r||`` and ``||r||`` there; infinite before the first pass.
    moving
        Which right-hand sides go on.
    passes
        Passes taken.
    """

    X: Matrix
    P: Matrix
    best: Matrix
    gradient: Real
    residual: Real
    moving: npt.NDArray[np.bool_]
    passes: int = 0

    @classmethod
    def start(cls, X: Matrix) -> LeastSquaresDescent:
        """At the solution of the sketched problem."""
        q = X.shape[1]
        return cls(
            X, np.zeros_like(X), X, np.full(q, np.inf), np.full(q, np.inf), np.ones(q, dtype=bool)
        )

    @property
    def is_over(self) -> bool:
        """Whether nothing moves."""
        return not bool(self.moving.any())

    def advance(
        self, space: RowSpace, sums: DescentSums, b: Real, tol: float
    ) -> LeastSquaresDescent:
        """One step, from the sums of a pass; gradients below ``tol`` times the norms ``b`` are small enough."""
        s = space.W.T @ sums.G
        norm, goal = np.linalg.norm(s, axis=0), tol * b
        if self.passes == 0:  # no direction yet: the next pass sees the same point again
            moving = self.moving & (norm > goal)
            P = space.W @ np.where(moving, s, 0.0)
            return LeastSquaresDescent(self.X, P, self.X, norm, np.sqrt(sums.residual), moving, 1)
        better = self.moving & ((norm < self.gradient) | (self.passes == 1))
        best = np.where(better, self.X, self.best)
        slow = (self.passes > 1) & (norm > self.gradient / 2) & (norm <= ROUNDING_SHARE * b)
        moving = better & ~slow & (norm > goal) & (sums.curvature > 0)
        curvature = np.where(moving, sums.curvature, 1.0)
        step = np.where(moving, np.einsum("ij,ij->j", self.P, sums.G) / curvature, 0.0)
        ahead = s - step * (space.W.T @ sums.H)
        ratio = np.einsum("ij,ij->j", ahead, ahead) / np.where(moving, norm, 1.0) ** 2
        P = np.where(moving, space.W @ ahead + ratio * self.P, 0.0)
        X = np.where(moving, self.X + step * self.P, best)
        return LeastSquaresDescent(
            X, P, best, np.where(better, norm, self.gradient),
            np.where(better, np.sqrt(sums.residual), self.residual), moving, self.passes + 1,
        )  # fmt: skip

    def error(self, space: RowSpace, alpha: float, b: Real) -> Real:
        """Estimate of ``||x - x*||_2`` of each; infinite where the rank is not full."""
        if not space.full:
            return np.full(self.gradient.shape, np.inf)
        size = np.linalg.norm(space.scale[:, None] * self.best, axis=0)
        hidden = 2 * UNIT_ROUNDOFF * (space.size * (size + space.stretch * self.residual) + b)
        return np.asarray(np.linalg.norm(space.W) * (self.gradient + hidden) / alpha**2)


def least_singular(rank: int, rows: int) -> float:
    """What ``alpha`` is for a Gaussian sketch of so many rows, for large ranks."""
    return 1 / (1 + float(np.sqrt(rank / rows)))

r"""Least squares from the triangle of ``[A b]``, with a bound of the error of the solution.

``[A b] = Q [[R, c], [0, rho]]``: the solution is ``R^{-1} c``, and the columns of ``rho`` have the norms of the residuals.

*The bound.* What was computed is exact for ``B = A + E`` and ``b + f``, columns of E and f at most ``eta`` times those of A and b.
So ``B* r = 0`` for ``r = b + f - B x``, and ``A* (b - A x) = B* (E x - f) - E* (r + E x - f)``. In coordinates ``x = W y`` that make B
orthonormal ``||E W|| <= delta``, so that ``A W`` has no singular value below ``1 - delta``. With
``g = ||E x|| + ||f|| <= eta (||A D^{-1}||_F ||D x|| + ||b||)``, the exact solution ``x* = x + (A* A)^{-1} A* (b - A x)`` obeys

.. math::  \|x^* - x\|_2 \le \|W\|_F \frac{(1 + \delta) g + \delta \|r\|}{(1 - \delta)^2} .

It rests on ``eta``, eight times the rounding that was observed at most, and grows with the square of the condition number only
where the residual is large, as the error itself does (Wedin 1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.numerics.triangle import Triangle
from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class TriangleSolution:
    """What minimises ``||A x - b||`` for each of q right-hand sides.

    Attributes
    ----------
    x
        ``(n, q)``; of least norm where A has not full rank.
    residual
        ``||A x - b||`` of each.
    error
        Upper bound of ``||x - x*||_2`` of each; infinite where the rank is not full, as then the least change of A may change
        the solution by anything.
    space
        The row space of A.
    """

    x: Matrix
    residual: Real
    error: Real
    space: RowSpace


def solve_triangle(triangle: Triangle, n_columns: int) -> TriangleSolution:
    """From the triangle of ``[A b]``, A of so many columns."""
    n, R = n_columns, triangle.R
    head, c, rest = R[:n, :n], R[:n, n:], R[n:, n:]
    space = RowSpace.of(Triangle(head, triangle.depth, triangle.height))
    residual = np.linalg.norm(rest, axis=0)
    if not space.full:
        x, missed = _least_norm(head, c, space)
        return TriangleSolution(x, np.hypot(residual, missed), np.full(c.shape[1], np.inf), space)
    y = linalg.solve_triangular(head / space.scale, c, check_finite=False)
    return TriangleSolution(
        y / space.scale[:, None],
        residual,
        _bound(space, y, residual, np.linalg.norm(R[:, n:], axis=0)),
        space,
    )


def _bound(space: RowSpace, scaled: Matrix, residual: Real, b: Real) -> Real:
    """The bound of the page above; ``scaled`` is ``D x``, ``b`` the norms of the right-hand sides."""
    delta = space.distortion
    g = space.rounding * (space.size * np.linalg.norm(scaled, axis=0) + b)
    with np.errstate(over="ignore"):
        return np.asarray(
            np.linalg.norm(space.W) * ((1 + delta) * g + delta * residual) / (1 - delta) ** 2
        )


def _least_norm(head: Matrix, c: Matrix, space: RowSpace) -> tuple[Matrix, Real]:
    """The solution of least norm in the numerical row space, and what the columns of A do not reach of c."""
    U = head @ space.W
    y = U.T @ c
    return space.least_norm(space.W @ y), np.asarray(np.linalg.norm(c - U @ y, axis=0))

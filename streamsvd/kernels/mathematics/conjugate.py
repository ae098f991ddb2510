r"""Ridge regression on features by conjugate gradients: one pass over the rows for each iteration, several ridges at once.

``(Z* Z + mu I) beta = Z* y`` with the preconditioner ``P = Z_D* W_D Z_D + mu I`` of the weighted dictionary: where that is
``(eps, gamma)``-accurate, the condition number is near ``(1 + eps) / (1 - eps)`` for every ``mu >= gamma``. Every pair of a ridge
and a target is a column of its own; P of all ridges is one eigenproblem.

References: Rudi, Carratino, Rosasco (2017, FALKON), whose preconditioner holds for uniform centres alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from streamsvd.kernels.mathematics.centres import FeatureMap
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Preconditioner:
    """``Z_D* W_D Z_D + mu I`` for any ``mu``.

    Attributes
    ----------
    values, U
        Eigenvalues ``(r,)`` and vectors ``(r, r)`` of ``Z_D* W_D Z_D``.
    """

    values: Real
    U: Matrix

    @classmethod
    def of(cls, map_: FeatureMap, rows: Matrix, weights: Real) -> Preconditioner:
        """From a dictionary; no data are read."""
        Z = map_(rows) * np.sqrt(weights)[:, None]
        values, U = linalg.eigh(Z.T @ Z, driver="evd", check_finite=False)
        return cls(np.maximum(values, 0.0), U)

    def solve(self, R: Matrix, ridges: Real) -> Matrix:
        """``P^{-1} R``, each column ``(r,)`` with a ridge of its own."""
        return np.asarray(self.U @ ((self.U.T @ R) / (self.values[:, None] + ridges[None, :])))


@dataclass(frozen=True, slots=True, eq=False)
class RidgeDescent:
    """Conjugate gradients between two passes.

    Attributes
    ----------
    x, r, p
        Iterate, residual and direction, ``(r, columns)``.
    rz
        ``r* P^{-1} r`` of each column.
    scale
        What it is relative to: ``b* P^{-1} b`` of the right-hand side.
    residuals
        Largest relative residual over the columns, before the first iteration and after each.
    """

    x: Matrix
    r: Matrix
    p: Matrix
    rz: Real
    scale: Real
    residuals: tuple[float, ...]

    @property
    def residual(self) -> float:
        """The last of `residuals`."""
        return self.residuals[-1]


def start_descent(
    b: Matrix, ridges: Real, by: Preconditioner, start: tuple[Matrix, Matrix] | None = None
) -> RidgeDescent:
    """From zero; or from an iterate, and what ``Z* Z`` makes of it."""
    x, r = np.zeros_like(b), b
    if start is not None:
        x, r = start[0], b - start[1] - ridges * start[0]
    z = by.solve(r, ridges)
    scale = np.einsum("ij,ij->j", b, by.solve(b, ridges))
    rz = np.einsum("ij,ij->j", r, z)
    return RidgeDescent(x, r, z, rz, scale, (_relative(rz, scale),))


def advance_descent(
    state: RidgeDescent, product: Matrix, ridges: Real, by: Preconditioner
) -> RidgeDescent:
    """One iteration, given ``Z* Z p``; columns that are solved stay as they are."""
    q = product + ridges * state.p
    curvature = np.einsum("ij,ij->j", state.p, q)
    going = (curvature > 0) & (state.rz > np.finfo(float).tiny)
    step = np.divide(state.rz, curvature, out=np.zeros_like(curvature), where=going)
    r = state.r - step * q
    z = by.solve(r, ridges)
    rz = np.einsum("ij,ij->j", r, z)
    turn = np.divide(rz, state.rz, out=np.zeros_like(rz), where=going)
    residuals = (*state.residuals, _relative(rz, state.scale))
    return replace(
        state, x=state.x + step * state.p, r=r, p=z + turn * state.p, rz=rz, residuals=residuals
    )


def _relative(rz: Real, scale: Real) -> float:
    share = np.divide(np.maximum(rz, 0.0), scale, out=np.zeros_like(rz), where=scale > 0)
    return float(np.sqrt(share.max(initial=0.0)))

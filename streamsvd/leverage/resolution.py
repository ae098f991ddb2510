r"""Scores and effective dimension of a dictionary at a ridge, and the ridge at which a dimension is no more than allowed.

With ``M = L^{-1}`` of ``L L* = B + \gamma I``, the diagonal of the inverse is the squared norms of the columns of M, and
``d(\gamma) = tr(B (B + \gamma I)^{-1})`` falls with the slope ``-d log d / d log \gamma = \gamma (tr(M* M) - \gamma ||M* M||_F^2) / d``.
A ridge is raised along that slope, which is near to a power law over a short way; each ridge tried is measured, so that the
one taken is certain. Over a long way, and where that fails, all eigenvalues decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.errors import SpecError
from streamsvd.typing import Matrix, Real

SLACK, LOWEST = 0.95, 0.9
"""Share of the allowed dimension to which a ridge is raised, a little more and seldom; and the least that is taken for it."""
NEAR = 3.0
"""Logarithm of the ratio of ridges up to which slopes are followed."""
TRIALS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Resolution:
    """What a dictionary resolves at a ridge.

    Attributes
    ----------
    gamma
        The ridge.
    tau
        Ridge leverage scores, in ``(0, 1]``, ``(m,)``.
    dimension
        Effective dimension, the sum of the weighted scores.
    M
        Inverse of the lower Cholesky factor; None where there is none.
    """

    gamma: float
    tau: Real
    dimension: float
    M: Matrix | None

    @property
    def slope(self) -> float:
        """``-d log d / d log gamma``, in ``[0, 1]``; 0 where it is not known."""
        if self.M is None:
            return 0.0
        inverse, info = linalg.lapack.dlauum(self.M, lower=1)
        diagonal = np.diagonal(inverse)
        square = 2 * float(np.einsum("ij,ij->", inverse, inverse)) - float(diagonal @ diagonal)
        slope = self.gamma * (float(diagonal.sum()) - self.gamma * square) / self.dimension
        return min(max(slope, 0.0), 1.0) if info == 0 else 0.0


def resolved(B: Matrix, w: Real, gamma: float) -> Resolution:
    """At a ridge, from the weighted Gram matrix and the weights.

    Raises
    ------
    SpecError
        If the kernel is not positive definite on these rows.
    """
    M: Matrix | None = None
    try:
        ridged = B.T.copy(order="F")
        ridged[np.diag_indices_from(ridged)] += gamma
        factor = linalg.cholesky(ridged, lower=True, overwrite_a=True, check_finite=False)
        M, info = linalg.lapack.dtrtri(factor, lower=1, overwrite_c=1)
        if info:
            raise linalg.LinAlgError
        assert M is not None
        tau = (1 - gamma * np.einsum("ji,ji->i", M, M)) / w
    except linalg.LinAlgError:
        values, Q = linalg.eigh(B, driver="evd", check_finite=False)
        check_definite(float(values[0]), float(np.trace(B)))
        values = np.maximum(values, 0.0)
        tau = (Q**2 @ (values / (values + gamma))) / w
        M = None
    tau = np.clip(tau, np.finfo(float).tiny, 1.0)
    return Resolution(gamma, tau, float(np.sum(w * tau)), M)


def scores(B: Matrix, w: Real, gamma: float) -> Real:
    """Ridge leverage scores of the rows of a dictionary from its weighted Gram matrix, in ``(0, 1]``.

    Raises
    ------
    SpecError
        If the kernel is not positive definite on these rows.
    """
    return resolved(B, w, gamma).tau


def check_definite(least: float, trace: float) -> None:
    """Refuse a kernel of whose matrix an eigenvalue is below zero by more than rounding.

    Raises
    ------
    SpecError
        With the eigenvalue.
    """
    if least < -1e-8 * trace:
        raise SpecError(
            f"the kernel is not positive definite: {least:.3g} was found where nothing below 0 can be, beside a trace of "
            f"{trace:.3g}. Choose another kernel."
        )


def raised(B: Matrix, w: Real, at: Resolution, allowed: float) -> Resolution:
    """The same at a larger ridge, at which the dimension is no more than ``allowed`` and not much less."""
    target = SLACK * allowed
    low, slope = at, at.slope
    for _ in range(TRIALS):
        way = float(np.log(low.dimension / target))
        if way > NEAR * slope:
            break
        now = resolved(B, w, low.gamma * float(np.exp(way / slope)))
        if LOWEST * allowed <= now.dimension <= allowed:
            return now
        slope = float(np.log(low.dimension / now.dimension) / np.log(now.gamma / low.gamma))
        low = now if now.dimension > allowed else low
    return resolved(B, w, _smallest(B, at.gamma, target))


def _smallest(B: Matrix, gamma: float, dimension: float) -> float:
    """Smallest ridge from ``gamma`` on at which the effective dimension is no more than this, by all eigenvalues."""
    values = np.maximum(linalg.eigvalsh(B, check_finite=False), 0.0)
    low, high = gamma, max(gamma, float(values.sum()) / max(dimension, 1e-300))
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        if float(np.sum(values / (values + middle))) <= dimension:
            high = middle
        else:
            low = middle
    return high

r"""Scores and effective dimension of a dictionary at a ridge, and the ridge at which a dimension is no more than allowed.

With ``M = L^{-1}`` of ``L L* = B + \gamma I``, the diagonal of the inverse is the squared norms of the columns of M, and
``d(\gamma) = tr(B (B + \gamma I)^{-1})`` falls with the slope ``-d log d / d log \gamma = \gamma (tr(M* M) - \gamma ||M* M||_F^2) / d``.
A ridge is raised along that slope, which is near to a power law over a short way; each ridge tried is measured, so that the
one taken is certain. Over a long way, and where that fails, all eigenvalues decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from scipy import linalg

from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics.kernel import Kernel
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
    inverse
        Finds the trace and the squared Frobenius norm of ``(B + gamma I)^{-1}``; None where there is no factor.
    """

    gamma: float
    tau: Real
    dimension: float
    inverse: Callable[[], tuple[float, float]] | None

    @classmethod
    def of(
        cls, w: Real, tau: Real, gamma: float, inverse: Callable[[], tuple[float, float]] | None
    ) -> Resolution:
        """From scores that rounding may have moved, and weights."""
        tau = np.clip(tau, np.finfo(float).tiny, 1.0)
        return cls(gamma, tau, float(np.sum(w * tau)), inverse)

    @property
    def slope(self) -> float:
        """``-d log d / d log gamma``, in ``[0, 1]``; 0 where it is not known."""
        if self.inverse is None:
            return 0.0
        trace, square = self.inverse()
        slope = self.gamma * (trace - self.gamma * square) / self.dimension
        return min(max(slope, 0.0), 1.0) if np.isfinite(slope) else 0.0


class WeightedGram(Protocol):
    """``B = W^{1/2} K_DD W^{1/2}`` of a dictionary, wherever it lies."""

    def resolve(self, w: Real, gamma: float, /) -> Resolution:
        """What it resolves at a ridge, for its weights."""
        ...

    def eigenvalues(self) -> Real:
        """All of them."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """The same on the host."""

    B: Matrix

    @classmethod
    def of(cls, kernel: Kernel, rows: Matrix, root: Real) -> Dense:
        """Of rows and roots of their weights."""
        return cls(kernel.gram(rows) * root[:, None] * root)

    def resolve(self, w: Real, gamma: float) -> Resolution:
        """What it resolves at a ridge, for its weights."""
        return resolve_gram(self.B, w, gamma)

    def eigenvalues(self) -> Real:
        """All of them."""
        return np.asarray(linalg.eigvalsh(self.B, check_finite=False))


def resolve_gram(B: Matrix, w: Real, gamma: float) -> Resolution:
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
    return Resolution.of(w, tau, gamma, None if M is None else partial(_inverse, M))


def _inverse(M: Matrix) -> tuple[float, float]:
    """Trace and squared Frobenius norm of ``M* M``."""
    inverse, info = linalg.lapack.dlauum(M, lower=1)
    if info:
        return np.nan, np.nan
    diagonal = np.diagonal(inverse)
    square = 2 * float(np.einsum("ij,ij->", inverse, inverse)) - float(diagonal @ diagonal)
    return float(diagonal.sum()), square


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


def raise_ridge(B: WeightedGram, w: Real, at: Resolution, allowed: float) -> Resolution:
    """The same at a larger ridge, at which the dimension is no more than ``allowed`` and not much less."""
    target = SLACK * allowed
    low, slope = at, at.slope
    for _ in range(TRIALS):
        way = float(np.log(low.dimension / target))
        if way > NEAR * slope:
            break
        now = B.resolve(w, low.gamma * float(np.exp(way / slope)))
        if LOWEST * allowed <= now.dimension <= allowed:
            return now
        slope = float(np.log(low.dimension / now.dimension) / np.log(now.gamma / low.gamma))
        low = now if now.dimension > allowed else low
    return B.resolve(w, _smallest(B, at.gamma, target))


def _smallest(B: WeightedGram, gamma: float, dimension: float) -> float:
    """Smallest ridge from ``gamma`` on at which the effective dimension is no more than this, by all eigenvalues."""
    values = np.maximum(B.eigenvalues(), 0.0)
    low, high = gamma, max(gamma, float(values.sum()) / max(dimension, 1e-300))
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        if float(np.sum(values / (values + middle))) <= dimension:
            high = middle
        else:
            low = middle
    return high

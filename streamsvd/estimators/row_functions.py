"""What is made of rows, each by itself: coordinates along components, and the logarithm of a density. They are values that pickle,
and compute in double precision whatever type rows have.

With orthonormal rows ``V`` ``(k, n)``, variances ``l_i`` along them, ``s2`` in all other directions, ``z = V (x - mean)`` and ``r`` the part of
``x - mean`` outside,

    ``log p(x) = -(n log 2 pi + sum_i log l_i + (n - k) log s2 + sum_i z_i^2 / l_i + |r|^2 / s2) / 2.``
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.errors import ShapeError
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Coordinates of rows less the mean along components, each times a factor.

    Attributes
    ----------
    mean, components, factors
        ``(n,)`` or None for none, ``(k, n)``, and ``(k,)`` or None for ones.
    """

    mean: Matrix | None
    components: Matrix
    factors: Real | None = None

    def __call__(self, rows: Matrix) -> Matrix:
        """``(p, k)`` of rows ``(p, n)``."""
        centred = rows if self.mean is None else rows - self.mean
        scores: Matrix = centred @ self.components.conj().T
        return scores if self.factors is None else scores * self.factors


@dataclass(frozen=True, slots=True, eq=False)
class LogDensity:
    """Logarithm of the density of rows under the model.

    Attributes
    ----------
    mean, components
        ``(n,)`` and ``(k, n)``.
    variances, noise
        Along the components, ``(k,)``, positive; and in all other directions, positive where there are any.
    """

    mean: Real
    components: Matrix
    variances: Real
    noise: float

    def __call__(self, rows: Matrix) -> Real:
        """``(p,)`` of rows ``(p, n)``."""
        k, n = self.components.shape
        rest = rows - self.mean
        scores = rest @ self.components.T
        distance = np.square(scores) @ (1 / self.variances)
        size = n * np.log(2 * np.pi) + np.sum(np.log(self.variances))
        if k < n:
            # a difference of squares would lose the digits of what is left
            rest -= scores @ self.components
            distance += np.einsum("ij,ij->i", rest, rest) / self.noise
            size += (n - k) * np.log(self.noise)
        return np.asarray(-0.5 * (distance + size))


def check_scores(X: Matrix, components: Matrix) -> None:
    """Refuse coordinates that are not as many as the components.

    Raises
    ------
    ShapeError
        With both numbers.
    """
    if X.shape[1] != components.shape[0]:
        raise ShapeError(
            f"X has {X.shape[1]} coordinates a row, and there are {components.shape[0]} components. Pass what transform gave."
        )

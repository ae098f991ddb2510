"""The density of rows under the model of probabilistic principal components.

Rows are Gaussian with mean ``mu`` and covariance ``C = V (L - sigma^2) V* + sigma^2``, ``L`` the ``k`` explained variances and
``sigma^2`` the mean of the ``n - k`` others (Tipping, Bishop, J. R. Stat. Soc. B 61 (1999), equations 7 and 8). With ``t = V* x``,

    x* C^-1 x = sum_i |t_i|^2 / L_i + (||x||^2 - ||t||^2) / sigma^2        log |C| = sum_i log L_i + (n - k) log sigma^2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.typing import Matrix, Real

LEAST_SHARE = 1e-12
"""Share of the variance below which what the components leave is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class RowDensity:
    """The Gaussian density of prepared rows by their scores and their squares.

    Attributes
    ----------
    variances
        Of the components, ``(k,)``.
    noise
        Variance of each of the other directions; 0 where there are none.
    width
        Columns that take part.
    complex_
        Whether rows are complex: then the density is that of circular ones.
    """

    variances: Real
    noise: float
    width: int
    complex_: bool = False

    @classmethod
    def of(
        cls, s: Real, norm: float, freedom: float, width: int, *, complex_: bool = False
    ) -> RowDensity:
        """From singular values and the Frobenius norm of the matrix.

        Raises
        ------
        SpecError
            If a component has no variance, or the components leave none, so that there is no density.
        """
        top = float(s[0]) if s.size else 0.0
        variances = (s / np.sqrt(freedom)) ** 2
        if not s.size or not float(s[-1]) > 1e-14 * top:
            raise SpecError(
                f"a component of {s.size} has no variance: rows have no density. Ask for fewer components."
            )
        if width == s.size:
            return cls(variances, 0.0, width, complex_)
        left = 1.0 - float(np.sum((s / norm) ** 2))
        if left <= LEAST_SHARE:
            raise SpecError(
                f"the {s.size} components hold all of the variance: nothing is left for noise, and rows have no density. Ask for fewer "
                "components."
            )
        noise = left * (norm / np.sqrt(freedom)) ** 2 / (width - s.size)
        return cls(variances, float(noise), width, complex_)

    def log_likelihood(self, T: Matrix, squares: Real) -> Real:
        """Of rows with these scores ``(p, k)`` and sums of squares ``(p,)``."""
        power = np.abs(T) ** 2
        distance = power @ (1 / self.variances)
        log_det = float(np.sum(np.log(self.variances)))
        rest = self.width - self.variances.size
        if rest:
            distance = distance + np.maximum(squares - power.sum(axis=1), 0.0) / self.noise
            log_det += rest * float(np.log(self.noise))
        if self.complex_:
            return np.asarray(-(self.width * np.log(np.pi) + log_det + distance))
        return np.asarray(-0.5 * (self.width * np.log(2 * np.pi) + log_det + distance))

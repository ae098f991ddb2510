r"""What one pass over the rows proves of vectors, values and captured energy.

``G = A* A``, ``M`` the heavy rows and the sketch, ``shrunk`` what the sketch has lost: ``M* M <= G <= M* M + shrunk I``, in
any order of rows. So ``lambda_j(M* M) <= s_j <= lambda_j(M* M) + shrunk`` for every eigenvalue, and for orthonormal ``V``
of k columns the energy ``||A V||^2`` lies between ``||M V||^2`` and that plus ``k shrunk``.

*Tail.* ``s_(k+1) <= beta`` for the smaller of ``||M P||^2 + shrunk``, ``P = I - V V*``, and ``||P G Omega|| / chi`` with
Gaussian ``Omega`` independent of V (the lemma of `streamsvd.numerics.certificate` with q = 1).

*Angle, any order* (shift by ``shrunk / 2``; Davis, Kahan). The leading k vectors of ``M`` with gap ``g = lambda_k - lambda_(k+1)``
of ``M* M`` obey ``sin(2 theta) <= shrunk / g`` with ``theta <= pi / 4``, if ``shrunk < g``.

*Angle, random order.* With Ritz vectors ``v_j`` of k columns that rows of the hold-out have not moved, residuals
``r_j = ||P G_h v_j||`` of the estimate ``G_h`` from these rows, and lower ends ``D_j`` of ``||A v_j||^2`` above ``beta``:
``sin <= sqrt(sum_j (r_j / (D_j - beta))^2)`` (Sylvester, column by column). Sampling noise makes ``r_j`` too large, which
is safe; standard errors are widened by the design effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg
from scipy.special import ndtri

from streamsvd.numerics.probes import chi_lower
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.typing import Matrix, Real

Evidence = Literal["deterministic", "statistical", "none"]


@dataclass(frozen=True, slots=True, eq=False)
class StreamCertificate:
    """What is known of the k vectors after the passes taken.

    Attributes
    ----------
    values_lower, values_upper
        Interval of each of the k leading eigenvalues of ``A* A``; deterministic, in any order of rows.
    sine
        Upper bound of the sine of the largest angle between the span of the answer and that of the true vectors; 1
        where nothing is proved.
    evidence
        What `sine` rests on: ``"deterministic"``, ``"statistical"`` (random order, fails with probability at most
        `failure_probability`) or ``"none"``.
    captured_lower
        Share of ``||A||_F^2`` that the span holds, at least.
    captured_evidence
        What that rests on.
    failure_probability
        Of the statistical statements together; 0 where there are none.
    sine_estimate, captured_estimate
        The same without any guarantee.
    """

    values_lower: Real
    values_upper: Real
    sine: float
    evidence: Evidence
    captured_lower: float
    captured_evidence: Evidence
    failure_probability: float
    sine_estimate: float
    captured_estimate: float


@dataclass(frozen=True, slots=True, eq=False)
class Minorant:
    """``M* M - slack I <= A* A <= M* M + above I``: heavy rows and sketch, and its leading eigenpairs.

    ``above`` is what the sketch has lost and ``slack``, the rounding of all of it.
    """

    M: Matrix
    above: float
    slack: float
    values: Real
    vectors: Matrix

    @classmethod
    def of(cls, heavy: Matrix, sketch: Matrix, lost: float, slack: float, count: int) -> Minorant:
        """From heavy rows, a sketch, what it has lost, rounding; ``count`` eigenpairs, padded with zeros."""
        M = np.concatenate([heavy, sketch])
        d = M.shape[1]
        values, vectors = np.zeros(count), np.zeros((d, 0))
        if M.shape[0]:
            # Thin QR of the rows first: eigenvectors of their Gram matrix would keep half the digits.
            _, s, Vh = linalg.svd(M, full_matrices=False, check_finite=False)
            real = min(count, s.size)
            values[:real] = s[:real] ** 2
            vectors = Vh[:real][s[:real] > 1e-14 * s[0]].T if s[0] > 0 else Vh[:0].T
        return cls(M, lost + slack, slack, values, vectors)

    def energy(self, V: Matrix) -> float:
        """``||M V||_F^2``, at most ``||A V||_F^2``."""
        return float(np.sum((self.M @ V) ** 2))

    def outside(self, V: Matrix) -> float:
        """Upper bound of the norm of ``A* A`` outside the span of V."""
        rest = self.M - (self.M @ V) @ V.T
        return spectral_norm(rest) ** 2 + self.above if rest.size else self.above


def probed_tail(V: Matrix, products: Matrix, delta: float) -> float:
    """Upper bound of the norm of ``P A* A P`` from ``A* A Omega``, but for probability ``delta``."""
    rest = products - V @ (V.T @ products)
    return spectral_norm(rest) / chi_lower(products.shape[1], delta)


def sketch_sine(values: Real, k: int, above: float) -> float:
    """Bound of the sine for the leading k vectors of a minorant whose eigenvalues are ``values``, more than k of them."""
    gap = float(values[k - 1] - values[k])
    if gap <= 1e-10 * float(values[0]) or above >= gap:
        return 1.0
    return float(np.sin(np.arcsin(above / gap) / 2))


def residual_sine(lower: Real, residuals: Real, beta: float) -> float:
    """Bound of the sine from residuals of vectors whose energies are at least ``lower``; 1 where beta is above one."""
    if not np.all(lower > beta):
        return 1.0
    return min(1.0, float(np.sqrt(np.sum((residuals / (lower - beta)) ** 2))))


def transfer_sine(sine: float, known: Matrix, answer: Matrix) -> float:
    """Bound for the answer from one for known vectors, by the angle between them; 1 beyond a right angle."""
    if sine >= 1 or known.shape[1] < answer.shape[1]:
        return 1.0
    rest = answer - known @ (known.T @ answer)
    angle = np.arcsin(min(1.0, sine)) + np.arcsin(min(1.0, spectral_norm(rest)))
    return 1.0 if angle >= np.pi / 2 else float(np.sin(angle))


def normal_quantile(delta: float) -> float:
    """Upper ``delta`` quantile of the standard normal."""
    return float(ndtri(1 - delta))

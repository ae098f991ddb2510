r"""Upper bounds of the sum of the k largest eigenvalues of ``B``: the energy that the best rank-k factors capture.

``KF_k(X)`` is the sum of the k largest eigenvalues of ``X``, the largest ``tr Z X`` over projectors ``Z`` of rank
k (Ky Fan). With the notation of `streamsvd.numerics.sides`, ``C = P B P``, ``H[x] = above(x + tau)``, ``N`` the Nyström
matrix of ``B`` and its rounding, ``S = tr C`` or a bound of it:

**Theorem 1.** For every mu in [0, 1], ``KF_k(B) <= KF_k(H[mu beta]) + (1 - mu) S`` and
``KF_k(B) <= KF_k(N + (mu beta + tau) P) + (1 - mu) (S - ||F Theta_s^(-1/2)||_F^2 + tau L)``.

*Proof.* ``tr Z B <= tr Z H[0] + tr Z C`` and ``tr Z C <= min(beta tr Z P, S) <= mu beta tr Z P + (1 - mu) S``.
For the second let ``M`` be ``B`` with its rounding ``E`` and ``Gamma + tau P``, so that ``B <= M``. ``M - N =
D + tau P`` with ``D = C - F Theta_s^-1 F*``, ``0 <= D + tau P <= (beta + tau) P``. At most L eigenvalues of ``D``
are negative, none below ``-tau``, so ``tr Z D <= tr D + tau L``. []

**Theorem 2.** If ``tr Z C <= slope tr Z P + constant`` for every projector ``Z`` of rank k, then ``KF_k(B) <=
KF_k(H[slope]) + constant``. `streamsvd.numerics.tail` has such pairs, from probes. They are smaller than ``beta tr Z P`` where
few of the eigenvalues of ``C`` can be as large as ``beta``, for all that is known of one of them.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.numerics.sides import UNIT_ROUNDOFF, Sides
from streamsvd.typing import Matrix, Real

FRACTIONS = (0.0, 0.5)
"""Values of mu tried besides 1."""


def largest_sum(sides: Sides, rank: int, *, upper: Real, trace: float) -> float:
    """Bound of the sum of the ``rank`` largest eigenvalues of ``B`` by theorem 1.

    Parameters
    ----------
    sides
        The matrices around ``B``.
    rank
        How many eigenvalues.
    upper
        Upper ends of the single eigenvalues, at least ``rank`` of them: mu = 1 of the first inequality.
    trace
        Bound of the trace of ``B`` outside the basis.

    Notes
    -----
    Cost: three eigenproblems of size ``2 L``, values only.
    """
    best = float(np.sum(upper[:rank]))
    if not sides.F.shape[0] or not np.isfinite(trace):
        return best
    half = sides.above(0.5 * sides.beta + sides.tau)
    best = min(best, _top_sum(half, rank, 0.5 * sides.beta + sides.tau, sides.rest) + 0.5 * trace)
    L = sides.theta.size
    raised = np.maximum(sides.gamma, 8 * UNIT_ROUNDOFF * sides.top - sides.theta)
    whole = Sides(sides.theta, raised, sides.F, sides.beta, sides.tau, sides.rest)
    N = whole.nystrom()[0]
    shared = float(np.sum(np.abs(whole.F) ** 2 / (whole.theta + whole.gamma)))
    left = max(trace - shared, 0.0) + sides.tau * L
    for mu in FRACTIONS:
        outside = mu * sides.beta + sides.tau
        raise_ = np.concatenate([np.zeros(L), np.full(N.shape[0] - L, outside)])
        found = _top_sum(N + np.diag(raise_), rank, outside, sides.rest)
        best = min(best, found + (1 - mu) * left)
    return best


def sum_by_slope(sides: Sides, rank: int, slope: float, constant: float) -> float:
    """The bound of theorem 2."""
    outside = slope + sides.tau
    return _top_sum(sides.above(outside), rank, outside, sides.rest) + constant


def _top_sum(H: Matrix, rank: int, outside: float, rest: int) -> float:
    """Sum of the ``rank`` largest eigenvalues of ``H`` beside ``outside`` repeated ``rest`` times."""
    values = linalg.eigvalsh(H, check_finite=False)
    values = np.concatenate([values, np.full(min(rest, rank), outside)])
    return float(np.sum(np.maximum(np.sort(values)[::-1][:rank], 0.0)))

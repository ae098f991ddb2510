r"""Two-sided bounds of singular values from the products of one matrix with thin blocks.

Let ``B = A* A`` (n x n, positive semidefinite), ``V`` an orthonormal n x L basis of Ritz vectors and
``B V = V diag(theta) + Q_R F - N`` what the passes delivered, ``N`` their rounding, ``V* N`` Hermitian.
Write ``N = M D`` with ``D = diag(g) > 0`` and ``||M|| <= mu``: graded, because the columns of large Ritz
vectors are rounded more. The Hermitian ``E = [[V* N, (P N)*], [P N, 0]]`` (in ``V`` and its complement,
``P = I - V V*``) makes the data exact for ``B + E`` and leaves ``P B P`` alone. ``(V* N)^2 <= mu^2 D^2``, so
``|V* N| <= mu D`` (the square root is operator monotone), and by Young's inequality, for every ``tau > 0``,

.. math:: \pm E \preceq \Gamma \oplus \tau I, \qquad \Gamma = \mu D + \mu^2 D^2 / \tau .

With ``beta >= ||P B P||`` and ``Theta_s = Theta + Gamma``, in the basis ``[V, Q_R]``,

.. math::

    \begin{pmatrix} \Theta_s \\ F \end{pmatrix} \Theta_s^{-1}
    \begin{pmatrix} \Theta_s & F^* \end{pmatrix} - 2 (\Gamma \oplus \tau I)
    \;\preceq\; B \;\preceq\;
    \begin{pmatrix} \Theta + \Gamma & F^* \\ F & (\beta + \tau) I \end{pmatrix}

The left is the Nyström approximation, shifted to stay semidefinite (Tropp, Yurtsever, Udell, Cevher 2017,
Algorithm 3); the right is monotonicity of eigenvalues, equivalent to the inertia argument of Lehmann and
Parlett (1998, section 10). Ordered eigenvalues of both sides bracket those of ``B``, *all of them*: nothing
larger is missed. Rounding of the leading columns reaches the trailing values to second order only.

What is added to ``A`` later may cancel what the shift took from directions that were left out: as a summand the
k pairs of the left side are worth ``V diag(lower) V* <= B + deficit I``, where ``deficit`` is how far below zero
the left side, at the smallest ``tau`` of use, less those pairs lies.

``beta`` comes from Gaussian probes ``Omega`` (n x s), independent of everything that entered ``V``. With
``T_q = (B P_0)^(q-1) B Omega`` for a fixed projector ``P_0`` whose range holds that of ``P``,

    ``||P B P|| <= ( ||P T_q||_2 / sqrt(chi2_s(delta)) )^(1/q)``  with probability ``1 - delta``.

*Proof.* Let ``w`` be the top unit eigenvector of ``C = P B P`` in the range of ``P``, ``C_0 = P_0 B P_0``.
``w* T_q = (B C_0^(q-1) w)* Omega`` and ``||B C_0^(q-1) w|| >= ||C_0^q w|| >= w* C_0^q w >= (w* C_0 w)^q =
||C||^q`` (Jensen). ``w`` depends on ``B`` and ``V`` alone, so ``||w* T_q||^2 / ||C||^(2q)`` dominates a
chi-square variable with ``s`` degrees of freedom. []

Deflating the probes by ``P_0`` keeps the leading directions out of them, so that float32 products of the
later powers do not drown in the rounding of the first.

The same lemma measures rounding: ``N* Omega = (B V + N)* Omega - V* (B Omega)`` is known once ``B Omega``
is, and ``||M|| <= ||D^-1 N* Omega||_2 / sqrt(chi2_s(delta))``. The rounding of the probes' own later products, which
depends on ``Omega``, is measured on each half of the columns by the other half.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import linalg

from streamsvd.eigen import leading, least
from streamsvd.ritz import Ritz, spectral_norm
from streamsvd.typing import Matrix, Real

UNIT_ROUNDOFF = float(np.finfo(np.float64).eps) / 2


class Kind(Enum):
    """How far a certificate can be trusted."""

    BOUNDS = "bounds"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What is proved of a rank-k factorisation ``A ~ U diag(s) Vh``.

    Every field is deterministic but ``sigma_upper`` and what derives from it, and the measured share of
    rounding: together they fail with probability at most ``failure_probability`` over the probes.
    With ``kind == Kind.ESTIMATE`` nothing is proved, and the same fields are estimates.

    Attributes
    ----------
    sigma_lower, sigma_upper
        Interval of each of the k leading singular values, shape ``(k,)``; no larger one is missed.
    frobenius_error
        Upper bound of ``||A - A Vh* Vh||_F``, the error with the best ``U`` for this ``Vh``.
    energy
        ``||A||_F**2`` of the matrix as factorised (centred, scaled, weighted).
    failure_probability
        Probability over the probes that an upper bound does not hold.
    subspace_angle_bound
        Upper bound of the sine of the largest angle between the span of ``Vh`` and that of the true
        leading right singular vectors; ``inf`` where no gap after the k-th value could be proved.
    orthogonality
        ``||Vh Vh* - I||_2`` of the factors delivered.
    rounding
        Bound ``nu`` of the effect of floating point on eigenvalues of ``A* A``, relative to the largest.
    tail
        Bound of the norm of ``A`` outside the searched space, relative to the largest singular value.
    numerical_rank
        How many of the k values are proved to be positive.
    deficit
        ``Vh* diag(sigma_lower**2) Vh`` exceeds ``A* A`` by at most this in any direction: what counts once other
        rows are added to ``A``.
    kind
        Whether the fields are bounds or estimates.
    """

    sigma_lower: Real
    sigma_upper: Real
    frobenius_error: float
    energy: float
    failure_probability: float
    subspace_angle_bound: float
    orthogonality: float
    rounding: float
    tail: float
    numerical_rank: int
    deficit: float
    kind: Kind

    @property
    def relative_width(self) -> float:
        """Largest ``(sigma_upper - sigma_lower) / sigma_upper`` over the positive values; 0 if none."""
        return worst_width(self.sigma_lower, self.sigma_upper)

    @property
    def captured(self) -> float:
        """Share of the energy that the factorisation captures, at least; 1 for the zero matrix."""
        if self.energy <= 0:
            return 1.0
        if np.isfinite(self.energy):
            return max(0.0, 1.0 - self.frobenius_error / self.energy * self.frobenius_error)
        # Squares of the data are no numbers: what is held is as large as the lower ends say.
        held = float(np.linalg.norm(self.sigma_lower / self.sigma_upper[0]))
        lost = self.frobenius_error / float(self.sigma_upper[0])
        return held * held / (held * held + lost * lost)

    def scaled(self, factor: float) -> Certificate:
        """The certificate of ``factor * A``."""
        return Certificate(
            self.sigma_lower * factor,
            self.sigma_upper * factor,
            self.frobenius_error * factor,
            self.energy * factor * factor,
            self.failure_probability,
            self.subspace_angle_bound,
            self.orthogonality,
            self.rounding,
            self.tail,
            self.numerical_rank,
            self.deficit * factor * factor,
            self.kind,
        )


ZERO_LEVEL = 4e-6
"""Values proved to lie below this share of the largest count as zero, not as undetermined: squares of
float64 data do not resolve them to three digits."""


def worst_width(lower: Real, upper: Real) -> float:
    """Largest relative width of the intervals of values that are not numerically zero."""
    if upper.size == 0 or upper[0] <= 0:
        return 0.0
    alive = upper > ZERO_LEVEL * upper[0]
    if not np.any(alive):
        return 0.0
    return float(np.max((upper[alive] - lower[alive]) / upper[alive]))


@dataclass(frozen=True, slots=True, eq=False)
class Bracket:
    """Intervals of the eigenvalues of ``B``, and the vectors that attain the lower ends.

    Attributes
    ----------
    lower, upper
        ``lower[i] <= lambda_i(B) <= upper[i]``, descending, ``(count,)`` and ``(count + 1,)``.
    vectors
        Orthonormal, ``(n, j)`` with ``j <= count``; ``norm(A @ vectors)**2 >= sum(lower[:j])``.
    values
        Nyström eigenvalues without the shift: the best guess, inside the interval, ``(count,)``.
    deficit
        ``vectors diag(lower) vectors* <= B + deficit I``.
    """

    lower: Real
    upper: Real
    vectors: Matrix
    values: Real
    deficit: float


def bracket(ritz: Ritz, *, beta: float, noise: Real, count: int) -> Bracket:
    """Bracket of the leading eigenvalues of ``B`` by the two matrices of the module's identity.

    Parameters
    ----------
    ritz
        Compression of ``B`` to a basis of L columns.
    beta
        Upper bound of ``||P B P||``, the norm of ``B`` on the complement of the basis.
    noise
        ``mu g``, the bound of the rounding of each column, ``(L,)``.
    count
        Leading eigenvalues wanted, at most n.

    Notes
    -----
    Cost: one QR of ``n x L`` and three eigenproblems of size ``2 L``.
    """
    n, L = ritz.V.shape
    theta = ritz.theta
    top = max(float(theta[0]), 0.0)
    if beta > 0:
        Q_R, F = linalg.qr(ritz.R, mode="economic", check_finite=False)
        # Any tau is valid; this one is small beside beta and makes the second-order term small beside the first.
        tau = max(1e-2 * beta, 1e2 * float(np.min(noise)), UNIT_ROUNDOFF * top)
        gamma = noise + noise**2 / tau
    else:  # P B P = 0 makes P B = 0: nothing is outside, and the residuals are rounding
        Q_R, F = ritz.R[:, :0], ritz.R[:0, :]
        tau, gamma = 0.0, noise
    outside = F.shape[0]

    low, shift = _lower_side(theta, F, gamma, tau, top)
    size = L + outside
    wanted = min(count, L)
    values, left = leading(low, wanted)
    lower = np.zeros(count)
    lower[:wanted] = np.maximum(values, 0.0)
    guess = np.zeros(count)
    guess[:wanted] = values + np.sum(np.abs(left) ** 2 * shift[:, None] / 2, axis=0)
    if outside:
        finest = max(float(np.max(noise)), UNIT_ROUNDOFF * top)
        low, _ = _lower_side(theta, F, noise + noise**2 / finest, finest, top)
    deficit = max(-least(low - (left * lower[:wanted]) @ left.conj().T), 0.0)
    deficit += 16 * UNIT_ROUNDOFF * top
    vectors = ritz.V @ left[:L] + Q_R @ left[L:]
    # Q_R is orthogonal to V only as far as residuals exceed rounding: vectors of values near zero need it.
    vectors = linalg.qr(vectors, mode="economic", check_finite=False)[0]

    high = np.zeros((size, size), dtype=F.dtype)
    high[:L, :L] = np.diag(theta + gamma)
    high[L:, :L] = F
    high[L:, L:] = (beta + tau) * np.eye(outside)
    values = linalg.eigh(high, eigvals_only=True, overwrite_a=True, check_finite=False)[::-1]
    upper = np.zeros(count + 1)
    real = min(
        size, n
    )  # Q_R may hold directions beyond the space; their eigenvalues only raise the bound
    upper[: min(real, count + 1)] = values[: min(real, count + 1)]
    if real < n:  # directions that no product has touched: beta bounds them
        upper = np.maximum(upper, beta + tau)
    upper = np.maximum(upper, 0.0)
    guess = np.clip(guess, lower, np.maximum(upper[:count], lower))
    in_order = np.sort(guess)[::-1]  # and still inside
    return Bracket(lower, upper, vectors, in_order, deficit)


def _lower_side(theta: Real, F: Matrix, gamma: Real, tau: float, top: float) -> tuple[Matrix, Real]:
    """The matrix below ``B`` in ``[V, Q_R]``, and the diagonal it was shifted by."""
    L, outside = theta.size, F.shape[0]
    shifted = theta + gamma
    keep = shifted > 4 * UNIT_ROUNDOFF * top
    root = np.sqrt(shifted[keep])
    G = np.concatenate([np.eye(L)[:, keep] * root, F[:, keep] / root], axis=0)
    low = G @ G.conj().T
    shift = 2 * np.concatenate([gamma, np.full(outside, tau)])
    low[np.diag_indices_from(low)] -= shift
    return low, shift


def certify(
    found: Bracket,
    *,
    rank: int,
    energy: float,
    energy_slack: float,
    nu: float,
    beta: float,
    failure_probability: float,
    kind: Kind,
) -> Certificate:
    """The certificate of the ``rank`` leading triplets of a bracket.

    ``||A - A V_k V_k*||_F^2 = ||A||_F^2 - ||A V_k||_F^2``, and the Nyström eigenvalues less the rounding
    bound the second term from below. With a gap after the k-th eigenvalue, ``sum(lambda_i) - ||A V_k||_F^2
    >= gap * ||sin angle||_F^2`` bounds the subspace (Knyazev, Argentati 2006).
    """
    vectors = found.vectors[:, :rank]
    captured = float(np.sum(found.lower[:rank]))
    missed = max(energy + energy_slack - captured, 0.0)
    gap = float(found.lower[rank - 1] - found.upper[rank])
    spread = float(np.sum(found.upper[:rank])) - captured
    angle = float(np.sqrt(max(spread, 0.0) / gap)) if gap > 0 else float("inf")
    gram = vectors.conj().T @ vectors
    top = float(found.upper[0])
    return Certificate(
        sigma_lower=np.sqrt(found.lower[:rank]),
        sigma_upper=np.sqrt(found.upper[:rank]),
        frobenius_error=float(np.sqrt(missed)),
        energy=energy,
        failure_probability=failure_probability,
        subspace_angle_bound=angle if angle <= 1 else float("inf"),
        orthogonality=spectral_norm(gram - np.eye(gram.shape[0])),
        rounding=nu / top if top > 0 else 0.0,
        tail=float(np.sqrt(beta / top)) if top > 0 else 0.0,
        numerical_rank=int(np.count_nonzero(found.lower[:rank] > 0)),
        deficit=found.deficit,
        kind=kind,
    )

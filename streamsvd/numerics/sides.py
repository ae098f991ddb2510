r"""The two matrices between which ``B = A* A`` lies, from its products with thin blocks.

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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.numerics.eigen import leading_eigenpairs
from streamsvd.numerics.ritz import Ritz, spectral_norm
from streamsvd.typing import Matrix, Real

UNIT_ROUNDOFF = float(np.finfo(np.float64).eps) / 2


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What the two matrices of the module's identity are made of, in the basis ``[V, Q_R]``.

    Attributes
    ----------
    theta, gamma
        Ritz values, and the bound of rounding on the same diagonal, ``(L,)``.
    F
        Residuals in ``Q_R``, ``(j, L)``; without rows where nothing is outside the basis.
    beta, tau
        Bound of ``||P B P||``, and the bound of rounding outside.
    rest
        Directions that are neither in ``V`` nor in ``Q_R``: on each of them ``B`` is at most ``beta``.
    """

    theta: Real
    gamma: Real
    F: Matrix
    beta: float
    tau: float
    rest: int

    @property
    def top(self) -> float:
        """The largest Ritz value, not below zero."""
        return max(float(self.theta[0]), 0.0)

    def above(self, outside: float) -> Matrix:
        """``[[Theta + Gamma, F*], [F, outside I]]``; above ``B`` where ``outside`` is ``beta + tau``."""
        L, j = self.theta.size, self.F.shape[0]
        high = np.zeros((L + j, L + j), dtype=self.F.dtype)
        high[:L, :L] = np.diag(self.theta + self.gamma)
        high[L:, :L] = self.F
        high[:L, L:] = self.F.conj().T
        high[L:, L:] = outside * np.eye(j)
        return high

    def nystrom(self) -> tuple[Matrix, Real]:
        """The Nyström approximation of ``B`` and its rounding, and the diagonal that puts it below ``B``."""
        shifted = self.theta + self.gamma
        keep = shifted > 4 * UNIT_ROUNDOFF * self.top
        root = np.sqrt(shifted[keep])
        G = np.concatenate([np.eye(shifted.size)[:, keep] * root, self.F[:, keep] / root], axis=0)
        return G @ G.conj().T, 2 * np.concatenate([self.gamma, np.full(self.F.shape[0], self.tau)])

    def below(self) -> tuple[Matrix, Real]:
        """The matrix below ``B``, and the diagonal it was shifted by."""
        low, shift = self.nystrom()
        low[np.diag_indices_from(low)] -= shift
        return low, shift

    def norm_without(self, left: Matrix) -> float:
        """Bound of ``||Q B Q||``, ``Q`` the complement of orthonormal columns of ``[V, Q_R]``.

        ``B`` is below ``above(beta + tau)``, and so are their compressions.
        """
        high = self.above(self.beta + self.tau)
        if high.shape[0] > left.shape[1]:
            for _ in range(2):  # Q H Q, from both sides
                high = (high - left @ (left.conj().T @ high)).conj().T
            values = leading_eigenpairs((high + high.conj().T) / 2, 1)[0]
            largest = max(float(values[0]), 0.0) + 16 * UNIT_ROUNDOFF * self.top
        else:
            largest = 16 * UNIT_ROUNDOFF * self.top
        return max(largest, self.beta + self.tau) if self.rest else largest

    def reach(self, inside: Matrix) -> float:
        """Bound of ``||P_0 B||``, ``P_0`` the complement of orthonormal vectors with coordinates ``inside`` in ``V``.

        ``P_0 B = P_0 B P_0 + (P_0 B X_0) X_0*``, and the products with ``X_0`` are known but for their rounding.
        """
        none = np.zeros((self.F.shape[0], inside.shape[1]), dtype=inside.dtype)
        within = self.theta[:, None] * inside
        within = within - inside @ (inside.conj().T @ within)
        beside = np.concatenate([within, self.F @ inside])
        known = spectral_norm(beside) + float(np.max(self.gamma, initial=0.0))
        return self.norm_without(np.concatenate([inside, none])) + known


def sides(ritz: Ritz, F: Matrix, *, beta: float, noise: Real) -> Sides:
    """The matrices around ``B``.

    Parameters
    ----------
    ritz
        Compression of ``B`` to a basis of L columns.
    F
        Triangular factor of its residuals, ``(min(n, L), L)``.
    beta
        Upper bound of ``||P B P||``, the norm of ``B`` on the complement of the basis.
    noise
        ``mu g``, the bound of the rounding of each column, ``(L,)``.
    """
    n, L = ritz.V.shape
    if beta <= 0:  # P B P = 0 makes P B = 0: nothing is outside, and the residuals are rounding
        return Sides(ritz.theta, noise, F[:0, :], 0.0, 0.0, n - L)
    # Any tau is valid; this one is small beside beta and makes the second-order term small beside the first.
    top = max(float(ritz.theta[0]), 0.0)
    tau = max(1e-2 * beta, 1e2 * float(np.min(noise)), UNIT_ROUNDOFF * top)
    # Q_R may hold directions beyond the space; their eigenvalues only raise the bounds.
    rest = max(n - L - F.shape[0], 0)
    return Sides(ritz.theta, noise + noise**2 / tau, F, beta, tau, rest)

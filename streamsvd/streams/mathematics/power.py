r"""Block power iteration along the stream, with the history of all windows (adaptive history power).

A plain block power method forgets all but its last block. Here ``Y_h ~ A_L* A_L V`` gathers the products of all
windows of light rows, turned with the basis, ``Y_h <- Y_h (V* V_new)``, and faded so that row i weighs about
``(i / N)^gamma``: what an early, poor basis contributed decays, at a price in variance of ``(gamma + 1)^2 / (2 gamma + 1)``.
The exponent is what the gap asks for, ``gamma = 1 / (value_k / value_b - 1)``.

Heavy rows never enter the iteration: a block that lacks one deletes its direction, and a block that has one forgets
the others. They are merged with the light part by an exact small eigenproblem, whose ``k`` vectors are carried beside
the ``b`` light columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real

SINGULAR = 1e-8
"""Directions of a basis that add less than this to the others are left out."""


@dataclass(slots=True, eq=False)
class Window:
    """Sums over the light rows of one window, under a basis that none of them has moved.

    Attributes
    ----------
    basis
        ``V``, ``(d, c)``: the k joint vectors, then what the light columns add.
    rival
        Vectors of the Frequent Directions sketch when the window began, ``(d, k)``.
    products
        ``sum x x* V``.
    rows
        Light rows.
    squares, fourths
        Sums over rows of ``(x* v_j)^2`` and of its square, ``(c,)``.
    energies
        Sums over rows of ``||x* V_k||^2``, of its square, and of ``||x* rival||^2``, ``(3,)``.
    """

    basis: Matrix
    rival: Matrix
    products: Matrix = field(init=False)
    rows: int = 0
    squares: Real = field(init=False)
    fourths: Real = field(init=False)
    energies: Real = field(init=False)

    def __post_init__(self) -> None:
        # One layout in memory, whatever made them: products of another are other bits, after a save too.
        self.basis, self.rival = np.ascontiguousarray(self.basis), np.ascontiguousarray(self.rival)
        self.products = np.zeros_like(self.basis)
        self.squares, self.fourths = np.zeros(self.basis.shape[1]), np.zeros(self.basis.shape[1])
        self.energies = np.zeros(3)

    def update(self, light: Matrix) -> None:
        """Absorb light rows."""
        if light.shape[0] == 0:
            return
        k = self.rival.shape[1]
        C = light @ self.basis
        self.products += light.T @ C
        self.rows += light.shape[0]
        square = C * C
        self.squares += square.sum(axis=0)
        self.fourths += (square * square).sum(axis=0)
        held = square[:, :k].sum(axis=1)
        rival = light @ self.rival
        self.energies += (held.sum(), (held * held).sum(), (rival * rival).sum())


@dataclass(slots=True, eq=False)
class History:
    """Products of all windows so far, and what the next basis follows from.

    Attributes
    ----------
    k, b
        Vectors wanted, and columns iterated on light rows.
    gathered, weight
        ``Y_h`` ``(d, c)`` in the present basis, and the rows it counts for.
    n_light
        Light rows so far.
    gamma, gamma_max
        Exponent of forgetting, and the largest allowed.
    values
        Ritz values of the joint vectors, ``(k,)``.
    """

    k: int
    b: int
    gamma_max: float
    gathered: Matrix
    values: Real
    weight: float = 0.0
    n_light: int = 0
    gamma: float = 0.0

    def advance(self, window: Window, heavy: Matrix) -> Matrix:
        """Take in a finished window; returns the next basis ``(d, b to b + k)``."""
        V = window.basis
        faded = 0.0
        if self.n_light > window.rows:
            faded = (1 - window.rows / self.n_light) ** self.gamma
        self.gathered = faded * self.gathered + window.products
        self.weight = faded * self.weight + window.rows
        Y = self.gathered * (self.n_light / self.weight) if self.weight else self.gathered
        L = V.T @ Y
        wl, Z = linalg.eigh((L + L.T) / 2, driver="evd", check_finite=False)
        wl, Z = wl[::-1], Z[:, ::-1]
        light = orthonormal(Y @ Z[:, : self.b])
        if heavy.shape[0]:
            joint, self.values = self._merge_heavy(V, Y, wl, Z, heavy)
        else:
            joint, self.values = light[:, : self.k], np.maximum(wl[: self.k], 0.0)
        new = extend_basis(joint, light)
        self.gathered = self.gathered @ (V.T @ new)
        self.gamma = self._forgetting(wl)
        return new

    def _merge_heavy(
        self, V: Matrix, Y: Matrix, wl: Real, Z: Matrix, heavy: Matrix
    ) -> tuple[Matrix, Real]:
        """One power step from the leading vectors of the heavy rows and the light part together."""
        rows = np.concatenate([heavy, (V @ (Z * np.sqrt(np.maximum(wl, 0.0)))).T])
        square, U = linalg.eigh(rows @ rows.T, driver="evd", check_finite=False)
        square, U = square[::-1][: self.k], U[:, ::-1][:, : self.k]
        J = orthonormal(rows.T @ U)
        T = Y @ (V.T @ J) + heavy.T @ (heavy @ J)
        H = J.T @ T
        values, turn = linalg.eigh((H + H.T) / 2, driver="evd", check_finite=False)
        return orthonormal(T @ turn[:, ::-1]), np.maximum(values[::-1], 0.0)

    def _forgetting(self, wl: Real) -> float:
        top, low = float(wl[self.k - 1]), float(wl[min(self.b, wl.size) - 1])
        if not (np.isfinite(top) and np.isfinite(low)) or low <= 0 or top <= low:
            return self.gamma_max if top <= low else 0.0
        return float(np.clip(1 / (top / low - 1), 0.0, self.gamma_max))


def orthonormal(X: Matrix) -> Matrix:
    """Orthonormal columns, as many as ``X`` has; directions of columns that vanish are arbitrary."""
    return np.asarray(linalg.qr(X, mode="economic", check_finite=False)[0])


def extend_basis(first: Matrix, others: Matrix) -> Matrix:
    """``first`` and an orthonormal basis of what ``others`` add to it."""
    rest = others
    for _ in range(2):
        rest = rest - first @ (first.T @ rest)
    U, s, _ = linalg.svd(rest, full_matrices=False, check_finite=False)
    room = first.shape[0] - first.shape[1]
    U = U[:, : min(int(np.count_nonzero(s > SINGULAR)), room)]
    U -= first @ (first.T @ U)
    return np.concatenate([first, orthonormal(U) if U.shape[1] else U], axis=1)

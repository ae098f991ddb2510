r"""One vector in any order: Oja's rule at many fixed learning rates side by side (Price, Xun 2024).

With ``v_i = v_(i-1) + eta X_i* X_i v_(i-1)``, unnormalised, and ``C`` all ``X_i v_(i-1)``: ``||v||^2 - ||v_0||^2 >= 2 eta ||C||^2``
and, outside the leading eigenvector, ``||P (v - v_0)|| = eta ||P A* C|| <= eta sqrt(s_2) ||C||``. So for every order of rows

.. math:: \sin(v, v_1) \le \sqrt{\eta s_2 / 2} + \|v_0\| / \|v\| ,

``s_2`` the second eigenvalue of ``A* A``: *growth implies correctness*. The smallest rate that has grown by more than
``log d`` is the answer; if none has, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streamsvd.typing import Matrix, Real

SPREAD = 16.0
"""The least rate grows too little for ``log d`` even at a leading value that holds all the energy, this many times over."""


@dataclass(slots=True, eq=False)
class Growth:
    """Vectors of all rates: unit rows ``(J, d)``, and the logarithm of their length over that of the start.

    Rates are powers of two, so that scaling the data by one changes no bit; they are chosen at the first rows from
    the energy to be expected, or else for whatever it may be.
    """

    d: int
    start: Matrix
    grid: int
    n_rows: int | None
    rates: Real = field(init=False)
    vectors: Matrix = field(init=False)
    logs: Real = field(init=False)
    begun: bool = False

    def __post_init__(self) -> None:
        self.rates = np.zeros(self.grid)
        self.vectors = np.tile(self.start / np.linalg.norm(self.start), (self.grid, 1))
        self.logs = np.zeros(self.grid)

    def update(self, rows: Matrix, energy: float) -> None:
        """Absorb a block of rows whose squared norms sum to ``energy``."""
        if not self.begun:
            if energy == 0:
                return
            self._choose(energy / rows.shape[0])
        step = self.vectors @ rows.T
        self.vectors += self.rates[:, None] * (step @ rows)
        length = np.linalg.norm(self.vectors, axis=1)
        self.vectors /= length[:, None]
        self.logs += np.log(length)

    def _choose(self, mean: float) -> None:
        """Rates from ``log d / all the energy`` upward, two steps below to be safe; the grid bounds how many."""
        expected = mean * (self.n_rows or 2**12)
        low = np.floor(np.log2(max(np.log(self.d), 1.0) / (SPREAD * expected)))
        if self.n_rows is None:
            low -= 16
        self.rates = 2.0 ** (low + np.arange(self.grid))
        self.begun = True

    def answer(self) -> tuple[float, float, Matrix] | None:
        """Rate, growth (logarithm) and vector of the smallest rate that grew enough; None if none did."""
        grown = np.flatnonzero(self.logs > np.log(max(self.d, 2)))
        if not self.begun or grown.size == 0:
            return None
        j = int(grown[0])
        return float(self.rates[j]), float(self.logs[j]), self.vectors[j]


def sine_bound(rate: float, log_growth: float, second: float) -> float:
    """Bound of the sine of the angle to the leading eigenvector, where ``second`` bounds the second eigenvalue."""
    return min(1.0, float(np.sqrt(rate * second / 2) + np.exp(-log_growth)))

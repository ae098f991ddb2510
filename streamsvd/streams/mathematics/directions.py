"""Frequent Directions: a sketch of rows that no order can fool (Ghashami, Liberty, Phillips, Woodruff 2016).

``0 <= A* A - B* B <= shrunk I`` for the rows A seen and the sketch B, with ``shrunk <= min_j ||A - A_j||_F^2 / (size - j)``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

from streamsvd.errors import ShapeError
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix


@dataclass(slots=True, eq=False)
class FrequentDirections:
    """A sketch of at most ``2 size`` rows.

    Attributes
    ----------
    size
        Rows that survive a shrink.
    rows
        ``(2 size, d)``, of which the first ``count`` are in use.
    shrunk
        Sum of what every square has lost.
    shrinks
        How often.
    """

    size: int
    d: int
    rows: Matrix = field(init=False)
    count: int = 0
    shrunk: float = 0.0
    shrinks: int = 0

    def __post_init__(self) -> None:
        self.rows = np.zeros((2 * self.size, self.d))

    @property
    def used_rows(self) -> Matrix:
        """The sketch B, ``(count, d)``."""
        return self.rows[: self.count]

    def update(self, rows: Matrix) -> None:
        """Absorb rows ``(r, d)``."""
        at = 0
        while at < rows.shape[0]:
            if self.count == 2 * self.size:
                self._shrink()
            take = min(2 * self.size - self.count, rows.shape[0] - at)
            self.rows[self.count : self.count + take] = rows[at : at + take]
            self.count += take
            at += take

    def merge(self, other: FrequentDirections) -> None:
        """Absorb another sketch; what both have lost adds up.

        Raises
        ------
        ShapeError
            If the rows have different lengths.
        """
        if other.d != self.d:
            raise ShapeError(f"sketches of {self.d} and {other.d} columns cannot be merged.")
        self.update(other.used_rows)
        self.shrunk += other.shrunk
        self.shrinks += other.shrinks

    def slack(self, energy: float) -> float:
        """Rounding of all shrinks together in the norm of ``A* A``, where ``energy`` bounds that norm."""
        return 8 * UNIT_ROUNDOFF * (self.shrinks + 1) * float(np.sqrt(2 * self.size)) * energy

    def _shrink(self) -> None:
        """The directions of largest squares, each less the next square (by the Gram matrix of the rows)."""
        square, U = linalg.eigh(self.rows @ self.rows.T, driver="evd", check_finite=False)
        square, U = square[::-1][: self.size + 1], U[:, ::-1][:, : self.size]
        lost = max(float(square[-1]), 0.0)
        left = np.maximum(square[: self.size] - lost, 0.0)
        factor = np.sqrt(
            np.divide(left, square[: self.size], out=np.zeros_like(left), where=left > 0)
        )
        self.rows[: self.size] = (U * factor).T @ self.rows
        self.rows[self.size :] = 0
        self.count = int(np.count_nonzero(factor))
        self.shrunk += lost
        self.shrinks += 1

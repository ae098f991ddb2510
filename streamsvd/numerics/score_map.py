"""Between rows of a matrix and their scores: what was done to the matrix before it was factorised, done to rows, and undone.

The matrix factorised is ``B = W^(1/2) (A - 1 mu) D C ~ U s Vh``, ``W`` weights of rows, ``D`` one over the scale, ``C`` weights of
columns. With ``d`` the diagonal of ``D C``,

    T = (A - 1 mu) d Vh*            A ~ T Vh d^-1 + 1 mu            U s = W^(1/2) T

exactly: the scores of the rows that were factorised are ``U s`` without the roots of their weights. Columns that took no part
have ``d = 0``. A constant column under scaling is its mean, whatever the scores are; of all others that took no part nothing
is known, and what is given back is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Matrix, Real

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMap:
    """The two changes, of the ``n`` columns of the whole matrix.

    Attributes
    ----------
    Vh
        Right singular vectors, ``(k, n)``; 0 where a column took no part.
    factors
        ``d``, ``(n,)``; 0 where a column took no part.
    mean
        What was subtracted, ``(n,)``; None for nothing. 0 where it is not known.
    known
        Columns that can be given back, ``(n,)``.
    """

    Vh: Matrix
    factors: Real
    mean: Matrix | None
    known: Mask

    @classmethod
    def of(
        cls,
        Vh: Matrix,
        *,
        mean: Matrix | None = None,
        scale: Real | None = None,
        column_weights: Real | None = None,
        kept: Mask | None = None,
        dropped: tuple[int, ...] = (),
    ) -> ScoreMap:
        """From the fields of a result.

        Parameters
        ----------
        Vh, mean, scale, column_weights
            As of a result; NaN at columns that are not kept.
        kept
            Columns that were not left out before anything was read; all if left out.
        dropped
            Numbers of the columns that took no part, whatever the reason.
        """
        n = Vh.shape[1]
        kept = np.ones(n, bool) if kept is None else kept
        weights = np.ones(n) if column_weights is None else column_weights
        weights = np.where(kept, weights, 0.0)
        factors = weights.copy()
        constant = np.zeros(n, bool)
        if scale is not None:
            scale = np.where(kept, scale, 0.0)
            factors = np.divide(weights, scale, out=np.zeros(n), where=scale > 0)
            constant = (weights > 0) & (scale == 0)
        factors[list(dropped)] = 0.0
        there = factors > 0
        known = there if mean is None else there | constant
        level = None if mean is None else np.where(known, mean, 0)
        return cls(np.where(there, Vh, 0), factors, level, known)

    @property
    def rank(self) -> int:
        """Components."""
        return int(self.Vh.shape[0])

    @property
    def width(self) -> int:
        """Columns of the whole matrix."""
        return int(self.Vh.shape[1])

    @property
    def takes_part(self) -> Mask:
        """Columns that scores depend on, ``(n,)``."""
        return np.asarray(self.factors > 0)

    @property
    def forward(self) -> Matrix:
        """``d Vh*`` of the columns that take part, ``(p, k)``: rows less their mean times this are scores."""
        there = self.takes_part
        return np.ascontiguousarray(self.factors[there, None] * self.Vh[:, there].conj().T)

    @property
    def center(self) -> Matrix | None:
        """The mean of the columns that take part, ``(p,)``."""
        return None if self.mean is None else self.mean[self.takes_part]

    def backward(self, columns: Any = slice(None)) -> Matrix:
        """``Vh d^-1`` of some columns, ``(k, c)``: scores times this, and `level`, are rows."""
        d = self.factors[columns]
        inverse = np.divide(1.0, d, out=np.zeros_like(d), where=d > 0)
        return np.ascontiguousarray(self.Vh[:, columns] * inverse)

    def level(self, columns: Any = slice(None)) -> Matrix:
        """The mean of some columns, ``(c,)``: NaN where nothing is known, so that what is given back is."""
        known = self.known[columns]
        mean = np.zeros(known.shape) if self.mean is None else self.mean[columns]
        return np.where(known, mean, np.nan)

    def leading(self, rank: int) -> ScoreMap:
        """Of the first components alone."""
        return self if rank == self.rank else replace(self, Vh=self.Vh[:rank])

r"""Rows drawn in one pass, each decision for ever: online row sampling (Cohen, Musco, Pachocki 2016).

Row i is kept with chance ``pi_i = min(1, c (1 + eps) a_i (S* S + gamma I)^{-1} a_i*)``, S the weighted rows kept before it and
``gamma = delta / eps``. With ``c = 8 ln(n) / eps^2``, ``(1 - eps) A* A - delta I <= S* S <= (1 + eps) A* A + delta I`` with high
probability, from ``O(n log n log(eps ||A||^2 / delta) / eps^2)`` rows. A score only falls while rows are kept: so the rows that
fail by the scores at the start of a block are out, and only the others are gone through one by one, in coordinates
``z = a W`` that a kept row of weight w changes by ``I + ((1 + w |z|^2)^{-1/2} - 1) v v*``, ``v = z / |z|``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from streamsvd.numerics.triangle import reduce_block
from streamsvd.numerics.uniforms import uniforms
from streamsvd.rows.mathematics.draw import DrawnRows, DrawnSample
from streamsvd.typing import Matrix, Real

EPSILON = 0.5
TOGETHER = 128
"""Candidates gone through before the triangle is made anew, so that rank-one changes do not pile up rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Online:
    """A sample whose rows stay.

    Attributes
    ----------
    seed
        Of the uniform numbers.
    oversampling
        c.
    R
        Triangle of the weighted rows kept and of ``sqrt(gamma) I``.
    parts, n_kept
        Rows kept; in place of the ratios, their chances.
    total
        Sum of the scores by which rows were judged, those of rows that failed early as they were then.
    """

    seed: int
    oversampling: float
    R: Matrix
    parts: tuple[DrawnRows, ...] = ()
    n_kept: int = 0
    total: float = 0.0

    @classmethod
    def start(cls, n_columns: int, gamma: float, *, oversampling: float, seed: int) -> Online:
        """Of no row."""
        return cls(seed, oversampling, np.sqrt(gamma) * np.eye(n_columns))

    def push(self, first: int, rows: Matrix) -> Online:
        """With further rows, numbered from ``first`` on."""
        state, c = self, self.oversampling * (1 + EPSILON)
        at = 0
        ids = np.arange(first, first + rows.shape[0], dtype=np.int64)
        u = uniforms(self.seed, ids, 1)[:, 0]
        while at < rows.shape[0]:
            Z = _whiten_rows(state.R, rows[at:])
            tau = np.einsum("ij,ij->i", Z, Z)
            likely = np.flatnonzero((tau > 0) & (u[at:] <= c * tau))
            stop = int(likely[TOGETHER]) if likely.size > TOGETHER else rows.shape[0] - at
            likely = likely[:TOGETHER]
            scores, chances = _judge_rows(Z[likely], u[at + likely], c)
            passed = float(tau[:stop].sum() - tau[likely].sum() + scores.sum())
            judged = DrawnRows(ids[at + likely], rows[at + likely], scores, chances)
            state = state._with(judged.of(u[at + likely] <= chances), passed)
            at += stop
        return state

    def _with(self, kept: DrawnRows, passed: float) -> Online:
        """With these rows, and the scores of all that were judged meanwhile."""
        total = self.total + passed
        if kept.ids.size == 0:
            return replace(self, total=total)
        weighted = kept.rows / np.sqrt(kept.ratios)[:, None]
        R = reduce_block(np.concatenate([self.R, weighted])).R
        parts, held = (*self.parts, kept), self.n_kept + kept.ids.size
        return replace(self, R=R, parts=parts, n_kept=held, total=total)

    def finalize(self) -> DrawnSample:
        """The sample so far."""
        c = self.oversampling * (1 + EPSILON)
        if not self.parts:
            none = np.zeros(0)
            return DrawnSample(
                np.zeros(0, dtype=np.int64), np.zeros((0, self.R.shape[1])), none, none, c
            )
        whole = DrawnRows.concatenate(self.parts)
        return DrawnSample(whole.ids, whole.rows, whole.scores, whole.ratios, c)


def _whiten_rows(R: Matrix, rows: Matrix) -> Matrix:
    """``a R^{-1}`` of each row."""
    return np.asarray(linalg.solve_triangular(R, rows.T, trans="T", check_finite=False).T)


def _judge_rows(Z: Matrix, u: Real, c: float) -> tuple[Real, Real]:
    """Scores and chances of candidates in their order, each after those before it have been kept or not."""
    Z, scores = Z.copy(), np.zeros(Z.shape[0])
    chances = np.zeros(Z.shape[0])
    for i in range(Z.shape[0]):
        square = float(Z[i] @ Z[i])
        scores[i], chances[i] = square, min(1.0, c * square)
        if square > 0 and u[i] <= chances[i]:
            v = Z[i] / np.sqrt(square)
            shrink = 1 / np.sqrt(1 + square / chances[i]) - 1
            Z[i + 1 :] += shrink * np.outer(Z[i + 1 :] @ v, v)
    return scores, chances

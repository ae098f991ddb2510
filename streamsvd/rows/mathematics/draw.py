r"""Rows drawn with chances in proportion to scores, each row at most once and by a number of its own.

Row i has the uniform number ``u_i``, which depends on the seed and on i alone. *Poisson*: it is kept if ``u_i <= pi_i`` with
``pi_i = min(1, c score_i)``. *Bottom-k*: the k rows of least ``u_i / score_i`` are kept, and the next such ratio is c: given the
numbers of all other rows, row i is kept if ``u_i <= min(1, c score_i)`` for a c that does not depend on ``u_i``, so that with
``1 / pi_i`` as weights sums over rows are unbiased in both (Duffield, Lund, Thorup 2007, priority sampling).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from streamsvd.numerics.uniforms import Integers, uniforms
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class DrawnRows:
    """Some rows that are kept so far, in their order: their numbers, scores, and ``u / score``."""

    ids: Integers
    rows: Matrix
    scores: Real
    ratios: Real

    @classmethod
    def concatenate(cls, parts: tuple[DrawnRows, ...]) -> DrawnRows:
        """All in one."""
        return cls(
            np.concatenate([p.ids for p in parts]),
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.ratios for p in parts]),
        )

    def of(self, keep: npt.NDArray[np.bool_]) -> DrawnRows:
        """Those rows alone."""
        return DrawnRows(self.ids[keep], self.rows[keep], self.scores[keep], self.ratios[keep])


@dataclass(frozen=True, slots=True, eq=False)
class DrawnSample:
    """Rows that stand for all.

    Attributes
    ----------
    ids, rows
        Numbers of the rows, ascending, and the rows ``(k, n)``.
    scores, chances
        Of each: what it was drawn by, and its chance to be drawn.
    oversampling
        c: that asked for, or what bottom-k came to; infinite where all rows were kept.
    """

    ids: Integers
    rows: Matrix
    scores: Real
    chances: Real
    oversampling: float

    @property
    def weights(self) -> Real:
        """``1 / chances``: how many rows each stands for."""
        return np.asarray(1 / self.chances)


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A sample on its way.

    Attributes
    ----------
    seed
        Of the uniform numbers.
    oversampling, size
        c, or k; one of them is None.
    parts, n_kept
        Rows kept so far, and their number.
    limit
        Ratios beyond it are out.
    total
        Sum of the scores seen.
    """

    seed: int
    oversampling: float | None
    size: int | None
    parts: tuple[DrawnRows, ...] = ()
    n_kept: int = 0
    limit: float = np.inf
    total: float = 0.0

    def push(self, first: int, rows: Matrix, scores: Real) -> Draw:
        """With further rows, numbered from ``first`` on."""
        ids = np.arange(first, first + rows.shape[0], dtype=np.int64)
        u = uniforms(self.seed, ids, 1)[:, 0]
        ratios = np.full(u.shape, np.inf)
        np.divide(u, scores, out=ratios, where=scores > 0)
        limit = self.limit if self.oversampling is None else self.oversampling
        keep = (scores > 0) & (ratios <= limit)
        parts, held = self.parts, self.n_kept
        if keep.any():
            parts = (*parts, DrawnRows(ids, rows, scores, ratios).of(keep))
            held += int(np.count_nonzero(keep))
        made = replace(self, parts=parts, n_kept=held, total=self.total + float(scores.sum()))
        return made._prune() if self.size is not None and held > 2 * (self.size + 1) else made

    def merge(self, other: Draw) -> Draw:
        """Of the rows of both, of which those of the other come later."""
        made = replace(
            self,
            parts=self.parts + other.parts,
            n_kept=self.n_kept + other.n_kept,
            limit=min(self.limit, other.limit),
            total=self.total + other.total,
        )
        return made._prune() if self.size is not None else made

    def _prune(self) -> Draw:
        """The ``size + 1`` rows of least ratio: the last of them is the threshold, if no other comes before it."""
        assert self.size is not None
        if self.n_kept <= self.size + 1:
            return self
        whole = DrawnRows.concatenate(self.parts)
        order = np.lexsort((whole.ids, whole.ratios))[: self.size + 1]
        keep = np.zeros(self.n_kept, dtype=bool)
        keep[order] = True
        limit = float(whole.ratios[order[-1]])
        return replace(self, parts=(whole.of(keep),), n_kept=self.size + 1, limit=limit)

    def finalize(self, n_columns: int) -> DrawnSample:
        """The sample."""
        if not self.parts:
            none = np.zeros(0)
            c = np.inf if self.oversampling is None else self.oversampling
            return DrawnSample(np.zeros(0, dtype=np.int64), np.zeros((0, n_columns)), none, none, c)
        if self.oversampling is not None:
            whole, c = DrawnRows.concatenate(self.parts), self.oversampling
        else:
            assert self.size is not None
            whole = DrawnRows.concatenate(self._prune().parts)
            c = float("inf")
            if whole.ids.size > self.size:
                c = float(whole.ratios.max())
                last = np.lexsort((whole.ids, whole.ratios))[-1]
                whole = whole.of(np.arange(whole.ids.size) != last)
        chances = np.minimum(1.0, c * whole.scores)
        return DrawnSample(whole.ids, whole.rows, whole.scores, chances, c)

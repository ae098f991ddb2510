"""The triangle of a tall matrix in one pass: ``A* A = R* R`` with R from orthogonal steps alone.

Blocks of rows are reduced to triangles, and triangles are joined in a binary tree whose shape depends on the number of
blocks alone; no ``A* A`` is formed, so no digit is lost to squaring (Demmel, Grigori, Hoemmen, Langou 2012, TSQR).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix

LEAST_HEIGHT = 256


def block_height(width: int) -> int:
    """Rows of a block: twice as many as columns, so that joining costs no more than reducing."""
    return max(LEAST_HEIGHT, 2 * width)


@dataclass(frozen=True, slots=True, eq=False)
class Triangle:
    """What orthogonal steps leave of some rows.

    Attributes
    ----------
    R
        Upper triangular or trapezoidal, ``(min(rows, n), n)``.
    depth
        Reductions on the longest way from a row to here.
    height
        Most rows that were reduced at once.
    """

    R: Matrix
    depth: int
    height: int

    @property
    def rounding(self) -> float:
        """``eta`` such that ``R* R = (A + E)* (A + E)`` with each column of E at most ``eta`` times that of A.

        Eight times what was observed at most; the worst case of Householder's steps is larger.
        """
        return float(8 * UNIT_ROUNDOFF * (self.depth + 1) * np.sqrt(max(self.height, 1)))


def reduce_block(block: Matrix) -> Triangle:
    """The triangle of a block of rows ``(p, n)``."""
    return Triangle(_upper(block), 1, block.shape[0])


def _upper(rows: Matrix) -> Matrix:
    return np.asarray(np.linalg.qr(rows, mode="r"))


def join_triangles(upper: Triangle, lower: Triangle) -> Triangle:
    """The triangle of the rows of both."""
    stacked = np.concatenate([upper.R, lower.R])
    height = max(upper.height, lower.height, stacked.shape[0])
    return Triangle(_upper(stacked), max(upper.depth, lower.depth) + 1, height)


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """Triangles that wait to be joined: at level j, that of ``2^j`` blocks, as the digits of a binary counter."""

    levels: tuple[Triangle | None, ...] = ()

    def push(self, block: Matrix) -> Tower:
        """With one more block of rows below the others."""
        carry = reduce_block(block)
        for level, waiting in enumerate(self.levels):
            if waiting is None:
                return Tower((None,) * level + (carry,) + self.levels[level + 1 :])
            carry = join_triangles(waiting, carry)
        return Tower((None,) * len(self.levels) + (carry,))

    def top(self) -> Triangle:
        """The triangle of all rows."""
        below: Triangle | None = None
        for waiting in self.levels:
            if waiting is not None:
                below = waiting if below is None else join_triangles(waiting, below)
        assert below is not None, "no row was pushed"
        return below


def tower_bytes(width: int, height: int, n_rows: int) -> int:
    """Upper bound of the memory of a tower and of its largest step: the triangles, and four copies of what is reduced."""
    levels = int(np.ceil(np.log2(max(n_rows / height, 1)))) + 2
    return 8 * width * (4 * max(height, 2 * width) + width * levels)

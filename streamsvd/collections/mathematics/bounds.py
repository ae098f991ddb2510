r"""Upper and lower bounds of the best rank-r error of blocks side by side, from little.

All are of squares, ``err_r^2 = sum_{i>r} sigma_i^2``, and rest on Ky Fan: ``||W* A||_F^2`` is, for any W of r orthonormal
columns, energy that rank r can capture. None of them says anything of a single singular value: the i-th largest residual
value of blocks is *not* below ``sigma_i``, only sums of the largest are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real


def rounding(terms: int, energy: float) -> float:
    """What a difference of energies may have lost."""
    return 16 * UNIT_ROUNDOFF * max(terms, 1) * energy


def max_norm(energies: Sequence[float], squares: Sequence[Real], r: int) -> float:
    """Energy less the most that whole blocks of r columns in all hold; of a wider block only its r leading squares.

    Columns more never lower a singular value. The best choice of blocks is found by dynamic programming.
    """
    total = float(np.sum(energies))
    best = np.zeros(r + 1)
    for values in squares:
        size = min(values.size, r)
        if size:
            gain = float(values[:size].sum())
            best[size:] = np.maximum(best[size:], best[: r + 1 - size] + gain)
    return _rest(total, float(best.max()), len(energies) + r)


def union(energies: Sequence[float], squares: Sequence[Real], r: int) -> float:
    """Energy less the r largest squares of all blocks.

    The left vectors of those span at most r dimensions, whose projector keeps of each block the squares selected.
    """
    pooled = np.sort(np.concatenate([np.zeros(0), *squares]))[::-1][:r]
    return _rest(float(np.sum(energies)), float(np.sum(pooled)), pooled.size)


def residual(energies: Sequence[float], factors: Sequence[Matrix], r: int) -> float:
    """Energy less the r largest squares of what each block adds to the span of those before; never below `union`."""
    pooled: list[Real] = []
    Q: Matrix | None = None
    for L in factors:
        Q = np.zeros((L.shape[0], 0)) if Q is None else Q
        R = L - Q @ (Q.T @ L)
        R -= Q @ (Q.T @ R)  # once leaves rounding that is no residual
        U, s, _ = linalg.svd(R, full_matrices=False, check_finite=False)
        pooled.append(s * s)
        scale = float(np.linalg.norm(L))
        new = U[:, s > 16 * UNIT_ROUNDOFF * np.sqrt(max(L.shape)) * scale]
        Q = orthonormal(np.concatenate([Q, new], axis=1))
    return union(energies, pooled, r)


def orthonormal(W: Matrix) -> Matrix:
    """Basis of the span of columns that are nearly orthonormal."""
    return np.asarray(linalg.qr(W, mode="economic", check_finite=False)[0])


def bracket(squares: Real, discarded: float, discarded_norm: float, r: int) -> tuple[float, float]:
    """Lower and upper bound where ``A A* = U diag(squares) U* + D``, D of this trace and at most this norm.

    ``Top_r(squares) <= Top_r(A A*) <= Top_r(squares) + min(trace, r norm)``, taken from the energy.
    """
    tail = float(np.sum(squares[r:][::-1]))
    return tail + max(0.0, discarded - r * discarded_norm), tail + discarded


def _rest(total: float, captured: float, terms: int) -> float:
    if total == 0:
        return 0.0
    return min(total, max(0.0, total - captured) + rounding(terms, total))

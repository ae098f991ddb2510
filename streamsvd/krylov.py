"""Block Krylov space of ``B = A* A``, grown one pass at a time, and what it has learnt.

``K`` is an orthonormal basis and ``W = B K``; every pass appends a block. Because ``B V`` is kept for every
Ritz vector, compressing the space to its best vectors (thick restart) costs no pass, and the residual block
``R = B V - V diag(theta)`` is known without one: its range is the next block (Musco, Musco 2015; Saad 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.ritz import Ritz, rayleigh_ritz
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """An orthonormal basis ``K`` ``(n, L)`` and its product ``W = B K``."""

    K: Matrix
    W: Matrix

    @property
    def size(self) -> int:
        """Columns of the basis, L."""
        return int(self.K.shape[1])


def space(X: Matrix, W: Matrix) -> Space:
    """The space of a block that is nearly orthonormal, with its product.

    ``X = K R`` gives ``B K = W R^-1``: the product follows the rounded block that was really multiplied, so
    that rounding it to float32 costs nothing. Directions that ``X`` does not span are left out.
    """
    K, R = linalg.qr(X, mode="economic", check_finite=False)
    size = np.abs(np.diagonal(R))
    keep = size > 1e-3 * max(float(size.max(initial=0.0)), 1e-300)
    if not keep.all():
        return space(X[:, keep], W[:, keep]) if keep.any() else Space(X[:, :0], W[:, :0])
    return Space(K, linalg.solve_triangular(R, W.T, trans="T", check_finite=False).T)


def grown(ritz: Ritz, block: Matrix, product: Matrix) -> Space:
    """The space of the Ritz vectors and one more block that is nearly orthogonal to them."""
    X = np.concatenate([ritz.V, block], axis=1)
    W = np.concatenate([ritz.V * ritz.theta + ritz.R, product], axis=1)
    return space(X, W)


def compressed(ritz: Ritz, keep: int) -> Ritz:
    """The leading ``keep`` Ritz pairs alone (thick restart); their residuals stay what they were.

    Copies: views would keep the memory of all the others.
    """
    V, R = (X[:, :keep].copy(order="K") for X in (ritz.V, ritz.R))
    return Ritz(ritz.theta[:keep], V, R, ritz.skew)


def next_block(ritz: Ritz, width: int, noise: float, limit: int) -> Matrix:
    """Orthonormal block for the next pass: the range of the residuals, what is only rounding left out.

    Parameters
    ----------
    ritz
        What the space has learnt.
    width
        Most columns.
    noise
        Residuals below this are rounding.
    limit
        Dimension of the whole space; the basis never exceeds it.
    """
    left, size, _ = linalg.svd(
        ritz.R, full_matrices=False, check_finite=False, lapack_driver="gesdd"
    )
    count = min(width, limit - ritz.V.shape[1], int(np.count_nonzero(size > noise)))
    block = left[:, : max(count, 0)]
    for _ in range(2):
        block = block - ritz.V @ (ritz.V.conj().T @ block)
    return orthonormal(block)


def orthonormal(X: Matrix) -> Matrix:
    """Orthonormal basis of the range of a full-rank block."""
    if X.shape[1] == 0:
        return X
    return np.asarray(linalg.qr(X, mode="economic", check_finite=False)[0])


def learn(known: Space) -> Ritz:
    """Ritz pairs of the space."""
    return rayleigh_ritz(known.K, known.W)

"""Block Krylov space of ``B = A* A``, grown one pass at a time, and what it has learnt.

``K`` is an orthonormal basis and ``W = B K``; every pass appends a block. Because ``B V`` is kept for every
Ritz vector, compressing the space to its best vectors (thick restart) costs no pass, and the residual block
``R = B V - V diag(theta)`` is known without one: its range is the next block (Musco, Musco 2015; Saad 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.numerics.ritz import Ritz, rayleigh_ritz, residual, spectral_norm
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """An orthonormal basis ``K`` ``(n, L)`` and its product ``W = B K``."""

    K: Matrix
    W: Matrix

    @property
    def size(self) -> int:
        """Columns of the basis, L."""
        return int(self.K.shape[1])


def space_of_block(X: Matrix, W: Matrix, scale: float = 0.0) -> Space:
    """The space of a block that is nearly orthonormal, with its product; its columns have at least norm ``scale``.

    ``X = K R`` gives ``B K = W R^-1``: the product follows the rounded block that was really multiplied, so
    that rounding it to float32 costs nothing. Directions that ``X`` does not span are left out.
    """
    K, R = linalg.qr(X, mode="economic", check_finite=False)
    size = np.abs(np.diagonal(R))
    keep = size > 1e-3 * max(float(size.max(initial=0.0)), scale, 1e-300)
    if not keep.all():
        some = X[:, keep], W[:, keep], scale
        return space_of_block(*some) if keep.any() else Space(X[:, :0], W[:, :0])
    return Space(K, linalg.solve_triangular(R, W.T, trans="T", check_finite=False).T)


def expand_ritz(ritz: Ritz, block: Matrix, product: Matrix) -> Ritz:
    """Ritz pairs of the space with one more block, which is nearly orthogonal to it, from ``B block``.

    Of ``T = K* B K`` the old part is ``diag(theta)``, so that only the new columns are orthogonalised and multiplied.
    Directions of the block that the space nearly spans are left out.

    Notes
    -----
    Cost: ``10 n L**2 + 10 n L l`` flops for l columns more; three blocks of ``n x L`` beside those given.
    """
    V0, R0, theta0 = ritz.V, ritz.R, ritz.theta
    X, W = block, product
    for _ in range(2):
        C = V0.conj().T @ X
        X = X - V0 @ C
        W = W - V0 @ (theta0[:, None] * C) - R0 @ C
    added = space_of_block(X, W, scale=1.0)
    K, W = added.K, added.W
    if not added.size:
        return ritz
    below, beside = V0.conj().T @ W, R0.conj().T @ K  # twice the same, but for rounding
    corner = K.conj().T @ W
    old = theta0.size
    T = np.zeros((old + added.size,) * 2, dtype=np.result_type(V0, W))
    T[:old, :old] = np.diag(theta0)
    T[:old, old:], T[old:, :old], T[old:, old:] = below, beside.conj().T, corner
    H = (T + T.conj().T) / 2
    theta, U = linalg.eigh(H, driver="evd", check_finite=False)
    theta, U = theta[::-1].copy(), U[:, ::-1].copy()
    V = V0 @ U[:old]
    V += K @ U[old:]
    # R = W U - V theta, in the coordinates of the old basis; then what is left of it inside the space.
    A = (T - H) @ U
    R = V0 @ (theta0[:, None] * U[:old] - U[:old] * theta - A[:old])
    R += R0 @ U[:old]
    R += W @ U[old:]
    R -= K @ (U[old:] * theta + A[old:])
    R -= V @ (V.conj().T @ R)
    return Ritz(theta, V, R, max(ritz.skew, spectral_norm(T - H)))


def thick_restart(ritz: Ritz, keep: int, pinned: Matrix | None = None) -> tuple[Ritz, Matrix]:
    """The leading ``keep`` Ritz pairs and what else spans ``pinned`` (thick restart), and their coordinates ``(L, j)``.

    The kept pairs stay what they were. ``pinned`` lies in the space; what the kept vectors lack of it is compressed by
    itself, so that ``j`` is at most ``keep`` and the columns of ``pinned``. Copies: views would keep the memory of all.
    """
    keep, L = min(keep, ritz.theta.size), ritz.theta.size
    coordinates = np.eye(L, keep, dtype=ritz.V.dtype)
    V, R = (X[:, :keep].copy(order="K") for X in (ritz.V, ritz.R))
    if pinned is None or keep == L:
        return Ritz(ritz.theta[:keep], V, R, ritz.skew), coordinates
    missing = ritz.V[:, keep:].conj().T @ pinned
    left, size = left_vectors(missing)
    left = left[:, size > SPAN_TOLERANCE]
    theta = ritz.theta[keep:]
    values, turn = linalg.eigh((left.conj().T * theta) @ left, check_finite=False)
    values, left = values[::-1], (left @ turn)[:, ::-1]
    extra = ritz.V[:, keep:] @ left
    rest = ritz.V[:, keep:] @ (theta[:, None] * left) + ritz.R[:, keep:] @ left - extra * values
    below = np.zeros((L, values.size), dtype=ritz.V.dtype)
    below[keep:] = left
    return (
        Ritz(
            np.concatenate([ritz.theta[:keep], values]),
            np.concatenate([V, extra], axis=1),
            np.concatenate([R, rest], axis=1),
            ritz.skew,
        ),
        np.concatenate([coordinates, below], axis=1),
    )


SPAN_TOLERANCE = 1e-14
"""Parts of a pinned vector below this are rounding: a space without them still holds it."""


def next_block(
    ritz: Ritz, width: int, noise: float, limit: int, fill: Matrix | None = None
) -> Matrix:
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
    fill
        Random columns, at least ``width``, that take the places of what is rounding: where values repeat more often than
        the block has columns, residuals vanish before all of them are found. None to leave the block short.
    """
    known = residual(ritz)
    left, size = left_vectors(known.F)
    most = max(min(width, limit - ritz.V.shape[1]), 0)
    block = known.times(left[:, : min(most, int(np.count_nonzero(size > noise)))])
    del known
    if fill is not None:
        random = fill[:, : most - block.shape[1]]
        for _ in range(2):
            random = random - ritz.V @ (ritz.V.conj().T @ random)
        block = np.concatenate([block, random / np.sqrt(max(random.shape[0], 1))], axis=1)
    for _ in range(2):
        block = block - ritz.V @ (ritz.V.conj().T @ block)
    return orthonormal_basis(block)


def left_vectors(X: Matrix) -> tuple[Matrix, Real]:
    """Left singular vectors and singular values, thin."""
    try:
        left, size, _ = linalg.svd(X, full_matrices=False, check_finite=False)
    except linalg.LinAlgError:  # divide and conquer gives up on some finite, graded matrices
        left, size, _ = linalg.svd(
            X, full_matrices=False, check_finite=False, lapack_driver="gesvd"
        )
    return left, size


def orthonormal_basis(X: Matrix) -> Matrix:
    """Orthonormal basis of the range of a full-rank block."""
    if X.shape[1] == 0:
        return X
    return np.asarray(linalg.qr(X, mode="economic", check_finite=False)[0])


def ritz_of_space(known: Space) -> Ritz:
    """Ritz pairs of the space."""
    return rayleigh_ritz(known.K, known.W)

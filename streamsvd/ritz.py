"""Rayleigh-Ritz compression of ``B = A* A`` to an orthonormal basis, from the products of a pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real


def spectral_norm(X: Matrix) -> float:
    """``||X||_2``; 0 for an empty block."""
    return float(np.linalg.norm(X, 2)) if min(X.shape) else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Ritz:
    """The compression of ``B`` to the span of ``V``: ``B' V = V diag(theta) + R``, ``R`` orthogonal to ``V``.

    Attributes
    ----------
    theta
        Ritz values, descending, ``(L,)``.
    V, R
        Orthonormal Ritz vectors and residuals, ``(n, L)``.
    skew
        Norm of the part of ``K* W`` that is not Hermitian: rounding seen without any probe.
    """

    theta: Real
    V: Matrix
    R: Matrix
    skew: float


def rayleigh_ritz(K: Matrix, W: Matrix) -> Ritz:
    """Ritz pairs and residuals of the Hermitian matrix with ``B K = W``.

    Parameters
    ----------
    K
        Orthonormal basis, ``(n, L)``.
    W
        Its product, ``(n, L)``.

    Notes
    -----
    Cost: ``6 n L**2`` flops and three blocks of ``n x L``.
    """
    T = K.conj().T @ W
    H = (T + T.conj().T) / 2
    theta, U = linalg.eigh(H, driver="evd", overwrite_a=True, check_finite=False)
    theta, U = theta[::-1].copy(), U[:, ::-1]
    V = K @ U
    R = W @ U
    for _ in range(2):  # twice is enough (Kahan)
        R -= V @ (V.conj().T @ R)
    return Ritz(theta, V, R, spectral_norm(T - T.conj().T) / 2)

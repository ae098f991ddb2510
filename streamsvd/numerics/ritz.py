"""Rayleigh-Ritz compression of ``B = A* A`` to an orthonormal basis, from the products of a pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real

NARROW = 64
"""Blocks of no more columns (or rows) have their norms from the Gram matrix of that side: a fraction of an SVD."""


def spectral_norm(X: Matrix) -> float:
    """``||X||_2``, to within the rounding of a sum of squares; 0 for an empty block."""
    small = min(X.shape)
    if not small:
        return 0.0
    if small > NARROW or max(X.shape) < 4 * small:
        return float(np.linalg.norm(X, 2))
    size = float(np.abs(X).max())
    if not 0 < size < np.inf:
        return size
    Y = X / size
    G = Y.conj().T @ Y if X.shape[1] == small else Y @ Y.conj().T
    return size * float(np.sqrt(max(float(np.linalg.eigvalsh(G)[-1]), 0.0)))


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
    Cost: ``14 n L**2`` flops and three blocks of ``n x L``.
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


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """The QR factorisation ``R = Q_R F`` of residuals ``(n, L)``, ``Q_R`` as the reflectors that make it.

    Attributes
    ----------
    F
        Upper triangular, ``(min(n, L), L)``.
    reflectors, scales
        As LAPACK packs them.
    """

    F: Matrix
    reflectors: Matrix
    scales: Matrix

    def times(self, X: Matrix) -> Matrix:
        """``Q_R X`` for ``X`` of as many rows as ``F``, ``(n, k)``.

        Notes
        -----
        Cost: ``4 n L k`` flops; to form ``Q_R`` would take ``2 n L**2`` more.
        """
        n, k = self.reflectors.shape[0], X.shape[1]
        whole = np.zeros((n, k), dtype=np.result_type(X, self.reflectors), order="F")
        whole[: X.shape[0]] = X
        if not k or not self.scales.size:
            return whole
        name = "unmqr" if np.iscomplexobj(whole) else "ormqr"
        given = (self.reflectors, whole)
        apply: Any = linalg.get_lapack_funcs(name, given)
        work = int(apply("L", "N", self.reflectors, self.scales, whole, -1)[1][0].real)
        out, _, info = apply("L", "N", self.reflectors, self.scales, whole, work, overwrite_c=True)
        assert info == 0
        return np.asarray(out)


def residual(ritz: Ritz) -> Residual:
    """The residuals factorised; cost ``2 n L**2`` flops and a block of ``n x L``."""
    (packed, scales), F = linalg.qr(ritz.R, mode="raw", check_finite=False)
    return Residual(F[: min(ritz.R.shape)], packed, scales)

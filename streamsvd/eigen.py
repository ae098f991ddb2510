"""Leading eigenpairs of a Hermitian matrix, all of them whatever the spectrum."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real


def leading(H: Matrix, count: int) -> tuple[Real, Matrix]:
    """The ``count`` largest eigenvalues, descending, and their orthonormal eigenvectors ``(n, count)``.

    Notes
    -----
    Cost: one tridiagonalisation, ``4/3 n**3`` flops. LAPACK's routine for part of the spectrum may hand back
    fewer pairs than asked where eigenvalues are equal; divide and conquer, ``9 n**3`` at most, then finds all.
    """
    n = H.shape[0]
    if count == 0:
        return np.zeros(0), np.zeros((n, 0), dtype=H.dtype)
    theta, V = linalg.eigh(H, subset_by_index=(n - count, n - 1), check_finite=False)
    if theta.size < count:
        theta, V = linalg.eigh(H, driver="evd", check_finite=False)
        theta, V = theta[-count:], V[:, -count:]
    return theta[::-1].copy(), V[:, ::-1]


def least(H: Matrix) -> float:
    """The smallest eigenvalue; 0 for an empty matrix."""
    if H.shape[0] == 0:
        return 0.0
    return float(linalg.eigvalsh(H, check_finite=False)[0])

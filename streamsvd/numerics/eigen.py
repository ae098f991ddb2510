"""Leading eigenpairs of a Hermitian matrix, all of them whatever the spectrum."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real


def leading_eigenpairs(H: Matrix, count: int, *, overwrite: bool = False) -> tuple[Real, Matrix]:
    """The ``count`` largest eigenvalues, descending, and their orthonormal eigenvectors ``(n, count)``.

    Parameters
    ----------
    H
        Hermitian, both triangles of it.
    count
        Pairs wanted.
    overwrite
        Work in the memory of ``H``, whose values are lost; where it is none of ours, in a copy.

    Notes
    -----
    Cost: one tridiagonalisation, ``4/3 n**3`` flops. LAPACK's routine for part of the spectrum may hand back
    fewer pairs than asked where eigenvalues are equal, or fail; divide and conquer, ``9 n**3`` at most, then finds all,
    with two more blocks of ``n x n``.
    """
    n = H.shape[0]
    if count == 0:
        return np.zeros(0), np.zeros((n, 0), dtype=H.dtype)
    own = overwrite and bool(H.flags.writeable and H.flags.c_contiguous)
    # LAPACK works by columns: on the transpose, the conjugate.
    T = H.T if own else H.T.copy(order="F")
    diagonal = np.diagonal(T).copy()
    theta, V = _partial_eigenpairs(T, count)
    if theta.size < count:
        np.fill_diagonal(T, diagonal)  # what LAPACK did to it and to the lower triangle is undone
        mirror_upper(T)
        theta, V = linalg.eigh(T, driver="evd", overwrite_a=True, check_finite=False)
        theta, V = theta[-count:], V[:, -count:]
    return theta[::-1].copy(), V[:, ::-1].conj()


def _partial_eigenpairs(T: Matrix, count: int) -> tuple[Real, Matrix]:
    """The largest pairs, or fewer where LAPACK's routine for part of the spectrum fails; ``T`` is lost."""
    n = T.shape[0]
    try:
        theta, V = linalg.eigh(
            T, subset_by_index=(n - count, n - 1), overwrite_a=True, check_finite=False
        )
    except linalg.LinAlgError:  # its internal error, seen on spectra of many zeros
        return np.zeros(0), T[:, :0]
    return theta, V


STRIP_ROWS = 64
"""Rows of a square matrix that are worked on at once, so that what this takes is small beside it."""


def mirror_upper(H: Matrix) -> None:
    """Make the lower triangle the adjoint of the upper one, in place."""
    for a in range(0, H.shape[0], STRIP_ROWS):
        b = min(a + STRIP_ROWS, H.shape[0])
        corner = np.triu(H[a:b, a:b])
        H[a:b, a:b] = corner + np.triu(corner, 1).conj().T
        H[b:, a:b] = H[a:b, b:].conj().T


def smallest_eigenvalue(H: Matrix) -> float:
    """The smallest eigenvalue; 0 for an empty matrix."""
    if H.shape[0] == 0:
        return 0.0
    return float(linalg.eigvalsh(H, check_finite=False)[0])

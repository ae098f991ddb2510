"""Leading eigenpairs of a Hermitian matrix, all of them whatever the spectrum."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.typing import Matrix, Real


def leading(H: Matrix, count: int, *, overwrite: bool = False) -> tuple[Real, Matrix]:
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
    T = (
        H.T if own else H.T.copy(order="F")
    )  # LAPACK works by columns: on the transpose, the conjugate
    diagonal = np.diagonal(T).copy()
    theta, V = _some(T, count)
    if theta.size < count:
        _restore(T, diagonal)
        theta, V = linalg.eigh(T, driver="evd", overwrite_a=True, check_finite=False)
        theta, V = theta[-count:], V[:, -count:]
    return theta[::-1].copy(), V[:, ::-1].conj()


def _some(T: Matrix, count: int) -> tuple[Real, Matrix]:
    """The largest pairs, or fewer where LAPACK's routine for part of the spectrum fails; ``T`` is lost."""
    n = T.shape[0]
    try:
        theta, V = linalg.eigh(
            T, subset_by_index=(n - count, n - 1), overwrite_a=True, check_finite=False
        )
    except linalg.LinAlgError:  # its internal error, seen on spectra of many zeros
        return np.zeros(0), T[:, :0]
    return theta, V


def _restore(T: Matrix, diagonal: Matrix) -> None:
    """Undo what LAPACK did to the lower triangle and the diagonal of a Hermitian matrix: the upper is whole."""
    step = 64
    for a in range(0, T.shape[0], step):
        b = min(a + step, T.shape[0])
        upper = np.triu(T[a:b, a:b], 1)
        T[a:b, a:b] = upper + upper.conj().T
        T[b:, a:b] = T[a:b, b:].conj().T
    np.fill_diagonal(T, diagonal)


def least(H: Matrix) -> float:
    """The smallest eigenvalue; 0 for an empty matrix."""
    if H.shape[0] == 0:
        return 0.0
    return float(linalg.eigvalsh(H, check_finite=False)[0])

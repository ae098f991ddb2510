r"""Sparse rows stacked below a factor, by the small Gram matrix of what is new in them: nothing as wide as a row and as long as the block is dense.

With the factor ``s``, ``V`` of l directions and rows ``F (p, n)``,

.. math::  C = F V, \qquad G = F F^* - C C^* = E \operatorname{diag}(w) E^*, \qquad
           M = \begin{pmatrix} \operatorname{diag} s & 0 \\ C & E \sqrt{w} \end{pmatrix},

and ``M M*`` is the Gram matrix of the rows of the stack ``[s V*; F]``. Let U be the leading left vectors of M. They are orthonormal,
however G was rounded, so that

.. math::  [s V^*; F] = U R + X, \quad R = U^* [s V^*; F] = (V \operatorname{diag}(s) U_1 + F^* U_2)^*, \quad U^* X = 0 .

The state goes on with R, whose QR makes its vectors orthonormal; ``X* X`` is added to what the state has lost. Its trace is that of the tail
of ``M M*`` and of the ``w`` left out, its norm is at most the sum of the largest of both, each up to the rounding of G, at most
``8 u sqrt(p + l) ||F||_F^2`` before F is centred. So a direction with ``s_i^2`` below that is lost, and known to be lost.

*Centred*, F is ``S - 1 c`` with the mean c of its rows, and below it the one row ``d`` that carries the difference of the means of what is known and of
the block: ``sqrt(a b / (a + b)) (c - mean)`` with their weights a and b. Both are products with vectors: S stays as it is stored.

References: Brand (2006) for the small matrix of an update; the identity of a projection is that of `streamsvd.models.mathematics.incremental`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

LEAST_NEW = 1e-10
"""Of the largest of w: what is below, or below the rounding of G, adds no direction, and is counted among what is lost."""


@dataclass(frozen=True, slots=True, eq=False)
class RowsBelow:
    """``F = [S - 1 c; d]``: compressed rows less one row, and a dense one below them.

    Attributes
    ----------
    stored
        ``S``, a ``csr_array (p, n)`` in double precision.
    centre, below
        ``c`` and ``d``, ``(n,)``; None where nothing is subtracted, and where there is no such row.
    """

    stored: Any
    centre: Matrix | None = None
    below: Matrix | None = None

    def times(self, V: Matrix) -> Matrix:
        """``F V``."""
        Y = np.asarray(self.stored @ V)
        if self.centre is not None:
            Y -= (self.centre @ V)[None, :]
        return Y if self.below is None else np.concatenate([Y, (self.below @ V)[None, :]])

    def adjoint(self, Y: Matrix) -> Matrix:
        """``F* Y``."""
        p = self.stored.shape[0]
        total = np.asarray(self.stored.conj().T @ Y[:p])
        if self.centre is not None:
            total -= self.centre.conj()[:, None] * Y[:p].sum(axis=0)[None, :]
        if self.below is not None:
            total += self.below.conj()[:, None] * Y[p][None, :]
        return total

    def gram(self) -> Matrix:
        """``F F*``."""
        S, c, d = self.stored, self.centre, self.below
        K = (S @ S.conj().T).toarray()
        if c is not None:
            v = S @ c.conj()
            K += float(np.vdot(c, c).real) - v[:, None] - v.conj()[None, :]
        if d is None:
            return np.asarray(K)
        x = S @ d.conj() - (0.0 if c is None else c @ d.conj())
        last = np.concatenate([x.conj(), [np.vdot(d, d)]])
        return np.concatenate([np.concatenate([K, x[:, None]], axis=1), last[None, :]])

    @property
    def gross(self) -> float:
        """Squares of all that is added up where F is centred; of these, its rounding is a share."""
        total = float(np.sum(np.abs(self.stored.data) ** 2))
        if self.centre is not None:
            total += self.stored.shape[0] * float(np.vdot(self.centre, self.centre).real)
        return total if self.below is None else total + float(np.vdot(self.below, self.below).real)


@dataclass(frozen=True, slots=True, eq=False)
class StackBasis:
    """Left vectors of a stack.

    Attributes
    ----------
    U, squares
        All of them, ``(l + p, r)``, and the squares of its values, descending.
    energy
        ``||F||_F^2``.
    left_out
        Trace and largest of the w that add no direction.
    rounding
        Upper bound of the error of the trace, and of the norm, of what is known by these squares.
    """

    U: Matrix
    squares: Real
    energy: float
    left_out: tuple[float, float]
    rounding: float


def stack_basis(s: Real, Vh: Matrix, rows: RowsBelow) -> StackBasis:
    """Left vectors of ``[s Vh; F]``, of products with F alone.

    Notes
    -----
    Cost: ``2 l`` flops an entry of F, ``sum_j c_j^2`` for ``F F*`` with c_j entries in column j, and some ``20 (l + p)^3``.
    """
    C = rows.times(np.ascontiguousarray(Vh.conj().T))
    K = rows.gram()
    energy = float(np.trace(K).real)
    G = K - C @ C.conj().T
    w, E = linalg.eigh((G + G.conj().T) / 2, check_finite=False)
    rounding = 8 * UNIT_ROUNDOFF * float(np.sqrt(s.size + K.shape[0])) * rows.gross
    alive = w > max(LEAST_NEW * float(w[-1]), rounding)
    gone = np.maximum(w[~alive], 0.0)
    known, new = s.size, int(np.count_nonzero(alive))
    M = np.zeros((known + K.shape[0], known + new), dtype=C.dtype)
    M[:known, :known][np.diag_indices(known)] = s
    M[known:, :known] = C
    M[known:, known:] = E[:, alive] * np.sqrt(w[alive])
    U, values, _ = linalg.svd(M, full_matrices=False, check_finite=False)
    lost = (float(np.sum(gone)), float(gone[-1]) if gone.size else 0.0)
    return StackBasis(U, values * values, energy, lost, rounding)


def project_stack(U: Matrix, s: Real, Vh: Matrix, rows: RowsBelow) -> tuple[Matrix, Real, Matrix]:
    """``U* [s Vh; F]`` as ``u diag(s) Vh``.

    Notes
    -----
    Cost: some ``10 n l^2`` flops.
    """
    known = s.size
    R = rows.adjoint(np.ascontiguousarray(U[known:]))  # R*, (n, r)
    R += (s[:, None] * Vh).conj().T @ U[:known]
    Q, T = linalg.qr(R, mode="economic", overwrite_a=True, check_finite=False)
    u, values, vh = linalg.svd(T.conj().T, check_finite=False)
    return u, values, vh @ Q.conj().T

"""Products of one block of rows with thin blocks.

``A* A Q = sum_i A_i* (A_i Q)``: a block of rows contributes to the normal product with one read of it.
Each function casts to the type asked for; sums over blocks are the caller's, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_namespace

from streamsvd.numerics import moments
from streamsvd.numerics.eigen import mirror_upper
from streamsvd.numerics.rank_update import add_products
from streamsvd.numerics.sparse_rows import SparseRows

if TYPE_CHECKING:
    from jaxtyping import Inexact  # shapes in signatures, for readers

Array = Any


def forward(X: Inexact[Array, "p n"], Q: Inexact[Array, "n k"]) -> Inexact[Array, "p k"]:
    """``X @ Q`` in the precision of ``Q``.

    Notes
    -----
    Cost: ``2 p n k`` flops; a copy of ``X`` where its type differs from that of ``Q``.
    """
    if isinstance(X, SparseRows):
        return X.forward(Q)
    xp = array_namespace(X, Q)
    if X.dtype != Q.dtype:
        X = xp.astype(X, Q.dtype)
    return xp.matmul(X, Q)


def backward(
    X: Inexact[Array, "p n"], Y: Inexact[Array, "p k"], weights: Inexact[Array, " p"] | None
) -> Inexact[Array, "n k"]:
    """``X* diag(weights) Y`` in the precision of ``Y``.

    Notes
    -----
    Cost: ``2 p n k`` flops; a copy of ``X`` where its type differs from that of ``Y``.
    """
    xp = array_namespace(X, Y)
    if X.dtype != Y.dtype:
        X = xp.astype(X, Y.dtype)
    if weights is not None:
        Y = Y * xp.astype(weights, Y.dtype)[:, None]
    # (Y* X)*: the same product with the long block on the right, up to twice as fast in float64 where Y is narrow.
    return adjoint(xp.matmul(adjoint(Y), X))


def add_backward(total: Array, columns: slice, X: Array, Y: Array, weights: Array | None) -> None:
    """``total + X* diag(weights) Y`` in the rows ``columns`` of ``total``, which is written into.

    Notes
    -----
    Cost: as `backward`; of sparse rows ``2 k`` flops an entry, and no block of ``n x k`` where few columns have entries.
    """
    if isinstance(X, SparseRows):
        X.add_backward(total, Y, weights)
    else:
        total[columns, :] += backward(X, Y, weights)


def scale_columns(X: Array, factors: Array) -> Array:
    """``X diag(factors)``."""
    return X.scale_columns(factors) if isinstance(X, SparseRows) else X * factors[None, :]


def row_squares(X: Array) -> Array:
    """Sum of the squared moduli of each row, ``(p,)``, in double precision."""
    if isinstance(X, SparseRows):
        return X.row_squares()
    xp = array_namespace(X)
    if xp.isdtype(X.dtype, "complex floating"):
        return row_squares(xp.real(X)) + row_squares(xp.imag(X))
    return moments.row_squares(xp.astype(X, xp.float64, copy=False))


def adjoint(X: Inexact[Array, "p n"]) -> Inexact[Array, "n p"]:
    """``X*``; a view where the data are real."""
    xp = array_namespace(X)
    T = xp.matrix_transpose(X)
    return xp.conj(T) if xp.isdtype(X.dtype, "complex floating") else T


def gram(X: Inexact[Array, "p n"], weights: Inexact[Array, " p"] | None) -> Inexact[Array, "n n"]:
    """``X* diag(weights) X``; BLAS sees the symmetric product where there are no weights.

    Notes
    -----
    Cost: ``p n**2`` flops (twice that with weights or complex data).
    """
    xp = array_namespace(X)
    if weights is None:
        return xp.matmul(adjoint(X), X)
    return xp.matmul(adjoint(X), X * xp.astype(weights, X.dtype)[:, None])


def add_gram(
    G: Inexact[Array, "n n"], X: Inexact[Array, "p n"], weights: Inexact[Array, " p"] | None
) -> Inexact[Array, "n n"]:
    """``G + X* diag(weights) X``, which may be written into ``G``; `complete_gram` of the last one is the sum.

    Notes
    -----
    Cost: ``p n**2`` flops on the host, where BLAS adds one triangle to ``G`` in place: no other block of
    ``n x n``. Weighted rows are a copy, scaled by the roots of their weights. Twice the flops and two blocks of
    ``n x n`` elsewhere.
    """
    xp = array_namespace(G, X)
    if not is_numpy_namespace(xp):
        return G + gram(X, weights)
    complex_ = X.dtype.kind == "c"
    if weights is not None:
        X = X * np.sqrt(weights).astype(X.real.dtype)[:, None]
    if complex_ or not X.flags.f_contiguous:
        X = np.ascontiguousarray(X)
    if not G.flags.writeable:
        G = G.copy()
    add_products(
        G.T, X.T
    )  # by rows G is its own transpose by columns, which is what BLAS writes: X^T conj(X)
    return G


def complete_gram(G: Inexact[Array, "n n"]) -> Inexact[Array, "n n"]:
    """The sum that `add_gram` has made, with both its triangles; on the host in the memory of ``G``."""
    if not is_numpy_namespace(array_namespace(G)):
        return G
    G = np.require(G, requirements="W")
    mirror_upper(G)
    return G

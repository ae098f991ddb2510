"""Products of one block of rows with thin blocks.

``A* A Q = sum_i A_i* (A_i Q)``: a block of rows contributes to the normal product with one read of it.
Each function casts to the type asked for; sums over blocks are the caller's, in float64.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace
from jaxtyping import Inexact

Array = Any


def forward(X: Inexact[Array, "p n"], Q: Inexact[Array, "n k"]) -> Inexact[Array, "p k"]:
    """``X @ Q`` in the precision of ``Q``.

    Notes
    -----
    Cost: ``2 p n k`` flops; a copy of ``X`` where its type differs from that of ``Q``.
    """
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
    return xp.matmul(adjoint(X), Y)


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

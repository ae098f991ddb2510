"""Sums over the rows of a block, in float64, about a pilot.

``sum w (x - mu)(x - mu)* = sum w (x - c)(x - c)* - (sum w) (mu - c)(mu - c)*`` for any pilot ``c``: with
``c`` near the mean nothing cancels (Chan, Golub, LeVeque 1983).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_namespace

if TYPE_CHECKING:
    from jaxtyping import Inexact  # shapes in signatures, for readers

Array = Any


def column_sums(
    X: Inexact[Array, "p n"], weights: Inexact[Array, " p"] | None
) -> tuple[Inexact[Array, " n"], Inexact[Array, " n"]]:
    """Weighted sums of each column and of its squared modulus."""
    xp = array_namespace(X)
    if weights is None and is_numpy_namespace(xp):  # one sweep and no copy, where numpy has it
        squares = np.einsum("ij,ij->j", X.real, X.real)
        if X.dtype.kind == "c":
            squares += np.einsum("ij,ij->j", X.imag, X.imag)
        return X.sum(axis=0), squares
    squares = xp.real(X * xp.conj(X)) if xp.isdtype(X.dtype, "complex floating") else X * X
    if weights is None:
        return xp.sum(X, axis=0), xp.sum(squares, axis=0)
    w = xp.astype(weights, squares.dtype)[None, :]
    return (
        xp.matmul(xp.astype(w, X.dtype), X)[0, :],
        xp.matmul(w, squares)[0, :],
    )


def row_squares(X: Inexact[Array, "p n"]) -> Inexact[Array, " p"]:
    """Sum of the squared entries of each row, of real data."""
    xp = array_namespace(X)
    if is_numpy_namespace(xp):  # one sweep and no copy
        return np.einsum("ij,ij->i", X, X)
    return xp.sum(X * X, axis=1)

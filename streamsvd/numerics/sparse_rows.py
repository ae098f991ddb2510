"""A block of sparse rows less a matrix of rank one, and its products: what centring leaves of rows is never filled in.

``X = S - u c`` with ``S`` in compressed rows, a column ``u`` and a row ``c``: along rows ``u = 1`` and ``c`` is the pilot, along columns
``u`` holds the means and ``c = 1``. Then

    ``X Q = S Q - u (c Q)``,    ``X* Y = S* Y - c* (u* Y)``,    ``||X||^2 = ||S||^2 - 2 Re <S, u c> + |u|^2 |c|^2``.

Sums of columns about the pilot lose at most a factor ``1 / (1 - p)`` of their squares, for a share ``p`` of entries that are stored: those of a
column that is mostly 0 cannot cancel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.typing import Matrix, Real

Array = Any

STRIP_ROWS = 512
"""Rows whose products are added in their own precision; more of them are added in double precision."""

STRIP_ENTRIES = 4
"""Entries of each column that such a strip has at least, on average: below it, adding would cost more than multiplying."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """Rows of a matrix, ``S - u c``.

    Attributes
    ----------
    stored
        ``S``, a ``csr_array`` of ``(p, n)``.
    column, row
        ``u (p,)`` and ``c (n,)``, on the side of the data; None where nothing is subtracted.
    """

    stored: Any
    column: Array | None = None
    row: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.stored.shape[0]), int(self.stored.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored entries."""
        kind: np.dtype[Any] = np.dtype(self.stored.dtype)
        return kind

    def astype(self, kind: Any) -> SparseRows:
        """The same in another type; itself where it has it."""
        if self.dtype == np.dtype(kind):
            return self
        cast = [None if x is None else x.astype(kind) for x in (self.column, self.row)]
        return SparseRows(with_values(self.stored, self.stored.data.astype(kind)), *cast)

    def forward(self, Q: Array) -> Array:
        """``X Q``, in the precision of ``Q``."""
        X = self.astype(Q.dtype)
        Y = X.stored @ Q
        if X.column is not None and X.row is not None:
            Y -= X.column[:, None] * (X.row @ Q)[None, :]
        return Y

    def add_backward(self, total: Array, Y: Array, weights: Array | None) -> None:
        """``total + X* diag(weights) Y``, in the memory of ``total``; products in the precision of ``Y``.

        Rows are taken in strips, so that what single precision adds in a row is short, and only columns that a strip has entries in
        are touched.
        """
        X = self.astype(Y.dtype)
        if weights is not None:
            Y = Y * weights.astype(Y.dtype)[:, None]
        p, n = X.shape
        step = max(STRIP_ROWS, -(-STRIP_ENTRIES * n * p // max(1, X.stored.nnz)))
        for a in range(0, p, step):
            strip = X.stored if step >= p else X.stored[a : a + step]
            _add_adjoint_product(total, strip, Y[a : a + step])
        if X.column is not None and X.row is not None:
            inner = X.column.conj() @ Y
            total -= X.row.conj()[:, None] * inner[None, :]

    def column_sums(self, weights: Real | None) -> tuple[Matrix, Real]:
        """Weighted sums of each column of ``X`` and of its squared modulus, where ``u = 1``."""
        S = self.stored
        w = np.ones(S.shape[0]) if weights is None else np.asarray(weights, dtype=np.float64)
        total = S.T @ w.astype(S.dtype, copy=False)
        squares = with_values(S, _square_moduli(S.data)).T @ w
        if self.row is not None:
            c, weight = self.row, float(np.sum(w))
            squares = squares - 2 * np.real(np.conj(c) * total) + weight * np.abs(c) ** 2
            np.maximum(squares, 0.0, out=squares)
            total = total - weight * c
        return total, squares

    def row_squares(self) -> Real:
        """Sum of the squared moduli of each row, ``(p,)``, in double precision."""
        X = self.astype("complex128" if self.dtype.kind == "c" else "float64")
        S = X.stored
        squares = with_values(S, _square_moduli(S.data)) @ np.ones(S.shape[1])
        if X.column is not None and X.row is not None:
            inner = S @ np.conj(X.row)
            squares = squares - 2 * np.real(np.conj(X.column) * inner)
            squares = squares + np.abs(X.column) ** 2 * float(np.sum(np.abs(X.row) ** 2))
            np.maximum(squares, 0.0, out=squares)
        return np.asarray(squares, dtype=np.float64)

    def scale_columns(self, factors: Real) -> SparseRows:
        """``X diag(factors)``, in the wider of both types."""
        values = self.stored.data * factors[self.stored.indices]
        row = None if self.row is None else self.row * factors
        return SparseRows(with_values(self.stored, values), self.column, row)

    def dense(self) -> Matrix:
        """The block with all its entries."""
        X = self.stored.toarray()
        if self.column is not None and self.row is not None:
            X -= self.column[:, None] * self.row[None, :]
        return np.asarray(X)


def with_values(rows: Any, values: Array) -> Any:
    """Compressed rows with other values in the same places; the indices are shared."""
    out = type(rows)((values, rows.indices, rows.indptr), shape=rows.shape)
    out.has_sorted_indices = out.has_canonical_format = True
    return out


def _square_moduli(values: Array) -> Real:
    return np.asarray(np.real(values * np.conj(values)), dtype=np.float64)


def _add_adjoint_product(total: Array, strip: Any, Y: Array) -> None:
    """``total + strip* Y``; where few columns have entries, these alone."""
    if strip.nnz == 0:
        return
    if strip.dtype.kind == "c":
        strip = strip.conj()
    n = strip.shape[1]
    if 2 * strip.nnz > n:
        total += strip.T @ Y
        return
    there = np.unique(strip.indices)
    narrow = type(strip)(
        (strip.data, np.searchsorted(there, strip.indices).astype(np.int32), strip.indptr),
        shape=(strip.shape[0], there.size),
    )
    total[there] += narrow.T @ Y


def center_rows(block: SparseRows, means: Array) -> SparseRows:
    """Rows less their means."""
    return replace(block, column=means, row=np.ones(block.shape[1], dtype=means.dtype))

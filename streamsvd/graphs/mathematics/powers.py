"""One step along the edges of a graph, ``D^-1 A X`` or ``A X``, a run of its rows at a time.

A row of the product depends on that row of the graph and on X alone, and its columns on one another not at all: entries are
added in the order of the nodes that they lead to, so that rows and columns may be cut anywhere without changing a bit. Sums of
long rows are made in parts of `PART` entries, which are added in double precision: hubs lose no more digits than others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.typing import Matrix, Real

PART = 1 << 10
"""Entries that are added in the precision of X before they are added in float64."""
ROWS_AT_ONCE = 1 << 14


def multiply_rows(rows: Any, X: Matrix, divisors: Real | None) -> Matrix:
    """Rows of a graph times ``X``, in the type of X.

    Parameters
    ----------
    rows
        ``(p, n)``, a ``csr_array`` with ascending indices.
    X
        ``(n, w)``.
    divisors
        What each row is divided by, ``(p,)``, where it is not 0; None for nothing. It is divided before it is rounded: shares
        of a row are at most 1, however large its weights are.
    """
    counts = np.diff(rows.indptr)
    values = rows.data
    if divisors is not None:
        safe = np.where(divisors > 0, divisors, 1.0)
        values = values / np.repeat(safe, counts)
    values = values.astype(X.dtype, copy=False)
    offsets, starts = _cut_rows(rows.indptr, counts)
    parts = sparse.csr_array((values, rows.indices, offsets), shape=(offsets.size - 1, X.shape[0]))
    Y = parts @ X
    if starts is None:
        return np.asarray(Y)
    ones = np.ones(Y.shape[0])
    sums = sparse.csr_array((ones, np.arange(ones.size), starts), shape=(counts.size, ones.size))
    return np.asarray((sums @ Y.astype(np.float64)).astype(X.dtype))


def _cut_rows(
    offsets: npt.NDArray[Any], counts: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Where parts of rows begin, and the first part of each row; None where every row is one."""
    if counts.max(initial=0) <= PART:
        return offsets, None
    parts = np.maximum(1, -(-counts.astype(np.int64) // PART))
    starts = np.concatenate([[0], np.cumsum(parts)])
    within = np.arange(starts[-1]) - np.repeat(starts[:-1], parts)
    cuts = np.repeat(offsets[:-1].astype(np.int64), parts) + within * PART
    return np.append(cuts, offsets[-1]).astype(offsets.dtype), starts


def row_maxima(X: Matrix) -> Matrix:
    """The largest modulus of each row, ``(n,)``."""
    found = np.empty(X.shape[0], X.dtype)
    for a in range(0, X.shape[0], ROWS_AT_ONCE):
        part = slice(a, a + ROWS_AT_ONCE)
        found[part] = np.abs(X[part]).max(axis=1, initial=0)
    return found


def first_lost_row(rows: Any, degrees: Real, largest: Matrix, Y: Matrix) -> int | None:
    """The first row of ``Y``, rows of a graph times X, that is too small for its type although it is not 0; None if there is none.

    Parameters
    ----------
    rows
        ``(p, n)``, a ``csr_array`` of weights of 0 or more.
    degrees
        Sums of these rows, ``(p,)``.
    largest
        Of the moduli of each row of X, ``(n,)``.
    Y
        ``(p, w)``.

    Notes
    -----
    No entry of a row is above its degree times the largest modulus of the rows of X that it leads to. Where that is not 0 and below
    the smallest normal number, the row is lost. A row that is 0 because X is where it leads, or because terms cancel, is not.
    """
    tiny = float(np.finfo(Y.dtype).tiny)
    small = np.flatnonzero((degrees > 0) & (np.abs(Y).max(axis=1, initial=0) < tiny))
    if not small.size:
        return None
    found = rows[small]
    reached = largest[found.indices]
    reached[found.data == 0] = 0
    # rows with a degree have entries, and `reduceat` none that is empty
    most = np.maximum.reduceat(reached, found.indptr[:-1]).astype(np.float64)
    lost = (most > 0) & ((degrees[small] < tiny) | (most < tiny / degrees[small]))
    return int(small[np.argmax(lost)]) if lost.any() else None


def square_norms(X: Matrix, sums: Real) -> None:
    """Add the squares of each row's entries to ``sums``, column by column, so that columns may come in several parts."""
    for a in range(0, X.shape[0], ROWS_AT_ONCE):
        part = sums[a : a + ROWS_AT_ONCE]
        for column in np.ascontiguousarray(X[a : a + ROWS_AT_ONCE].T):
            part += column.astype(np.float64) ** 2


def has_norms(X: Matrix, squares: Real) -> bool:
    """Whether the squares of rows are numbers that norms can be taken of: neither too large nor, of a row that is not 0, too small."""
    tiny = np.finfo(np.float64).tiny
    return bool(np.isfinite(squares).all()) and not X[squares < tiny].any()


def add_weighted(total: Matrix, X: Matrix, weight: float, squares: Real | None) -> None:
    """Add ``weight X`` to the total, its rows divided by their norms where their squares are given; rows of zeros stay so."""
    for a in range(0, X.shape[0], ROWS_AT_ONCE):
        part = slice(a, a + ROWS_AT_ONCE)
        factor: Any = X.dtype.type(weight)
        if squares is not None:
            norms = np.sqrt(squares[part])
            safe = np.where(norms > 0, norms, 1.0)
            factor = (weight / safe).astype(X.dtype)[:, None]
        total[part] += factor * X[part]

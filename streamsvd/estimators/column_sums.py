"""Sums of columns about a row, of rows with and without their zeros; nothing cancels."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from streamsvd.typing import Matrix, Real


def is_sparse_matrix(rows: Any) -> bool:
    """Whether it is a sparse matrix of scipy."""
    return bool(sparse.issparse(rows))


def stored_entries(rows: Any) -> Matrix:
    """The entries that are there: of sparse rows, those that are stored."""
    return np.asarray(rows.data if is_sparse_matrix(rows) else rows)


def sum_about(rows: Any, centre: Real) -> Real:
    """Sum of ``x - centre`` over the rows, ``(n,)``."""
    if not is_sparse_matrix(rows):
        return np.asarray(np.sum(rows - centre, axis=0))
    stored, counts = _differences(rows, centre)
    absent = rows.shape[0] - counts
    return np.asarray(_by_column(rows, stored) - absent * centre)


def squares_about(rows: Any, centre: Real) -> Real:
    """Sum of the squares of ``x - centre`` over the rows, ``(n,)``."""
    if not is_sparse_matrix(rows):
        return np.asarray(np.sum(np.square(rows - centre), axis=0))
    stored, counts = _differences(rows, centre)
    absent = rows.shape[0] - counts
    return np.asarray(_by_column(rows, np.square(stored)) + absent * np.square(centre))


def _differences(rows: Any, centre: Real) -> tuple[Real, Real]:
    """Of what is stored, and how much of it there is in each column."""
    counts = np.bincount(rows.indices, minlength=rows.shape[1]).astype(np.float64)
    return rows.data - centre[rows.indices], counts


def _by_column(rows: Any, values: Real) -> Real:
    return np.asarray(
        np.bincount(rows.indices, weights=values, minlength=rows.shape[1]), np.float64
    )

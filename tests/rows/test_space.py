"""Coordinates in which columns are orthonormal: scores as the dense SVD has them, rank and units of columns."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.triangle import reduce_block
from streamsvd.rows.mathematics import RowSpace, leverage


def dense_scores(A, rank):
    U = np.linalg.svd(A, full_matrices=False)[0][:, :rank]
    return np.sum(U * U, axis=1)


def cases():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((200, 12))
    deficient = A[:, :5] @ rng.standard_normal((5, 12))
    duplicates = np.repeat(A[:20], 10, axis=0)
    zeros = A.copy()
    zeros[::3] = 0
    column = A.copy()
    column[:, 4] = 0
    U, V = (np.linalg.qr(rng.standard_normal((k, 12)))[0] for k in (200, 12))
    return {
        "normal": (A, 12), "deficient": (deficient, 5), "duplicates": (duplicates, 12), "zero rows": (zeros, 12),
        "zero column": (column, 11), "one row": (A[:1], 1), "one column": (A[:, :1], 1), "wide": (A[:7], 7),
        "condition 1e6": (U * np.geomspace(1, 1e-6, 12) @ V.T, 12), "tiny": (A * 1e-139, 12), "huge": (A * 1e139, 12),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(cases()))
def test_scores_are_those_of_the_dense_svd(name):
    A, rank = cases()[name]
    space = RowSpace.of(reduce_block(A))
    assert space.rank == rank
    assert space.full == (rank == A.shape[1])
    largest = np.abs(A).max()
    tau = leverage(space, A)
    np.testing.assert_allclose(tau, dense_scores(A / largest, rank), atol=1e-8)
    np.testing.assert_allclose(tau.sum(), rank, rtol=1e-8)
    np.testing.assert_array_equal(tau[~A.any(axis=1)], 0)
    Z = space(A)
    np.testing.assert_allclose(Z.T @ Z, np.eye(rank), atol=1e-8)
    assert np.linalg.norm(Z.T @ Z - np.eye(rank), 2) <= (1 + space.distortion) ** 2 - 1 + 1e-12


def test_units_of_columns_change_no_bit():
    A = np.random.default_rng(1).standard_normal((100, 6))
    units = 2.0 ** np.array([0, 300, -300, 7, -40, 0])
    one, other = RowSpace.of(reduce_block(A)), RowSpace.of(reduce_block(A * units))
    np.testing.assert_array_equal(leverage(one, A), leverage(other, A * units))


def test_directions_that_rounding_hides_are_left_out():
    rng = np.random.default_rng(2)
    U, V = (np.linalg.qr(rng.standard_normal((k, 6)))[0] for k in (400, 6))
    for least, rank in ((1e-8, 6), (1e-15, 5), (0.0, 5)):
        s = np.array([1, 0.9, 0.8, 0.7, 0.6, least])
        space = RowSpace.of(reduce_block(U * s @ V.T))
        assert space.rank == rank
        assert space.distortion <= 0.25
        np.testing.assert_allclose(1 / space.stretch, s[rank - 1], rtol=1.5)


def test_zeros_have_no_row_space():
    space = RowSpace.of(reduce_block(np.zeros((10, 3))))
    assert space.rank == 0
    np.testing.assert_array_equal(leverage(space, np.zeros((4, 3))), 0)


def test_the_least_norm_is_that_of_the_pseudoinverse():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 7)) * np.geomspace(1, 1e3, 7)
    space = RowSpace.of(reduce_block(A))
    x = rng.standard_normal((7, 2))
    np.testing.assert_allclose(
        space.least_norm(x), np.linalg.pinv(A) @ (A @ x), rtol=1e-8, atol=1e-10
    )

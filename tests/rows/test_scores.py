"""Sensitivities are bounded for every p, the bounds are attained, and their sum is known before reading."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.triangle import reduce_block
from streamsvd.rows.mathematics import RowSpace, leverage, sensitivity, total


def matrices():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 4))
    heavy = A * np.abs(rng.standard_cauchy(300))[:, None]
    return {
        "normal": A,
        "heavy": heavy,
        "lonely": np.vstack([A[:, :3] @ np.eye(3, 4), np.eye(4)[3:]]),
    }


@pytest.mark.parametrize("name", list(matrices()))
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 6.0])
def test_no_vector_exceeds_the_bound(name, p):
    A = matrices()[name]
    m, n = A.shape
    space = RowSpace.of(reduce_block(A))
    bound = sensitivity(leverage(space, A), p, m)
    rng = np.random.default_rng(1)
    X = np.concatenate([space.W @ (space.W.T @ A.T), rng.standard_normal((n, 500))], axis=1)
    for _ in range(
        20
    ):  # towards the worst vector of each row: weighted least squares again and again
        X = X / np.abs(A @ X).max(axis=0)
        values = np.abs(A @ X)
        ratios = values**p / np.sum(values**p, axis=0)
        assert np.all(ratios <= bound[:, None] * (1 + 1e-9))
        w = np.maximum(values[:, :m], 1e-6) ** (p - 2)
        for i in range(0, m, 30):
            X[:, i] = np.linalg.solve(A.T @ (w[:, i : i + 1] * A), A[i])
    assert bound.sum() <= total(p, m, n) * (1 + 1e-9)
    assert bound.max() <= 1


def test_the_bounds_are_attained():
    same = np.full(50, 1 / 50)
    np.testing.assert_allclose(sensitivity(same, 4.0, 50), 1 / 50)  # one column of ones
    np.testing.assert_allclose(sensitivity(np.ones(3), 1.0, 3), 1)  # the identity
    tau = np.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(sensitivity(tau, 2.0, 9), tau)
    np.testing.assert_allclose(sensitivity(tau, 1.0, 9), np.sqrt(tau))


def test_rows_of_tiny_leverage_are_mixed_in():
    tau = np.array([1e-12, 1e-3])
    mixed = sensitivity(tau, 4.0, 100)
    assert mixed[0] == 1e-12
    assert mixed[1] == 1e-3
    assert sensitivity(np.array([0.5]), 4.0, 100)[0] == 1.0
    assert np.isfinite(sensitivity(tau, 500.0, 10**9)).all()

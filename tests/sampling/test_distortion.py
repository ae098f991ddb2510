"""The distortion of a sample is what dense algebra says, and holds for every vector."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from streamsvd.sampling import RowSpace, certified, reduced


@pytest.mark.parametrize("gamma", [0.0, 3.0])
@pytest.mark.parametrize("condition", [1.0, 1e4])
@pytest.mark.parametrize("scale", [1.0, 1e-60])
def test_it_is_exact_and_holds_for_every_vector(gamma, condition, scale):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((500, 8)) * np.geomspace(1, 1 / condition, 8)
    A = A @ np.linalg.qr(rng.standard_normal((8, 8)))[0]
    keep = np.sort(rng.choice(500, 60, replace=False))
    w = rng.uniform(4, 12, 60)
    G, S = A.T @ A + gamma * np.eye(8), (A[keep].T * w) @ A[keep] + gamma * np.eye(8)
    A, ridge = A * scale, gamma * scale**2
    space = RowSpace.of(reduced(np.concatenate([A, np.sqrt(ridge) * np.eye(8)])))
    lower, upper = certified(space, A[keep], w, ridge)
    values = linalg.eigh(S, G, eigvals_only=True)
    np.testing.assert_allclose([1 - lower, 1 + upper], values[[0, -1]], rtol=1e-7)
    assert 1 - lower < values[0] * (1 + 1e-15 * condition**2)
    assert 1 + upper > values[-1] * (1 - 1e-15 * condition**2)
    x = rng.standard_normal((8, 1000))
    ratio = np.einsum("ij,ij->j", x, S @ x) / np.einsum("ij,ij->j", x, G @ x)
    assert np.all((1 - lower <= ratio) & (ratio <= 1 + upper))


def test_all_rows_are_no_distortion_but_rounding():
    A = np.random.default_rng(1).standard_normal((300, 5))
    lower, upper = certified(RowSpace.of(reduced(A)), A, np.ones(300), 0.0)
    assert 0 < lower < 1e-11
    assert 0 < upper < 1e-11


def test_a_direction_that_is_missed_is_told():
    A = np.concatenate(
        [np.random.default_rng(2).standard_normal((50, 3)), np.zeros((50, 1))], axis=1
    )
    A[7, 3] = 5.0
    space = RowSpace.of(reduced(A))
    without = np.delete(np.arange(50), 7)
    assert certified(space, A[without], np.ones(49), 0.0)[0] == pytest.approx(1.0)
    assert certified(space, A[:2], np.ones(2), 0.0)[0] == 1.0
    assert certified(space, A[:0], np.ones(0), 0.0) == (1.0, -1.0)
    assert certified(space, A, np.ones(50), 0.0)[0] < 1e-11


def test_a_rank_that_is_not_full_is_of_the_row_space():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 6))
    space = RowSpace.of(reduced(A))
    keep, w = np.arange(0, 400, 5), np.full(80, 5.0)
    lower, upper = certified(space, A[keep], w, 0.0)
    U = np.linalg.svd(A, full_matrices=False)[0][:, :3]
    values = np.linalg.eigvalsh((U[keep].T * w) @ U[keep])
    np.testing.assert_allclose([1 - lower, 1 + upper], values[[0, -1]], rtol=1e-9)
    assert certified(RowSpace.of(reduced(np.zeros((9, 2)))), np.zeros((0, 2)), np.ones(0), 0.0) == (
        0,
        0,
    )

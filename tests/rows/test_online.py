"""Online samples: the same as one row at a time with an explicit inverse, and final."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.uniforms import uniforms
from streamsvd.rows.mathematics import EPSILON, Online


def one_by_one(A, gamma, c, seed):
    M, u = gamma * np.eye(A.shape[1]), uniforms(seed, np.arange(A.shape[0]), 1)[:, 0]
    ids, chances = [], []
    for i, a in enumerate(A):
        chance = min(1.0, c * (1 + EPSILON) * a @ np.linalg.solve(M, a))
        if a.any() and u[i] <= chance:
            M = M + np.outer(a, a) / chance
            ids.append(i)
            chances.append(chance)
    return np.array(ids), np.array(chances)


def online(A, gamma, c, seed, cut):
    state = Online.start(A.shape[1], gamma, oversampling=c, seed=seed)
    for a in range(0, A.shape[0], cut):
        state = state.push(a, A[a : a + cut])
    return state


@pytest.mark.parametrize("cut", [1, 37, 1000])
@pytest.mark.parametrize("gamma", [1e-4, 1.0])
def test_it_is_what_one_row_at_a_time_gives(cut, gamma):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((1000, 7)) * np.geomspace(1, 0.1, 7)
    A[500:510] *= 50
    A[20:40] = 0
    A[600:700] = A[599]
    ids, chances = one_by_one(A, gamma, 3.0, 4)
    found = online(A, gamma, 3.0, 4, cut).finalize()
    np.testing.assert_array_equal(found.ids, ids)
    np.testing.assert_allclose(found.chances, chances, rtol=1e-8)
    np.testing.assert_array_equal(found.rows, A[ids])
    assert 40 < ids.size < 600


def test_what_is_kept_stays():
    A = np.random.default_rng(1).standard_normal((900, 5))
    state = Online.start(5, 1e-3, oversampling=2.0, seed=0)
    kept = np.zeros(0)
    for a in range(0, 900, 100):
        state = state.push(a, A[a : a + 100])
        ids = state.finalize().ids
        np.testing.assert_array_equal(ids[: kept.size], kept)
        kept = ids
    assert 20 < kept.size < 300
    whole = state.finalize()
    R = np.sqrt(whole.weights)[:, None] * whole.rows
    np.testing.assert_allclose(
        state.R.T @ state.R, R.T @ R + 1e-3 * np.eye(5), rtol=1e-10, atol=1e-9
    )


def test_zeros_are_not_kept():
    assert online(np.zeros((10, 2)), 1.0, 5.0, 0, 4).finalize().ids.size == 0

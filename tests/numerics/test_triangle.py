"""Triangles of tall matrices: the Gram matrix is kept, by a tree of fixed shape, whatever the scale."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.triangle import (
    Tower,
    block_height,
    join_triangles,
    reduce_block,
    tower_bytes,
)


def tower(A, height):
    state = Tower()
    for a in range(0, A.shape[0], height):
        state = state.push(A[a : a + height])
    return state


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 5), (5, 5), (700, 6), (997, 20)])
@pytest.mark.parametrize("height", [1, 7, 300])
@pytest.mark.parametrize("scale", [1e-130, 1.0, 1e130])
def test_the_gram_matrix_is_kept(shape, height, scale):
    A = np.random.default_rng(0).standard_normal(shape)
    R = tower(scale * A, height).top().R / scale
    assert R.shape == (min(shape), shape[1])
    np.testing.assert_array_equal(R, np.triu(R))
    np.testing.assert_allclose(R.T @ R, A.T @ A, atol=1e-13 * np.linalg.norm(A) ** 2)


@pytest.mark.parametrize(
    "kind", [lambda x: x, lambda x: np.abs(x) + 3, lambda x: x / np.abs(x[:, :1]) ** 2]
)
def test_rounding_is_within_what_is_said(kind):
    A = kind(np.random.default_rng(1).standard_normal((6000, 25)))
    top = tower(A, 256).top()
    wide, R = A.astype(np.longdouble), top.R.astype(np.longdouble)
    norms = np.sqrt((wide**2).sum(axis=0))
    off = np.asarray((wide.T @ wide - R.T @ R) / norms / norms[:, None], float)
    assert np.linalg.norm(off) / 2 <= top.rounding * 5  # sqrt(25) columns
    assert np.linalg.norm(off) > 0
    assert top.rounding < 1e-12


def test_no_digit_is_lost_to_squaring():
    """``A* A`` of a condition number of 1e10 has lost its least singular value; R has not."""
    rng = np.random.default_rng(2)
    U, V = (np.linalg.qr(rng.standard_normal((k, 8)))[0] for k in (900, 8))
    s = np.geomspace(1, 1e-10, 8)
    R = tower(U * s @ V.T, 100).top().R
    np.testing.assert_allclose(np.linalg.svd(R, compute_uv=False), s, rtol=1e-4)


def test_the_tree_is_a_binary_counter():
    A = np.random.default_rng(3).standard_normal((40, 3))
    state = Tower()
    for k in range(1, 12):
        state = state.push(A[:4])
        assert [level is not None for level in state.levels] == [
            bool(k >> j & 1) for j in range(k.bit_length())
        ]
    three = join_triangles(
        join_triangles(reduce_block(A[:10]), reduce_block(A[10:20])), reduce_block(A[20:])
    )
    np.testing.assert_array_equal(three.R, Tower().push(A[:10]).push(A[10:20]).push(A[20:]).top().R)
    assert three.depth == 3


def test_a_tower_leaves_its_input_and_earlier_states_alone():
    A = np.random.default_rng(4).standard_normal((30, 4))
    A.flags.writeable = False
    one = Tower().push(A)
    before = one.levels[0].R.copy()
    one.push(A).push(A)
    np.testing.assert_array_equal(one.levels[0].R, before)


def test_the_memory_holds_all_triangles_that_can_wait():
    for m in (10, 10_000, 10_000_000):
        n, height = 50, block_height(50)
        assert tower_bytes(n, height, m) >= 8 * n * n * int(np.ceil(m / height)).bit_length()

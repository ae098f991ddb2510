from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.numerics import krylov
from streamsvd.numerics.ritz import Ritz, residual, spectral_norm


def operator(seed, n=24, complex_=False, rank=None):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n + 5, n)) * 0.7 ** np.arange(n)
    if complex_:
        A = A + 1j * rng.standard_normal(A.shape) * 0.7 ** np.arange(n)
    if rank is not None:
        U, s, Vh = np.linalg.svd(A, full_matrices=False)
        A = (U * np.where(np.arange(n) < rank, s, 0)) @ Vh
    B = A.conj().T @ A
    return B, np.linalg.eigvalsh(B)[::-1], rng


def thin(rng, n, k, complex_):
    X = rng.standard_normal((n, k))
    return krylov.orthonormal_basis(X + 1j * rng.standard_normal((n, k)) if complex_ else X)


@given(st.integers(0, 999), st.integers(1, 24), st.booleans(), st.booleans())
def test_a_space_holds_an_orthonormal_basis_and_its_product(seed, k, complex_, rounded):
    """Also of the block as rounded to float32: the product follows what was really multiplied."""
    B, _, rng = operator(seed, complex_=complex_)
    X = thin(rng, 24, k, complex_)
    if rounded:
        X = X.astype(np.complex64 if complex_ else np.float32).astype(X.dtype)
    known = krylov.space_of_block(X, B @ X)
    assert known.size == k
    np.testing.assert_allclose(known.K.conj().T @ known.K, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(B @ known.K, known.W, atol=1e-12 * spectral_norm(B))


def test_directions_that_a_block_does_not_span_are_left_out():
    B, _, rng = operator(1)
    X = thin(rng, 24, 6, False)
    X[:, 4] = X[:, 1]
    X[:, 5] = 0
    known = krylov.space_of_block(X, B @ X)
    assert known.size == 4
    np.testing.assert_allclose(B @ known.K, known.W, atol=1e-12 * spectral_norm(B))
    np.testing.assert_allclose(known.K @ (known.K.T @ X), X, atol=1e-13)


def test_a_block_of_zeros_spans_nothing():
    assert krylov.space_of_block(np.zeros((8, 3)), np.zeros((8, 3))).size == 0


@given(st.integers(0, 999), st.booleans())
def test_growing_keeps_the_product_exact_and_raises_every_ritz_value(seed, complex_):
    B, truth, rng = operator(seed, complex_=complex_)
    X = thin(rng, 24, 5, complex_)
    ritz = krylov.ritz_of_space(krylov.space_of_block(X, B @ X))
    previous = None
    while True:
        V, product = ritz.V, ritz.V * ritz.theta + ritz.R
        np.testing.assert_allclose(B @ V, product, atol=1e-11 * truth[0])
        np.testing.assert_allclose(V.conj().T @ V, np.eye(ritz.theta.size), atol=1e-12)
        np.testing.assert_allclose(V.conj().T @ ritz.R, 0, atol=1e-13 * truth[0])
        assert (np.diff(ritz.theta) <= 1e-13 * truth[0]).all()
        if previous is not None:
            assert (ritz.theta[: previous.size] >= previous - 1e-12 * truth[0]).all()  # Cauchy
        assert (ritz.theta <= truth[: ritz.theta.size] + 1e-12 * truth[0]).all()
        previous = ritz.theta
        block = krylov.next_block(ritz, 5, 0.0, 24)
        if block.shape[1] == 0:
            break
        ritz = krylov.expand_ritz(ritz, block, B @ block)
    assert ritz.theta.size == 24
    np.testing.assert_allclose(previous, truth, atol=1e-12 * truth[0])


@given(st.integers(0, 999), st.integers(1, 12), st.booleans())
def test_a_restart_keeps_the_leading_pairs_and_their_residuals(seed, keep, complex_):
    B, truth, rng = operator(seed, complex_=complex_)
    X = thin(rng, 24, 12, complex_)
    ritz = krylov.ritz_of_space(krylov.space_of_block(X, B @ X))
    kept, coordinates = krylov.thick_restart(ritz, keep)
    np.testing.assert_array_equal(coordinates, np.eye(12, keep))
    assert kept.theta.size == keep
    np.testing.assert_array_equal(kept.theta, ritz.theta[:keep])
    np.testing.assert_allclose(B @ kept.V, kept.V * kept.theta + kept.R, atol=1e-12 * truth[0])


@given(st.integers(0, 999), st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_the_next_block_is_orthonormal_beside_the_basis_and_never_too_wide(
    seed, width, limit, complex_
):
    B, truth, rng = operator(seed, complex_=complex_)
    X = thin(rng, 24, 7, complex_)
    ritz = krylov.ritz_of_space(krylov.space_of_block(X, B @ X))
    block = krylov.next_block(ritz, width, 0.0, min(24, limit))
    k = block.shape[1]
    assert k <= max(0, min(width, min(24, limit) - 7, 7))
    np.testing.assert_allclose(block.conj().T @ block, np.eye(k), atol=1e-13)
    np.testing.assert_allclose(ritz.V.conj().T @ block, 0, atol=1e-13)
    if k == 7:
        np.testing.assert_allclose(block @ (block.conj().T @ ritz.R), ritz.R, atol=1e-12 * truth[0])


def test_residuals_below_the_noise_give_no_direction():
    B, truth, rng = operator(2, rank=6)
    X = B @ thin(rng, 24, 8, False)
    ritz = krylov.ritz_of_space(
        krylov.space_of_block(krylov.orthonormal_basis(X), B @ krylov.orthonormal_basis(X))
    )
    assert krylov.next_block(ritz, 8, 1e-12 * truth[0], 24).shape == (24, 0)


@given(st.integers(0, 999), st.integers(1, 12), st.integers(0, 8), st.booleans())
def test_random_columns_take_the_places_of_residuals_that_are_rounding(seed, width, rank, complex_):
    B, truth, rng = operator(seed, rank=max(rank, 1))
    X = thin(rng, 24, 10, False)
    ritz = krylov.ritz_of_space(krylov.space_of_block(X, B @ X))
    fill = thin(rng, 24, 24, complex_)
    block = krylov.next_block(ritz, width, 1e-10 * truth[0], 24, fill)
    assert block.shape[1] == min(width, 14)
    np.testing.assert_allclose(block.conj().T @ block, np.eye(block.shape[1]), atol=1e-12)
    np.testing.assert_allclose(ritz.V.conj().T @ block, 0, atol=1e-12)


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_reflectors_multiply_as_the_basis_they_stand_for(seed, n, L, complex_):
    rng = np.random.default_rng(seed)
    L = min(n, L)
    R = rng.standard_normal((n, L)) + (1j * rng.standard_normal((n, L)) if complex_ else 0)
    known = residual(Ritz(np.zeros(L), np.zeros((n, L)), R, 0.0))
    Q = known.times(np.eye(L))
    np.testing.assert_allclose(Q @ known.F, R, atol=1e-12)
    np.testing.assert_allclose(Q.conj().T @ Q, np.eye(L), atol=1e-12)
    X = rng.standard_normal((L, 3))
    np.testing.assert_allclose(known.times(X), Q @ X, atol=1e-12)


def test_ten_values_converge_at_the_rate_of_krylov():
    """Relative error of the trailing value falls by orders a block; subspace iteration would crawl."""
    s = 1 / np.arange(1, 201.0)
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    B = (Q * s**2) @ Q.T
    ritz = krylov.ritz_of_space(krylov.space_of_block(X := thin(rng, 200, 20, False), B @ X))
    errors = []
    for _ in range(4):
        errors.append(1 - np.sqrt(ritz.theta[9]) / s[9])
        block = krylov.next_block(ritz, 20, 0.0, 200)
        ritz = krylov.expand_ritz(ritz, block, B @ block)
    assert all(b < 0.3 * a for a, b in pairwise(errors))
    assert errors[-1] < 1e-4


@pytest.mark.parametrize("n", [1, 4])
def test_no_columns_are_orthonormal(n):
    assert krylov.orthonormal_basis(np.zeros((n, 0))).shape == (n, 0)

"""Varimax plane by plane, and promax: orthogonal, never falling, blind to signs, the maximum that others find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvd.numerics.rotation import (
    factor_correlation,
    normalise_rows,
    plane_rotation,
    promax_transformation,
    varimax,
    varimax_criterion,
)

TOL = 1e-10


def loadings(seed, n, r, complex_=False, heavy=True):
    """Simple structure that was mixed by a random rotation, or no structure at all."""
    rng = np.random.default_rng(seed)
    L = rng.standard_normal((n, r)) + 1j * complex_ * rng.standard_normal((n, r))
    L = L * np.abs(L) ** 2 if heavy else L
    mix = rng.standard_normal((r, r)) + 1j * complex_ * rng.standard_normal((r, r))
    return (L if complex_ else L.real) @ np.linalg.qr(mix if complex_ else mix.real)[0]


def same_up_to_order(one, other, atol):
    """Whether columns are those of another, in any order and with any phase."""
    size = np.linalg.norm(one, axis=0)[:, None] * np.linalg.norm(other, axis=0)
    cosine = np.abs(one.conj().T @ other) / size
    at = cosine.argmax(axis=1)
    assert sorted(at) == list(range(one.shape[1]))
    np.testing.assert_allclose(cosine[np.arange(at.size), at], 1, atol=atol)
    np.testing.assert_allclose(
        np.linalg.norm(one, axis=0), np.linalg.norm(other, axis=0)[at], rtol=1e-5
    )


cases = given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(2, 40), r=st.integers(1, 5), heavy=st.booleans()
)


@pytest.mark.parametrize("complex_", [False, True])
@settings(deadline=None, max_examples=40)
@cases
def test_the_rotation_is_unitary_and_the_criterion_never_falls(complex_, seed, n, r, heavy):
    L = loadings(seed, n, r, complex_, heavy)
    before = L.copy()
    found = varimax(L, tol=TOL, max_sweeps=200)
    np.testing.assert_array_equal(L, before)
    np.testing.assert_allclose(found.matrix.conj().T @ found.matrix, np.eye(r), atol=1e-12)
    scale = np.abs(found.criteria).max() + np.linalg.norm(L) ** 4 / n
    assert (np.diff(found.criteria) >= -1e-13 * scale).all()
    assert found.criteria[0] == pytest.approx(varimax_criterion(L), abs=1e-12 * scale)
    rotated = L @ found.matrix
    assert found.criteria[-1] == pytest.approx(varimax_criterion(rotated), abs=1e-12 * scale)
    assert found.gain <= TOL
    assert np.sum(np.abs(rotated) ** 2) == pytest.approx(np.sum(np.abs(L) ** 2))
    np.testing.assert_allclose(
        rotated @ rotated.conj().T, L @ L.conj().T, atol=1e-10 * np.linalg.norm(L) ** 2
    )


@pytest.mark.parametrize("complex_", [False, True])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(-4, 4), phase=st.floats(-4, 4))
def test_the_rotation_of_a_plane_is_the_best_of_all(complex_, seed, angle, phase):
    L = loadings(seed, 12, 2, complex_)
    c, sigma, _ = plane_rotation(L[:, 0], L[:, 1])
    assert c**2 + abs(sigma) ** 2 == pytest.approx(1)

    def rotated(c, sigma):
        return L @ np.array([[c, -np.conj(sigma)], [sigma, c]])

    other = np.sin(angle) * (np.exp(1j * phase) if complex_ else 1.0)
    best = varimax_criterion(rotated(c, sigma))
    assert best >= varimax_criterion(rotated(np.cos(angle), other)) * (1 - 1e-12) - 1e-300


@pytest.mark.parametrize("complex_", [False, True])
def test_signs_and_phases_of_the_components_do_not_matter(complex_):
    for seed in range(5):
        L = loadings(seed, 60, 4, complex_)
        rng = np.random.default_rng(seed)
        turn = np.exp(2j * np.pi * rng.random(4)) if complex_ else rng.choice([-1.0, 1.0], 4)
        one, other = (X @ varimax(X, tol=TOL, max_sweeps=200).matrix for X in (L, L * turn))
        same_up_to_order(one, other, 1e-8)


@pytest.mark.parametrize("n", [20, 300])
def test_another_implementation_finds_the_same(n):
    """Scikit-learn's iteration by singular value decompositions, after thousands of steps."""
    pytest.importorskip("sklearn")
    from sklearn.decomposition._factor_analysis import _ortho_rotation

    for seed in range(2):
        L = loadings(seed, n, 4)
        theirs = _ortho_rotation(L, "varimax", tol=1e-14, max_iter=3000).T
        theirs = theirs if theirs.shape == L.shape else theirs.T
        ours = L @ varimax(L, tol=1e-12, max_sweeps=200).matrix
        assert varimax_criterion(ours) >= varimax_criterion(theirs) * (1 - 1e-10)
        same_up_to_order(ours, theirs, 1e-7)


def gradient_iteration(L, steps=20_000):
    """The textbook: polar factors of the gradient, from the identity."""
    R = np.eye(L.shape[1], dtype=L.dtype)
    for _ in range(steps):
        X = L @ R
        G = L.conj().T @ (np.abs(X) ** 2 * X - X * np.mean(np.abs(X) ** 2, axis=0))
        u, _, vh = np.linalg.svd(G)
        step = u @ vh
        if np.abs(step - R).max() < 1e-14:
            break
        R = step
    return L @ R


def test_the_textbook_iteration_finds_the_same_of_complex_loadings():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        simple = np.zeros(
            (40, 3), complex
        )  # each row in one factor: one maximum, far above any other
        at = np.arange(40) % 3
        simple[np.arange(40), at] = rng.standard_normal(40) + 1j * rng.standard_normal(40)
        simple += 0.02 * rng.standard_normal((40, 3))
        small = np.linalg.qr(np.eye(3) + 0.2 * rng.standard_normal((3, 3)))[0]
        L = simple @ small
        ours = L @ varimax(L, tol=1e-13, max_sweeps=100).matrix
        same_up_to_order(ours, gradient_iteration(L), 1e-9)


def test_simple_structure_that_was_mixed_is_found_again():
    rng = np.random.default_rng(0)
    simple = np.zeros((30, 3))
    simple[np.arange(30), np.arange(30) // 10] = rng.uniform(1, 2, 30)
    L = simple @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    same_up_to_order(L @ varimax(L, tol=TOL, max_sweeps=100).matrix, simple, 1e-10)


def test_a_minimum_to_start_from_holds_nothing_up():
    """All entries of one modulus: the gradient is zero, and iterations by it stay where they are."""
    L = np.array([[1.0, 1.0], [1.0, -1.0]] * 3)
    assert varimax_criterion(L) == 0
    np.testing.assert_allclose(np.sort(np.abs(L @ varimax(L, tol=TOL, max_sweeps=9).matrix)), [[0, 2**0.5]] * 6, atol=1e-12)  # fmt: skip


@pytest.mark.parametrize("size", [1e-150, 1.0, 1e150])
def test_sizes_of_loadings_do_not_matter(size):
    L = loadings(3, 20, 3)
    one = varimax(L, tol=TOL, max_sweeps=100)
    other = varimax(L * size, tol=TOL, max_sweeps=100)
    np.testing.assert_allclose(other.matrix, one.matrix, atol=1e-8)


def test_nothing_is_turned_where_nothing_is_to_gain():
    for L in (np.zeros((5, 3)), np.ones((1, 3)), np.ones((6, 1)), np.zeros((0, 2))):
        found = varimax(L, tol=TOL, max_sweeps=20) if L.size else None
        if found is not None:
            assert found.gain <= TOL
            np.testing.assert_allclose(
                found.matrix.T @ found.matrix, np.eye(L.shape[1]), atol=1e-14
            )


def test_the_end_of_the_sweeps_is_told():
    L = loadings(1, 200, 8)
    found = varimax(L, tol=1e-15, max_sweeps=1)
    assert (found.sweeps, found.criteria.size) == (1, 2)
    assert found.gain > 1e-3


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("power", [2, 3.5, 4])
def test_promax_has_factors_of_variance_one_and_smaller_small_entries(complex_, power):
    for seed in range(4):
        L = loadings(seed, 100, 4, complex_)
        X = L @ varimax(L, tol=TOL, max_sweeps=100).matrix
        U = promax_transformation(X, power)
        phi = factor_correlation(U)
        np.testing.assert_allclose(phi @ (U.conj().T @ U), np.eye(4), atol=1e-10)
        np.testing.assert_allclose(np.diagonal(np.linalg.inv(U.conj().T @ U)), 1)
        np.testing.assert_allclose(phi, phi.conj().T)
        assert np.linalg.eigvalsh(phi).min() > 0
        target = X * np.abs(X) ** (power - 1)
        fitted = X @ np.linalg.solve(X.conj().T @ X, X.conj().T @ target)
        same = (X @ U) / np.linalg.norm(X @ U, axis=0)
        np.testing.assert_allclose(same, fitted / np.linalg.norm(fitted, axis=0), atol=1e-9)


def test_promax_of_power_one_is_varimax():
    X = loadings(0, 30, 3)
    np.testing.assert_allclose(promax_transformation(X, 1), np.eye(3), atol=1e-12)


def test_promax_of_dependent_columns_is_refused():
    X = np.ones((10, 2))
    with pytest.raises(ArithmeticError, match="no inverse"):
        promax_transformation(X, 4)


def test_rows_of_norm_one_and_rows_of_zeros():
    L = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])
    np.testing.assert_allclose(normalise_rows(L), [[0.6, 0.8], [0, 0], [0, -1]])

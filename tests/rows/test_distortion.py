"""The distortion of a sample is what dense algebra says, and holds for every vector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import linalg

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.triangle import Triangle, reduce_block
from streamsvd.rows.mathematics import RowSpace, distortion_bounds


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
    space = RowSpace.of(reduce_block(np.concatenate([A, np.sqrt(ridge) * np.eye(8)])))
    lower, upper = distortion_bounds(space, A[keep], w, ridge)
    values = linalg.eigh(S, G, eigvals_only=True)
    np.testing.assert_allclose([1 - lower, 1 + upper], values[[0, -1]], rtol=1e-7)
    assert 1 - lower < values[0] * (1 + 1e-15 * condition**2)
    assert 1 + upper > values[-1] * (1 - 1e-15 * condition**2)
    x = rng.standard_normal((8, 1000))
    ratio = np.einsum("ij,ij->j", x, S @ x) / np.einsum("ij,ij->j", x, G @ x)
    assert np.all((1 - lower <= ratio) & (ratio <= 1 + upper))


def test_it_holds_for_the_matrix_and_not_for_its_rounded_triangle():
    """A triangle wrong by 1e-6 of each column, along the weakest direction, where that does most."""
    rng = np.random.default_rng(5)
    U, V = (np.linalg.qr(rng.standard_normal((k, 6)))[0] for k in (400, 6))
    s = np.geomspace(1, 1e-4, 6)
    A, eta = U * s @ V.T, 1e-6
    sizes = np.linalg.norm(A, axis=0)
    depth = int(eta / (8 * UNIT_ROUNDOFF * np.sqrt(400))) + 1
    for sign in (1, -1):
        wrong = A + sign * eta * np.outer(U[:, -1], sizes * np.sign(V[:, -1]))
        space = RowSpace.of(Triangle(np.linalg.qr(wrong, mode="r"), depth, 400))
        assert eta <= space.rounding <= 1.001 * eta
        keep, w = np.arange(0, 400, 4), np.full(100, 4.0)
        values = linalg.eigh(4 * A[keep].T @ A[keep], A.T @ A, eigvals_only=True)
        lower, upper = distortion_bounds(space, A[keep], w, 0.0)
        assert 1 - lower <= values[0] <= values[-1] <= 1 + upper
        assert 1 + upper < 1.5 * values[-1]
        everything = distortion_bounds(space, A, np.ones(400), 0.0)
        assert everything[0] >= 0
        assert everything[1] >= 0


def test_rounding_of_the_sample_is_counted():
    """One column: what is computed is 1 but for a unit or two of rounding, of either sign."""
    rng = np.random.default_rng(6)
    for _ in range(200):
        A = rng.standard_normal((30, 1))
        exact = replace(RowSpace.of(reduce_block(A)), rounding=0.0)
        lower, upper = distortion_bounds(exact, A, np.ones(30), 0.0)
        assert lower >= 0
        assert upper >= 0


def test_all_rows_are_no_distortion_but_rounding():
    A = np.random.default_rng(1).standard_normal((300, 5))
    lower, upper = distortion_bounds(RowSpace.of(reduce_block(A)), A, np.ones(300), 0.0)
    assert 0 < lower < 1e-11
    assert 0 < upper < 1e-11


def test_a_direction_that_is_missed_is_told():
    A = np.concatenate(
        [np.random.default_rng(2).standard_normal((50, 3)), np.zeros((50, 1))], axis=1
    )
    A[7, 3] = 5.0
    space = RowSpace.of(reduce_block(A))
    without = np.delete(np.arange(50), 7)
    assert distortion_bounds(space, A[without], np.ones(49), 0.0)[0] == pytest.approx(1.0)
    assert distortion_bounds(space, A[:2], np.ones(2), 0.0)[0] == 1.0
    assert distortion_bounds(space, A[:0], np.ones(0), 0.0) == (1.0, -1.0)
    assert distortion_bounds(space, A, np.ones(50), 0.0)[0] < 1e-11


def test_a_rank_that_is_not_full_is_of_the_row_space():
    rng = np.random.default_rng(3)
    A = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 6))
    space = RowSpace.of(reduce_block(A))
    keep, w = np.arange(0, 400, 5), np.full(80, 5.0)
    lower, upper = distortion_bounds(space, A[keep], w, 0.0)
    U = np.linalg.svd(A, full_matrices=False)[0][:, :3]
    values = np.linalg.eigvalsh((U[keep].T * w) @ U[keep])
    np.testing.assert_allclose([1 - lower, 1 + upper], values[[0, -1]], rtol=1e-9)
    assert distortion_bounds(
        RowSpace.of(reduce_block(np.zeros((9, 2)))), np.zeros((0, 2)), np.ones(0), 0.0
    ) == (
        0,
        0,
    )

"""Least squares by the triangle: exact, of least norm where the rank is not full, and the error bounded."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.triangle import Tower, Triangle
from streamsvd.rows.mathematics import solve_triangle


def triangle(A, b):
    state, rows = Tower(), np.concatenate([A, b], axis=1)
    for a in range(0, A.shape[0], 64):
        state = state.push(rows[a : a + 64])
    return state.top()


def truth(A, b):
    """The minimiser to extended precision: corrections of the QR solution, residuals in long double."""
    Q, R = np.linalg.qr(A)
    x = np.linalg.solve(R, Q.T @ b).astype(np.longdouble)
    wide, right = A.astype(np.longdouble), b.astype(np.longdouble)
    for _ in range(30):
        g = np.asarray(wide.T @ (right - wide @ x), float)
        x = x + np.linalg.solve(R, np.linalg.solve(R.T, g))
    return x


@pytest.mark.parametrize("condition", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("residual", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("scale", [1.0, 1e-100])
def test_the_error_is_within_its_bound(condition, residual, scale):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((k, 10)))[0] for k in (500, 10))
    A = U * np.geomspace(1, 1 / condition, 10) @ V.T
    b = A @ rng.standard_normal((10, 2)) + residual * rng.standard_normal((500, 2))
    exact = truth(A, b)
    found = solve_triangle(triangle(A * scale, b), 10)
    error = np.asarray(np.linalg.norm(np.asarray(found.x * scale - exact, float), axis=0))
    assert np.all(error <= found.error * scale)
    norms = np.linalg.norm(b - A @ np.asarray(exact, float), axis=0)
    np.testing.assert_allclose(found.residual, norms, rtol=1e-6, atol=1e-13)
    worst = 1e-11 * (condition * np.linalg.norm(b) + condition**2 * norms.max())
    assert np.all(found.error * scale <= worst)  # it says something


@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_the_bound_covers_the_worst_rounding_that_is_said(residual):
    """A and b changed by 1e-9 of each column, along the residual or the weakest direction."""
    rng = np.random.default_rng(4)
    U, V = (np.linalg.qr(rng.standard_normal((k, 6)))[0] for k in (400, 6))
    A, eta = U * np.geomspace(1, 1e-3, 6) @ V.T, 1e-9
    r = rng.standard_normal(400)
    r -= U @ (U.T @ r)
    b = A @ rng.standard_normal((6, 1)) + residual * (r / np.linalg.norm(r))[:, None]
    exact = np.asarray(truth(A, b), float)
    sizes, depth = np.linalg.norm(A, axis=0), int(eta / (8 * UNIT_ROUNDOFF * np.sqrt(400))) + 1
    worst = 0.0
    for along in (r / np.linalg.norm(r), U[:, -1]):
        wrong = A + eta * np.outer(along, sizes * np.sign(V[:, -1]))
        right = b + eta * np.linalg.norm(b) * U[:, -1:]
        R = np.linalg.qr(np.concatenate([wrong, right], axis=1), mode="r")
        found = solve_triangle(Triangle(R, depth, 400), 6)
        error = np.linalg.norm(found.x - exact)
        assert error <= found.error[0]
        worst = max(worst, error)
    assert found.error[0] <= 30 * worst  # and is not much more


def test_units_of_columns_do_not_matter():
    rng = np.random.default_rng(1)
    A, b, units = (
        rng.standard_normal((200, 4)),
        rng.standard_normal((200, 1)),
        2.0 ** np.array([0, 99, -99, 3]),
    )
    np.testing.assert_array_equal(
        solve_triangle(triangle(A * units, b), 4).x * units[:, None],
        solve_triangle(triangle(A, b), 4).x,
    )


@pytest.mark.parametrize("shape", [(200, 9), (6, 9), (1, 9), (9, 9)])
def test_the_least_norm_where_the_rank_is_not_full(shape):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((shape[0], 4)) @ rng.standard_normal((4, 9))
    b = rng.standard_normal((shape[0], 3))
    found = solve_triangle(triangle(A, b), 9)
    x = np.linalg.lstsq(A, b, rcond=1e-10)[0]
    np.testing.assert_allclose(found.x, x, atol=1e-10)
    np.testing.assert_allclose(found.residual, np.linalg.norm(A @ x - b, axis=0), atol=1e-12)
    assert found.space.rank == min(4, shape[0])
    assert np.all(np.isinf(found.error))


def test_of_zeros_it_is_zero():
    found = solve_triangle(triangle(np.zeros((70, 3)), np.ones((70, 1))), 3)
    np.testing.assert_array_equal(found.x, 0)
    np.testing.assert_allclose(found.residual, np.sqrt(70))

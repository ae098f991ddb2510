"""The iteration from a sketch: few passes whatever the condition, the error of a stable method, and it stops in time."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.triangle import reduce_block
from streamsvd.rows.mathematics import (
    MOST_ITERATIONS,
    DescentSums,
    LeastSquaresDescent,
    SparseSignSketch,
    least_singular,
    solve_triangle,
)


def problem(seed, residual, *, m=6000, n=60, condition=1e8):
    rng = np.random.default_rng(seed)
    U, V = (
        np.linalg.qr(rng.standard_normal((m, n)))[0],
        np.linalg.qr(rng.standard_normal((n, n)))[0],
    )
    A = U * np.geomspace(1, 1 / condition, n) @ V.T
    x = rng.standard_normal(n)
    x /= np.linalg.norm(x)
    r = rng.standard_normal(m)
    for _ in range(3):
        r -= U @ (U.T @ r)
    return A, A @ x + residual * r / np.linalg.norm(r), x


def begun(A, b, seed=0):
    n = A.shape[1]
    sketch = SparseSignSketch.zero(n, n + b.shape[1], seed=seed).update(
        0, np.concatenate([A, b], axis=1)
    )
    return solve_triangle(sketch.triangle(), n)


def run(A, b, start, *, ridge=0.0, tol=0.0, most=MOST_ITERATIONS):
    state, seen = LeastSquaresDescent.start(start.x), []
    while not state.is_over and state.passes < most:
        sums = DescentSums.zero(*state.X.shape)
        for a in range(0, A.shape[0], 1000):
            sums = sums.update(state, A[a : a + 1000], b[a : a + 1000])
        state = state.advance(
            start.space, sums.with_ridge(state, ridge), np.linalg.norm(b, axis=0), tol
        )
        seen.append(state.gradient.copy())
    return state, np.array(seen)


@pytest.mark.parametrize(("residual", "worse"), [(1e-8, 10), (1e-2, 300)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_condition_1e8_is_solved_as_by_householder(residual, worse, seed):
    """Acceptance 22: at most 30 passes, error at most 10 and 300 times that of QR."""
    A, b, x = problem(seed, residual)
    start = begun(A, b[:, None], seed)
    state, seen = run(A, b[:, None], start)
    Q, R = np.linalg.qr(A)
    householder = np.linalg.norm(np.linalg.solve(R, Q.T @ b) - x)
    error = np.linalg.norm(state.best[:, 0] - x)
    assert state.is_over
    assert state.passes <= 30
    assert error <= worse * householder
    assert np.linalg.norm(start.x[:, 0] - x) > 1e4 * error  # the start alone is no answer
    assert np.all(np.diff(seen[:, 0]) <= 0)
    estimate = state.error(start.space, least_singular(60, 480), np.array([np.linalg.norm(b)]))[0]
    assert error <= estimate <= 1e5 * error
    np.testing.assert_allclose(state.residual[0], residual, rtol=1e-6)


def test_the_gradient_said_is_the_gradient_there_is():
    A, b, _ = problem(0, 1.0, m=2000, n=20, condition=1e3)
    start = begun(A, b[:, None])
    for most in (1, 2, 5):
        state, _ = run(A, b[:, None], start, most=most)
        g = start.space.W.T @ (A.T @ (b[:, None] - A @ state.best))
        np.testing.assert_allclose(np.linalg.norm(g), state.gradient[0], rtol=1e-6)


def test_errors_fall_by_a_third_a_pass():
    A, b, _ = problem(1, 1.0, m=4000, n=40, condition=1e5)
    seen = run(A, b[:, None], begun(A, b[:, None]))[1][:, 0]
    rates = seen[2:10] / seen[1:9]
    assert np.exp(np.mean(np.log(rates))) < 0.45


def test_right_hand_sides_stop_each_at_its_own_time():
    A, b, x = problem(2, 1e-3, m=3000, n=30, condition=1e4)
    b = np.stack([b, np.zeros(3000), A @ x, 1e6 * b], axis=1)
    start = begun(A, b)
    state, _ = run(A, b, start)
    assert state.is_over
    np.testing.assert_array_equal(state.best[:, 1], 0)
    alone, _ = run(A, b[:, :1], begun(A, b[:, :1]))
    np.testing.assert_allclose(state.best[:, 0], alone.best[:, 0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(state.best[:, 3] / 1e6, state.best[:, 0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(state.best[:, 2], x, atol=1e-9)


def test_a_goal_ends_it_early():
    A, b, _ = problem(3, 1.0, m=2000, n=20, condition=1e2)
    start = begun(A, b[:, None])
    early, seen = run(A, b[:, None], start, tol=1e-5)
    late, _ = run(A, b[:, None], start)
    goal = 1e-5 * np.linalg.norm(b)
    assert early.gradient[0] <= goal < seen[-2, 0]
    assert early.passes < late.passes


def test_rounding_ends_it_where_nothing_is_ill_conditioned():
    rng = np.random.default_rng(5)
    A, b = rng.standard_normal((3000, 150)), rng.standard_normal((3000, 1))
    start = begun(A, b)
    state, _ = run(A, b, start)
    assert state.is_over
    assert state.passes <= 36
    x = np.linalg.lstsq(A, b, rcond=None)[0]
    assert np.linalg.norm(state.best - x) <= 20 * 2.0**-53 * np.linalg.norm(b) / 30


def test_a_ridge_is_minimised_too():
    rng = np.random.default_rng(4)
    A, b = rng.standard_normal((900, 8)), rng.standard_normal((900, 2))
    rows = np.concatenate([np.sqrt(30.0) * np.eye(8), np.zeros((8, 2))], axis=1)
    sketch = (
        SparseSignSketch.zero(8, 10, seed=0).update(0, np.concatenate([A, b], axis=1)).triangle()
    )
    start = solve_triangle(reduce_block(np.concatenate([sketch.R, rows])), 8)
    state, _ = run(A, b, start, ridge=30.0)
    x = np.linalg.solve(A.T @ A + 30 * np.eye(8), A.T @ b)
    np.testing.assert_allclose(state.best, x, rtol=1e-11, atol=1e-13)
    whole = np.linalg.norm(np.concatenate([A @ x - b, np.sqrt(30) * x]), axis=0)
    np.testing.assert_allclose(state.residual, whole, rtol=1e-12)

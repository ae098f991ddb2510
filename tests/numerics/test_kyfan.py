"""The sum of the largest eigenvalues is below its bounds, whatever the basis and the rounding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from streamsvd.factor.assessment import PastBounds
from streamsvd.factor.iteration import compress_space
from streamsvd.numerics import krylov
from streamsvd.numerics.bracket import bracket_eigenvalues
from streamsvd.numerics.kyfan import largest_sum, sum_by_slope
from streamsvd.numerics.ritz import residual, spectral_norm
from streamsvd.numerics.sides import sides
from tests.numerics.test_certificate import beside, compressions, graded_bound


def around(problem, grade, excess):
    """The sides of a problem with its true tail and rounding, or more, and the trace outside."""
    known, ritz, N = problem
    P = beside(known, ritz)
    outside = P.conj().T @ known.B @ P
    g, mu = graded_bound(ritz, N, grade)
    beta = excess * spectral_norm(outside)
    trace = excess * float(np.trace(outside).real)
    return known, ritz, mu * g, beta, trace


@given(compressions(), st.sampled_from([1.0, 1e-2]), st.sampled_from([1.0, 1.5]), st.data())
@settings(max_examples=200, deadline=None)
def test_both_theorems_hold(problem, grade, excess, data):
    known, ritz, noise, beta, trace = around(problem, grade, excess)
    n = known.A.shape[1]
    k = data.draw(st.integers(1, n))
    found = bracket_eigenvalues(ritz, beta=beta, noise=noise, count=n)
    truth = float(np.sum(known.s[:k] ** 2))
    slack = 1e-12 * max(known.s[0] ** 2, 1e-300) * n
    assert largest_sum(found.sides, k, upper=found.upper, trace=trace) >= truth - slack
    assert sum_by_slope(found.sides, k, found.sides.beta, 0.0) >= truth - slack


@given(compressions(), st.sampled_from([1.0, 1e-2]))
@settings(max_examples=100, deadline=None)
def test_what_lies_outside_some_of_the_directions_is_below_its_norm(problem, grade):
    known, ritz, noise, beta, _ = around(problem, grade, 1.0)
    factored = residual(ritz)
    both = sides(ritz, factored.F, beta=beta, noise=noise)
    Q_R = factored.times(np.eye(both.F.shape[0]))
    basis = np.concatenate([ritz.V, Q_R], axis=1)
    if spectral_norm(basis.conj().T @ basis - np.eye(basis.shape[1])) > 1e-10:
        return  # residuals that are rounding have no directions of their own
    count = int(known.rng.integers(0, basis.shape[1] + 1))
    left = linalg.qr(known.rng.standard_normal((basis.shape[1], max(count, 1))), mode="economic")[0]
    left = left[:, :count].astype(ritz.V.dtype)
    W = basis @ left
    Q = np.eye(known.A.shape[1]) - W @ W.conj().T
    truth = spectral_norm(Q @ known.B @ Q)
    assert both.norm_without(left) >= truth * (1 - 1e-12) - 1e-12 * known.s[0] ** 2


@given(compressions(), st.data())
@settings(max_examples=150, deadline=None)
def test_the_reach_is_above_the_norm_of_what_the_complement_of_some_vectors_sees(problem, data):
    known, ritz, noise, beta, _ = around(problem, 1.0, 1.0)
    L = ritz.theta.size
    count = data.draw(st.integers(1, L))
    inside = linalg.qr(known.rng.standard_normal((L, count)), mode="economic")[0]
    inside = inside.astype(ritz.V.dtype)
    X = ritz.V @ inside
    P = np.eye(known.A.shape[1]) - X @ X.conj().T
    both = sides(ritz, residual(ritz).F, beta=beta, noise=noise)
    truth = spectral_norm(P @ known.B)
    assert both.reach(inside) >= truth * (1 - 1e-10) - 1e-10 * max(known.s[0] ** 2, 1e-300)


@given(compressions(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_restart_keeps_what_is_pinned_and_inherits_a_bound(problem, data):
    known, ritz, noise, beta, _ = around(problem, 1.0, 1.0)
    L = ritz.theta.size
    pinned = (
        ritz.V
        @ linalg.qr(known.rng.standard_normal((L, data.draw(st.integers(1, L)))), mode="economic")[
            0
        ]
    )
    keep = data.draw(st.integers(1, L))
    both = sides(ritz, residual(ritz).F, beta=beta, noise=noise)
    short, past = compress_space(ritz, keep, pinned, PastBounds(beta=beta, sides=both))
    scale = max(known.s[0] ** 2, 1e-300)
    V, size = short.V, short.theta.size
    assert size <= keep + pinned.shape[1]
    assert np.allclose(V.conj().T @ V, np.eye(size), atol=1e-12)
    assert np.allclose(V @ (V.conj().T @ pinned), pinned, atol=1e-10)
    assert (np.diff(short.theta) <= 1e-10 * scale).all()
    product = V * short.theta + short.R
    whole = (ritz.V * ritz.theta + ritz.R) @ (ritz.V.conj().T @ V)
    assert np.allclose(product, whole, atol=1e-10 * scale)
    assert np.allclose(V.conj().T @ short.R, 0, atol=1e-10 * scale)
    P = np.eye(known.A.shape[1]) - V @ V.conj().T
    assert past.beta >= spectral_norm(P @ known.B @ P) * (1 - 1e-10) - 1e-10 * scale
    assert krylov.thick_restart(ritz, L)[0].theta.size == L

"""Bounds of the tail from probes: polynomials of the stored powers, and the largest eigenvalues together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvd.numerics.krylov import orthonormal_basis
from streamsvd.numerics.probes import Probes
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.tail import (
    MOST_DEGREE,
    SCALES,
    TailMoment,
    _coefficients,
    _inverse,
    frobenius_bound,
    polynomial_share,
    polynomial_tail,
    power_share,
    statement_count,
    tail_norm,
)
from tests.numerics.test_certificate import Case, case, gaussian


def value(degree: int, b: float, x):
    """``f(x)`` of the module."""
    return sum(a * (x / b) ** (j + 1) for j, a in enumerate(_coefficients(degree)))


@pytest.mark.parametrize("degree", range(1, MOST_DEGREE + 1))
def test_the_polynomial_is_small_up_to_b_and_convex_beyond_its_last_minimum(degree):
    inside, beyond = np.linspace(0, 1, 2001), np.linspace(1, 3, 501)
    slack = 1e-9
    assert value(degree, 1.0, 0.0) == 0
    assert value(degree, 1.0, 1.0) == pytest.approx(1.0, abs=slack)
    assert np.abs(value(degree, 1.0, inside)).max() <= 1 + slack
    whole = np.concatenate([inside, beyond[1:]])
    f = value(degree, 1.0, whole)
    last = int(np.flatnonzero(f <= f.min() + 1e-4).max()) if degree > 1 else 0
    steps = np.diff(f[last:]) / np.diff(whole[last:])
    assert (np.diff(steps) >= -1e-6 * np.abs(steps).max()).all()


@given(st.integers(1, MOST_DEGREE), st.floats(1.0, 1e6), st.floats(1e-6, 1e6))
def test_the_inverse_is_that_of_the_polynomial_beyond_b(degree, y, b):
    x = _inverse(y, b, degree)
    assert x >= b * (1 - 1e-12)
    assert value(degree, b, x) == pytest.approx(y, rel=1e-6)


def probed(known: Case, width: int, power: int, pinned: int):
    """Eigenvectors as V, the leading ``pinned`` of them deflating the probes, and the exact powers."""
    n = known.A.shape[1]
    L = int(known.rng.integers(0, n))
    V = known.Vh.conj().T[:, known.rng.permutation(n)[:L]]
    Omega = gaussian(known.rng, (n, width), known.complex_)
    probes = Probes(Omega, known.B @ Omega, 0.0, 1.0, 2 if known.complex_ else 1)
    probes = probes.pin_basis(V[:, :pinned], delta=1e-3)
    for _ in range(power - 1):
        block = probes.deflated_block()
        probes = probes.extend(block, known.B @ block, delta=1e-3)
    return V, probes


@pytest.mark.parametrize("power", [1, 2, 4])
def test_the_polynomial_bound_fails_no_more_often_than_promised(power):
    """One scale, so one statement: at delta 5 % three standard deviations above that is a wrong theorem."""
    delta, trials = 0.05, 800

    def fails(seed: int) -> bool:
        known = case(seed + 20_000 * power, largest=16)
        V, probes = probed(known, 3, power, 2)
        P = np.eye(V.shape[0]) - V @ V.conj().T
        truth = spectral_norm(P @ known.B @ P)
        b = max(truth * float(known.rng.uniform(0.2, 1.2)), 1e-300)
        found = polynomial_tail(V, probes, delta=delta, edges=(b, b), rank=3)
        return truth > found.norm * (1 + 1e-9) + 1e-12 * known.s[0] ** 2

    rate = sum(fails(seed) for seed in range(trials)) / trials
    assert rate <= delta + 3 * np.sqrt(delta / trials)


@pytest.mark.parametrize("power", [1, 3])
def test_the_moment_is_above_the_truth_as_often_as_promised(power):
    delta, trials, k = 0.05, 600, 3

    def fails(seed: int) -> bool:
        known = case(seed + 50_000 * power, largest=16)
        V, probes = probed(known, 4, power, 2)
        P = np.eye(V.shape[0]) - V @ V.conj().T
        values = np.linalg.eigvalsh(P @ known.B @ P)[::-1]
        b = values[0] * float(known.rng.uniform(0.2, 1.2))
        if b <= 1e-12 * known.s[0] ** 2:
            return False  # nothing is outside
        (moment, *_) = polynomial_tail(V, probes, delta=delta, edges=(b, b), rank=k).moments
        truth = float(np.sum(value(power, b, values[:k][values[:k] > b]) ** 2))
        return truth > moment.t * (1 + 1e-9) + 1e-12

    rate = sum(fails(seed) for seed in range(trials)) / trials
    assert rate <= 2 * delta + 3 * np.sqrt(2 * delta / trials)


def test_the_frobenius_norm_is_bounded_as_often_as_promised():
    delta, trials = 0.05, 2000
    rng = np.random.default_rng(4)
    fails = 0
    for _ in range(trials):
        sizes = rng.random(int(rng.integers(1, 30))) ** int(rng.integers(1, 8))
        seen = sizes[:, None] * rng.standard_normal((sizes.size, 5))
        bound = frobenius_bound(float(np.sum(seen**2)), float(np.max(sizes) ** 2), 5, delta)
        fails += float(np.sum(sizes**2)) > bound
    assert fails / trials <= delta + 3 * np.sqrt(delta / trials)


@given(st.integers(0, 10**6), st.integers(1, 6), st.floats(0.05, 5.0))
@settings(max_examples=200, deadline=None)
def test_the_tangent_is_above_the_trace_of_every_projection(seed, degree, x):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 12)), int(rng.integers(1, 4))
    values = np.sort(rng.random(n) ** int(rng.integers(1, 6)))[::-1]
    inside = int(rng.integers(0, n))  # coordinates of V, where C is zero
    C = np.diag(np.where(np.arange(n) < inside, 0.0, values))
    P = np.diag((np.arange(n) >= inside).astype(float))
    b = float(rng.uniform(0.1, 1.2) * values[min(inside, n - 1)]) + 1e-12
    largest = values[inside:][: min(k, n)]
    t = float(np.sum(value(degree, b, largest[largest > b]) ** 2))
    slope, constant = TailMoment(t, b, degree).tangent(x)
    for _ in range(20):
        Z = orthonormal_basis(rng.standard_normal((n, min(k, n))))
        if rng.random() < 0.5:  # the worst are near the eigenvectors
            order = inside + rng.permutation(n - inside)[:k]
            Z = orthonormal_basis(np.eye(n)[:, order] + rng.random() * 0.3 * Z[:, : order.size])
        got = float(np.trace(Z.T @ C @ Z))
        assert got <= slope * float(np.trace(Z.T @ P @ Z)) + constant + 1e-9


def test_a_flat_tail_is_bounded_far_better_by_the_polynomial():
    rng = np.random.default_rng(0)
    n, powers = 2000, 5
    Omega = rng.standard_normal((n, 20))
    probes = Probes(Omega, Omega, 0.0, 1.0, 1).pin_basis(np.eye(n)[:, :3], delta=1e-9)
    for _ in range(powers - 1):
        block = probes.deflated_block()
        probes = probes.extend(block, block, delta=1e-9)
    V = np.eye(n)[:, :40]
    plain = tail_norm(V, probes, delta=1e-9)
    found = polynomial_tail(V, probes, delta=1e-9, edges=(1.1, 0.5), rank=10)
    assert plain > 1.8
    assert 1.0 <= found.norm < 1.35


def test_statements_of_all_looks_share_delta():
    looks = range(1, 50_000)
    plain = sum(statement_count(look) * power_share(1e-2, look) for look in looks)
    polynomial = sum(3 * SCALES * polynomial_share(1e-2, look) for look in looks if look > 1)
    assert 0.99e-2 < plain + polynomial <= 1e-2


def test_scales_of_nothing_prove_nothing():
    probes = Probes(np.ones((4, 2)), np.zeros((4, 2)), 0.0, 1.0, 1)
    found = polynomial_tail(np.eye(4)[:, :1], probes, delta=1e-3, edges=(0.0, 0.0), rank=2)
    assert found.norm == np.inf
    assert not found.moments

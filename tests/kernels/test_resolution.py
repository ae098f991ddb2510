"""Scores at a ridge are those of the definition, and a ridge that is raised allows what it was raised for, certainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import Kernel, resolution
from streamsvd.kernels.mathematics.resolution import LOWEST, Dense, raise_ridge, resolve_gram


def spectrum(kind, m):
    """Eigenvalues: powers, exponentials, two clusters far apart, all equal, few."""
    i = np.arange(1.0, m + 1)
    return {
        "power": i**-1.5, "fast": np.exp(-0.3 * i), "clusters": np.where(i < m / 3, 1.0, 1e-7),
        "equal": np.ones(m), "few": np.where(i < 4, 1.0, 0.0), "steps": 10.0 ** -(i // 7),
    }[kind]  # fmt: skip


def weighted(values, seed=0):
    """A matrix with these eigenvalues, and weights of its rows."""
    rng = np.random.default_rng(seed)
    Q = linalg.qr(rng.standard_normal((values.size, values.size)))[0]
    return (Q * values) @ Q.T, rng.uniform(1, 5, values.size)


def dimension_of(B, gamma):
    values = np.maximum(linalg.eigvalsh(B), 0)
    return float(np.sum(values / (values + gamma)))


KINDS = ["power", "fast", "clusters", "equal", "few", "steps"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", [1e-6, 0.01, 3.0])
def test_scores_and_slope_are_those_of_the_definition(kind, gamma):
    values = spectrum(kind, 40)
    B, w = weighted(values)
    at = resolve_gram(B, w, gamma)
    P = B @ linalg.inv(B + gamma * np.eye(40))
    np.testing.assert_allclose(at.tau * w, np.clip(np.diag(P), 0, w), atol=1e-8)
    d = values / (values + gamma)
    assert at.dimension == pytest.approx(d.sum(), rel=1e-6)
    assert at.slope == pytest.approx(
        (values * gamma / (values + gamma) ** 2).sum() / d.sum(), abs=1e-5
    )


@given(
    st.sampled_from(KINDS),
    st.integers(3, 60),
    st.floats(-12, 2),
    st.floats(1.001, 40),
    st.integers(0, 9),
)
def test_a_raised_ridge_allows_what_was_asked_and_little_more(kind, m, exponent, ratio, seed):
    B, w = weighted(spectrum(kind, m), seed)
    at = resolve_gram(B, w, 10.0**exponent)
    if at.inverse is None:
        return
    allowed = at.dimension / ratio
    found = raise_ridge(Dense(B), w, at, allowed)
    assert found.gamma > at.gamma
    assert found.dimension <= allowed * (1 + 1e-9)
    assert dimension_of(B, found.gamma) <= allowed * (1 + 1e-6)
    assert dimension_of(B, found.gamma) >= LOWEST * allowed * (1 - 1e-6)
    np.testing.assert_array_equal(found.tau, resolve_gram(B, w, found.gamma).tau)


@pytest.mark.parametrize("ratio", [1.01, 1.2, 1.8])
def test_a_short_way_costs_no_eigenvalues(monkeypatch, ratio):
    X = np.random.default_rng(0).uniform(0, 1, (300, 3))
    B, w = Kernel("rbf", 0.4).gram(X), np.ones(300)
    at, tried = resolve_gram(B, w, 0.1), []
    monkeypatch.setattr(resolution, "_smallest", None)
    monkeypatch.setattr(resolution, "resolve_gram", lambda *a: tried.append(a) or resolve_gram(*a))
    assert raise_ridge(Dense(B), w, at, at.dimension / ratio).dimension <= at.dimension / ratio
    assert len(tried) <= 2


def test_without_a_factor_all_eigenvalues_decide():
    B, w = weighted(spectrum("few", 30))
    at = resolve_gram(
        B - 1e-13 * np.eye(30), w, 1e-14
    )  # no Cholesky factor, yet definite but for rounding
    assert at.inverse is None
    assert at.slope == 0
    found = raise_ridge(Dense(B), w, at, at.dimension / 2)
    assert LOWEST * at.dimension / 2 <= found.dimension <= at.dimension / 2
    with pytest.raises(SpecError, match="not positive definite"):
        resolve_gram(-B, w, 1e-3)

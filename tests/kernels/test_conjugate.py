"""Ridge regression by conjugate gradients: few passes by the dictionary's preconditioner, the same after a restart."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import linalg

from streamsvd.kernels.mathematics import DictionaryOptions, FeatureMap, pivots
from streamsvd.kernels.mathematics.conjugate import (
    Preconditioner,
    RidgeDescent,
    advance_descent,
    start_descent,
)
from streamsvd.store.checkpoints.encoding import decode_value, encode_value
from tests.kernels.data import SETS, streamed


@cache
def problem(name, n, budget, centres, gamma=1.0):
    """Features of all rows, targets, and preconditioners: of the dictionary, of its rows as if all weighed the same, none."""
    kernel, made = SETS[name]
    X = made(n)
    X = X[np.random.default_rng(4).permutation(len(X))]
    spec = DictionaryOptions(kernel=kernel, gamma=gamma, budget=budget)
    state = streamed(spec, X, budget)
    map_ = FeatureMap.of(kernel, state.rows[pivots(spec, state, centres).places])
    rng = np.random.default_rng(0)
    f = kernel(X, X[:40]) @ rng.normal(size=(40, 2))
    y = f + 0.3 * f.std() * rng.normal(size=f.shape)
    by = Preconditioner.of(map_, state.rows, state.weights(spec))
    even = Preconditioner.of(map_, state.rows, np.full(state.size, n / state.size))
    plain = Preconditioner(np.zeros(map_.n_features), np.eye(map_.n_features))
    return map_(X), y, by, even, plain


def passes_to(Z, y, ridges, by, tol, most=60):
    """Passes until the residual is small enough, and the iterate."""
    state = start_descent(Z.T @ y, ridges, by)
    while state.residual > tol and len(state.residuals) <= most:
        state = advance_descent(state, Z.T @ (Z @ state.p), ridges, by)
    return len(state.residuals) - 1, state


def condition(Z, by, ridge):
    """Of the preconditioned matrix."""
    P = (by.U * (by.values + ridge)) @ by.U.T
    values = linalg.eigh(Z.T @ Z + ridge * np.eye(Z.shape[1]), P, eigvals_only=True)
    return float(values[-1] / values[0])


def assert_few_passes(name, n, budget, centres, ridge=1.0):
    Z, y, by, even, plain = problem(name, n, budget, centres, ridge)
    ridges = np.full(2, ridge)
    coarse, _ = passes_to(Z, y, ridges, by, 1e-3)
    fine, state = passes_to(Z, y, ridges, by, 1e-7)
    kappa = condition(Z, by, ridge)
    exact = linalg.solve(Z.T @ Z + ridge * np.eye(Z.shape[1]), Z.T @ y, assume_a="pos")
    assert coarse <= 10
    assert fine <= 22
    assert kappa <= 9
    assert np.linalg.norm(Z @ (state.x - exact)) <= 1e-5 * np.linalg.norm(Z @ exact)
    assert condition(Z, even, ridge) >= 1.5 * kappa  # the weights are what makes it so
    assert condition(Z, plain, ridge) >= 10 * kappa
    assert passes_to(Z, y, ridges, plain, 1e-3)[0] > coarse


@pytest.mark.parametrize("ridge", [1.0, 0.01])
def test_few_passes_by_the_dictionary(ridge):
    assert_few_passes("clusters", 3000, 900, 300, ridge)


@pytest.mark.slow
def test_few_passes_over_twenty_thousand_rows():
    assert_few_passes("cube3", 19_992, 900, 450)


def saved(value):
    """Written and read again."""
    plain, arrays = encode_value(value)
    text, file = json.dumps(plain), io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file) as kept:
        return decode_value(json.loads(text), dict(kept), {"RidgeDescent": RidgeDescent})


@pytest.mark.parametrize("stopped", [0, 1, 4])
def test_a_descent_saved_in_the_middle_of_an_iteration_is_the_same(stopped):
    Z, y, by, *_ = problem("clusters", 3000, 900, 300)
    ridges = np.array([1.0, 30.0])
    never = again = start_descent(Z.T @ y, ridges, by)
    for k in range(8):
        product = np.zeros_like(never.p)
        partial = np.zeros_like(again.p)
        for a in range(0, len(Z), 500):
            block = Z[a : a + 500]
            product = product + block.T @ (block @ never.p)
            if k == stopped and a == 1500:
                kept = saved({"state": again, "partial": partial, "row": a})
                again, partial = kept["state"], kept["partial"]
                assert kept["row"] == a
            partial = partial + block.T @ (block @ again.p)
        never, again = (
            advance_descent(never, product, ridges, by),
            advance_descent(again, partial, ridges, by),
        )
    np.testing.assert_allclose(again.x, never.x, rtol=1e-12, atol=1e-12 * np.abs(never.x).max())
    assert tuple(again.residuals) == pytest.approx(never.residuals, rel=1e-9)
    assert len(never.residuals) == 9
    assert never.residual < 1e-3
    lost = replace(again, p=again.r)  # a direction forgotten is another iterate
    lost = advance_descent(lost, Z.T @ (Z @ lost.p), ridges, by)
    right = advance_descent(never, Z.T @ (Z @ never.p), ridges, by)
    assert np.linalg.norm(lost.x - right.x) > 1e-9 * np.linalg.norm(right.x)


def test_ridges_and_targets_beside_each_other_are_as_each_alone():
    Z, y, by, *_ = problem("clusters", 3000, 900, 300)
    ridges = np.array([1.0, 100.0])
    _, both = passes_to(Z, y, ridges, by, 1e-9)
    for j in range(2):
        _, one = passes_to(Z, y[:, j : j + 1], ridges[j : j + 1], by, 1e-9)
        exact = np.linalg.solve(Z.T @ Z + ridges[j] * np.eye(Z.shape[1]), Z.T @ y[:, j])
        for found in (both.x[:, j], one.x[:, 0]):
            assert np.linalg.norm(Z @ (found - exact)) <= 1e-7 * np.linalg.norm(Z @ exact)


def test_an_iterate_known_already_needs_no_pass():
    Z, y, by, *_ = problem("clusters", 3000, 900, 300)
    ridges = np.ones(2)
    exact = linalg.solve(Z.T @ Z + np.eye(Z.shape[1]), Z.T @ y, assume_a="pos")
    assert start_descent(Z.T @ y, ridges, by, (exact, Z.T @ (Z @ exact))).residual <= 1e-9
    assert start_descent(Z.T @ y, ridges, by).residual == pytest.approx(1.0)

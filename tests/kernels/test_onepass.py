"""Ridge regression in the pass that chooses the dictionary: what a second pass would say, and nearly what all rows would."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import linalg

from streamsvd.kernels.mathematics import DictionaryOptions, FeatureMap
from streamsvd.kernels.mathematics.onepass import merge_regressions, regression
from streamsvd.kernels.mathematics.ridge import RidgeSums, coefficients
from tests.kernels.data import SETS

N, TESTS = 3000, 1000


@cache
def problem(name):
    """Rows in their order, targets, rows to test on and the truth there, dimension, and exact predictions."""
    kernel, made = SETS[name]
    rng = np.random.default_rng(0)
    X = made(N + TESTS)
    anchors = X[rng.choice(len(X), 40, replace=False)]
    f = kernel(X, anchors) @ rng.normal(size=(40, 1))
    noisy = f + 0.3 * f.std() * rng.normal(size=f.shape)
    test = np.zeros(len(X), dtype=bool)
    test[rng.choice(len(X), TESTS, replace=False)] = True
    K = kernel.gram(X[~test])
    inverse = linalg.cho_solve(linalg.cho_factor(K + np.eye(N)), np.eye(N))
    exact = kernel(X[test], X[~test]) @ (inverse @ noisy[~test])
    return X[~test], noisy[~test], X[test], f[test], float(N - np.trace(inverse)), exact


def pushed_all(spec, X, y, first, block):
    state = None
    for a in range(0, len(X), block):
        part = slice(a, min(a + block, len(X)))
        judge = np.zeros(part.stop - a, dtype=bool)
        state = regression(spec, state, X[part], first + a, y[part], judge)
    return state


def in_shape(spec, X, y, shape, block):
    if shape == "stream":
        return pushed_all(spec, X, y, 0, block)
    size = -(-len(X) // int(shape[4:]))
    parts = [
        pushed_all(spec, X[a : a + size], y[a : a + size], a, block) for a in range(0, len(X), size)
    ]
    while len(parts) > 1:
        parts = [merge_regressions(spec, *parts[a : a + 2]) for a in range(0, len(parts), 2)]
    return parts[0]


def compared(name, shape, order, times=4.0):
    """Difference to a second pass on the same dictionary, and squared error over that of the exact regression."""
    X, y, tests, truth, dimension, exact = problem(name)
    if order == "shuffled":
        turn = np.random.default_rng(2).permutation(N)
        X, y = X[turn], y[turn]
    spec = DictionaryOptions(kernel=SETS[name][0], gamma=1.0, budget=round(times * dimension))
    state = in_shape(spec, X, y, shape, 500)
    assert state.train.n_rows == state.dictionary.n_rows == N
    np.testing.assert_allclose(state.train.squares, np.sum(y * y, axis=0))
    ours = state.feature_map(spec)(tests) @ coefficients(state.train, 1.0)
    map_ = FeatureMap.of(spec.kernel, state.dictionary.rows)
    sums = RidgeSums.zero(map_.n_features, 1).update(map_(X), y)
    second = map_(tests) @ coefficients(sums, 1.0)
    ratio = np.sum((ours - truth) ** 2) / np.sum((exact - truth) ** 2)
    Z = map_(state.dictionary.rows) * np.sqrt(state.dictionary.weights(spec))[:, None]
    ids = state.dictionary.ids
    alone = RidgeSums.zero(Z.shape[1], 1).update(
        Z, y[ids] * np.sqrt(state.dictionary.weights(spec))[:, None]
    )
    rough = map_(tests) @ coefficients(alone, 1.0)
    worse = np.sum((rough - truth) ** 2) / np.sum((exact - truth) ** 2)
    far = float(np.linalg.norm(ours - second) / np.linalg.norm(second))
    assert 0.9 <= state.captured_share <= 1
    return far, float(ratio), float(worse)


def assert_nearly_exact(name, shape, order):
    far, ratio, worse = compared(name, shape, order)
    assert far <= 8e-3
    assert ratio <= 1.03
    assert worse >= 1.05  # the dictionary's rows alone, weighted, are no substitute for the sums


@pytest.mark.parametrize(("shape", "order"), [("stream", "sorted"), ("tree8", "shuffled")])
def test_one_pass_says_what_a_second_would(shape, order):
    assert_nearly_exact("clusters", shape, order)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clusters", "dups", "sorted1d"])
@pytest.mark.parametrize("shape", ["stream", "tree2", "tree8"])
@pytest.mark.parametrize("order", ["sorted", "shuffled"])
def test_one_pass_says_what_a_second_would_in_any_order_and_tree(name, shape, order):
    assert_nearly_exact(name, shape, order)


def test_nothing_is_lost_while_everything_fits():
    X, y, tests, *_ = problem("clusters")
    X, y = X[::10], y[::10]
    spec = DictionaryOptions(kernel=SETS["clusters"][0], gamma=1.0, budget=400)
    kernel = spec.kernel
    exact = kernel(tests, X) @ np.linalg.solve(kernel.gram(X) + np.eye(300), y)
    for shape in ("stream", "tree2"):
        state = in_shape(spec, X, y, shape, 70)
        found = state.feature_map(spec)(tests) @ coefficients(state.train, 1.0)
        assert np.linalg.norm(found - exact) <= 1e-7 * np.linalg.norm(exact)
        assert state.captured_share == pytest.approx(1.0, abs=1e-9)


def test_rows_that_judge_do_not_train():
    X, y, *_ = problem("clusters")
    X, y = X[::5], y[::5]
    spec = DictionaryOptions(kernel=SETS["clusters"][0], gamma=1.0, budget=150)
    judge = np.arange(600) % 7 == 3
    wrong = np.where(judge[:, None], 1e6, y)
    both = []
    for values in (y, wrong):
        state = None
        for a in range(0, 600, 150):
            part = slice(a, a + 150)
            state = regression(spec, state, X[part], a, values[part], judge[part])
        both.append(state)
    np.testing.assert_array_equal(both[0].train.r, both[1].train.r)
    assert both[0].held_out.n_rows == judge.sum()
    assert both[0].train.n_rows == (~judge).sum()
    assert both[1].held_out.squares[0] == pytest.approx(1e12 * judge.sum())

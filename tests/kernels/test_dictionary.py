"""Dictionaries by ridge leverage scores: exact where nothing is sampled, unbiased, accurate, the same in any tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import (
    DictionaryOptions,
    FeatureMap,
    Kernel,
    exact_scores,
    leaf,
    merge_dictionaries,
    pivots,
    push_rows,
)
from streamsvd.numerics.uniforms import uniforms
from tests.kernels.data import RBF, clusters, coherent, streamed, tree


def sides(spec, X, state, gamma):
    """Largest and smallest eigenvalue of the weighted error, relative to the ridge: under and over."""
    values, U = np.linalg.eigh(spec.kernel.gram(X))
    values = np.maximum(values, 0)
    features = (U * np.sqrt(values))[state.ids]
    scale = 1 / np.sqrt(values + gamma)
    error = np.diag(values) - features.T @ (state.weights(spec)[:, None] * features)
    found = np.linalg.eigvalsh(scale[:, None] * error * scale)
    return found[-1], -found[0]


def left_over(kernel, X, centres):
    Z = FeatureMap.of(kernel, centres)(X)
    return float(np.linalg.eigvalsh(kernel.gram(X) - Z @ Z.T)[-1])


def test_nothing_is_lost_while_everything_fits():
    X = clusters(1200)
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=2000)
    state = streamed(spec, X, 100)
    assert state.size == 1200
    np.testing.assert_array_equal(state.chance, 1)
    exact = exact_scores(RBF, X, 1.0)
    np.testing.assert_allclose(state.dimension, exact.sum(), rtol=1e-8)
    np.testing.assert_allclose(state.scores, exact, rtol=1e-8)


def test_a_row_more_lowers_scores_and_no_further_than_it_must():
    X = clusters(200)
    before, after = exact_scores(RBF, X[:-1], 1.0), exact_scores(RBF, X, 1.0)
    assert (after[:-1] <= before + 1e-12).all()
    assert (after[:-1] >= (1 - after[-1]) * before - 1e-12).all()
    assert after.sum() >= before.sum() - 1e-12
    assert exact_scores(RBF, X, 2.0).sum() < after.sum()


def test_uniform_numbers_are_uniform_and_independent_of_their_neighbours():
    u = uniforms(7, np.arange(200_000), 1)[:, 0]
    gaps = np.abs(np.sort(u) - (np.arange(u.size) + 0.5) / u.size).max()
    assert gaps <= 1.63 / np.sqrt(u.size)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) <= 0.01
    assert abs(np.corrcoef(u, uniforms(8, np.arange(200_000), 1)[:, 0])[0, 1]) <= 0.01
    assert u.min() > 0
    assert u.max() < 1


def test_weights_are_unbiased():
    X = clusters(400)
    sums = []
    for seed in range(150):
        spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=100, seed=seed)
        sums.append(streamed(spec, X, 50).weights(spec).sum() / 400)
    assert abs(np.mean(sums) - 1) <= 3 * np.std(sums) / np.sqrt(150) + 0.005


@pytest.mark.parametrize("mode", ["poisson", "squeak"])
@pytest.mark.parametrize("order", ["sorted", "random", "reversed"])
def test_any_order_and_any_tree_is_accurate(mode, order):
    X = clusters(1000)
    if order != "sorted":
        X = X[::-1] if order == "reversed" else np.random.default_rng(0).permutation(X)
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, mode=mode)
    exact = exact_scores(RBF, X, 1.0).sum()
    for state in (streamed(spec, X, 128), tree(spec, X, 8, 2), tree(spec, X, 12, 4)):
        assert 2.6 <= state.size / exact <= 4.6
        assert 0.85 <= state.dimension / exact <= 1.06
        under, over = sides(spec, X, state, 1.0)
        assert under <= 0.85
        assert over <= 2.2
        assert left_over(RBF, X, state.rows) <= 1.0


def test_a_uniform_sample_of_the_same_size_is_far_worse():
    X = clusters(2000)
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=350)
    ours = left_over(RBF, X, streamed(spec, X, 350).rows)
    plain = left_over(RBF, X, streamed(replace(spec, mode="uniform"), X, 350).rows)
    assert ours <= 0.5
    assert plain >= 3


def test_merging_is_the_same_in_any_order_of_parts():
    X = clusters(800)
    spec = DictionaryOptions(kernel=RBF, gamma=0.5, budget=150)
    parts = [
        streamed(spec, X[:0], 1) or merge_dictionaries(spec, [leaf(spec, X[a : a + 200], a)])
        for a in range(0, 800, 200)
    ]
    first = merge_dictionaries(spec, parts)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        other = merge_dictionaries(spec, [parts[i] for i in order])
        np.testing.assert_array_equal(other.ids, first.ids)
        np.testing.assert_array_equal(other.chance, first.chance)
    with pytest.raises(SpecError, match="is in two dictionaries"):
        merge_dictionaries(spec, [parts[0], parts[0]])


def test_merging_with_nothing_changes_nothing_and_what_does_not_fit_is_refused():
    spec = DictionaryOptions(kernel=Kernel("linear"), gamma=1.0)
    state = streamed(spec, coherent(800)[0], 100)
    nothing = merge_dictionaries(spec, [leaf(spec, np.zeros((50, 40)), 800)])
    both = merge_dictionaries(spec, [state, nothing])
    np.testing.assert_array_equal(both.ids, state.ids)
    np.testing.assert_array_equal(both.chance, state.chance)
    assert both.n_rows == 850
    with pytest.raises(SpecError, match="of 3 and of 40 numbers"):
        merge_dictionaries(spec, [state, leaf(spec, np.ones((5, 3)), 2000)])
    with pytest.raises(SpecError, match="row 12 holds NaN or Inf"):
        leaf(DictionaryOptions(kernel=RBF, gamma=1.0), np.array([[1.0], [2.0], [np.nan]]), 10)


def test_the_budget_is_kept_chances_only_fall_and_the_ridge_only_rises():
    X, _ = coherent(1500)
    spec = DictionaryOptions(kernel=Kernel("linear"), gamma=1.0, budget=40)
    state, chances = None, {}
    for a in range(0, 1500, 40):
        before = 0.0 if state is None else state.gamma
        state = push_rows(spec, state, X[a : a + 40], a)
        assert state.size <= 40
        assert state.gamma >= before
        u = uniforms(0, state.ids, 1)[:, 0]
        assert (u <= state.chance).all()
        for i, p in zip(state.ids.tolist(), state.chance, strict=True):
            assert p <= chances.get(i, 1.0)
            chances[i] = p


def test_rows_that_nothing_else_stands_for_are_kept_in_any_order():
    X, spikes = coherent(1200)
    kernel = Kernel("linear")
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(1200)
        spec = DictionaryOptions(kernel=kernel, gamma=1.0, budget=50)
        state = streamed(spec, X[order], 50)
        assert spikes <= set(order[state.ids].tolist())
        assert left_over(kernel, X, state.rows) <= 1.0


def test_a_budget_too_small_raises_the_ridge_and_says_so():
    X, _ = coherent(1500)
    spec = DictionaryOptions(kernel=Kernel("linear"), gamma=1.0, budget=11)
    state = streamed(spec, X, 11)
    assert state.gamma > 1.0
    assert state.size <= 11


def test_greedy_centres_beat_a_uniform_sample():
    X = clusters(2000)
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=4 * 94)
    state = streamed(spec, X, 376)
    found = pivots(spec, state, 94)
    ours = left_over(RBF, X, state.rows[found.places])
    assert ours <= 4
    assert found.left_norm <= ours <= 3.5 * found.left_norm
    assert left_over(RBF, X, X[np.random.default_rng(0).permutation(2000)[:94]]) >= 1.5 * ours


@pytest.mark.parametrize("gamma", [1e-6, 1e-10, 1e-14])
def test_small_ridges_end_in_finite_numbers(gamma):
    state = streamed(DictionaryOptions(kernel=RBF, gamma=gamma, budget=100), clusters(600), 100)
    assert np.isfinite(state.chance).all()
    assert (state.chance > 0).all()


def test_identical_rows_and_zero_rows():
    sums = []
    for seed in range(10):
        spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=50, seed=seed)
        state = streamed(spec, np.ones((2000, 3)), 50)
        assert 1 <= state.size <= 50
        sums.append(state.weights(spec).sum() / 2000)
    assert 0.8 <= np.mean(sums) <= 1.2
    zeros = streamed(
        DictionaryOptions(kernel=Kernel("linear"), gamma=1.0, budget=50), np.zeros((500, 3)), 50
    )
    assert (zeros.size, zeros.n_rows) == (0, 500)


def test_scaling_kernel_and_ridge_changes_nothing():
    X = clusters(500)
    one = streamed(DictionaryOptions(kernel=Kernel("linear"), gamma=1.0, budget=60), X, 60)
    other = streamed(DictionaryOptions(kernel=Kernel("linear"), gamma=16.0, budget=60), 4 * X, 60)
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_allclose(one.chance, other.chance, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0.0}, "gamma=0"),
        ({"gamma": -1.0}, "gamma=-1"),
        ({"budget": 0}, "budget=0"),
        ({"mode": "best"}, "mode='best'"),
        ({"least": 0.5}, "least=0.5"),
        ({"mode": "ink"}, "needs a budget"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SpecError, match=message):
        DictionaryOptions(**{"kernel": RBF, "gamma": 1.0} | options)

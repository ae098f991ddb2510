"""Poisson and bottom-k samples: unbiased, no row twice, the same however rows are cut."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics.uniforms import uniforms
from streamsvd.rows.mathematics import Draw


def drawn(scores, rows, *, seed, c=None, k=None, cut=1000):
    state = Draw(seed, c, k)
    for a in range(0, rows.shape[0], cut):
        state = state.push(a, rows[a : a + cut], scores[a : a + cut])
    assert state.total == pytest.approx(scores.sum())
    return state.finalize(rows.shape[1])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    scores = rng.pareto(1.5, 400) / 400 + 1e-4
    return np.minimum(scores, 1.0), scores[:, None] * (1 + rng.random((400, 2)))


@pytest.mark.parametrize("how", [{"c": 100.0}, {"k": 60}])
def test_weighted_sums_are_unbiased(data, how):
    scores, rows = data
    sums, counts = [], []
    for seed in range(400):
        found = drawn(scores, rows, seed=seed, **how)
        sums.append([found.weights @ found.rows[:, 0], found.weights.sum()])
        counts.append(found.ids.size)
    error = np.std(sums, axis=0) / np.sqrt(400)
    truth = np.array([rows[:, 0].sum(), 400])
    assert np.all(np.abs(np.mean(sums, axis=0) - truth) <= 4 * error)
    assert np.all(error <= 0.03 * truth)
    if "k" in how:
        assert set(counts) == {60}
    else:
        assert np.mean(counts) == pytest.approx(np.minimum(1, 100 * scores).sum(), rel=0.03)


@pytest.mark.parametrize("how", [{"c": 30.0}, {"k": 25}, {"k": 1}])
def test_however_rows_are_cut_the_sample_is_the_same(data, how):
    scores, rows = data
    whole = drawn(scores, rows, seed=5, **how)
    for cut in (1, 7, 399):
        part = drawn(scores, rows, seed=5, cut=cut, **how)
        for name in ("ids", "rows", "scores", "chances"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_the_chances_are_what_they_are_said_to_be(data):
    scores, rows = data
    u = uniforms(3, np.arange(400), 1)[:, 0]
    found = drawn(scores, rows, seed=3, c=50.0)
    np.testing.assert_array_equal(found.ids, np.flatnonzero(u <= np.minimum(1, 50 * scores)))
    np.testing.assert_array_equal(found.chances, np.minimum(1, 50 * scores)[found.ids])
    found = drawn(scores, rows, seed=3, k=40)
    ratios = np.sort(u / scores)
    np.testing.assert_array_equal(found.ids, np.flatnonzero(u / scores < ratios[40]))
    assert found.oversampling == ratios[40]
    np.testing.assert_array_equal(found.weights, 1 / np.minimum(1, ratios[40] * scores[found.ids]))
    np.testing.assert_array_equal(found.rows, rows[found.ids])


def test_certain_rows_are_kept_and_impossible_ones_are_not(data):
    scores, rows = data
    scores = scores.copy()
    scores[10], scores[20:30] = 1.0, 0.0
    for seed in range(50):
        found = drawn(scores, rows, seed=seed, c=1.0)
        assert 10 in found.ids
        assert not np.isin(np.arange(20, 30), found.ids).any()
        everything = drawn(scores, rows, seed=seed, k=390)
        assert everything.ids.size == 390
        assert everything.oversampling == np.inf
        np.testing.assert_array_equal(everything.weights, 1)
    assert drawn(scores, rows, seed=0, k=389).ids.size == 389


def test_nothing_to_draw():
    for how in ({"c": 2.0}, {"k": 3}):
        found = drawn(np.zeros(5), np.zeros((5, 2)), seed=0, **how)
        assert found.ids.size == 0
        assert found.rows.shape == (0, 2)
        assert found.weights.shape == (0,)

"""Dictionaries as their specification measured them: scores, accuracy, size and risk on sets with known figures.

What holds is held to the figure on the page, exact values by dense algebra; a uniform sample of the same size shows
that the figure can be missed. All seeds and orders are marked slow; one of each is not.
"""

from __future__ import annotations

import io
import json
import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import linalg

from streamsvd.kernels.mathematics import (
    Dictionary,
    DictionaryOptions,
    FeatureMap,
    Kernel,
    exact_scores,
    merge_dictionaries,
    pivots,
    push_rows,
)
from streamsvd.kernels.mathematics.ridge import RidgeSums, coefficients
from streamsvd.store.checkpoints.encoding import decode_value, encode_value
from tests.kernels.data import (
    LINEAR,
    RBF,
    SETS,
    clusters,
    coherent,
    cube,
    known,
    leaves,
    random_tree,
    streamed,
    streaming,
    tree,
)


def shuffled(n, seed):
    return np.random.default_rng(seed).permutation(n)


def saved(state):
    """Written and read again."""
    plain, arrays = encode_value(state)
    text, file = json.dumps(plain), io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file) as kept:
        return decode_value(json.loads(text), dict(kept), {"Dictionary": Dictionary})


@pytest.mark.parametrize("mode", ["poisson", "squeak", "ink", "uniform"])
def test_a_dictionary_saved_after_every_block_ends_in_the_same_bits(mode):
    X = clusters(1200)
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=200, mode=mode)
    state = None
    for a in range(0, 1200, 100):
        state = saved(push_rows(spec, state, X[a : a + 100], a))
    never = streamed(spec, X, 100)
    for name in ("rows", "ids", "chance", "scores"):
        np.testing.assert_array_equal(getattr(state, name), getattr(never, name))
        assert getattr(state, name).dtype == getattr(never, name).dtype
    for name in ("gamma", "multiplier", "n_rows", "trace", "dimension"):
        assert getattr(state, name) == getattr(never, name)
    assert never.size < 1200


@pytest.mark.slow
def test_weights_are_unbiased_over_400_seeds():
    X = clusters(400)
    sums = []
    for seed in range(400):
        spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=100, seed=seed)
        sums.append(streamed(spec, X, 50).weights(spec).sum() / 400)
    assert abs(np.mean(sums) - 1) <= 0.03
    assert np.std(sums) >= 0.03


@pytest.mark.parametrize(
    ("name", "n", "dimension", "largest"),
    [
        ("clusters", 2000, 93.4, 0.339),
        ("dups", 2000, 96.3, 0.457),
        pytest.param("sorted1d", 2000, 125.6, 0.165, marks=pytest.mark.slow),
        pytest.param("coherent", 2000, 25.4, 0.937, marks=pytest.mark.slow),
        pytest.param("cube", 2000, 79.6, None, marks=pytest.mark.slow),
        pytest.param("heavy", 2000, 450.1, 0.5, marks=pytest.mark.slow),
        pytest.param("clusters", 3000, 108.5, 0.398, marks=pytest.mark.slow),
    ],
)
def test_effective_dimensions_are_those_known(name, n, dimension, largest):
    kernel, made = SETS[name]
    tau = exact_scores(kernel, made(n), 1.0)
    assert tau.sum() == pytest.approx(dimension, abs=0.051)
    if largest is not None:
        assert tau.max() == pytest.approx(largest, abs=0.00051)


@pytest.mark.slow
def test_the_effective_dimension_of_twenty_thousand_rows_is_that_known():
    tau = known("cube3", 19_992)[2].scores(1.0)
    assert tau.sum() == pytest.approx(149.2, abs=0.051)
    assert tau.max() == pytest.approx(0.256, abs=0.00051)


@cache
def of_cube3(n, shape):
    """A dictionary of 4 atoms for each unit of effective dimension, and the rows that they are."""
    kernel, X, whole = known("cube3", n)
    spec = DictionaryOptions(kernel=kernel, gamma=1.0, budget=int(4 * whole.scores(1.0).sum()))
    order = shuffled(n, 1) if shape == "shuffled" else np.arange(n)
    if shape.startswith("tree"):
        state = tree(spec, X, n // 1000 + 1, int(shape[-1]))
    else:
        state = streamed(spec, X[order], 1000 if shape == "shuffled" else 500)
    return spec, state, order


shapes = pytest.mark.parametrize(
    ("n", "shape"),
    [
        (5000, "file"),
        *(
            pytest.param(19_992, shape, marks=pytest.mark.slow)
            for shape in ("file", "shuffled", "tree of 2", "tree of 8")
        ),
    ],
)
"""Twenty thousand rows in every shape, and a quarter of them in one.

Over seeds of the sampling the least ratio of an atom's score is 0.34 to 0.51, what weights overstate 1.2 to 2.7, what the centres
leave 0.68 to 1.24; limits below hold for all of them.
"""


def score_of_rows(spec, state, X):
    """Estimates for rows in or out of the dictionary."""
    K = spec.kernel.gram(state.rows) + np.diag(state.gamma / state.weights(spec))
    across = spec.kernel(state.rows, X)
    solved = linalg.solve(K, across, assume_a="pos")
    return (spec.kernel.diagonal(X) - np.einsum("ij,ij->j", across, solved)) / state.gamma


@shapes
def test_scores_of_atoms_are_near_the_exact_ones(n, shape):
    exact = known("cube3", n)[2].scores(1.0)
    _, state, order = of_cube3(n, shape)
    ratio = state.scores / exact[order[state.ids]]
    assert ratio.max() <= 2.6
    assert ratio.min() >= 0.3


@shapes
def test_scores_of_other_rows_and_the_dimension_are_near_the_exact_ones(n, shape):
    _, X, whole = known("cube3", n)
    exact = whole.scores(1.0)
    spec, state, order = of_cube3(n, shape)
    some = shuffled(n, 5)[:2000]
    ratio = score_of_rows(spec, state, X[some]) / exact[some]
    assert ratio.min() >= 0.35
    assert ratio.max() <= 5
    assert 1.0 <= np.median(ratio) <= 1.4
    assert 0.9 <= state.dimension / exact.sum() <= 1.05
    assert (state.scores / exact[order[state.ids]]).min() >= 0.3


@shapes
def test_a_projection_onto_the_atoms_leaves_less_than_the_ridge(n, shape):
    whole = known("cube3", n)[2]
    spec, state, order = of_cube3(n, shape)
    under, over = whole.sides(spec, state, 1.0, order)
    left, uniform = whole.left(order[state.ids]), whole.left(shuffled(n, 5)[: state.size])
    assert state.size <= spec.budget
    assert state.gamma == 1.0
    assert under <= 0.88
    assert over <= 3.0
    assert left <= 0.35
    assert uniform >= 3


@shapes
def test_centres_of_three_halves_of_the_dimension_leave_the_ridge(n, shape):
    whole = known("cube3", n)[2]
    spec, state, order = of_cube3(n, shape)
    count = int(spec.budget * 3 / 8)
    found = pivots(spec, state, count)
    left = whole.left(order[state.ids][found.places])
    uniform = whole.left(shuffled(n, 5)[:count])
    assert found.left_norm <= left <= 3.5 * found.left_norm
    assert left <= uniform / 7
    assert left <= 1.4


@pytest.mark.parametrize("mode", ["poisson", "squeak", "ink", "uniform"])
@pytest.mark.parametrize("name", ["clusters", "coherent"])
def test_budget_chances_and_ridge_go_one_way_in_streams_and_trees(mode, name):
    kernel, made = SETS[name]
    X = made(800)
    spec = DictionaryOptions(kernel=kernel, gamma=0.5, budget=60, mode=mode, seed=3)
    chances, before = {}, 0.0
    for state in streaming(spec, X, 37):
        assert 1 <= state.size <= 60
        assert state.gamma >= before
        before = state.gamma
        for i, p in zip(state.ids.tolist(), state.chance, strict=True):
            assert 0 < p <= chances.get(i, 1.0)
            chances[i] = p
    parts = leaves(spec, X, 7)
    while len(parts) > 1:
        state = merge_dictionaries(spec, parts[:3])
        chances = {i: c for p in parts[:3] for i, c in zip(p.ids.tolist(), p.chance, strict=True)}
        assert 1 <= state.size <= 60
        assert state.gamma >= max(p.gamma for p in parts[:3])
        assert state.multiplier <= min(p.multiplier for p in parts[:3])
        assert all(p <= chances[i] for i, p in zip(state.ids.tolist(), state.chance, strict=True))
        parts = [*parts[3:], state]


def test_a_stream_holds_no_more_than_the_squares_of_what_it_keeps():
    sizes = []

    def counted(A, B):
        sizes.append((len(A), len(B)))
        return A @ B.T

    X = cube(6_000)
    spec = DictionaryOptions(kernel=Kernel(counted), gamma=1e-3, budget=150)
    streamed(spec, X, 100)
    assert max(max(pair) for pair in sizes) <= 250
    parts = leaves(spec, X[:1500], 10)
    sizes.clear()
    assert merge_dictionaries(spec, parts).size <= 150
    assert 300 <= max(max(pair) for pair in sizes) <= 4 * 150
    spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=150)
    state = streamed(spec, X[:150], 150)
    tracemalloc.start()
    for a in range(150, 6_000, 150):
        state = push_rows(spec, state, X[a : a + 150], a)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 64 * 300**2 + X[:150].nbytes


def ordered(name, tau):
    return {
        "random": shuffled(tau.size, 0),
        "as it is": np.arange(tau.size),
        "reversed": np.arange(tau.size)[::-1],
        "ascending": np.argsort(tau, kind="stable"),
        "descending": np.argsort(-tau, kind="stable"),
    }[name]


def built(spec, X, shape, seed):
    kind, size = shape.split()
    if kind == "blocks":
        return streamed(spec, X, int(size))
    if size == "random":
        return random_tree(spec, X, 12, seed)
    return tree(spec, X, 24 if size == "12" else 12, int(size))


def assert_one_of_any_order(order, shape, seeds):
    kernel, X, whole = known("clusters", 1500)
    tau = whole.scores(1.0)
    order = ordered(order, tau)
    for seed in seeds:
        spec = DictionaryOptions(kernel=kernel, gamma=1.0, seed=seed)
        state = built(spec, X[order], shape, seed)
        under, _ = whole.sides(spec, state, 1.0, order)
        left = whole.left(order[state.ids])
        assert 3.2 <= state.size / tau.sum() <= 4.3
        assert under <= 0.80
        assert left <= 0.5


@pytest.mark.parametrize(
    ("order", "shape"),
    [("random", "blocks 128"), ("descending", "tree 2"), ("as it is", "tree random")],
)
def test_an_order_and_a_tree_are_as_good_as_any(order, shape):
    assert_one_of_any_order(order, shape, [0])


@pytest.mark.slow
@pytest.mark.parametrize("order", ["random", "as it is", "reversed", "ascending", "descending"])
@pytest.mark.parametrize(
    "shape", ["blocks 8", "blocks 128", "tree 2", "tree 4", "tree 12", "tree random"]
)
def test_no_order_and_no_tree_is_special(order, shape):
    assert_one_of_any_order(order, shape, range(3))


LISTED = {
    "clusters": (3.56, 0.15, 1.03),
    "dups": (3.45, 0.29, 1.03),
    "sorted1d": (3.50, 0.52, 1.05),
    "coherent": (2.44, 1e-8, 1.03),
}
RISKS = {"clusters": 1.01, "dups": 1.01, "coherent": 1.01, "sorted1d": 1.05, "heavy": 1.05}


def figures(name, seeds):
    """Atoms for each unit of effective dimension, error of the projection, and risk over the exact one: medians."""
    kernel, X, whole = known(name, 2000)
    tau = whole.scores(1.0)
    f, noise = whole.target(0, 1.0)
    exact = whole.risk(None, 1.0, f, noise)
    found = []
    for seed in seeds:
        spec = DictionaryOptions(kernel=kernel, gamma=1.0, seed=seed)
        order = shuffled(2000, seed)
        state = streamed(spec, X[order], 128)
        ids = order[state.ids]
        found.append(
            (
                state.size / tau.sum(),
                whole.left(ids),
                whole.risk(ids, 1.0, f, noise) / exact,
            )
        )
    return np.median(found, axis=0)


def assert_as_listed(name, seeds):
    size, left, risk = figures(name, seeds)
    if name in LISTED:
        listed = LISTED[name]
        assert abs(size / listed[0] - 1) <= 0.12
        assert left <= 2 * listed[1]
        assert risk <= listed[2]
    assert risk <= RISKS[name]


@pytest.mark.parametrize("name", ["clusters", "coherent"])
def test_size_error_and_risk_of_one_seed_are_near_those_listed(name):
    assert_as_listed(name, [0])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RISKS))
def test_size_error_and_risk_are_those_listed(name):
    assert_as_listed(name, range(2 if name == "heavy" else 5))


def test_a_uniform_sample_of_the_same_size_costs_risk():
    _, _, whole = known("clusters", 2000)
    ratios = []
    for seed in range(3):
        f, noise = whole.target(seed, 1.0)
        rows = shuffled(2000, seed)[:333]
        ratios.append(whole.risk(rows, 1.0, f, noise) / whole.risk(None, 1.0, f, noise))
        assert whole.left(rows) >= 3
    assert np.mean(ratios) >= 1.05


@pytest.mark.parametrize("gamma", [pytest.param(0.1, marks=pytest.mark.slow), 1.0])
def test_ten_rows_alone_are_kept_by_twice_the_effective_dimension(gamma):
    X = np.concatenate([clusters(2990), 100 + 50 * np.arange(10)[:, None] * np.ones(5)])
    whole = exact_dimension(X[:-10], gamma) + 10 / (1 + gamma)
    spec = DictionaryOptions(kernel=RBF, gamma=gamma, budget=round(2 * whole))
    kept = 0
    for seed in range(10):
        order = shuffled(3000, seed)
        state = streamed(spec, X[order], spec.budget)
        assert state.size <= spec.budget
        assert (order[state.ids] >= 2990).sum() == 10
        plain = streamed(replace(spec, mode="uniform"), X[order], spec.budget)
        kept += int((order[plain.ids] >= 2990).sum())
    assert kept <= 50


def exact_dimension(X, gamma):
    """By pivoted Cholesky to rounding, of many rows of small rank."""
    L, _, rank, _ = linalg.lapack.dpstrf(RBF.gram(X), tol=1e-8, lower=1)
    F = np.tril(L)[:, :rank]
    values = linalg.eigvalsh(F.T @ F)
    return float(np.sum(values / (values + gamma)))


def test_spikes_are_kept_and_nothing_is_left_of_few_directions():
    X, spikes = coherent(2000)
    whole = known("coherent", 2000)[2]
    spec = DictionaryOptions(kernel=LINEAR, gamma=1.0, budget=50)
    for seed in range(6):
        order = shuffled(2000, seed)
        ids = order[streamed(spec, X[order], 50).ids]
        assert spikes <= set(ids.tolist())
        assert whole.left(ids) <= 1e-8
        assert whole.left(order[:50]) >= 5


def test_half_the_effective_dimension_raises_the_ridge_and_bounds_the_error():
    X, _ = coherent(1500)
    whole = known("coherent", 1500)[2]
    errors = []
    for seed in range(8):
        spec = DictionaryOptions(kernel=LINEAR, gamma=1.0, budget=11, least=2.0, seed=seed)
        state = streamed(spec, X, 11)
        assert state.gamma > 1.0
        assert state.size <= 11
        errors.append(whole.left(state.ids))
    assert np.median(errors) <= 200


@pytest.mark.parametrize(
    "name", ["clusters", *(pytest.param(n, marks=pytest.mark.slow) for n in ("dups", "sorted1d"))]
)
def test_a_ridge_of_nothing_rises_to_what_the_budget_can_hold(name):
    kernel, X, whole = known(name, 2000)
    budget = round(4 * whole.scores(1.0).sum())
    for seed in range(2):
        spec = DictionaryOptions(kernel=kernel, gamma=1e-12, budget=budget, least=3.0, seed=seed)
        order = shuffled(2000, seed)
        state = streamed(spec, X[order], budget)
        assert 0.2 <= state.gamma <= 1.0
        assert whole.left(order[state.ids]) <= 1.0


@pytest.mark.parametrize("ridge", [1e-2, 1e-5, 1e-8, 1e-11])
def test_whitened_sums_say_what_orthogonal_factors_say(ridge):
    rng = np.random.default_rng(0)
    X = rng.random((2000, 3))
    kernel, centres = Kernel("rbf", length=0.6), X[:300]
    assert np.linalg.cond(kernel.gram(centres)) >= 1e15
    y = np.sin(6 * X[:, :1]) * X[:, 1:2] + 0.1 * rng.normal(size=(2000, 1))
    map_ = FeatureMap.of(kernel, centres)
    sums = RidgeSums.zero(map_.n_features, 1)
    Z = np.concatenate([map_(X[a : a + 250]) for a in range(0, 2000, 250)])
    for a in range(0, 2000, 250):
        sums = sums.update(Z[a : a + 250], y[a : a + 250])
    Q, R = np.linalg.qr(np.concatenate([Z, np.sqrt(ridge) * np.eye(Z.shape[1])]))
    exact = Z @ linalg.solve_triangular(R, Q[:2000].T @ y)
    found = Z @ coefficients(sums, ridge)
    assert np.linalg.norm(found - exact) <= 1e-10 * np.linalg.norm(exact)
    raw = kernel(X, centres)
    with pytest.raises(linalg.LinAlgError):  # what whitening is for
        linalg.cholesky(raw.T @ raw + ridge * kernel.gram(centres))


@pytest.mark.parametrize("gamma", [1e-6, 1e-10, 1e-14])
@pytest.mark.parametrize("name", ["clusters", "dups"])
def test_tiny_ridges_end_in_chances_above_zero(gamma, name):
    kernel, made = SETS[name]
    state = streamed(DictionaryOptions(kernel=kernel, gamma=gamma, budget=200), made(1000), 200)
    assert 1 <= state.size <= 200
    for values in (state.chance, state.scores):
        assert np.isfinite(values).all()
        assert (values > 0).all()


def test_identical_rows_stand_for_their_number():
    sums = []
    for seed in range(20):
        spec = DictionaryOptions(kernel=RBF, gamma=1.0, budget=50, seed=seed)
        sums.append(streamed(spec, np.ones((5000, 3)), 50).weights(spec).sum() / 5000)
    assert min(sums) >= 0.6
    assert max(sums) <= 1.5


@pytest.mark.parametrize("X", [np.ones((300, 3)), clusters(300), np.full((300, 2), 1e-9)])
def test_the_least_oversampling_never_keeps_nothing(X):
    for kernel in (RBF, LINEAR):
        for seed in range(10):
            spec = DictionaryOptions(
                kernel=kernel, gamma=1.0, oversampling=1.0, least=1.0, seed=seed
            )
            assert all(state.size >= 1 for state in streaming(spec, X, 60))


@pytest.mark.parametrize("mode", ["poisson", "squeak", "ink", "uniform"])
def test_zero_rows_are_counted_and_not_kept(mode):
    spec = DictionaryOptions(kernel=LINEAR, gamma=1.0, budget=50, mode=mode)
    state = streamed(spec, np.zeros((500, 5)), 50)
    assert (state.size, state.n_rows, state.dimension) == (0, 500, 0.0)
    both = merge_dictionaries(spec, [state, push_rows(spec, None, clusters(200), 500)])
    assert both.n_rows == 700
    assert both.size >= 1

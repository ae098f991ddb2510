"""Autocorrelation at lag one in blocks, effective sizes, standard errors of variances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.numerics.sampling import effective_size, lag_one_sums, standard_errors


def blocks(x, cuts):
    return lambda: iter(np.split(x, sorted(cuts)))


@pytest.mark.parametrize("complex_", [False, True])
@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(3, 50),
    cuts=st.lists(st.integers(0, 50), max_size=4),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_sums_are_those_of_the_definition_however_rows_are_cut(complex_, seed, m, cuts, offset):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((m, 2)) + 1j * complex_ * rng.standard_normal((m, 2)) + offset
    x = x if complex_ else x.real
    found = lag_one_sums(blocks(x, [min(cut, m) for cut in cuts]))
    d = x - x.mean(axis=0)
    np.testing.assert_allclose(found.squares, np.sum(np.abs(d) ** 2, axis=0), rtol=1e-7)
    products = np.sum(d[:-1].conj() * d[1:], axis=0)
    expected = np.where(products.real < 0, -1, 1) * np.abs(products)
    np.testing.assert_allclose(found.products, expected, rtol=1e-6, atol=1e-6 * m)
    assert found.n_rows == m
    assert (np.abs(found.autocorrelation) <= 1).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_has_no_autocorrelation(value):
    found = lag_one_sums(blocks(np.full((20, 1), value), [7]))
    np.testing.assert_array_equal(found.autocorrelation, 0)


def test_effective_sizes_are_those_of_the_formulas():
    r = np.array([-0.5, 0.0, 0.5, 0.999999])
    np.testing.assert_allclose(effective_size(100, r, of_mean=False), [60, 100, 60, 1])
    np.testing.assert_allclose(effective_size(100, r, of_mean=True), [300, 100, 100 / 3, 1])


def test_standard_errors_are_those_of_variances_of_normal_samples():
    """North's rule against a thousand samples: the spread of a variance that was estimated 1000 times."""
    rng = np.random.default_rng(0)
    found = np.var(rng.standard_normal((2000, 200)) * 3, axis=1, ddof=1)
    assert np.std(found) == pytest.approx(float(standard_errors(np.array(9.0), 200)), rel=0.12)


def test_the_effective_size_of_a_variance_is_what_its_spread_says():
    """Variances of 2000 autoregressions spread as those of so many independent values do."""
    rng = np.random.default_rng(1)
    x = np.zeros((400, 2000))
    e = rng.standard_normal(x.shape)
    x[0] = e[0] / np.sqrt(1 - 0.49)
    for t in range(1, 400):
        x[t] = 0.7 * x[t - 1] + e[t]
    spread = np.std(x.var(axis=0)) / np.mean(x.var(axis=0))
    n = float(effective_size(400, np.array(0.7), of_mean=False))
    assert spread == pytest.approx(np.sqrt(2 / n), rel=0.12)

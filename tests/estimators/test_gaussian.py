"""The density of principal components, against the Gaussian of the covariance that they say; and rows made in a pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import streamsvd
from streamsvd.estimators import PCA
from streamsvd.estimators.row_functions import LogDensity, Projection
from streamsvd.estimators.streaming import RowsPass
from streamsvd.testing import assert_pass


@given(st.integers(2, 9), st.data(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_covariance_precision_and_density_are_of_one_gaussian(n, data, seed):
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, n))
    scale = 10.0 ** data.draw(st.integers(-6, 6))
    X = scale * (rng.standard_normal((n + 20, n)) @ rng.standard_normal((n, n)) + 5)
    made, new = PCA(k).fit(X), X[:7] + scale * rng.standard_normal((7, n))
    covariance, precision = made.get_covariance(), made.get_precision()
    values = np.linalg.eigvalsh(covariance)
    if values[0] < 1e-6 * values[-1]:
        return  # the reference has no digits
    np.testing.assert_allclose(precision @ covariance, np.eye(n), atol=1e-7)
    truth = multivariate_normal(made.mean_, covariance).logpdf(new)
    np.testing.assert_allclose(made.score_samples(new), truth, rtol=1e-6, atol=1e-6)
    assert values.sum() == pytest.approx(X.var(axis=0, ddof=1).sum(), rel=1e-9)


def test_what_is_left_of_rows_keeps_its_digits_far_from_the_mean():
    """Noise of 1e-7 beside coordinates of 1e3: a difference of squares would be off by its own size."""
    rng = np.random.default_rng(0)
    V = np.linalg.qr(rng.standard_normal((12, 2)))[0].T
    density = LogDensity(np.zeros(12), V, np.array([1e6, 1e5]), 1e-14)
    z, rest = 1e3 * rng.standard_normal((50, 2)), rng.standard_normal((50, 12))
    rest = 1e-7 * (rest - (rest @ V.T) @ V)
    found = density(z @ V + rest)
    quadratic = z**2 @ (1 / density.variances) + np.sum(rest**2, axis=1) / 1e-14
    size = 12 * np.log(2 * np.pi) + np.log(1e6) + np.log(1e5) + 10 * np.log(1e-14)
    np.testing.assert_allclose(found, -0.5 * (quadratic + size), rtol=1e-4)


def test_rows_of_a_function_are_a_pass():
    rng = np.random.default_rng(0)
    A, V = rng.standard_normal((90, 7)), rng.standard_normal((3, 7))
    assert_pass(RowsPass(Projection(A.mean(axis=0), V), np.dtype(float)), A, view=np.concatenate)


def test_features_of_a_wide_kernel_and_of_a_stored_matrix_are_the_same(tmp_path):
    X = np.random.default_rng(0).standard_normal((1200, 5))
    np.save(tmp_path / "X.npy", X)
    made = streamsvd.Nystroem(gamma=0.2, n_components=40, memory="200MiB").fit(X)
    np.testing.assert_allclose(made.transform(tmp_path / "X.npy"), made.transform(X), atol=1e-12)
    with pytest.raises(streamsvd.BudgetError, match="features from .*X.npy needs"):
        made.set_params(memory="1MiB").transform(tmp_path / "X.npy")

"""Kernels in the manner of scikit-learn: the same parameters mean the same, and the face decides nothing."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from sklearn.kernel_ridge import KernelRidge as Dense
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import GridSearchCV

import streamsvd


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 3))
    return X, np.sin(X[:, 0]) * X[:, 1] + 0.02 * rng.standard_normal(600)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("rbf", {"gamma": 0.3}),
        ("laplacian", {"gamma": 0.2}),
        ("polynomial", {"gamma": 0.5, "degree": 2, "coef0": 2.0}),
        ("polynomial", {}),
        ("linear", {}),
        ("cosine", {}),
    ],
)
def test_parameters_mean_what_they_do_in_scikit_learn(data, kernel, options):
    X, y = data
    K = pairwise_kernels(X, metric=kernel, **options)
    model = streamsvd.Nystroem(kernel, n_components=600, ridge=1e-9, **options).fit(X)
    Z = model.transform(X)
    np.testing.assert_allclose(Z @ Z.T, K, atol=1e-6 * np.abs(K).max())
    names = model.get_feature_names_out()
    assert len(names) == Z.shape[1]
    if kernel != "cosine":
        ours = streamsvd.KernelRidge(1.0, kernel=kernel, n_components=600, **options).fit(X, y)
        theirs = Dense(alpha=1.0, kernel=kernel, **options).fit(X, y - y.mean())
        expected = theirs.predict(X) + y.mean()
        np.testing.assert_allclose(ours.predict(X), expected, atol=1e-5 * np.abs(y).max())
        across = pairwise_kernels(X, ours.X_fit_, metric=kernel, **options)
        np.testing.assert_allclose(
            across @ ours.dual_coef_ + y.mean(), expected, atol=1e-4 * np.abs(y).max()
        )


def test_stored_rows_are_never_loaded_whole(data, tmp_path):
    X, y = data
    stored = zarr.create_array(tmp_path / "x.zarr", shape=X.shape, chunks=(100, 3), dtype="f8")
    stored[...] = X
    model = streamsvd.KernelRidge(n_components=50).fit(tmp_path / "x.zarr", y)
    same = streamsvd.kernel_ridge(tmp_path / "x.zarr", y, n_centres=50)
    np.testing.assert_array_equal(model.predict(X), same.predict(X))
    assert model.alpha_ == same.ridge
    np.testing.assert_allclose(model.predict(stored), same.predict(X), rtol=1e-12)
    features = streamsvd.Nystroem(n_components=20).fit(stored)
    assert features.nystrom_.certificate.trace_error > 0
    np.testing.assert_allclose(features.transform(stored), features.transform(X), atol=1e-12)


def test_searches_and_failures_leave_it_as_it_was(data):
    X, y = data
    search = GridSearchCV(streamsvd.KernelRidge(n_components=40), {"gamma": [1e-4, 0.3]}, cv=3)
    assert search.fit(X, y).best_params_ == {"gamma": 0.3}
    model = streamsvd.KernelRidge(n_components=40).fit(X, y)
    before = model.predict(X)
    for wrong in ({"gamma": -1.0}, {"n_components": 0}, {"random_state": None}, {"solver": "x"}):
        with pytest.raises(streamsvd.SpecError):
            model.set_params(**wrong).fit(X, y)
        model.set_params(gamma=None, n_components=40, random_state=0, solver="auto")
        np.testing.assert_array_equal(model.predict(X), before)

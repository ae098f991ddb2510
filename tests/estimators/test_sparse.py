"""Sparse rows, in memory and stored: what the peer makes of the same matrix, and what we make of it with its zeros."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.decomposition as peers
from scipy import sparse
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge as PeerRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from streamsvd import IncrementalPCA, KernelRidge, NonFiniteError, Nystroem, TruncatedSVD
from streamsvd.estimators import PCA

FORMS = ("csr", "csc", "coo")
SAME = 1e-12


@pytest.fixture
def counts():
    """300 rows of 900 columns, one entry in thirty, of six patterns and noise a hundredth of them."""
    rng = np.random.default_rng(2)
    patterns = sparse.random_array((6, 900), density=0.02, rng=rng)
    share = sparse.csr_array(rng.random((300, 6)) * 2.0 ** -np.arange(6))
    noise = sparse.random_array((300, 900), density=0.01, rng=rng)
    return sparse.csr_array(share @ patterns + 0.01 * noise)


def assert_like(ours, theirs, names, rtol=1e-6):
    for name in names:
        expected = np.asarray(getattr(theirs, name))
        np.testing.assert_allclose(
            getattr(ours, name), expected, atol=rtol * np.abs(expected).max(), err_msg=name
        )


SPECTRUM = ("singular_values_", "explained_variance_", "explained_variance_ratio_")


@pytest.mark.parametrize("form", FORMS)
def test_truncated_svd_is_that_of_scikit_learn(form, counts):
    theirs = peers.TruncatedSVD(4, algorithm="arpack", random_state=0).fit(counts)
    X = counts.asformat(form)
    made = TruncatedSVD(4, tol=1e-6).fit(X)
    assert_like(made, theirs, (*SPECTRUM, "components_"))
    np.testing.assert_allclose(made.transform(X), theirs.transform(counts), atol=1e-5)
    assert made.certificate_.relative_width <= 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_pca_is_that_of_scikit_learn(form, counts):
    theirs = peers.PCA(4, svd_solver="full").fit(counts.toarray())
    X = counts.asformat(form)
    made = PCA(4, tol=1e-6).fit(X)
    assert_like(made, theirs, (*SPECTRUM, "mean_", "noise_variance_", "components_"))
    np.testing.assert_allclose(made.transform(X), theirs.transform(counts.toarray()), atol=1e-5)
    np.testing.assert_allclose(
        made.score_samples(X), made.score_samples(counts.toarray()), rtol=1e-9
    )


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_incremental_pca_is_that_of_all_rows(form, whole, counts):
    theirs = peers.PCA(4, svd_solver="full").fit(counts.toarray())
    made = IncrementalPCA(4)
    if whole:
        made.set_params(batch_size=120).fit(counts.asformat(form))
    else:
        for a, b in ((0, 40), (40, 41), (41, 300)):
            made.partial_fit(counts[a:b].asformat(form))
    assert_like(made, theirs, ("mean_", *SPECTRUM), rtol=1e-4)
    np.testing.assert_allclose(made.var_, counts.toarray().var(axis=0), atol=1e-14)
    assert made.n_samples_seen_ == 300
    c = made.certificate_
    assert (c.sigma_lower <= theirs.singular_values_).all()
    assert (theirs.singular_values_ <= c.sigma_upper).all()
    np.testing.assert_allclose(made.transform(counts), made.transform(counts.toarray()), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_blocks_of_a_truncated_svd(form, counts):
    theirs = peers.TruncatedSVD(4, algorithm="arpack", random_state=0).fit(counts)
    made = TruncatedSVD(4)
    for a, b in ((0, 150), (150, 151), (151, 300)):
        made.partial_fit(counts[a:b].asformat(form))
    assert_like(made, theirs, SPECTRUM, rtol=1e-4)
    np.testing.assert_allclose(made.mean_, counts.toarray().mean(axis=0), atol=1e-15)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kernel", ["rbf", "cosine", "linear", "polynomial", "matern"])
def test_kernels_are_those_of_rows_with_their_zeros(kernel, form, counts):
    X, y = counts.asformat(form), np.asarray(counts.sum(axis=1))
    asked = {"kernel": kernel, "gamma": 0.3, "n_components": 30}
    found, expected = (Nystroem(**asked).fit(rows) for rows in (X, counts.toarray()))
    np.testing.assert_allclose(
        found.transform(X) @ found.transform(X).T,
        expected.transform(counts.toarray()) @ expected.transform(counts.toarray()).T,
        atol=1e-8,
    )
    found, expected = (KernelRidge(1e-3, **asked).fit(rows, y) for rows in (X, counts.toarray()))
    np.testing.assert_allclose(found.predict(X), expected.predict(counts.toarray()), atol=1e-8)


def test_kernel_ridge_predicts_as_scikit_learn_does(counts):
    y = np.asarray(counts.sum(axis=1))
    centre = y.mean()
    theirs = PeerRidge(alpha=1e-2, kernel="rbf", gamma=0.3).fit(counts, y - centre)
    made = KernelRidge(1e-2, gamma=0.3, n_components=300).fit(counts, y)
    np.testing.assert_allclose(
        made.predict(counts), theirs.predict(counts) + centre, atol=0.01 * y.std()
    )


def test_a_kernel_that_needs_every_column_says_so_and_is_tagged(counts):
    for kind in (Nystroem, KernelRidge):
        with pytest.raises(ValueError, match="laplacian.*sparse"):
            kind(kernel="laplacian").fit(counts, np.ones(300))
        assert kind().__sklearn_tags__().input_tags.sparse
        assert not kind(kernel="laplacian").__sklearn_tags__().input_tags.sparse


MODELS = [PCA(2), IncrementalPCA(2), TruncatedSVD(2), Nystroem(n_components=10), KernelRidge(1.0)]
every = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)


@every
@pytest.mark.parametrize("form", FORMS)
def test_precision_is_kept_and_nothing_is_written_into(model, form, counts):
    X = counts.astype(np.float32).asformat(form)
    X.data.flags.writeable = False
    kept = X.toarray()
    fitted = clone(model).fit(X, np.ones(300))
    if hasattr(fitted, "partial_fit"):
        fitted = clone(model).partial_fit(X).partial_fit(X)
    if hasattr(fitted, "transform"):
        assert fitted.transform(X).dtype == np.float32
    np.testing.assert_array_equal(X.toarray(), kept)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_named(model, value, counts):
    bad = counts.copy()
    bad.data[bad.indptr[17]] = value
    column = bad.indices[bad.indptr[17]]
    words = rf"at row 17, column {column}"
    for fit in ("fit", "partial_fit"):
        if hasattr(model, fit):
            with pytest.raises(NonFiniteError, match=words):
                getattr(clone(model), fit)(bad, np.ones(300))


def test_pipelines_of_scikit_learn_stay_sparse(counts):
    pipe = make_pipeline(MaxAbsScaler(), TruncatedSVD(3))
    found = pipe.fit_transform(counts)
    expected = pipe.fit_transform(counts.toarray())
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-3, atol=1e-3)


def test_a_sparse_block_is_never_made_dense_whole(monkeypatch):
    X = sparse.random_array((2000, 5000), density=0.002, rng=np.random.default_rng(0))
    X = sparse.vstack([X] * 10).tocsr()
    whole = type(X).toarray

    def toarray(self, *args, **options):
        assert self.shape[0] * self.shape[1] <= 1 << 23
        return whole(self, *args, **options)

    monkeypatch.setattr(sparse.csr_array, "toarray", toarray)
    made = TruncatedSVD(2, buffer=4).partial_fit(X)
    assert made.n_samples_seen_ == 20_000

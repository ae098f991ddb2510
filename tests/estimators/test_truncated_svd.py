"""The batch fit, the fold that goes on from it, and stored matrices, against LAPACK and the peer."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import sklearn.decomposition as peers
import zarr

import streamsvd
from streamsvd import TruncatedSVD

DESCRIBED = (
    "components_",
    "singular_values_",
    "explained_variance_",
    "explained_variance_ratio_",
)


def reference(X, k):
    return peers.TruncatedSVD(k, algorithm="arpack").fit(X)


def assert_same(ours, theirs, *, atol):
    for name in DESCRIBED:
        expected = getattr(theirs, name)
        np.testing.assert_allclose(
            getattr(ours, name), expected, atol=atol * np.abs(expected).max(), err_msg=name
        )


@pytest.fixture(params=["path", "zarr", "dask", "opened"])
def stored(request, steep, tmp_path):
    path = str(tmp_path / "X.zarr")
    array = zarr.create_array(path, shape=steep.shape, chunks=(64, 7), dtype="f8")
    array[...] = steep
    return {
        "path": path,
        "zarr": array,
        "dask": da.from_array(steep, chunks=(64, 20)),
        "opened": streamsvd.open(path),
    }[request.param]


def test_fit_is_the_svd(steep):
    made = TruncatedSVD(5).fit(steep)
    assert_same(made, reference(steep, 5), atol=1e-9)
    np.testing.assert_allclose(
        made.transform(steep), reference(steep, 5).transform(steep), atol=1e-9
    )
    assert made.info_.passes >= 1


def test_a_flat_spectrum_is_resolved_where_one_look_is_not_enough(crowded):
    made = TruncatedSVD(4, tol=1e-6).fit(crowded)
    s = np.linalg.svd(crowded, compute_uv=False)[:4]
    np.testing.assert_allclose(made.singular_values_, s, rtol=1e-6)
    assert made.certificate_.relative_width <= 1e-6


def test_explained_variance_is_that_of_the_projection(steep):
    for fit in (TruncatedSVD(5).fit, TruncatedSVD(5, buffer=15).partial_fit):
        made = fit(steep)
        variance = made.transform(steep).var(axis=0)
        np.testing.assert_allclose(made.explained_variance_, variance, atol=1e-9)
        np.testing.assert_allclose(
            made.explained_variance_ratio_, variance / steep.var(axis=0).sum(), atol=1e-9
        )
        np.testing.assert_allclose(made.mean_, steep.mean(axis=0))


@pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3, 299], range(1, 300)])
def test_partial_fit_of_any_blocks_is_the_svd_while_all_directions_fit(cuts, steep):
    made = TruncatedSVD(5, buffer=15)
    for block in np.split(steep, cuts):
        made.partial_fit(block)
    assert_same(made, reference(steep, 5), atol=1e-9)
    assert made.n_samples_seen_ == 300


@pytest.mark.parametrize("buffer", [0, None])
def test_the_certificate_of_a_fold_holds_the_truth(buffer, crowded):
    made = TruncatedSVD(3, buffer=buffer)
    for block in np.split(crowded[:500], 100):
        made.partial_fit(block)
    s = np.linalg.svd(crowded[:500], compute_uv=False)
    c, V = made.certificate_, made.components_.T
    assert np.all(c.sigma_lower <= s[:3])
    assert np.all(s[:3] <= c.sigma_upper)
    assert np.linalg.norm(crowded[:500] - crowded[:500] @ V @ V.T) <= c.frobenius_error


def test_partial_fit_goes_on_from_fit_within_its_certificate(crowded):
    made = TruncatedSVD(4).fit(crowded[:1500]).partial_fit(crowded[1500:])
    s = np.linalg.svd(crowded, compute_uv=False)
    c = made.certificate_
    assert made.n_samples_seen_ == 2000
    assert np.all(c.sigma_lower <= s[:4])
    assert np.all(s[:4] <= c.sigma_upper)
    np.testing.assert_allclose(made.mean_, crowded.mean(axis=0), atol=1e-12)
    assert c.energy == pytest.approx(np.sum(s**2))


def test_a_stored_matrix_is_fitted_where_it_is(stored, steep):
    made = TruncatedSVD(5, memory="256MiB").fit(stored)
    assert_same(made, reference(steep, 5), atol=1e-9)
    assert made.n_features_in_ == 20
    np.testing.assert_allclose(made.mean_, steep.mean(axis=0))
    made.partial_fit(steep[:3])
    assert made.n_samples_seen_ == 303


def test_rows_of_a_stored_matrix_are_read_once_for_their_coordinates(stored, steep):
    made = TruncatedSVD(3)
    scores = made.fit_transform(stored)
    np.testing.assert_allclose(scores, reference(steep, 3).transform(steep), atol=1e-9)
    np.testing.assert_array_equal(scores, made.fit(stored).transform(stored))
    with pytest.raises(streamsvd.SpecError, match="not loaded whole"):
        made.partial_fit(stored)


class Counted:
    """Rows of a matrix, and how many of its bytes were read."""

    def __init__(self, A):
        self.A, self.shape, self.dtype, self.chunks = A, A.shape, A.dtype, (50, A.shape[1])
        self.seen = 0

    def read(self, rows):
        out = self.A[rows]
        self.seen += out.nbytes
        return out


@pytest.mark.parametrize("whole", [False, True])
def test_the_means_cost_one_more_pass_and_the_rows_another(whole, steep):
    X = Counted(steep)
    made = TruncatedSVD(3)
    made.fit_transform(X) if whole else made.fit(X)
    # the sample is charged whole chunks and may read less
    assert X.seen // steep.nbytes == made.info_.bytes_read // steep.nbytes + (2 if whole else 1)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_means_of_tiny_and_huge_stored_numbers(scale, steep):
    made = TruncatedSVD(2).fit(Counted(scale * steep))
    np.testing.assert_allclose(made.mean_, scale * steep.mean(axis=0))


def test_rows_of_the_span_come_back():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 12))
    made = TruncatedSVD(3)
    np.testing.assert_allclose(made.inverse_transform(made.fit_transform(X)), X, atol=1e-9)


def test_fewer_rows_than_components_make_as_many_as_there_are():
    X = np.random.default_rng(0).standard_normal((3, 9))
    fold = TruncatedSVD(5).partial_fit(X[:1])
    assert fold.components_.shape == (1, 9)
    fold.partial_fit(X[1:])
    batch = TruncatedSVD(5).fit(X)
    np.testing.assert_allclose(fold.components_, batch.components_, atol=1e-9)
    assert batch.components_.shape == (3, 9)


def test_nothing_but_zeros():
    for made in (
        TruncatedSVD(2).fit(np.zeros((5, 4))),
        TruncatedSVD(2).partial_fit(np.zeros((5, 4))),
    ):
        assert made.singular_values_.tolist() == [0, 0]
        assert made.explained_variance_ratio_.tolist() == [0, 0]
        np.testing.assert_allclose(made.components_ @ made.components_.T, np.eye(2), atol=1e-13)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": None}, "does not say how much is wanted"),
        ({"random_state": "a"}, "random_state='a' is no seed"),
        ({"random_state": -1}, "random_state=-1 is no seed"),
        ({"tol": 3}, "tol=3 is out of range"),
        ({"tol": "0.1"}, "tol='0.1' is not a number"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message, steep):
    with pytest.raises(streamsvd.SpecError, match=message):
        TruncatedSVD(**options).fit(steep)


@pytest.mark.parametrize("buffer", [1.5, "3", -1])
def test_a_buffer_is_a_count(buffer, steep):
    with pytest.raises(streamsvd.SpecError, match=f"buffer={buffer!r} is no count"):
        TruncatedSVD(2, buffer=buffer).partial_fit(steep)


@pytest.mark.parametrize("scale", [1e-170, 1e150, 1e160])
def test_sizes_whose_squares_do_not_fit_are_refused_and_leave_the_state_as_it_was(
    scale, steep, tmp_path
):
    made = TruncatedSVD(2).fit(steep)
    before = dict(vars(made))
    np.save(tmp_path / "X.npy", scale * steep)
    for act, rows in (
        (made.partial_fit, scale * steep),
        (made.fit, scale * steep),
        (made.fit_transform, scale * steep),
        (made.fit, tmp_path / "X.npy"),
        (made.fit_transform, tmp_path / "X.npy"),
    ):
        with pytest.raises(streamsvd.SpecError, match="entries of size .*, whose squares"):
            act(rows)
        assert vars(made) == before


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_a_stored_matrix_keep_its_precision(dtype, steep, tmp_path):
    np.save(tmp_path / "X.npy", steep.astype(dtype))
    assert TruncatedSVD(2).fit_transform(tmp_path / "X.npy").dtype == dtype


def test_a_fit_that_fails_midway_leaves_everything_as_it_was(steep, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise streamsvd.StoreError("the disk is gone")

    made = TruncatedSVD(2).fit(steep)
    before = dict(vars(made))
    np.save(tmp_path / "X.npy", steep[:50, :9])
    monkeypatch.setattr("streamsvd.estimators.truncated_svd.column_means", broken)
    for fit in (made.fit, made.fit_transform):
        with pytest.raises(streamsvd.StoreError, match="the disk is gone"):
            fit(tmp_path / "X.npy")
        assert vars(made) == before


def test_a_budget_that_cannot_be_kept_is_refused_before_reading(steep):
    X = Counted(steep)
    with pytest.raises(streamsvd.BudgetError):
        TruncatedSVD(2, memory=1000).fit(X)
    assert X.seen == 0


def test_complex_stored_rows_and_a_fold_after_them(steep, tmp_path):
    Z = steep + 1j * steep[:, ::-1] ** 2
    np.save(tmp_path / "Z.npy", Z.astype(np.complex64))
    made = TruncatedSVD(2, tol=1e-5)
    scores = made.fit_transform(tmp_path / "Z.npy")
    assert scores.dtype == np.complex64
    np.testing.assert_allclose(scores, Z @ made.components_.conj().T, rtol=1e-3, atol=1e-2)
    np.save(tmp_path / "X.npy", steep)
    fold = made.fit(tmp_path / "Z.npy").partial_fit(steep)
    assert not hasattr(fold, "result_")
    found = fold.transform(tmp_path / "X.npy")
    np.testing.assert_allclose(found, steep @ fold.components_.conj().T, atol=1e-9)


def test_rows_of_a_fold_are_read_in_a_pass(stored, steep):
    made = TruncatedSVD(3).partial_fit(steep)
    np.testing.assert_allclose(made.transform(stored), made.transform(steep), atol=1e-9)

"""Blocks of any height against the PCA of all rows at once."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import sklearn.decomposition as peers
import zarr
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd import IncrementalPCA


def reference(X, k=None):
    return peers.PCA(k, svd_solver="full").fit(X)


def assert_same(ours, theirs, *, atol=1e-9, components=True):
    scale = theirs.singular_values_[0]
    variance = theirs.explained_variance_[0]
    np.testing.assert_allclose(ours.mean_, theirs.mean_, atol=1e-12 * np.abs(theirs.mean_).max())
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, atol=atol * scale)
    np.testing.assert_allclose(
        ours.explained_variance_, theirs.explained_variance_, atol=atol * variance
    )
    np.testing.assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=atol
    )
    assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, abs=atol * variance)
    assert ours.n_components_ == theirs.n_components_
    if components:  # signs too
        np.testing.assert_allclose(ours.components_, theirs.components_, atol=atol**0.5)


def sine(a, b):
    """Of the largest angle between two row spaces."""
    return np.linalg.norm(a.T - b.T @ (b @ a.T), 2)


# Exact where all directions fit ----------------------------------------------------------------------


@pytest.mark.parametrize("k", [None, 5, 20])
@pytest.mark.parametrize("batch_size", [1, 7, 299, None])
def test_it_is_pca_while_components_and_buffer_hold_every_direction(k, batch_size, steep):
    made = IncrementalPCA(k, batch_size=batch_size, buffer=20).fit(steep)
    assert_same(made, reference(steep, k), atol=1e-12)
    X = steep[::7]
    np.testing.assert_allclose(
        made.transform(X)[:, :5], reference(steep, k).transform(X)[:, :5], atol=1e-6
    )


@pytest.mark.parametrize("shape", [(1, 4), (2, 5), (5, 5), (6, 5), (40, 3), (3, 40), (30, 1)])
def test_all_components_of_any_shape_are_those_of_pca(shape):
    X = np.random.default_rng(0).standard_normal(shape) + 2
    made = IncrementalPCA(batch_size=2).fit(X)
    assert made.components_.shape == (min(shape), shape[1])
    if shape[0] > 1:
        unique = shape[0] > shape[1]  # with fewer rows, the last direction has no variance
        assert_same(made, reference(X), atol=1e-12, components=unique)
    np.testing.assert_allclose(made.inverse_transform(made.transform(X)), X, atol=1e-12)


@given(cuts=st.sets(st.integers(1, 59), max_size=12), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_how_rows_are_cut_does_not_matter(cuts, k, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 6)) * 2.0 ** -np.arange(6) + 10 * rng.standard_normal(6)
    made = IncrementalPCA(k)
    for block in np.split(X, sorted(cuts)):
        made.partial_fit(block)
    assert_same(made, reference(X, k), atol=1e-11)
    np.testing.assert_allclose(made.var_, X.var(axis=0), rtol=1e-10)
    assert made.n_samples_seen_ == 60


def test_partial_fit_on_the_batches_of_fit_is_fit(crowded):
    whole = IncrementalPCA(3, batch_size=30).fit(crowded)
    parts = IncrementalPCA(3)
    for start in range(0, 2000, 30):
        parts.partial_fit(crowded[start : start + 30])
    np.testing.assert_array_equal(whole.components_, parts.components_)
    np.testing.assert_array_equal(whole.explained_variance_, parts.explained_variance_)
    assert whole.noise_variance_ == parts.noise_variance_


def test_blocks_may_be_smaller_than_the_components_first_and_last(steep):
    made = IncrementalPCA(8, buffer=12)
    sizes = [1, 2, 3, 200, 93, 1]
    seen = 0
    for size in sizes:
        made.partial_fit(steep[seen : seen + size])
        seen += size
        assert made.components_.shape == (min(8, seen), 20)
    assert_same(made, reference(steep, 8), atol=1e-12)
    with pytest.raises(ValueError, match="must be less or equal"):
        peers.IncrementalPCA(8).partial_fit(steep[:1])


def test_all_components_are_not_decided_by_the_first_block(steep):
    blocks = np.split(steep, [2])
    ours, theirs = IncrementalPCA(), peers.IncrementalPCA()
    for block in blocks:
        ours.partial_fit(block)
        theirs.partial_fit(block)
    assert ours.components_.shape == (20, 20)
    assert theirs.components_.shape == (2, 20)  # of 20


def test_one_row_has_no_variance_and_no_warning(steep):
    made = IncrementalPCA(1).partial_fit(steep[:1])
    assert made.explained_variance_.tolist() == [0] == made.explained_variance_ratio_.tolist()
    np.testing.assert_allclose(made.mean_, steep[0])


# Not exact, and known how far ---------------------------------------------------------------------------


def test_near_ties_in_small_batches_where_the_peer_loses_the_subspace(crowded):
    true = reference(crowded, 3)
    theirs = peers.IncrementalPCA(3, batch_size=4).fit(crowded)
    ours = IncrementalPCA(3, batch_size=4).fit(crowded)
    assert sine(theirs.components_, true.components_) > 0.9
    assert sine(ours.components_, true.components_) < 0.02
    assert theirs.noise_variance_ < 0.1 * true.noise_variance_
    assert ours.noise_variance_ == pytest.approx(true.noise_variance_, rel=2e-3)


@pytest.mark.parametrize("buffer", [0, 2, None])
@pytest.mark.parametrize("batch_size", [1, 3, 50, None])
def test_the_certificate_holds_the_truth(batch_size, buffer, crowded):
    X = crowded[:400]
    made = IncrementalPCA(3, batch_size=batch_size, buffer=buffer).fit(X)
    c, centred = made.certificate_, X - X.mean(axis=0)
    s = np.linalg.svd(centred, compute_uv=False)
    assert np.all(c.sigma_lower <= s[:3])
    assert np.all(s[:3] <= c.sigma_upper)
    V = made.components_.T
    assert np.linalg.norm(centred - centred @ V @ V.T) <= c.frobenius_error
    assert c.energy == pytest.approx(np.sum(s**2)) == pytest.approx(400 * made.var_.sum())
    assert c.failure_probability == 0 or batch_size is not None  # the default never sketches


def test_tall_batches_are_sketched_and_the_chance_is_told():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 400)) * 0.9 ** np.arange(400)
    made = IncrementalPCA(4, batch_size=900).fit(X)
    assert 0 < made.certificate_.failure_probability <= 1e-6
    s = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:4]
    assert np.all(made.certificate_.sigma_lower <= s)
    assert np.all(s <= made.certificate_.sigma_upper)
    np.testing.assert_allclose(made.singular_values_, s, rtol=1e-4)
    assert IncrementalPCA(4).fit(X).certificate_.failure_probability == 0


def test_a_wider_buffer_does_not_do_worse(crowded):
    errors = []
    for buffer in (0, 4, 16):
        made = IncrementalPCA(3, batch_size=5, buffer=buffer).fit(crowded)
        c = made.certificate_
        errors.append(float(np.max(c.sigma_upper - c.sigma_lower)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_a_tolerance_finds_the_number_of_components(steep):
    made = IncrementalPCA(tol=0.05, batch_size=9).fit(steep)
    centred = steep - steep.mean(axis=0)
    V = made.components_.T
    norm = np.linalg.norm(centred)
    assert np.linalg.norm(centred - centred @ V @ V.T) <= 0.05 * norm
    s = np.linalg.svd(centred, compute_uv=False)
    needed = int(np.flatnonzero(np.sqrt(np.cumsum(s[::-1] ** 2)[::-1]) <= 0.05 * norm)[0])
    assert needed <= made.n_components_ <= needed + 1
    assert made.transform(steep).shape == (300, made.n_components_)


def test_options_may_change_between_blocks(steep):
    made = IncrementalPCA(3, buffer=17).partial_fit(steep[:100])
    made.set_params(n_components=6, buffer=14).partial_fit(steep[100:])
    assert_same(made, reference(steep, 6), atol=1e-12)


# Laws of the outcome ------------------------------------------------------------------------------------


def test_components_are_orthonormal_and_scores_have_the_variances(crowded):
    made = IncrementalPCA(5, buffer=40, batch_size=11).fit(crowded)
    np.testing.assert_allclose(made.components_ @ made.components_.T, np.eye(5), atol=1e-13)
    scores = made.transform(crowded)
    np.testing.assert_allclose(
        np.cov(scores.T), np.diag(made.explained_variance_), atol=1e-9 * scores.var()
    )
    np.testing.assert_allclose(made.singular_values_, np.linalg.norm(scores, axis=0))
    np.testing.assert_allclose(
        made.explained_variance_ratio_ * crowded.var(axis=0, ddof=1).sum(),
        made.explained_variance_,
    )


def test_the_covariance_is_that_of_pca(steep):
    for k in (4, 20):
        made = IncrementalPCA(k, buffer=20).fit(steep)
        np.testing.assert_allclose(
            made.get_covariance(), reference(steep, k).get_covariance(), atol=1e-12
        )


@pytest.mark.parametrize("whiten", [False, True])
def test_rows_of_the_span_come_back(whiten):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 12)) + 7
    made = IncrementalPCA(3, whiten=whiten, batch_size=2).fit(X)
    scores = made.transform(X)
    np.testing.assert_allclose(made.inverse_transform(scores), X, atol=1e-12)
    np.testing.assert_allclose(made.fit_transform(X), scores, atol=1e-12)
    if whiten:
        np.testing.assert_allclose(np.cov(scores.T), np.eye(3), atol=1e-12)


def test_directions_without_variance_are_orthonormal_and_whitened_to_zero():
    X = np.outer(np.arange(9.0), np.ones(6)) + 4
    made = IncrementalPCA(3, whiten=True).fit(X)
    np.testing.assert_allclose(made.components_ @ made.components_.T, np.eye(3), atol=1e-13)
    assert made.singular_values_[0] > 0
    assert made.singular_values_[1:].tolist() == [0, 0]
    assert np.all(made.certificate_.sigma_upper[1:] < 1e-10)
    assert made.certificate_.subspace_angle_bound == np.inf
    assert not made.transform(X)[:, 1:].any()
    np.testing.assert_allclose(made.inverse_transform(made.transform(X)), X)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_tiny_and_huge_numbers(scale, steep):
    made = IncrementalPCA(5, buffer=15, batch_size=13).fit(scale * steep)
    np.testing.assert_allclose(
        made.singular_values_, scale * reference(steep, 5).singular_values_, rtol=1e-10
    )


def test_single_precision_far_from_zero_keeps_its_digits():
    X = (np.random.default_rng(0).standard_normal((200, 6)) + 1e5).astype(np.float32)
    made = IncrementalPCA(batch_size=10).fit(X)
    true = reference(X.astype(np.float64))
    np.testing.assert_allclose(made.singular_values_, true.singular_values_, rtol=1e-9)
    np.testing.assert_allclose(made.transform(X), true.transform(X.astype(np.float64)), atol=1e-6)


# Options, and data that stay where they are ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0 is no count"),
        ({"n_components": 2, "buffer": -1}, "buffer=-1 is no count. Pass an integer of at least 0"),
        ({"n_components": 2, "buffer": 1.5}, "buffer=1.5 is no count"),
        ({"n_components": 2, "buffer": "3"}, "buffer='3' is no count"),
        ({"tol": "0.1"}, "tol='0.1' is no relative error"),
        ({"tol": 2.0}, "tol=2.0 is no relative error"),
        ({"tol": 0.1, "n_components": 2}, "n_components=2 and tol=0.1 exclude each other"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message, steep):
    with pytest.raises(streamsvd.SpecError, match=message):
        IncrementalPCA(**options).fit(steep)


@pytest.mark.parametrize("kind", ["path", "zarr", "dask", "opened"])
def test_a_stored_matrix_is_fitted_in_runs_of_chunks(kind, steep, tmp_path):
    path = str(tmp_path / "X.zarr")
    stored = zarr.create_array(path, shape=steep.shape, chunks=(64, 7), dtype="f8")
    stored[...] = steep
    X = {
        "path": path,
        "zarr": stored,
        "dask": da.from_array(steep, chunks=(64, 7)),
        "opened": streamsvd.open(path),
    }[kind]
    made = IncrementalPCA(4, buffer=16).fit(X)
    assert made.n_features_in_ == 20
    assert_same(made, reference(steep, 4), atol=1e-12)
    np.testing.assert_array_equal(
        made.components_, IncrementalPCA(4, buffer=16).fit(steep).components_
    )
    np.testing.assert_allclose(made.transform(X), made.transform(steep), rtol=1e-12)
    with pytest.raises(streamsvd.SpecError, match="not loaded whole"):
        made.partial_fit(X)


def test_a_stored_matrix_is_read_once_and_batches_begin_in_one_chunk_and_end_in_the_next(steep):
    class Counted:
        shape, dtype, chunks, seen = steep.shape, steep.dtype, (77, 20), 0

        def read(self, rows):
            self.seen += rows.stop - rows.start
            return steep[rows]

    X = Counted()
    made = IncrementalPCA(4, batch_size=50).fit(X)
    assert X.seen == 300
    same = IncrementalPCA(4, batch_size=50).fit(steep)
    np.testing.assert_array_equal(made.components_, same.components_)
    with pytest.raises(streamsvd.BudgetError, match="absorbing 50 rows at once from"):
        IncrementalPCA(4, batch_size=50, memory=1000).fit(X)
    assert X.seen == 300


def test_nan_is_refused_and_leaves_the_state_as_it_was(steep):
    made = IncrementalPCA(2).partial_fit(steep)
    bad = steep.copy()
    bad[3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        made.partial_fit(bad)
    assert made.state_.n_rows == 300


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_sizes_whose_squares_do_not_fit_are_refused_and_leave_the_state_as_it_was(scale, steep):
    with pytest.raises(streamsvd.SpecError, match="entries of size .*, whose squares"):
        IncrementalPCA(2).fit(scale * steep)
    made = IncrementalPCA(2).partial_fit(steep)
    before = dict(vars(made))
    with pytest.raises(streamsvd.SpecError, match="the block has entries of size"):
        made.partial_fit(scale * steep)
    assert vars(made) == before
    assert made.partial_fit(steep).n_samples_seen_ == 600


def test_a_fit_that_fails_midway_leaves_everything_as_it_was(steep, tmp_path):
    made = IncrementalPCA(2).fit(steep)
    before = dict(vars(made))
    bad = np.concatenate([steep + 1, steep])[:, :7]
    bad[500, 3] = np.nan
    stored = zarr.create_array(str(tmp_path / "X"), shape=bad.shape, chunks=(64, 7), dtype="f8")
    stored[...] = bad
    for rows in (stored, bad):
        with pytest.raises(ValueError, match="NaN"):
            made.fit(rows)
        assert vars(made) == before
    assert made.transform(steep).shape == (300, 2)
    fresh = IncrementalPCA(2)
    with pytest.raises(ValueError, match="NaN"):
        fresh.partial_fit(bad)
    assert set(vars(fresh)) == set(fresh.get_params())


def test_the_number_of_components_is_that_of_the_rows_where_rounding_adds_directions():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10, 20)) + 1e4 * rng.standard_normal(20)
    for options in ({"n_components": 15}, {"tol": 1e-12}, {}):
        made = IncrementalPCA(**options)
        for row in X:
            made.partial_fit(row[None, :])
            shape = (min(made.n_samples_seen_, 15 if "n_components" in options else 20), 20)
            assert made.components_.shape[0] == made.n_components_ == made.singular_values_.size
            assert made.certificate_.sigma_upper.size == made.n_components_
            if "tol" not in options:
                assert made.components_.shape == shape
        assert made.n_components_ <= 10


@pytest.mark.parametrize("k", [3, 40])
def test_the_precision_is_that_of_pca(k, crowded):
    made, true = IncrementalPCA(k, buffer=40).fit(crowded), reference(crowded, k)
    np.testing.assert_allclose(made.get_precision(), true.get_precision(), atol=1e-10)
    np.testing.assert_allclose(made.get_precision() @ made.get_covariance(), np.eye(40), atol=1e-10)

"""Principal components against scikit-learn's own, in memory and stored, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import sklearn
import sklearn.decomposition as peers
import zarr
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import streamsvd
from streamsvd.estimators import PCA, IncrementalPCA
from tests.estimators.conftest import with_spectrum

DESCRIBED = (
    "components_",
    "singular_values_",
    "explained_variance_",
    "explained_variance_ratio_",
    "mean_",
    "noise_variance_",
)


def reference(X, k=None, **options):
    return peers.PCA(k, svd_solver="full", **options).fit(X)


def assert_close(ours, theirs, atol=1e-8):
    np.testing.assert_allclose(ours, theirs, atol=atol * max(1.0, np.abs(theirs).max()), rtol=0)


def assert_same(ours, theirs):
    assert ours.n_components_ == theirs.n_components_
    assert ours.n_samples_ == theirs.n_samples_
    for name in DESCRIBED[1:]:
        assert_close(getattr(ours, name), getattr(theirs, name))
    # squares are taken: vectors of values 1e-6 of the first have 4 digits, here as in its covariance_eigh
    clear = theirs.singular_values_ > 1e-4 * theirs.singular_values_[0]
    assert_close(ours.components_[clear], theirs.components_[clear])


@pytest.fixture(params=["path", "zarr", "dask", "opened", "npy"])
def stored(request, steep, tmp_path):
    path = str(tmp_path / "X.zarr")
    array = zarr.create_array(path, shape=steep.shape, chunks=(64, 7), dtype="f8")
    array[...] = steep
    np.save(tmp_path / "X.npy", steep)
    return {
        "path": path,
        "zarr": array,
        "dask": da.from_array(steep, chunks=(64, 20)),
        "opened": streamsvd.open(path),
        "npy": tmp_path / "X.npy",
    }[request.param]


# The same as scikit-learn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [1, 5, 20, None, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("whiten", [False, True])
def test_it_is_the_pca_of_scikit_learn(n_components, whiten, steep):
    made = PCA(n_components, whiten=whiten).fit(steep)
    true = reference(steep, n_components, whiten=whiten)
    assert_same(made, true)
    scores = true.transform(steep)
    clear = slice(13) if whiten else slice(None)
    assert_close(made.transform(steep)[:, clear], scores[:, clear])
    assert_close(made.inverse_transform(made.transform(steep)), true.inverse_transform(scores))


@pytest.mark.parametrize("n_components", [1, 5, 19, 20])
def test_its_model_is_that_of_scikit_learn(n_components, steep):
    X = steep[:, ::2] if n_components < 10 else steep  # precisions of all 20 reach 1e11
    k = min(n_components, X.shape[1])
    made, true = PCA(k).fit(X), reference(X, k)
    new = X[:40] + 0.1
    assert_close(made.get_covariance(), true.get_covariance())
    if n_components >= 19:
        return
    assert_close(made.get_precision(), true.get_precision())
    assert_close(made.score_samples(new), true.score_samples(new))
    assert made.score(new) == pytest.approx(true.score(new), rel=1e-8)
    assert_close(made.get_precision() @ made.get_covariance(), np.eye(X.shape[1]))


@pytest.mark.parametrize("k", [3, 40])
def test_the_density_is_that_of_a_gaussian(k, crowded):
    from scipy.stats import multivariate_normal

    made, new = PCA(k).fit(crowded), crowded[:50]
    truth = multivariate_normal(made.mean_, made.get_covariance()).logpdf(new)
    np.testing.assert_allclose(made.score_samples(new), truth, rtol=1e-10)
    fold = IncrementalPCA(k, buffer=40).fit(crowded)
    np.testing.assert_allclose(fold.score_samples(new), truth, rtol=1e-8)


def test_whitening_changes_neither_the_covariance_nor_the_density(crowded):
    """In scikit-learn it does: components of unit length are scaled once more there."""
    white, plain = PCA(3, whiten=True).fit(crowded), PCA(3).fit(crowded)
    np.testing.assert_array_equal(white.get_covariance(), plain.get_covariance())
    np.testing.assert_array_equal(white.score_samples(crowded), plain.score_samples(crowded))


@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (12, 12), (2, 3)])
def test_matrices_of_every_shape(shape):
    X = np.random.default_rng(1).standard_normal(shape) + 2
    made, true = PCA().fit(X), reference(X)
    assert made.n_components_ == min(shape)
    for name in DESCRIBED[1:]:
        assert_close(getattr(made, name), getattr(true, name), 1e-7)
    np.testing.assert_allclose(made.inverse_transform(made.transform(X)), X, atol=1e-7)
    whole = min(shape[0] - 1, shape[1])  # the mean takes one direction
    assert_close(made.components_[:whole], true.components_[:whole], 1e-7)


def test_white_scores_have_unit_variance_and_nothing_in_directions_without():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 8)) + 5
    made = PCA(5, whiten=True).fit(X)
    scores = made.transform(X)
    np.testing.assert_allclose(np.cov(scores[:, :3].T), np.eye(3), atol=1e-9)
    np.testing.assert_array_equal(scores[:, 3:], 0)
    np.testing.assert_allclose(made.inverse_transform(scores), X, atol=1e-9)


def test_a_share_is_that_of_the_verb_and_a_tolerance_decides_the_number(crowded):
    made = PCA(0.6).fit(crowded)
    assert made.n_components_ == streamsvd.pca(crowded, energy=0.6).rank
    assert made.explained_variance_ratio_.sum() >= 0.6
    assert made.explained_variance_ratio_[:-1].sum() < 0.6
    made = PCA(tol=0.5).fit(crowded)
    centred = crowded - crowded.mean(axis=0)
    left = np.linalg.norm(
        centred - made.inverse_transform(made.transform(crowded)) + crowded.mean(axis=0)
    )
    assert left <= 0.5 * np.linalg.norm(centred)
    assert made.n_components_ < 40


def test_the_certificate_holds_the_truth_and_the_result_can_be_kept(crowded, tmp_path):
    made = PCA(4, tol=1e-4).fit(crowded)
    s = np.linalg.svd(crowded - crowded.mean(axis=0), compute_uv=False)[:4]
    c = made.certificate_
    assert np.all(c.sigma_lower <= s)
    assert np.all(s <= c.sigma_upper)
    assert c.relative_width <= 1e-4
    assert made.result_.U is None
    made.result_.save(tmp_path / "r.zarr")
    again = streamsvd.load(tmp_path / "r.zarr")
    np.testing.assert_array_equal(again.Vh, made.components_)


def test_masked_arrays_and_frames_are_arrays(steep):
    true = PCA(3).fit(steep)
    plain = np.ma.masked_array(steep, mask=np.zeros_like(steep, bool))
    np.testing.assert_array_equal(PCA(3).fit(plain).components_, true.components_)
    for library in ("pandas", "polars"):
        frames = pytest.importorskip(library)
        frame = frames.DataFrame({f"x{i}": steep[:, i] for i in range(20)})
        made = PCA(3).fit(frame)
        np.testing.assert_array_equal(made.components_, true.components_)
        if not hasattr(peers.PCA(1).fit(frame), "feature_names_in_"):
            continue  # a scikit-learn older than the frames
        assert list(made.feature_names_in_) == [f"x{i}" for i in range(20)]
        assert made.transform(frame).shape == (300, 3)
        assert list(made.result_.labels.column_names) == list(made.feature_names_in_)
        out = PCA(2).set_output(transform=library).fit_transform(frame)
        assert list(out.columns) == ["pca0", "pca1"]


def test_numbers_of_nullable_types_and_objects_are_numbers(steep):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.round(steep[:, :4] * 10))
    frame.columns = ["a", "b", "c", "d"]
    mixed = frame.astype({"a": "Int64", "b": "Float64", "c": object, "d": "float32"})
    mixed["e"] = np.arange(300) % 2 == 0
    frame["e"] = mixed["e"].astype(int)
    assert_close(PCA(3).fit(mixed).components_, PCA(3).fit(frame).components_)


# Stored matrices ---------------------------------------------------------------------------------------------------


def test_a_stored_matrix_is_what_it_is_in_memory(stored, steep):
    made, true = PCA(5, memory="256MiB").fit(stored), reference(steep, 5)
    assert_same(made, true)
    assert made.n_features_in_ == 20
    assert not hasattr(made, "feature_names_in_")
    for name in ("transform", "score_samples"):
        given = getattr(made, name)(stored)
        np.testing.assert_allclose(given, getattr(made, name)(steep), rtol=1e-9, atol=1e-9)
    assert made.score(stored) == pytest.approx(true.score(steep), rel=1e-8)


@pytest.mark.parametrize("whiten", [False, True])
def test_fit_transform_is_fit_and_transform_bit_for_bit(stored, whiten, steep):
    made = PCA(3, whiten=whiten)
    once = made.fit_transform(stored)
    np.testing.assert_array_equal(once, PCA(3, whiten=whiten).fit(stored).transform(stored))
    np.testing.assert_allclose(
        once, PCA(3, whiten=whiten).fit_transform(steep), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("dtype", ["f4", "i2", ">f8", "f2"])
def test_types_of_stored_numbers(dtype, steep, tmp_path):
    X = np.round(steep * 100).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    made = PCA(3, tol=1e-6).fit(tmp_path / "X.npy")
    scores = made.transform(tmp_path / "X.npy")
    assert scores.dtype == (np.float32 if dtype == "f4" else np.float64)
    truth = reference(X.astype(float), 3).transform(X.astype(float))
    np.testing.assert_allclose(scores, truth, rtol=1e-4, atol=1e-3)


def test_scores_of_a_path_have_names_where_asked(steep, tmp_path):
    pytest.importorskip("pandas")
    np.save(tmp_path / "X.npy", steep)
    out = PCA(2).set_output(transform="pandas").fit_transform(tmp_path / "X.npy")
    assert list(out.columns) == ["pca0", "pca1"]
    assert out.shape == (300, 2)


class Counted:
    """Rows of a matrix, how many of its bytes were read, and whether all at once."""

    def __init__(self, A):
        self.A, self.shape, self.dtype, self.chunks = A, A.shape, A.dtype, (50, A.shape[1])
        self.seen, self.most = 0, 0

    def read(self, rows):
        out = self.A[rows]
        self.seen, self.most = self.seen + out.nbytes, max(self.most, out.nbytes)
        return out


def test_scores_and_densities_cost_a_pass_each_and_wide_matrices_come_in_parts():
    X = Counted(np.random.default_rng(0).standard_normal((2000, 300)))
    made = PCA(3).fit(X)
    for act in (made.transform, made.score_samples):
        X.seen = X.most = 0
        act(X)
        assert X.seen == X.A.nbytes
        assert X.most < X.A.nbytes / 2


def test_rows_are_the_same_bits_on_any_number_of_threads(tmp_path, monkeypatch):
    X = np.random.default_rng(0).standard_normal((5000, 64))
    array = zarr.create_array(str(tmp_path / "X"), shape=X.shape, chunks=(300, 64), dtype="f8")
    array[...] = X
    made, found = PCA(3).fit(array), []
    for threads in (1, 2, 5):
        monkeypatch.setattr("streamsvd.engine.schedule.concurrency", lambda t=threads: (1, t))
        found.append((made.transform(array), made.score_samples(array)))
    for scores, densities in found[1:]:
        np.testing.assert_array_equal(scores, found[0][0])
        np.testing.assert_array_equal(densities, found[0][1])


def test_a_budget_that_cannot_be_kept_is_refused_before_reading(steep):
    X = Counted(steep)
    with pytest.raises(streamsvd.BudgetError):
        PCA(2, memory=1000).fit(X)
    assert X.seen == 0
    made = PCA(2).fit(steep).set_params(memory=1000)
    with pytest.raises(streamsvd.BudgetError, match="projecting the rows of .* needs"):
        made.transform(X)
    assert X.seen == 0


# In scikit-learn's company -------------------------------------------------------------------------------------------


def test_a_pipeline_with_a_scaler(steep):
    pipe = make_pipeline(StandardScaler(), PCA(3)).fit(steep)
    true = make_pipeline(StandardScaler(), peers.PCA(3, svd_solver="full")).fit(steep)
    assert_close(pipe.transform(steep), true.transform(steep))
    assert list(pipe.get_feature_names_out()) == ["pca0", "pca1", "pca2"]
    assert pipe.score(steep) == pytest.approx(true.score(steep))


def test_a_search_finds_the_number_with_the_best_density():
    X = with_spectrum(np.r_[9, 7, 5, np.ones(7)], 400, offset=3.0)
    grid = {"n_components": [1, 2, 3, 6, 9]}
    ours = GridSearchCV(PCA(), grid, cv=3).fit(X)
    theirs = GridSearchCV(peers.PCA(svd_solver="full"), grid, cv=3).fit(X)
    assert ours.best_params_ == theirs.best_params_ == {"n_components": 3}
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], rtol=1e-8)


def test_a_pickled_estimator_is_the_same(steep):
    made = PCA(3, whiten=True).fit(steep)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.transform(steep), made.transform(steep))
    np.testing.assert_array_equal(again.certificate_.sigma_upper, made.certificate_.sigma_upper)


def test_weights_of_a_score_are_routed(steep):
    y = steep @ np.arange(20.0)
    weights = np.r_[np.ones(150), np.zeros(150)]
    with sklearn.config_context(enable_metadata_routing=True):
        model = streamsvd.KernelRidge(n_components=30, gamma=0.1, alpha=1e-3).set_score_request(
            sample_weight=True
        )
        search = GridSearchCV(model, {"gamma": [0.01, 100.0]}, cv=2)
        order = np.random.default_rng(0).permutation(300)
        search.fit(steep[order], y[order], sample_weight=weights[order])
    assert search.best_params_ == {"gamma": 0.01}


# What is refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("mle", r"guesses the number.*Pass tol=0.05 without n_components"),
        (np.str_("mle"), "Pass tol="),
        ("2", "n_components='2' is no count"),
        (True, "n_components=True is no count"),
        (0, "n_components=0 is no count"),
        (-3, "n_components=-3 is no count"),
        (1.0, r"n_components=1.0 is no count and no share.*in \(0, 1\)"),
        (0.0, "n_components=0.0 is no count and no share"),
        (2.5, "n_components=2.5 is no count and no share"),
        (float("nan"), "n_components=nan is no count and no share"),
        ([2], r"n_components=\[2\] is no count"),
    ],
)
def test_numbers_of_components_that_cannot_be_meant(value, words, steep):
    made = PCA(value)
    with pytest.raises(streamsvd.SpecError, match=words):
        made.fit(steep)
    assert set(vars(made)) == set(made.get_params())


@pytest.mark.parametrize("kind", ["memory", "stored"])
def test_more_components_than_rows_or_columns(kind, steep, tmp_path):
    X = steep[:7]
    if kind == "stored":
        X = tmp_path / "X.npy"
        np.save(X, steep[:7])
    words = r"n_components=8 exceeds min\(n_samples, n_features\)=7 of X, which is 7 x 20. Pass n_components <= 7"
    with pytest.raises(streamsvd.ShapeError, match=words):
        PCA(8).fit(X)


def test_shapes_that_are_no_matrix(steep):
    made = PCA(2)
    with pytest.raises(ValueError, match="0 sample"):
        made.fit(steep[:0])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        made.fit(steep[0])
    with pytest.raises(ValueError, match="0 feature"):
        made.fit(steep[:, :0])
    made.fit(steep)
    with pytest.raises(ValueError, match="19 features, but PCA is expecting 20"):
        made.transform(steep[:, 1:])
    with pytest.raises(
        streamsvd.ShapeError, match="X has 3 coordinates a row, and there are 2 components"
    ):
        made.inverse_transform(steep[:, :3])


@pytest.mark.parametrize("act", ["transform", "score_samples"])
def test_a_stored_matrix_of_other_columns(act, steep, tmp_path):
    made = PCA(2).fit(steep)
    np.save(tmp_path / "X.npy", steep[:, 1:])
    with pytest.raises(
        streamsvd.ShapeError, match=r"X.npy has 19 features, but PCA is expecting 20"
    ):
        getattr(made, act)(tmp_path / "X.npy")


def test_complex_matrices(steep, tmp_path):
    np.save(tmp_path / "X.npy", steep * 1j)
    with pytest.raises(streamsvd.SpecError, match="is complex, and real rows are needed here"):
        PCA(2).fit(tmp_path / "X.npy")
    with pytest.raises(ValueError, match="Complex data not supported"):
        PCA(2).fit(steep * 1j)


def test_a_model_that_leaves_nothing_out_has_no_density():
    X = np.random.default_rng(0).standard_normal((6, 20))
    made = PCA().fit(X)
    for ask in (made.get_precision, lambda: made.score(X)):
        with pytest.raises(
            streamsvd.SpecError, match="rank 5 in 20 columns, and no inverse.*below 5"
        ):
            ask()
    assert np.isfinite(PCA(3).fit(X).score(X))


def test_a_column_that_never_varies_and_no_variance_at_all():
    X = np.random.default_rng(0).standard_normal((50, 4))
    X[:, 2] = 7
    made = PCA(3).fit(X)
    np.testing.assert_allclose(made.components_[:, 2], 0, atol=1e-12)
    flat = PCA(2, whiten=True).fit(np.full((5, 3), 2.0))
    np.testing.assert_array_equal(flat.explained_variance_, 0)
    np.testing.assert_array_equal(flat.explained_variance_ratio_, 0)
    np.testing.assert_array_equal(flat.transform(np.full((5, 3), 2.0)), 0)
    one = PCA(1).fit(X[:1])
    assert one.explained_variance_ == 0


@pytest.mark.parametrize(
    "model",
    [PCA(2), IncrementalPCA(2), streamsvd.TruncatedSVD(2), streamsvd.Nystroem(n_components=9)],
    ids=lambda model: type(model).__name__,
)
def test_entries_that_are_missing_say_where_and_who_has_a_policy(model, steep, tmp_path):
    verb = {"TruncatedSVD": "svd", "Nystroem": "nystrom"}.get(type(model).__name__, "pca")
    words = f"streamsvd.{verb}, which fills them with nonfinite="
    bad, infinite = steep.copy(), steep.copy()
    bad[41, 3], infinite[7, 5] = np.nan, -np.inf
    np.save(tmp_path / "X.npy", bad)
    masked = np.ma.masked_array(steep, mask=np.isnan(bad))
    good = sklearn.base.clone(model).fit(steep)
    for act in (model.fit, good.transform):
        for given in (bad, masked, tmp_path / "X.npy"):
            with pytest.raises(streamsvd.NonFiniteError, match=words) as caught:
                act(given)
            assert (caught.value.row, caught.value.column) == (41, 3)
        with pytest.raises(streamsvd.NonFiniteError, match="Inf at row 7, column 5"):
            act(infinite)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(bad, columns=[f"x{i}" for i in range(20)])
    with pytest.raises(streamsvd.NonFiniteError, match=r"NaN at row 41, column 3 \('x3' of X\)"):
        model.fit(frame)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_that_hold_no_numbers_are_named(library, steep):
    frames = pytest.importorskip(library)
    data = {"good": steep[:3, 0], "name": ["a", "b", "c"], "count": [1, 2, 3]}
    frame = frames.DataFrame(data)
    for model in (PCA(1), IncrementalPCA(1), streamsvd.TruncatedSVD(1), streamsvd.Nystroem()):
        with pytest.raises(
            streamsvd.SpecError, match=r"of X hold no numbers: 'name' \(text\). Leave them out"
        ):
            model.fit(frame)
    with pytest.raises(streamsvd.SpecError, match="'name' \\(text\\)"):
        streamsvd.KernelRidge().fit(frame, [1.0, 2.0, 3.0])
    if library == "pandas":
        frame["kind"] = frames.Categorical([1, 2, 1])
        frame["when"] = frames.to_datetime(["2000-01-01"] * 3)
        frame["what"] = [SimpleNamespace(), None, 3]
        said = r"'kind' \(categorical\), 'when' \(times\), 'what' \(objects\)"
    else:
        frame = frame.with_columns(
            kind=frames.Series(["u", "v", "u"], dtype=frames.Categorical),
            when=frames.Series([0, 1, 2]).cast(frames.Date),
            what=frames.Series([[1], [2], [3]]),
        )
        said = r"'kind' \(categorical\), 'when' \(times\), 'what' \(List\)"
    with pytest.raises(streamsvd.SpecError, match=said):
        PCA(1).fit(frame)


def test_frames_that_are_not_computed_say_how_they_are(steep):
    polars = pytest.importorskip("polars")
    with pytest.raises(
        streamsvd.SpecError, match=r"x is a table \(polars.*LazyFrame\).*collect\(\)"
    ):
        PCA(1).fit(polars.DataFrame({"a": steep[:, 0]}).lazy())


def test_frames_with_other_names_are_refused(steep):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(steep, columns=[f"x{i}" for i in range(20)])
    made = PCA(2).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        made.transform(frame.rename(columns={"x3": "y3"}))


def test_a_fit_that_fails_midway_leaves_everything_as_it_was(steep, tmp_path):
    made = PCA(2).fit(steep)
    before = dict(vars(made))
    bad = steep[:, :9].copy()
    bad[250, 3] = np.nan
    np.save(tmp_path / "X.npy", bad)
    for given in (bad, tmp_path / "X.npy"):
        for fit in (made.fit, made.fit_transform):
            with pytest.raises(streamsvd.NonFiniteError):
                fit(given)
            assert vars(made) == before


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_sizes_whose_squares_do_not_fit_are_refused(scale, steep, tmp_path):
    np.save(tmp_path / "X.npy", scale * steep)
    for given in (scale * steep, tmp_path / "X.npy"):
        with pytest.raises(streamsvd.SpecError, match="entries of size .*, whose squares"):
            PCA(2).fit(given)


# Names of stored columns ----------------------------------------------------------------------------------------------


def named(path, X, names):
    """A zarr group as xarray writes it: rows of a variable, and texts along its columns."""
    xarray = pytest.importorskip("xarray")
    data = xarray.DataArray(X, dims=("sample", "gene"), coords={"gene": names}, name="X")
    data.to_dataset().to_zarr(path, zarr_format=2, consolidated=False)
    return path


@pytest.mark.parametrize("form", [PCA, IncrementalPCA, streamsvd.TruncatedSVD])
def test_names_of_stored_columns_are_those_of_the_features(form, steep, tmp_path):
    pandas = pytest.importorskip("pandas")
    names = [f"g{i}" for i in range(20)]
    made = form(2).fit(streamsvd.open(named(tmp_path / "a.zarr", steep, names), variable="X"))
    assert list(made.feature_names_in_) == names
    frame = pandas.DataFrame(steep, columns=names)
    assert made.transform(frame).shape == (300, 2)
    turned = named(tmp_path / "b.zarr", steep, [*names[1:], names[0]])
    with pytest.raises(streamsvd.SpecError, match="column 0 of .* is 'g1', and was 'g0' in fit"):
        made.transform(streamsvd.open(turned, variable="X"))
    np.save(tmp_path / "X.npy", steep)
    assert made.transform(tmp_path / "X.npy").shape == (300, 2)
    assert not hasattr(made.fit(tmp_path / "X.npy"), "feature_names_in_")


def test_numbers_along_columns_are_no_names(steep, tmp_path):
    path = named(tmp_path / "a.zarr", steep, np.arange(20) / 4)
    assert not hasattr(PCA(2).fit(streamsvd.open(path, variable="X")), "feature_names_in_")


# Kinds of stored matrices ---------------------------------------------------------------------------------------------


def shards(steep, folder, form):
    """Rows in three files of unequal length."""
    (folder / "parts").mkdir()
    cuts = [0, 10, 170, 300]
    for i, (a, b) in enumerate(zip(cuts, cuts[1:], strict=False)):
        np.save(folder / "parts" / f"{i}.npy", steep[a:b])
    return folder / "parts" if form is Path else sorted((folder / "parts").iterdir())


@pytest.mark.parametrize("form", [Path, list])
def test_shards_are_one_matrix(form, steep, tmp_path):
    parts = shards(steep, tmp_path, form)
    made = PCA(3).fit(parts)
    assert_close(made.components_, reference(steep, 3).components_)
    assert_close(made.transform(parts), reference(steep, 3).transform(steep))
    with pytest.raises(streamsvd.SpecError, match="not loaded whole.*numpy.asarray"):
        IncrementalPCA(3).partial_fit(parts)


def test_lists_of_rows_and_of_arrays_are_rows_in_memory(steep):
    for rows in (steep.tolist(), list(steep), tuple(steep)):
        np.testing.assert_array_equal(PCA(3).fit(rows).components_, PCA(3).fit(steep).components_)


def test_arrays_of_xarray_and_of_hdf5(steep, tmp_path):
    h5py, xarray = pytest.importorskip("h5py"), pytest.importorskip("xarray")
    names = [f"g{i}" for i in range(20)]
    data = xarray.DataArray(steep, dims=("time", "gene"), coords={"gene": names})
    made = PCA(3).fit(data)
    assert list(made.feature_names_in_) == names
    scores = made.transform(data)
    assert_close(scores, reference(steep, 3).transform(steep))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = steep
    with h5py.File(tmp_path / "a.h5") as file:
        assert_close(PCA(3).fit_transform(file["x"]), scores)
    assert_close(PCA(3).fit_transform(streamsvd.open(tmp_path / "a.h5", variable="x")), scores)
    blocks = IncrementalPCA(3, buffer=17)
    for start in range(0, 300, 100):
        blocks.partial_fit(np.asarray(data[start : start + 100]))
    assert_close(blocks.components_, made.components_)


def test_a_table_of_parquet_keeps_the_names_of_its_columns(steep, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(steep, columns=[f"x{i}" for i in range(20)])
    frame.to_parquet(tmp_path / "a.parquet")
    made = PCA(2).set_output(transform="pandas").fit(tmp_path / "a.parquet")
    assert list(made.feature_names_in_) == list(frame.columns)
    scores = made.transform(tmp_path / "a.parquet")
    assert_close(scores.to_numpy(), made.transform(frame).to_numpy())
    frame[["x1", "x0", *frame.columns[2:]]].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(streamsvd.SpecError, match="column 0 of .*b.parquet is 'x1', and was 'x0'"):
        made.transform(tmp_path / "b.parquet")

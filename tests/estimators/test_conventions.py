"""What scikit-learn asks of every estimator, and that nobody who does not ask for it pays for it."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.extmath import svd_flip

import streamsvd
from streamsvd import IncrementalPCA, KernelRidge, Nystroem, TruncatedSVD
from streamsvd.estimators import PCA

FOLDS = [IncrementalPCA(n_components=2), TruncatedSVD(n_components=2)]
folds = pytest.mark.parametrize("model", FOLDS, ids=lambda model: type(model).__name__)
every = pytest.mark.parametrize(
    "model", [PCA(n_components=2), *FOLDS], ids=lambda model: type(model).__name__
)


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.SkipTestWarning"
)  # array API: not asked for
@parametrize_with_checks(
    [
        PCA(),
        PCA(n_components=0.9, whiten=True),
        IncrementalPCA(),
        IncrementalPCA(n_components=2, whiten=True, batch_size=3, buffer=0),
        TruncatedSVD(),
        TruncatedSVD(n_components=1, tol=1e-6, memory="64MiB"),
        Nystroem(n_components=10),
        KernelRidge(n_components=20),
        KernelRidge(alpha=1.0, n_components=20, solver="pcg"),
    ]
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


@every
def test_clone_copies_options_and_no_state(model, steep):
    fitted = clone(model).set_params(memory="80MiB").fit(steep)
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]


@folds
def test_a_pickled_estimator_goes_on_where_it_stopped(model, steep):
    here = clone(model).partial_fit(steep[:100])
    there = pickle.loads(pickle.dumps(here))
    for each in (here, there):
        each.partial_fit(steep[100:])
    np.testing.assert_array_equal(here.transform(steep), there.transform(steep))


@every
def test_pipelines_and_searches_take_it(model, steep):
    target = steep @ np.arange(20.0)
    pipe = make_pipeline(StandardScaler(), clone(model), LinearRegression())
    name = type(model).__name__.lower() + "__n_components"
    search = GridSearchCV(pipe, {name: [1, 20]}, cv=3).fit(steep, target)
    assert search.best_params_ == {name: 20}
    assert search.score(steep, target) == pytest.approx(1)


@every
def test_frames_come_back_with_names(model, steep):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(steep, columns=[f"x{i}" for i in range(20)]).rename(index=str)
    out = clone(model).set_output(transform="pandas").fit_transform(frame)
    prefix = type(model).__name__.lower()
    assert list(out.columns) == [f"{prefix}0", f"{prefix}1"]
    assert out.index.equals(frame.index)
    fitted = clone(model).fit(frame)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    assert list(fitted.get_feature_names_out()) == list(out.columns)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coordinates_and_rows_keep_the_precision_of_what_is_given(model, dtype, steep):
    X = steep.astype(dtype)
    fits = [
        clone(model).fit,
        *([clone(model).partial_fit] if hasattr(model, "partial_fit") else []),
    ]
    for fitted in (fit(X) for fit in fits):
        scores = fitted.transform(X)
        assert scores.dtype == fitted.inverse_transform(scores).dtype == dtype
        assert fitted.components_.dtype == np.float64  # what the certificate speaks of
        wide = fitted.transform(X.astype(np.float64))
        np.testing.assert_array_equal(scores, wide.astype(dtype))


@every
def test_signs_are_those_of_svd_flip(model, steep):
    C = clone(model).fit(steep).components_
    np.testing.assert_array_equal(svd_flip(np.eye(2), C, u_based_decision=False)[1], C)


@every
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_a_number_of_components_is_a_positive_integer(model, value, steep):
    with pytest.raises(streamsvd.SpecError, match=f"n_components={value!r} is no count"):
        clone(model).set_params(n_components=value).fit(steep)


@every
def test_more_components_than_columns_are_refused(model, steep):
    bad = clone(model).set_params(n_components=21)
    for fit in ("fit", "partial_fit"):
        if not hasattr(bad, fit):
            continue
        with pytest.raises(
            streamsvd.ShapeError, match=r"n_components=21 exceeds .*n_features\)?=20"
        ):
            getattr(bad, fit)(steep)


@folds
def test_a_block_of_other_columns_is_refused_and_changes_nothing(model, steep):
    fitted = clone(model).partial_fit(steep)
    before = fitted.components_.copy()
    with pytest.raises(ValueError, match="19 features"):
        fitted.partial_fit(steep[:, 1:])
    np.testing.assert_array_equal(fitted.components_, before)
    assert fitted.n_samples_seen_ == 300


@every
def test_the_input_is_not_written_into(model, steep):
    steep.flags.writeable = False
    kept = steep.copy()
    fitted = clone(model).fit(steep)
    if hasattr(fitted, "partial_fit"):
        fitted.partial_fit(steep)
    fitted.inverse_transform(fitted.transform(steep))
    np.testing.assert_array_equal(steep, kept)


@every
def test_repeated_fits_forget_and_repeat_their_bits(model, steep):
    once = clone(model).fit(steep)
    again = clone(model).fit(steep[:50, :9]).fit(steep)
    np.testing.assert_array_equal(once.components_, again.components_)
    assert getattr(again, "n_samples_seen_", getattr(again, "n_samples_", None)) == 300


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_scikit_learn_is_imported_by_nobody_but_the_estimators():
    done = run(
        "import sys, streamsvd; from streamsvd import *; streamsvd.svd; assert 'sklearn' not in sys.modules\n"
        "streamsvd.IncrementalPCA; assert 'sklearn' in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_without_scikit_learn_the_error_names_the_extra():
    done = run(
        "import sys; sys.modules['sklearn'] = None; import streamsvd\n"
        "from streamsvd import *\n"
        "try: streamsvd.TruncatedSVD\n"
        "except ImportError as error: print(error)"
    )
    assert "need scikit-learn" in done.stdout, done.stderr
    assert "pip install 'streamsvd[sklearn]'" in done.stdout

"""Kernels, samples and least squares where they once said what is not so."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy.spatial.distance import cdist

import streamsvd
from streamsvd.cli import app
from streamsvd.engine.events import PassStarted, SpanDone
from streamsvd.kernels.mathematics import Kernel


class Killed(Exception):
    """In the middle."""


class InPass:
    """Raises at the second run of a pass."""

    def __init__(self, number):
        self.number, self.now, self.runs = number, 0, 0

    def __call__(self, event):
        if isinstance(event, PassStarted):
            self.now, self.runs = event.number, 0
        if isinstance(event, SpanDone) and self.now == self.number:
            self.runs += 1
            if self.runs == 2:
                raise Killed


@pytest.fixture
def stored(tmp_path):
    X = np.random.default_rng(0).standard_normal((4_000, 3))
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=X.shape, chunks=(250, 3), dtype="f8")[...] = X
    return path


@pytest.fixture
def A():
    return np.random.default_rng(0).standard_normal((400, 3))


def killed(path, place, **options):
    with pytest.raises(Killed):
        streamsvd.nystrom(path, **options, checkpoint=place, save_seconds=0, callback=InPass(2))


def test_sums_of_another_map_are_not_gone_on_from(stored, tmp_path):
    killed(stored, tmp_path / "s", length=1.0, budget=200, n_centres=100)
    with pytest.raises(streamsvd.SpecError, match="n_centres=100"):
        streamsvd.nystrom(stored, length=1.0, budget=200, n_centres=30, checkpoint=tmp_path / "s")


def test_rows_that_changed_meanwhile_are_told(stored, tmp_path):
    killed(stored, tmp_path / "s", length=1.0, budget=200, n_centres=30)
    array = zarr.open_array(stored)
    array[1:2_000] = 5 * array[1:2_000]
    with pytest.raises(streamsvd.SpecError, match="rows="):
        streamsvd.nystrom(stored, length=1.0, budget=200, n_centres=30, checkpoint=tmp_path / "s")


def test_functions_have_no_saves(A, tmp_path):
    with pytest.raises(streamsvd.SpecError, match="cannot be told from another"):
        streamsvd.nystrom(A, lambda x, y: x @ y.T, n_centres=8, checkpoint=tmp_path / "s")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda x, y: -cdist(x, y, "sqeuclidean"), "not positive definite: of rows 0 and"),
        (lambda x, y: x @ np.roll(y, 1, axis=1).T, "not a positive definite kernel there"),
        (lambda x, y: (x @ y.T) * 1j, "type complex128"),
        (lambda x, y: (x @ y.T).astype("f4"), "type float32"),
        (lambda x, y: x @ y.T * np.nan, "NaN or Inf"),
    ],
)
def test_functions_that_are_no_kernels_are_refused(A, kernel, message):
    with pytest.raises(streamsvd.SpecError, match=message):
        streamsvd.nystrom(A, kernel, n_centres=16)


@pytest.mark.parametrize("kernel", ["rbf", "matern", "laplacian"])
@pytest.mark.parametrize("apart", [1e6, 1e9, 1e12])
def test_clusters_far_apart_are_as_good_as_near(A, kernel, apart):
    B = A.copy()
    B[::2] += apart
    found = streamsvd.nystrom(B, kernel, length=1.0, n_centres=100)
    K, Z = Kernel(kernel, 1.0).gram(B), found.feature_map(B)
    true = np.exp(-cdist(B, B, "sqeuclidean") / 2)
    if kernel == "rbf":
        np.testing.assert_allclose(K, true, atol=1e-9)
    np.testing.assert_allclose(found.certificate.trace_error, np.trace(K - Z @ Z.T), rtol=1e-6)
    assert np.linalg.eigvalsh(K)[0] > -1e-9


@pytest.mark.parametrize("size", [1e-200, 1e160])
def test_targets_whose_squares_leave_float64_are_refused(A, size):
    with pytest.raises(streamsvd.SpecError, match="y has entries of size"):
        streamsvd.kernel_ridge(A, size * np.sin(A[:, 0]), n_centres=50)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
@pytest.mark.parametrize("power", [-461, 461])  # 1e-139, 1e139
def test_rows_of_any_size_whose_squares_float64_holds_have_their_certificate(kernel, power):
    X = np.random.default_rng(0).standard_normal((300, 4))
    y, size = np.sin(X[:, 0]), 2.0**power
    unit = size * size if kernel == "linear" else 1.0
    near, far = (streamsvd.nystrom(f * X, kernel, n_centres=3).certificate for f in (1.0, size))
    for name in ("trace", "trace_error", "spectral_estimate"):
        assert getattr(far, name) / unit == pytest.approx(getattr(near, name), rel=1e-6)
    one, other = (streamsvd.kernel_ridge(f * X, y, kernel, n_centres=40) for f in (1.0, size))
    assert other.held_out_rmse == pytest.approx(one.held_out_rmse, rel=0.5)  # fewer lengths fit


@pytest.mark.parametrize("kernel", ["linear", "rbf", "laplacian"])
@pytest.mark.parametrize("size", [1e-170, 1e-150, 1e150, 1e170])
def test_rows_whose_squares_leave_float64_are_refused_before_anything_is_chosen(kernel, size):
    X = size * np.random.default_rng(0).standard_normal((300, 4))
    for options in ({}, {"scale": True}):
        with pytest.raises(streamsvd.SpecError, match=r"entries of size .*Multiply all the data"):
            streamsvd.nystrom(X, kernel, **options)
        with pytest.raises(streamsvd.SpecError, match=r"entries of size .*Multiply all the data"):
            streamsvd.kernel_ridge(X, X[:, 0] / size, kernel, **options)
    with pytest.raises(streamsvd.SpecError, match=r"length=.*Pass one between 1e-140 and 1e\+140"):
        streamsvd.nystrom(X / size, "rbf", length=size)


def test_rows_that_judge_train_nothing():
    claimed, true = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((12, 5)), rng.standard_normal(12)
        fit = streamsvd.kernel_ridge(
            X, y, ridge=1.0, n_centres=12, length=2.0, held_out=0.3, seed=seed
        )
        assert any("rows were held out" in said for said in fit.info.warnings)
        if fit.n_held_out:
            claimed.append(float(fit.held_out_rmse[0]) ** 2)
            fresh = rng.standard_normal((400, 5))
            true.append(np.mean((fit.predict(fresh) - rng.standard_normal(400)) ** 2))
    assert np.mean(claimed) > 0.85 * np.mean(true)
    with pytest.raises(streamsvd.SpecError, match="none of the 12 rows to train on"):
        streamsvd.kernel_ridge(X, y, ridge=1.0, n_centres=4, held_out=0.999999)


def test_gradients_find_a_large_ridge_where_it_is_wanted():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (600, 1))
    y = np.sin(X[:, 0]) * rng.standard_normal(600)
    direct, pcg = (streamsvd.kernel_ridge(X, y, n_centres=30, solver=s) for s in ("direct", "pcg"))
    assert pcg.held_out_rmse[0] <= 1.03 * direct.held_out_rmse[0]
    assert pcg.ridge > 1e-3


def test_a_dictionary_that_began_small_grows_to_what_was_asked():
    X = np.random.default_rng(0).standard_normal((500, 3))
    grown = streamsvd.nystrom(X[:5], n_centres=20, length=1.0).update(X)
    assert grown.centres.size == 20


def test_rows_for_the_map_are_checked(A, tmp_path):
    fit = streamsvd.kernel_ridge(A, A[:, 0], n_centres=20)
    for call in (fit.predict, fit.feature_map):
        with pytest.raises(streamsvd.ShapeError, match="came; the map is of rows of 3"):
            call(A[:, :2])
        with pytest.raises(streamsvd.ShapeError, match="shape \\(3,\\)"):
            call(A[0])
        with pytest.raises(streamsvd.SpecError, match="type complex128"):
            call(A + 1j)
        with pytest.raises(streamsvd.SpecError, match="type <U"):
            call(np.array([["a", "b", "c"]]))
        with pytest.raises(streamsvd.SpecError, match="row 1 holds NaN"):
            call(np.array([[0, 0, 0], [0, np.nan, 0]]))
    with pytest.raises(streamsvd.SpecError, match="complex"):
        fit.predict_to(A + 1j, tmp_path / "p.zarr")


def test_damaged_and_foreign_files_are_told(A, tmp_path, capsys):
    fit = streamsvd.kernel_ridge(A, A[:, 0], n_centres=10)
    files = {"fit": fit.arrays(), "map": streamsvd.nystrom(A, n_centres=10).arrays()}
    loaders = {"fit": streamsvd.load_ridge, "map": streamsvd.load_nystrom}
    for name, arrays in files.items():
        whole = tmp_path / f"{name}.npz"
        np.savez(whole, **arrays)
        data = whole.read_bytes()
        bad = tmp_path / "bad.npz"
        flipped = bytearray(data)
        flipped[data.index(arrays["whitening"].tobytes("A")) + 3] ^= 64
        for content in (data[:-40], data[: len(data) // 2], b"", b"text", bytes(flipped)):
            bad.write_bytes(content)
            with pytest.raises(streamsvd.StoreError, match="bad.npz holds no") as caught:
                loaders[name](bad)
            assert "pickle" not in str(caught.value)
        shorter = "mean" if name == "fit" else "chance"
        np.savez(bad, **{**arrays, shorter: arrays[shorter][:-1]})
        with pytest.raises(streamsvd.StoreError, match="should be as many"):
            loaders[name](bad)
    with pytest.raises(streamsvd.StoreError, match="has no 'coefficients'"):
        streamsvd.load_ridge(tmp_path / "map.npz")
    np.save(tmp_path / "a.npy", A)
    given = ["krr", "predict", str(tmp_path / "map.npz"), str(tmp_path / "a.npy")]
    assert app.run([*given, "--out", str(tmp_path / "p.zarr")]) == 1
    assert "holds no kernel ridge regression" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        {"seed": -1}, {"seed": 2**70}, {"seed": 1.5}, {"seed": True}, {"length": 1e-300}, {"length": 1e300}, {"length": "a"}, {"offset": "a"},
        {"degree": 1.5, "kernel": "polynomial"}, {"n_centres": 1.5}, {"n_centres": True}, {"budget": 100.5}, {"gamma": "a"},
        {"gamma": True}, {"mode": "kors"},
    ],
)  # fmt: skip
def test_options_of_other_kinds_are_refused_in_words(A, option):
    with pytest.raises(streamsvd.SpecError):
        streamsvd.nystrom(A, **option)


def test_integers_of_any_kind_are_integers(A):
    found = streamsvd.nystrom(A, n_centres=np.int8(100))
    assert found.centres.size == 100
    assert streamsvd.sample_rows(A, np.int8(50)).indices.size == 50
    with pytest.raises(streamsvd.ShapeError, match="nothing to fit"):
        streamsvd.kernel_ridge(A, np.zeros((400, 0)))
    with pytest.raises(streamsvd.SpecError, match="save_seconds"):
        streamsvd.nystrom(A, n_centres=4, checkpoint="x", save_seconds=float("nan"))


@pytest.mark.parametrize("spread", [0, 6, 8, 10, 12, 50, 100])
@pytest.mark.parametrize("method", ["qr", "precondition"])
def test_solutions_have_the_residual_that_is_reported(spread, method):
    rng = np.random.default_rng(0)
    A0 = rng.standard_normal((2_000, 5))
    units = 10.0 ** np.array([-spread, spread, 0, spread / 2, -spread / 2])
    M = np.c_[A0 * units, A0[:, 1]]
    b = A0 @ np.ones(5) + 0.1 * rng.standard_normal(2_000)
    found = streamsvd.lstsq(M, b, method=method)
    np.testing.assert_allclose(np.linalg.norm(M @ found.x - b), found.residual_norm[0], rtol=1e-4)
    if spread <= 6:
        best = np.linalg.lstsq(M, b, rcond=None)[0]
        np.testing.assert_allclose(np.linalg.norm(found.x), np.linalg.norm(best), rtol=1e-4)


def test_sizes_far_apart_are_solved_or_told():
    A = 1e-130 * np.random.default_rng(0).standard_normal((2_000, 5))
    b = 1e130 * np.random.default_rng(1).standard_normal(2_000)
    direct = streamsvd.lstsq(A, b, method="qr")
    found = streamsvd.lstsq(A, b, method="precondition")
    np.testing.assert_allclose(found.x / 1e258, direct.x / 1e258, rtol=1e-6)
    assert np.isfinite(found.residual_norm).all()


def test_wide_rows_keep_the_memory_promise(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "w.zarr"
    zarr.create_array(path, shape=(512, 8_000), chunks=(64, 8_000), dtype="f4")[...] = (
        rng.standard_normal((512, 8_000))
    )
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.nystrom(path, n_centres=4, memory="41MiB")
    found = streamsvd.nystrom(path, n_centres=4, memory=caught.value.needs)
    assert found.info.peak_bytes <= found.info.projected_bytes <= caught.value.needs


def test_what_is_no_regular_file_is_not_replaced(tmp_path, A, capsys):
    import os

    np.save(tmp_path / "a.npy", A)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.npz")
    given = ["nystrom", str(tmp_path / "a.npy"), "--n-centres", "4", "--quiet"]
    assert app.run([*given, "--out", str(tmp_path / "pipe.npz"), "--overwrite"]) == 1
    assert "is no regular file" in capsys.readouterr().err
    assert app.run([*given, "--out", str(tmp_path / "pipe"), "--overwrite"]) == 1
    assert "pipe exists and is not a result of streamsvd" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [["lstsq", "--b"], ["krr", "fit", "--y"]])
def test_a_file_of_several_arrays_is_no_right_hand_side(tmp_path, A, capsys, verb):
    np.save(tmp_path / "a.npy", A)
    np.savez(tmp_path / "two.npz", x=A[:, 0], y=A[:, 1])
    *verb, option = verb
    given = [*verb, str(tmp_path / "a.npy"), option, str(tmp_path / "two.npz")]
    assert app.run([*given, "--out", str(tmp_path / "o.npz")]) == 2
    assert "holds several arrays" in capsys.readouterr().err

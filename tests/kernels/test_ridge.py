"""Kernel ridge regression from sums: what dense algebra says, held-out errors exact, saved and loaded to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from sklearn.kernel_ridge import KernelRidge as Dense

import streamsvd
from streamsvd.cli import app
from streamsvd.kernels.mathematics.ridge import RidgeSums, best_ridge, coefficients


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (2_500, 3))
    y = np.sin(2 * X[:, 0]) * X[:, 1] + 0.3 * X[:, 2] ** 2 + 5
    return X, y + 0.05 * rng.standard_normal(2_500)


def test_sums_say_what_dense_algebra_says():
    rng = np.random.default_rng(0)
    Z, y = rng.standard_normal((300, 20)), rng.standard_normal((300, 2))
    train = (
        RidgeSums.zero(20, 2)
        .update(Z[:100], y[:100])
        .merge(RidgeSums.zero(20, 2).update(Z[100:200], y[100:200]))
    )
    held = RidgeSums.zero(20, 2).update(Z[200:], y[200:])
    for ridge in (1e-8, 1.0, 1e4):
        beta = coefficients(train, ridge)
        dense = np.linalg.solve(Z[:200].T @ Z[:200] + ridge * np.eye(20), Z[:200].T @ y[:200])
        np.testing.assert_allclose(beta, dense, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(held.error(beta), ((y[200:] - Z[200:] @ beta) ** 2).sum(axis=0))
    ridge, errors = best_ridge(train, held)
    direct = held.error(coefficients(train, ridge)).sum()
    np.testing.assert_allclose(errors.min(), direct, rtol=1e-9)
    assert errors.min() <= held.error(coefficients(train, 1.0)).sum() * 1.05


@pytest.mark.parametrize(
    ("kernel", "ridge", "length"), [("rbf", 0.1, 1.5), ("laplacian", 3.0, 8.0)]
)
def test_the_fit_is_as_good_as_the_exact_one(data, kernel, ridge, length):
    X, y = data
    fit = streamsvd.kernel_ridge(
        X[:2_000], y[:2_000], kernel, length=length, ridge=ridge, n_centres=300
    )
    gamma = 0.5 / length**2 if kernel == "rbf" else 1 / length
    exact = Dense(alpha=ridge, kernel=kernel, gamma=gamma).fit(
        X[:2_000], y[:2_000] - y[:2_000].mean()
    )
    ours = np.sqrt(np.mean((fit.predict(X[2_000:]) - y[2_000:]) ** 2))
    theirs = np.sqrt(np.mean((exact.predict(X[2_000:]) + y[:2_000].mean() - y[2_000:]) ** 2))
    assert ours <= 1.05 * theirs
    assert 0.7 * ours <= fit.held_out_rmse[0] <= 1.4 * ours


def test_the_ridge_is_chosen_by_rows_held_out(data):
    X, y = data
    fit = streamsvd.kernel_ridge(X, y, n_centres=150)
    assert "ridge" in fit.chosen_options
    assert fit.held_out_rmse[0] < 0.08
    assert 150 <= fit.n_held_out <= 350
    for worse in (fit.ridge * 1e6, fit.ridge * 1e3):
        other = streamsvd.kernel_ridge(X, y, n_centres=150, ridge=worse, budget=600)
        assert other.held_out_rmse[0] >= fit.held_out_rmse[0]


@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_every_solver_finds_the_same(data, kernel):
    X, y = data
    options = {"n_centres": 120, "length": 1.5, "ridge": 0.3}
    fits = {
        solver: streamsvd.kernel_ridge(X, y, kernel, **options, solver=solver, tol=1e-9)
        for solver in ("direct", "pcg", "onepass")
    }
    direct = fits["direct"].predict(X)
    np.testing.assert_allclose(fits["pcg"].predict(X), direct, atol=1e-6 * np.abs(direct).max())
    np.testing.assert_allclose(fits["pcg"].held_out_rmse, fits["direct"].held_out_rmse, rtol=1e-6)
    residuals = fits["pcg"].residuals
    assert residuals[-1] <= 1e-9 < residuals[-2]
    assert fits["onepass"].info.passes == 1
    error = [np.sqrt(np.mean((fit.predict(X) - y) ** 2)) for fit in fits.values()]
    assert error[2] <= 1.02 * error[0]  # with all of the dictionary it may be better
    for name in ("direct", "pcg"):
        map_ = fits[name].feature_map
        K, Z = map_.kernel.gram(X[:500]), map_(X[:500])
        assert 0 < np.trace(K - Z @ Z.T) <= fits[name].trace_error


def test_gradients_choose_a_ridge_too(data):
    X, y = data
    fits = [streamsvd.kernel_ridge(X, y, n_centres=150, solver=s) for s in ("direct", "pcg")]
    assert fits[1].chosen_options == ("length", "ridge")
    assert fits[1].held_out_rmse[0] <= 1.1 * fits[0].held_out_rmse[0]
    few = X[:40], y[:40]
    with pytest.raises(streamsvd.SpecError, match=r"held_out=0.01 leaves \d rows"):
        streamsvd.kernel_ridge(*few, n_centres=10, solver="pcg", held_out=0.01)
    assert streamsvd.kernel_ridge(*few, n_centres=10, held_out=0.01).ridge > 0


def test_gradients_that_do_not_arrive_carry_what_they_have(data):
    X, y = data
    with pytest.raises(streamsvd.NotConverged, match="after 2 passes, 1e-12 was asked") as caught:
        streamsvd.kernel_ridge(
            X, y, n_centres=100, solver="pcg", ridge=0.01, tol=1e-12, max_passes=2
        )
    so_far = caught.value.result
    assert np.sqrt(np.mean((so_far.predict(X) - y) ** 2)) < 0.2
    assert so_far.residuals[-1] > 1e-12


def test_one_pass_says_when_its_dictionary_is_too_coarse(data):
    X, y = data
    options = {"n_centres": 20, "length": 0.5, "solver": "onepass"}
    fit = streamsvd.kernel_ridge(X, y, ridge=1e-6, **options)
    assert any("finer than the" in said for said in fit.info.warnings)
    free = streamsvd.kernel_ridge(X, y, **options)
    assert free.ridge >= 1e-6
    assert not free.info.warnings


def test_columns_in_different_units_are_scaled(data, tmp_path):
    X, y = data
    units = np.array([1.0, 1e4, 1e-3])
    plain, scaled = (
        streamsvd.kernel_ridge(X * units, y, n_centres=150, scale=scale) for scale in (False, True)
    )
    assert scaled.held_out_rmse[0] < 0.1 < plain.held_out_rmse[0]
    np.savez(tmp_path / "fit.npz", **scaled.arrays())
    again = streamsvd.load_ridge(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again.predict(X * units), scaled.predict(X * units))
    constant = np.concatenate([X, np.full((len(X), 1), 7.0)], axis=1)
    assert streamsvd.kernel_ridge(constant, y, n_centres=50, scale=True).held_out_rmse[0] < 0.2


def test_a_length_that_predicts_better_is_taken(data):
    X, y = data
    wiggly = np.sin(3 * X[:, 0]) * np.cos(3 * X[:, 1])
    smooth, fine = (streamsvd.kernel_ridge(X, t, n_centres=60) for t in (y, wiggly))
    lengths = [fit.feature_map.kernel.length for fit in (smooth, fine)]
    assert lengths[1] < lengths[0]
    assert smooth.chosen_options == ("length", "ridge")


def test_several_targets_are_fitted_each(data):
    X, y = data
    both = streamsvd.kernel_ridge(X, np.stack([y, -2 * y + 7], axis=1), n_centres=100, ridge=0.1)
    one = streamsvd.kernel_ridge(X, y, n_centres=100, ridge=0.1)
    np.testing.assert_allclose(both.predict(X[:50])[:, 0], one.predict(X[:50]), rtol=1e-9)
    np.testing.assert_allclose(both.predict(X[:50])[:, 1], 7 - 2 * one.predict(X[:50]), rtol=1e-7)
    assert one.predict(X[:50]).shape == (50,)


def test_predictions_are_streamed_and_the_fit_is_saved_to_the_bit(data, tmp_path):
    X, y = data
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=X.shape, chunks=(100, 3), dtype="f8")[...] = X
    fit = streamsvd.kernel_ridge(path, y, n_centres=80)
    np.savez(tmp_path / "fit.npz", **fit.arrays())
    again = streamsvd.load_ridge(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again.predict(X), fit.predict(X))
    assert again.ridge == fit.ridge
    out = again.predict_to(path, tmp_path / "p.zarr")
    np.testing.assert_allclose(zarr.open_array(out)[:, 0], fit.predict(X), rtol=1e-12)
    with pytest.raises(streamsvd.StoreError, match="exists already"):
        again.predict_to(path, tmp_path / "p.zarr")
    with pytest.raises(streamsvd.ShapeError, match="was on rows of 3"):
        again.predict_to(np.ones((4, 5)), tmp_path / "q.zarr")
    with pytest.raises(streamsvd.ShapeError, match="the map is of rows of 3"):
        again.predict(np.ones((4, 5)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": np.ones(10)}, streamsvd.ShapeError, "y has shape"),
        ({"y": np.full(2_500, np.nan)}, streamsvd.SpecError, "y is nan at row 0"),
        ({"y": np.array(["a"] * 2_500)}, streamsvd.SpecError, "targets are real numbers"),
        ({"ridge": 0.0}, streamsvd.SpecError, "ridge=0"),
        ({"held_out": 0.0}, streamsvd.SpecError, "held_out=0"),
        ({"held_out": 1.0, "ridge": 1.0}, streamsvd.SpecError, "held_out=1"),
        ({"solver": "best"}, streamsvd.SpecError, "solver='best'"),
        ({"tol": 0.0}, streamsvd.SpecError, "tol=0"),
        ({"max_passes": 0}, streamsvd.SpecError, "max_passes=0"),
        ({"memory": "1MiB"}, streamsvd.BudgetError, "memory="),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, change, error, message):
    X, y = data
    with pytest.raises(error, match=message):
        streamsvd.kernel_ridge(X, **({"y": y} | change))


def test_degenerate_fits():
    flat = streamsvd.kernel_ridge(np.zeros((60, 2)), np.arange(60.0), "linear", n_centres=5)
    np.testing.assert_allclose(flat.predict(np.ones((3, 2))), 29.5)
    constant = streamsvd.kernel_ridge(
        np.random.default_rng(0).random((80, 2)), np.full(80, 3.0), n_centres=5
    )
    np.testing.assert_allclose(constant.predict(np.zeros((2, 2))), 3.0, rtol=1e-12)
    with pytest.raises(streamsvd.SpecError, match="cannot be saved"):
        streamsvd.kernel_ridge(
            np.random.default_rng(0).random((80, 2)),
            np.arange(80),
            lambda a, b: a @ b.T,
            n_centres=2,
        ).arrays()


def test_a_file_that_is_no_fit_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    for name, words in (
        ("a.npz", "holds no kernel ridge regression"),
        ("nothing.npz", "does not exist"),
    ):
        with pytest.raises(streamsvd.StoreError, match=words):
            streamsvd.load_ridge(tmp_path / name)


def test_the_command_line_fits_and_predicts(data, tmp_path, capsys):
    X, y = data
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", y)
    names = {n: str(tmp_path / n) for n in ("x.npy", "y.npy", "fit.npz", "p.zarr")}
    asked = ["krr", "fit", names["x.npy"], "--y", names["y.npy"], "--out", names["fit.npz"]]
    assert app.run([*asked, "--n-centres", "80", "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    fit = streamsvd.kernel_ridge(X, y, n_centres=80)
    assert record["ridge"] == fit.ridge
    assert record["held_out_rmse"] == pytest.approx(fit.held_out_rmse.tolist())
    assert (
        app.run(["krr", "predict", names["fit.npz"], names["x.npy"], "--out", names["p.zarr"]]) == 0
    )
    np.testing.assert_allclose(zarr.open_array(names["p.zarr"])[:, 0], fit.predict(X), rtol=1e-12)
    assert app.run([*asked, "--quiet"]) == 1  # it is there
    assert app.run([*asked, "--overwrite", "--ridge", "0"]) == 2
    assert "--ridge 0" in capsys.readouterr().err
    assert app.run([*asked, "--overwrite", "--n-centres", "40", "--quiet"]) == 0
    assert "rows held out" in capsys.readouterr().out

"""Kernels on a device: the same answers, rows sent once a pass as they are stored, sums brought back."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli import app
from streamsvd.engine import allocator
from streamsvd.kernels.mathematics import device_kernels as placed
from tests.matrices import Rows

M, D = 2_400, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (M, D)).astype(np.float32)
    y = np.sin(2 * X[:, 0]) * X[:, 1] + 0.1 * rng.standard_normal(M)
    return X, np.stack([y, 3 - y], axis=1)


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    """Blocks of 150 rows for 30 centres: several for each read, and a last one of fewer."""
    monkeypatch.setattr(placed, "BLOCK_BYTES", 8 * 30 * 150)


KERNELS = ("linear", "polynomial", "rbf", "laplacian", "matern", "cosine")
OPTIONS = {"n_centres": 30, "length": 1.5, "seed": 3}


@pytest.mark.parametrize("mode", ["poisson", "squeak", "ink", "kors", "uniform"])
def test_rows_are_chosen_as_on_the_host(device, data, mode):
    X, _ = data
    options = OPTIONS | {"mode": mode, "gamma": 1.0, "certify": False}
    options |= {"budget": 2_000} if mode == "kors" else {}
    here, there = (
        streamsvd.nystrom(Rows(X, 200), device=name, **options) for name in ("cpu", device[0])
    )
    np.testing.assert_array_equal(there.indices, here.indices)
    np.testing.assert_allclose(there.weights, here.weights, rtol=1e-8)
    new = (X[::3] * 0.9).astype(np.float64)
    one, two = (
        found.update(new, device=name) for found, name in ((here, "cpu"), (there, device[0]))
    )
    np.testing.assert_array_equal(two.indices, one.indices)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_error_is_that_of_the_host(device, data, kernel):
    X, _ = data
    here = streamsvd.nystrom(Rows(X, 200), kernel, **OPTIONS)
    there = streamsvd.nystrom(Rows(X, 200), kernel, device=device[0], **OPTIONS)
    if kernel in (
        "rbf",
        "laplacian",
        "matern",
    ):  # others have few ranks: scores of most rows are rounding
        np.testing.assert_array_equal(there.indices, here.indices)
    c, d = there.certificate, here.certificate
    assert c.trace == d.trace
    assert c.trace_error == pytest.approx(d.trace_error, rel=1e-9, abs=1e-11 * d.trace)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16"])
@pytest.mark.parametrize("solver", ["direct", "pcg"])
def test_a_fit_and_its_predictions_are_those_of_the_host(device, data, tmp_path, solver, dtype):
    X, y = data
    X = (10 * X).astype(dtype)
    options = OPTIONS | {"length": 15.0, "ridge": 0.1, "solver": solver, "tol": 1e-8}
    here = streamsvd.kernel_ridge(Rows(X, 200), y, **options)
    there = streamsvd.kernel_ridge(Rows(X, 200), y, device=device[0], **options)
    np.testing.assert_allclose(there.coefficients, here.coefficients, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(there.held_out_rmse, here.held_out_rmse, rtol=1e-8)
    assert there.trace_error == pytest.approx(here.trace_error, rel=1e-8)
    assert there.info.passes == here.info.passes
    paths = [
        here.predict_to(Rows(X, 200), tmp_path / name, device=name) for name in ("cpu", device[0])
    ]
    one, two = (zarr.open_array(path)[...] for path in paths)
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(one, here.predict(X))


def test_gradients_choose_the_ridge_of_the_host(device, data):
    X, y = data
    fits = [
        streamsvd.kernel_ridge(Rows(X, 200), y, solver="pcg", device=name, **OPTIONS)
        for name in ("cpu", device[0])
    ]
    assert fits[0].ridge == pytest.approx(fits[1].ridge, rel=1e-6)
    np.testing.assert_allclose(fits[0].held_out_rmse, fits[1].held_out_rmse, rtol=1e-6)


def test_equal_runs_are_equal_bits(device, data):
    X, y = data
    one, two = (
        streamsvd.kernel_ridge(
            Rows(X, 200), y, solver="pcg", ridge=0.1, device=device[0], **OPTIONS
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.coefficients, two.coefficients)


def test_rows_are_sent_once_a_pass_and_the_map_once(device, data, tmp_path):
    X, y = data
    name, made = device
    kept = OPTIONS | {"budget": 30}
    fit = streamsvd.kernel_ridge(
        Rows(X, 200), y, solver="pcg", ridge=0.1, device=name, held_out=0.2, **kept
    )
    sent = sum(b.traffic.to_device_bytes for b in made)
    brought = sum(b.traffic.to_host_bytes for b in made)
    passes = fit.info.passes - 1
    runs = M // 200
    r, q = fit.feature_map.n_features, y.shape[1] + 1
    map_bytes = 8 * (fit.feature_map.centres.size + fit.feature_map.whitening.size + 2 * D)
    indices = 8 * M * passes
    thin = 8 * passes * runs * 2 * r * q
    shrunk = (
        M // 30 + 2 * runs
    )  # dictionaries of up to 60 rows there, their scores back, twice where the ridge rises
    dictionary = shrunk * 8 * 60 * (D + 2) + shrunk * 8 * D
    assert passes * X.nbytes + map_bytes <= sent
    assert sent <= (
        passes * X.nbytes + map_bytes + indices + thin + 8 * M * q + 16 * runs * q + dictionary
    )
    assert brought <= thin + 8 * runs * (2 * q + 1) + 3 * 8 * 60 * shrunk
    before = sent
    fit.predict_to(Rows(X, 200), tmp_path / "p.zarr", device=name)
    sent = sum(b.traffic.to_device_bytes for b in made) - before
    assert X.nbytes <= sent <= X.nbytes + runs * 8 * r * 2  # the map is there already


def test_a_bad_entry_is_named_as_on_the_host(device, data):
    X, y = data
    fit = streamsvd.kernel_ridge(Rows(X, 200), y, ridge=0.1, **OPTIONS)
    for value, said in (
        (np.nan, "NaN at row 1333, column 1"),
        (-np.inf, "Inf at row 1333, column 1"),
    ):
        bad = X.copy()
        bad[1333, 1] = value
        for name in ("cpu", device[0]):
            with pytest.raises(streamsvd.NonFiniteError, match=said):
                fit.predict_to(Rows(bad, 200), "unwritten.zarr", device=name)
    with pytest.raises(streamsvd.SpecError, match="whose squares float64 does not hold"):
        fit.predict_to(Rows(1e150 * X.astype("f8"), 200), "unwritten.zarr", device=device[0])


def test_predictions_come_in_their_order_from_every_number_of_threads(data, tmp_path):
    X, y = data
    fit = streamsvd.kernel_ridge(Rows(X, 200), y, ridge=0.1, **OPTIONS)
    import dask

    for threads in (1, 2, 5):
        with dask.config.set(num_workers=threads):
            path = fit.predict_to(Rows(X, 70), tmp_path / f"{threads}.zarr")
        np.testing.assert_array_equal(zarr.open_array(path)[...], fit.predict(X))
    assert allocator._holders == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device='tpu' is unknown"),
        (
            {"device": "strict", "kernel": lambda a, b: a @ b.T},
            'device="strict" was asked for, but the kernel is a function',
        ),
    ],
)
def test_what_a_device_cannot_do_is_refused(data, options, message):
    X, y = data
    with pytest.raises(streamsvd.SpecError, match=message):
        streamsvd.nystrom(Rows(X, 200), n_centres=10, **options)
    with pytest.raises(streamsvd.SpecError, match=message):
        streamsvd.kernel_ridge(Rows(X, 200), y, n_centres=10, **options)
    with pytest.raises(streamsvd.SpecError, match='solver="onepass" computes on the host'):
        streamsvd.kernel_ridge(Rows(X, 200), y, n_centres=10, device="strict", solver="onepass")


def test_saves_of_another_device_are_not_gone_on_from(data, tmp_path):
    """Digits of sums depend on where they are made."""

    class Killed(Exception):
        pass

    def killed(event):
        if type(event).__name__ == "SpanDone" and event.number == 2:
            raise Killed

    X, y = data
    options = OPTIONS | {"checkpoint": tmp_path / "saves", "save_seconds": 0, "budget": 60}
    with pytest.raises(Killed):
        streamsvd.kernel_ridge(Rows(X, 200), y, callback=killed, **options)
    with pytest.raises(streamsvd.SpecError, match="device"):
        streamsvd.kernel_ridge(Rows(X, 200), y, device="strict", **options)


@pytest.mark.gpu
def test_the_command_line_runs_on_a_gpu(data, tmp_path):
    X, y = data
    names = [str(tmp_path / name) for name in ("x.npy", "y.npy", "fit.npz", "p.zarr")]
    np.save(names[0], X)
    np.save(names[1], y)
    on = ["--device", "cuda", "--quiet"]
    assert app.run(["nystrom", names[0], "--n-centres", "30", *on]) == 0
    fit = ["krr", "fit", names[0], "--y", names[1], "--out", names[2], "--n-centres", "30"]
    assert app.run([*fit, *on]) == 0
    assert app.run(["krr", "predict", names[2], names[0], "--out", names[3], *on]) == 0
    there = zarr.open_array(names[3])[...]
    np.testing.assert_allclose(there, streamsvd.load_ridge(names[2]).predict(X), atol=1e-9)

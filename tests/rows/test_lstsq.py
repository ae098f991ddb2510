"""Least squares with stored matrices: as dense algebra, the error within what is said, the bits, the budget, what is refused."""

from __future__ import annotations

import importlib
import json

import dask
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.cli import app
from streamsvd.engine.memory import parse_bytes

module = importlib.import_module("streamsvd.rows.lstsq")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4_000, 20)) * np.geomspace(1, 1e-3, 20)
    x = rng.standard_normal((20, 2))
    return A, A @ x + 0.1 * rng.standard_normal((4_000, 2))


@pytest.mark.parametrize("method", ["auto", "qr", "precondition"])
def test_it_is_what_dense_algebra_says(data, method):
    A, b = data
    found = streamsvd.lstsq(A, b, method=method)
    x = np.linalg.lstsq(A, b, rcond=None)[0]
    np.testing.assert_allclose(found.x, x, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.residual_norm, np.linalg.norm(A @ x - b, axis=0))
    assert np.all(np.linalg.norm(found.x - x, axis=0) <= found.forward_error + 1e-12)
    assert np.all(found.forward_error <= 1e-4)
    assert found.rank == 20
    assert found.info.warnings == ()
    one = streamsvd.lstsq(A, b[:, 0], method=method)
    assert one.x.shape == (20,)
    assert one.residual_norm.shape == one.forward_error.shape == (1,)
    np.testing.assert_allclose(one.x, x[:, 0], rtol=1e-9, atol=1e-11)
    if method == "precondition":
        assert not found.is_proved
        assert found.outcome == "stagnated"
        assert found.iterations == len(found.gradients) == found.info.passes - 1 <= 30
    else:
        assert found.is_proved
        assert (found.outcome, found.iterations, found.info.passes) == ("solved", 0, 1)


def test_the_sketch_alone_is_near_and_says_so(data):
    A, b = data
    best = np.linalg.lstsq(A, b, rcond=None)[0]
    least = np.linalg.norm(A @ best - b, axis=0)
    for seed in range(5):
        found = streamsvd.lstsq(A, b, method="sketch", seed=seed)
        true = np.linalg.norm(A @ found.x - b, axis=0)
        assert np.all(true <= 1.15 * least)
        np.testing.assert_allclose(found.residual_norm, true, rtol=0.15)
        assert np.all(np.linalg.norm(found.x - best, axis=0) <= found.forward_error)
        assert (found.outcome, found.is_proved, found.info.passes) == ("sketched", False, 1)
        assert "estimates" in found.info.warnings[0]


@pytest.mark.parametrize("method", ["qr", "precondition", "sketch"])
@pytest.mark.parametrize("chunk", [64, 1_501, 4_000])
def test_memory_and_threads_change_no_bit(tmp_path, data, method, chunk):
    A, b = data
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=A.shape, chunks=(chunk, 7), dtype="f8")[...] = A
    whole = streamsvd.lstsq(path, b, method=method)
    for memory, threads in (("60MiB", 1), ("200MiB", 4)):
        with dask.config.set(num_workers=threads):
            found = streamsvd.lstsq(path, b, method=method, memory=memory)
        for name in ("x", "residual_norm", "forward_error"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
        assert found.gradients == whole.gradients
        assert found.info.peak_bytes <= found.info.projected_bytes <= parse_bytes(memory)


@pytest.mark.parametrize("method", ["qr", "precondition", "sketch"])
@pytest.mark.parametrize("ridge", [1e-3, 100.0])
def test_a_ridge_is_added(data, method, ridge):
    A, b = data
    A = A[:, [*range(20), 0]]  # a column twice: only the ridge makes the solution one
    found = streamsvd.lstsq(A, b, method=method, ridge=ridge)
    x = np.linalg.solve(A.T @ A + ridge * np.eye(21), A.T @ b)
    if method == "sketch":
        assert np.linalg.norm(A @ (found.x - x)) < 0.5 * np.linalg.norm(A @ x - b)
    else:
        np.testing.assert_allclose(found.x, x, atol=1e-8)
        whole = np.linalg.norm(np.concatenate([A @ x - b, np.sqrt(ridge) * x]), axis=0)
        np.testing.assert_allclose(found.residual_norm, whole, rtol=1e-9)
    assert found.rank == 21
    assert np.isfinite(found.forward_error).all()


@pytest.mark.parametrize("method", ["qr", "precondition"])
@pytest.mark.parametrize("shape", [(900, 7), (5, 7), (1, 7), (900, 1), (1, 1)])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
def test_where_the_rank_is_not_full_the_norm_is_least(method, shape, scale):
    rng = np.random.default_rng(1)
    inner = min(3, *shape)
    A = rng.standard_normal((shape[0], inner)) @ rng.standard_normal((inner, shape[1]))
    b = rng.standard_normal(shape[0])
    found = streamsvd.lstsq(A * scale, b, method=method)
    np.testing.assert_allclose(found.x * scale, np.linalg.lstsq(A, b, rcond=1e-10)[0], atol=1e-9)
    assert found.rank == inner
    full = inner == shape[1]
    assert np.isinf(found.forward_error[0]) == (not full)
    assert any("solution of least norm" in said for said in found.info.warnings) == (not full)


@pytest.mark.parametrize("method", ["qr", "precondition", "sketch"])
def test_zeros(method):
    found = streamsvd.lstsq(np.zeros((500, 3)), np.ones(500), method=method)
    np.testing.assert_array_equal(found.x, 0)
    assert found.rank == 0
    A = np.random.default_rng(2).standard_normal((500, 3))
    A[100:400] = 0
    np.testing.assert_array_equal(streamsvd.lstsq(A, np.zeros(500), method=method).x, 0)


def test_units_of_columns_do_not_matter(data):
    A, b = data
    units = 2.0 ** np.linspace(-150, 150, 20).round()
    found = streamsvd.lstsq(A * units, b, method="precondition")
    np.testing.assert_allclose(
        found.x * units[:, None], np.linalg.lstsq(A, b, rcond=None)[0], rtol=1e-8, atol=1e-10
    )
    assert found.rank == 20


def test_a_tolerance_ends_the_iteration_early(data):
    A, b = data
    early = streamsvd.lstsq(A, b, method="precondition", tol=1e-4)
    late = streamsvd.lstsq(A, b, method="precondition")
    assert early.outcome == "tolerance"
    assert early.iterations < late.iterations
    best = np.linalg.lstsq(A, b, rcond=None)[0]
    off = np.linalg.norm(A @ (early.x - best), axis=0)
    assert np.all(off <= 2 * 1e-4 * np.linalg.norm(b, axis=0))
    assert np.all(np.linalg.norm(early.x - best, axis=0) <= early.forward_error)


def test_the_method_is_chosen_by_the_columns(monkeypatch, data):
    A, b = data
    monkeypatch.setattr(module, "TRIANGLE_COLUMNS", 10)
    assert streamsvd.lstsq(A, b).options.method == "precondition"
    assert streamsvd.lstsq(A[:160], b[:160]).options.method == "qr"  # the sketch would be as large
    monkeypatch.setattr(module, "TRIANGLE_COLUMNS", 20)
    assert streamsvd.lstsq(A, b).options.method == "qr"


def test_an_iteration_without_end_hands_back_what_it_has(monkeypatch, data):
    A, b = data
    monkeypatch.setattr(module, "MOST_ITERATIONS", 3)
    with pytest.raises(streamsvd.NotConverged, match="3 iterations left a gradient of") as caught:
        streamsvd.lstsq(A, b, method="precondition")
    partial = caught.value.result
    assert partial.outcome == "capped"
    assert np.all(
        np.linalg.norm(partial.x - np.linalg.lstsq(A, b, rcond=None)[0], axis=0)
        <= partial.forward_error
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"b": np.ones(10)}, streamsvd.ShapeError, r"b has shape \(10,\), and .* has 4,000 rows"),
        ({"b": np.ones((4_000, 0))}, streamsvd.ShapeError, r"b has shape \(4000, 0\)"),
        ({"b": np.ones((4_000, 1, 1))}, streamsvd.ShapeError, r"b has shape \(4000, 1, 1\)"),
        ({"b": np.ones(4_000) * 1j}, streamsvd.SpecError, "b is of type complex128"),
        ({"b": np.array(["a"] * 4_000)}, streamsvd.SpecError, "b is of type <U1"),
        (
            {"b": np.r_[np.ones(3_999), np.nan]},
            streamsvd.SpecError,
            "b is nan at row 3999, column 0",
        ),
        ({"b": np.full(4_000, 1e200)}, streamsvd.SpecError, "b has entries of size 1e.200"),
        ({"method": "lu"}, streamsvd.SpecError, "method='lu' is unknown"),
        ({"ridge": -1.0}, streamsvd.SpecError, "ridge=-1.0 is no ridge"),
        ({"ridge": np.inf}, streamsvd.SpecError, "ridge=inf is no ridge"),
        ({"tol": "a"}, streamsvd.SpecError, "tol='a' is not a number"),
        ({"ridge": 1j}, streamsvd.SpecError, "ridge=1j is not a number"),
        ({"tol": 1.0}, streamsvd.SpecError, "tol=1.0 is out of range"),
        ({"seed": 0.5}, streamsvd.SpecError, "seed=0.5 is no seed"),
        ({"memory": "1MiB"}, streamsvd.BudgetError, "least squares by method='qr' with 20 columns"),
    ],
)
def test_what_cannot_be_meant_is_refused(data, change, error, message):
    A, b = data
    with pytest.raises(error, match=message):
        streamsvd.lstsq(A, **({"b": b} | change))


def test_what_cannot_be_solved_is_named(data):
    A, b = data
    bad = A.copy()
    bad[2_222, 3] = np.inf
    for method in ("qr", "precondition"):
        with pytest.raises(streamsvd.NonFiniteError, match="Inf at row 2222, column 3"):
            streamsvd.lstsq(bad, b, method=method)
    with pytest.raises(streamsvd.SpecError, match="is complex"):
        streamsvd.lstsq(A * 1j, b)


@pytest.mark.parametrize("method", ["qr", "precondition"])
def test_the_budget_that_is_named_works(data, method):
    A, b = data
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.lstsq(A, b, method=method, memory="40MiB")
    least = caught.value.needs
    assert f"memory={least}" in str(caught.value)
    found = streamsvd.lstsq(A, b, method=method, memory=least)
    np.testing.assert_array_equal(found.x, streamsvd.lstsq(A, b, method=method).x)
    with pytest.raises(streamsvd.BudgetError):
        streamsvd.lstsq(A, b, method=method, memory=least - 1)


def test_the_command_line_solves(data, tmp_path, capsys, monkeypatch):
    A, b = data
    np.save(tmp_path / "a.npy", A)
    np.save(tmp_path / "b.npy", b)
    source, out = str(tmp_path / "a.npy"), str(tmp_path / "x.npz")
    asked = ["lstsq", source, "--b", str(tmp_path / "b.npy")]
    assert app.run([*asked, "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = streamsvd.lstsq(A, b)
    assert record["x"] == found.x.tolist()
    assert record["forward_error"] == found.forward_error.tolist()
    assert record["proved"] is True
    assert app.run([*asked, "--out", out, "--method", "precondition", "--quiet"]) == 0
    text = capsys.readouterr().out
    assert "precondition: stagnated after" in text
    assert "by estimate" in text
    with np.load(out) as kept:
        np.testing.assert_array_equal(kept["x"], streamsvd.lstsq(A, b, method="precondition").x)
    assert app.run([*asked, "--out", out, "--quiet"]) == 1
    assert app.run([*asked, "--ridge", "-2", "--quiet"]) == 2
    assert "--ridge -2.0 is no ridge" in capsys.readouterr().err
    monkeypatch.setattr(module, "MOST_ITERATIONS", 2)
    assert app.run([*asked, "--method", "precondition", "--json", "--quiet"]) == 3
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert (record["status"], record["outcome"]) == ("not converged", "capped")
    assert "--method qr" in captured.err
    (tmp_path / "c.npy").write_text("no array")
    assert app.run(["lstsq", source, "--b", str(tmp_path / "c.npy"), "--quiet"]) == 2
    assert "is no .npy file" in capsys.readouterr().err

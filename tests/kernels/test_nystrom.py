"""Kernel matrices of stored rows, never formed: the error certified, the budget kept, bad input named."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.memory import parse_bytes
from streamsvd.kernels.mathematics import Kernel


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((12, 3))
    return (centres[rng.integers(12, size=3_000)] + 0.4 * rng.standard_normal((3_000, 3))).astype(
        "f4"
    )


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "rbf", "laplacian", "matern", "cosine"])
def test_the_trace_of_the_error_is_exact_and_bounds_its_norm(X, kernel):
    X = X[:1_000]
    found = streamsvd.nystrom(X, kernel, n_centres=60, length=2.0, gamma=0.5)
    K = Kernel(kernel, length=2.0).gram(X.astype(float))
    Z = found.feature_map(X.astype(float))
    error = K - Z @ Z.T
    np.testing.assert_allclose(
        found.certificate.trace_error, np.trace(error), rtol=1e-6, atol=1e-9 * np.trace(K)
    )
    values = np.linalg.eigvalsh(error)
    assert values[-1] <= found.certificate.trace_error
    assert values[0] >= -1e-9 * np.trace(K)
    np.testing.assert_allclose(found.certificate.trace, np.trace(K), rtol=1e-9)
    assert found.centres.size <= 60
    np.testing.assert_array_equal(found.rows, X[found.indices].astype(float))


@pytest.mark.parametrize("chunk", [50, 999, 3_000])
def test_memory_and_threads_change_no_bit(tmp_path, X, chunk):
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=X.shape, chunks=(chunk, 2), dtype="f4")[...] = X
    whole = streamsvd.nystrom(path, n_centres=40, length=1.0)
    for memory, threads in (("70MiB", 1), ("200MiB", 1), ("400MiB", 4)):
        with dask.config.set(num_workers=threads):
            found = streamsvd.nystrom(path, n_centres=40, length=1.0, memory=memory)
        np.testing.assert_array_equal(found.indices, whole.indices)
        np.testing.assert_array_equal(found.dictionary.chance, whole.dictionary.chance)
        np.testing.assert_array_equal(found.centres, whole.centres)
        assert found.certificate.trace_error == whole.certificate.trace_error
        assert found.info.peak_bytes <= found.info.projected_bytes <= parse_bytes(memory)


def test_what_was_not_given_is_chosen_and_said(X):
    found = streamsvd.nystrom(X, n_centres=50)
    assert found.chosen_options == ("length", "gamma")
    assert 1 < found.options.length < 10
    assert found.indices.size <= 200
    given = streamsvd.nystrom(X, n_centres=50, length=2.0, gamma=1.0)
    assert given.chosen_options == ()
    assert streamsvd.nystrom(X, "linear", n_centres=3).chosen_options == ("gamma",)


def test_a_ridge_too_fine_for_the_budget_is_told(X):
    found = streamsvd.nystrom(X, length=0.3, gamma=1e-3, n_centres=20)
    assert found.gamma > 1e-3
    assert any("too small for gamma=0.001" in said for said in found.info.warnings)


def test_ours_is_better_than_the_uniform_baseline_of_the_same_size(X):
    rare = np.concatenate([X, np.float32(50) + np.eye(3, dtype="f4").repeat(3, 0) * 5])
    ours, plain = (
        streamsvd.nystrom(rare, length=1.0, gamma=1.0, n_centres=80, mode=mode)
        for mode in ("poisson", "uniform")
    )
    K = Kernel("rbf", length=1.0).gram(rare.astype(float))
    norms = [
        np.linalg.eigvalsh(K - Z @ Z.T)[-1]
        for Z in (found.feature_map(rare.astype(float)) for found in (ours, plain))
    ]
    assert norms[0] < 0.6 * norms[1]
    assert ours.certificate.trace_error < plain.certificate.trace_error
    assert {3_000, 3_003, 3_006} & set(ours.indices.tolist())


def test_rows_that_come_later_are_taken_in(X, tmp_path):
    first = streamsvd.nystrom(X[:2_000], n_centres=60, length=1.0, gamma=0.5)
    np.savez(tmp_path / "d.npz", **first.arrays())
    both = streamsvd.load_nystrom(tmp_path / "d.npz").update(X[2_000:])
    again = first.update(X[2_000:])
    np.testing.assert_array_equal(both.indices, again.indices)
    assert both.info.n_rows == both.dictionary.n_rows == 3_000
    assert both.certificate.trace_error == float("inf")
    np.testing.assert_array_equal(both.rows, X[both.indices].astype(float))
    K, Z = Kernel("rbf", length=1.0).gram(X.astype(float)), both.feature_map(X.astype(float))
    whole = streamsvd.nystrom(X, n_centres=60, length=1.0, gamma=0.5).certificate.trace_error
    assert np.trace(K - Z @ Z.T) <= 1.5 * whole
    with pytest.raises(streamsvd.ShapeError, match="is of rows of 3 numbers"):
        first.update(np.ones((9, 4)))
    with pytest.raises(streamsvd.SpecError, match="function cannot be saved"):
        streamsvd.nystrom(X[:50], lambda a, b: a @ b.T, n_centres=2).arrays()


def test_a_file_that_is_no_dictionary_is_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    for name, words in (
        ("a.npz", "holds no dictionary of rows"),
        ("nothing.npz", "does not exist"),
    ):
        with pytest.raises(streamsvd.StoreError, match=words):
            streamsvd.load_nystrom(tmp_path / name)


def test_decisions_for_ever_keep_more_rows_and_say_when_they_are_too_many(X):
    ours, kors = (
        streamsvd.nystrom(X, length=1.0, gamma=2.0, n_centres=40, budget=2_000, mode=mode)
        for mode in ("squeak", "kors")
    )
    assert ours.indices.size < kors.indices.size < 1_500
    assert abs(kors.weights.sum() / 3_000 - 1) < 0.3
    with pytest.raises(streamsvd.SpecError, match="kept more rows than budget=60"):
        streamsvd.nystrom(X, length=1.0, gamma=0.1, n_centres=40, budget=60, mode="kors")


def test_without_a_second_pass_nothing_is_proved(X):
    found = streamsvd.nystrom(X, n_centres=30, certify=False)
    assert found.certificate.trace_error == float("inf")
    assert found.info.passes == 1
    assert np.isfinite(found.certificate.spectral_estimate)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_centres": 0}, streamsvd.SpecError, "n_centres=0"),
        ({"budget": 5}, streamsvd.SpecError, "budget=5 is less than n_centres"),
        ({"gamma": 0.0}, streamsvd.SpecError, "gamma=0"),
        ({"length": -1.0}, streamsvd.SpecError, "length=-1"),
        ({"kernel": "tanh"}, streamsvd.SpecError, "kernel='tanh' is unknown"),
        ({"memory": "1MiB"}, streamsvd.BudgetError, "memory="),
        ({"kernel": lambda a, b: -(a @ b.T)}, streamsvd.SpecError, "not a positive definite"),
        (
            {"kernel": lambda a, b: 1.0 * (((a[:, None] - b[None]) ** 2).sum(2) < 1.0)},
            streamsvd.SpecError,
            "not positive definite",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(X, options, error, message):
    with pytest.raises(error, match=message):
        streamsvd.nystrom(X, **options)


def test_the_smallest_budget_works_and_one_byte_less_does_not(X):
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.nystrom(X, n_centres=20, memory="1MiB")
    least = caught.value.needs
    assert streamsvd.nystrom(X, n_centres=20, memory=least).info.peak_bytes <= least
    with pytest.raises(streamsvd.BudgetError):
        streamsvd.nystrom(X, n_centres=20, memory=least - 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_entry_is_named(X, bad):
    A = X.copy()
    A[2_345, 1] = bad
    with pytest.raises(streamsvd.NonFiniteError, match="row 2345, column 1"):
        streamsvd.nystrom(A, n_centres=20)
    with pytest.raises(streamsvd.SpecError, match="complex"):
        streamsvd.nystrom(X * 1j)


@pytest.mark.parametrize(
    "A", [np.ones((1, 3)), np.ones((500, 2)), np.zeros((40, 3)), np.eye(5)], ids=str
)
def test_degenerate_rows(A):
    for kernel in ("rbf", "linear"):
        found = streamsvd.nystrom(A, kernel, n_centres=4, length=1.0, gamma=0.1)
        assert found.certificate.trace_error >= 0
        assert np.isfinite(found.feature_map(A)).all()
        assert found.feature_map(A).shape == (len(A), found.feature_map.n_features)


def test_the_command_line_says_the_same(X, tmp_path, capsys):
    import json

    from streamsvd.cli import app

    np.save(tmp_path / "x.npy", X)
    out = tmp_path / "d.npz"
    asked = ["nystrom", str(tmp_path / "x.npy"), "--n-centres", "40", "--length", "1", "--quiet"]
    assert app.run([*asked, "--json", "--out", str(out)]) == 0
    record = json.loads(capsys.readouterr().out)
    same = streamsvd.nystrom(X, n_centres=40, length=1.0)
    assert record["centres"] == same.centres.tolist()
    assert record["certificate"]["trace_error"] == pytest.approx(same.certificate.trace_error)
    with np.load(out) as kept:
        np.testing.assert_array_equal(kept["indices"], same.indices)
        np.testing.assert_array_equal(kept["whitening"], same.feature_map.whitening)
    assert app.run(asked) == 0
    text = capsys.readouterr().out
    assert "||K - K_C||_2 <= trace(K - K_C) <=" in text
    more = [*asked[:2], "--start", str(out), "--quiet", "--json"]
    assert app.run(more) == 0
    assert json.loads(capsys.readouterr().out)["n_rows"] == 6_000
    assert app.run([*more[:-1], "--kernel", "linear"]) == 2
    assert "--kernel linear was passed, but" in capsys.readouterr().err
    assert app.run([*asked[:2], "--gamma", "0"]) == 2
    assert "--gamma 0" in capsys.readouterr().err

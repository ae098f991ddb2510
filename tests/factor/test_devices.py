"""A device is a place, not another method: the same factors, and nothing copied that need not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import PassDone
from streamsvd.engine.layout import span_count
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import Rows, assert_right, prepared, run

WAYS = [(axis, route) for axis in ("rows", "columns") for route in ("krylov", "gram")]


@pytest.mark.parametrize(("axis", "route"), WAYS)
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "complex64", "complex128", "int16"]
)
def test_factors_are_those_of_the_host(device, dtype, axis, route):
    rng = np.random.default_rng(0)
    A = 10 * rng.standard_normal((200, 30)) * 0.8 ** np.arange(30)
    A = (A + 1j * rng.standard_normal(A.shape) if dtype.startswith("complex") else A).astype(dtype)
    options = {"axis": axis, "route": route, "center": True, "u": True, "tol": 1e-4}
    there = run(Rows(A, 20), 4, device=device[0], **options)
    here = run(Rows(A, 20), 4, **options)
    assert_right(there, prepared(A, center=True), tol=1e-4, rank=4)
    np.testing.assert_allclose(there.s, here.s, rtol=1e-4)
    np.testing.assert_allclose(there.Vh, here.Vh, atol=1e-3)
    np.testing.assert_allclose(there.U, here.U, atol=1e-3)
    assert type(there.s) is type(there.Vh) is np.ndarray


@pytest.mark.parametrize(("axis", "route"), WAYS)
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_missing_values_weights_and_scales_are_those_of_the_host(device, axis, route, policy):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((150, 12)) + 2
    A[rng.random(A.shape) < 0.05] = np.nan
    A[:, :6] = np.nan_to_num(A[:, :6])
    options = {
        "center": True,
        "scale": True,
        "row_weights": rng.random(150),
        "column_weights": rng.random(12),
        "nonfinite": policy,
    }
    result = run(Rows(A, 20), 3, device=device[0], axis=axis, route=route, **options)
    assert_right(result, prepared(A, **options), rank=3)


def test_a_bad_entry_is_named_as_on_the_host(device):
    A = np.random.default_rng(0).standard_normal((400, 30))
    A[333, 7] = np.inf
    for axis, route in WAYS:
        with pytest.raises(streamsvd.NonFiniteError, match="Inf at row 333, column 7"):
            run(Rows(A, 20), 3, device=device[0], axis=axis, route=route)


@pytest.mark.parametrize(("axis", "route"), WAYS)
def test_a_pass_sends_the_matrix_once_and_brings_back_only_sums(device, axis, route):
    name, made = device
    known = KnownMatrix("pow1", 4000, 50, "float32")
    A = known.rows(0, 4000) if axis == "rows" else np.ascontiguousarray(known.rows(0, 4000).T)
    events: list[Any] = []
    run(Rows(A, 100), 5, device=name, axis=axis, route=route, callback=events.append)
    passes = sum(isinstance(event, PassDone) for event in events)
    sent = sum(b.traffic.to_device_bytes for b in made)
    brought = sum(b.traffic.to_host_bytes for b in made)
    width = A.shape[1 if axis == "rows" else 0]
    spans = span_count(4000, A.nbytes)
    thin = width * (15 + 20 + 2) * 8
    assert 0.9 * passes * A.nbytes <= sent <= 1.2 * passes * A.nbytes + passes * spans * 2 * thin
    gram = 8 * width * width if route == "gram" else 0
    assert brought <= passes * spans * (thin + gram) + 8 * passes * A.size // width
    assert brought < passes * A.nbytes


def test_equal_runs_are_equal_bits(device):
    A = KnownMatrix("pow1", 1000, 40, "float32").rows(0, 1000)
    one, two = (run(Rows(A, 50), 5, route="krylov", device=device[0]) for _ in range(2))
    np.testing.assert_array_equal(one.s, two.s)
    np.testing.assert_array_equal(one.Vh, two.Vh)


def test_the_left_factor_is_written_from_the_device(device, tmp_path):
    A = KnownMatrix("pow1", 600, 40, "float32").rows(0, 600)
    result = run(
        Rows(A, 50), 5, device=device[0], axis="rows", u=True, out=tmp_path / "M.zarr", tol=1e-4
    )
    U = result.U[...]
    np.testing.assert_allclose(A @ result.Vh.T, U * result.s, atol=1e-5)

"""Matrices on which a certificate once lied: offsets under scaling, huge integers, values the sample did not show."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.testing.spectra import KnownMatrix


def assert_holds(result, exact, slack=1e-12):
    truth = np.linalg.svd(exact, compute_uv=False)[: result.rank]
    c = result.certificate
    assert (c.sigma_lower <= truth * (1 + slack)).all(), (c.sigma_lower / truth).max()
    assert (c.sigma_upper >= truth * (1 - slack)).all(), (c.sigma_upper / truth).min()
    rest = np.sqrt(max(np.linalg.norm(exact) ** 2 - np.sum(truth**2), 0.0))
    assert c.frobenius_error >= rest * (1 - 1e-6) - 1e-7 * truth[0]


@pytest.mark.parametrize("route", ["gram", "krylov"])
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("offset", [0.0, 300.0, 1e6])
def test_scaling_without_centring_keeps_the_digits_of_offset_columns(route, axis, offset):
    A = np.random.default_rng(1).normal(size=(2000, 20)) + offset
    plan = streamsvd.plan_svd(A, 3, scale=True, route=route, axis=axis)
    try:
        result = streamsvd.svd(A, plan=plan, scale=True)
    except streamsvd.NotConverged as error:
        result = error.result
    exact = A.astype(np.longdouble)
    deviation = np.sqrt(((exact - exact.mean(axis=0)) ** 2).mean(axis=0))
    np.testing.assert_allclose(result.scale, deviation.astype(float), rtol=1e-12)
    assert_holds(result, (exact / deviation).astype(float))
    if (
        offset > 300
    ):  # two values a million times smaller than the first: squares do not resolve them
        return
    U = streamsvd.svd(A, plan=streamsvd.plan_svd(A, 2, scale=True, u=True, axis=axis), scale=True)
    np.testing.assert_allclose(
        (exact / deviation).astype(float) @ U.Vh.T, np.asarray(U.U) * U.s, atol=1e-9 * U.s[0]
    )


@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_integers_that_float64_skips_are_refused(route):
    rng = np.random.default_rng(0)
    T = 1_700_000_000_000_000_000 + rng.integers(0, 2000, size=(1500, 30))
    for axis in ("rows", "columns"):
        plan = streamsvd.plan_svd(T, 3, center=True, route=route, axis=axis)
        with pytest.raises(streamsvd.StreamSVDError, match=r"the integer 17\d+ at row .*2\*\*53"):
            streamsvd.svd(T, plan=plan, center=True)


@pytest.mark.parametrize("route", ["gram", "krylov"])
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e-160, 1e-30, 1e20, 1e40, 1e160, 1e290])
def test_a_row_that_the_sample_did_not_see_sets_its_own_scale(route, axis, size):
    row = size * np.random.default_rng(0).normal(size=50)
    A = np.zeros((5000 if axis == "rows" else 300, 50))
    A[-89] = row
    plan = streamsvd.plan_svd(A, 2, route=route, axis=axis)
    try:
        result = streamsvd.svd(A, plan=plan)
    except streamsvd.NotConverged as error:
        result = error.result
    truth = np.linalg.norm(row / size) * size
    c = result.certificate
    assert c.sigma_lower[0] <= truth * (1 + 1e-12)
    assert c.sigma_upper[0] >= truth * (1 - 1e-12)
    np.testing.assert_allclose(result.s[0], truth, rtol=1e-6)
    assert c.sigma_lower[1] <= 1e-300 * size


def test_weights_whose_squares_leave_float64_are_refused():
    A = np.ones((20, 5))
    with pytest.raises(streamsvd.SpecError, match="from 1e-200 to 1e-200"):
        streamsvd.svd(A, 1, column_weights=np.full(5, 1e-200))


def test_values_at_the_end_of_float64_are_refused():
    A = np.random.default_rng(0).normal(size=(50, 5)) * 4e307 / 4
    with pytest.raises(streamsvd.StreamSVDError, match="Divide it by a power of two"):
        streamsvd.svd(A, 1)


def test_a_pilot_far_from_the_mean_is_replaced():
    """The sample sees one regime, the matrix is another."""
    rng = np.random.default_rng(2)
    A = rng.normal(size=(40_000, 10))
    A[:20_000] += 1e7
    exact = A.astype(np.longdouble)
    centred = exact - exact.mean(axis=0)
    for route in ("gram", "krylov"):
        plan = streamsvd.plan_svd(A, 3, center=True, scale=True, route=route, axis="rows")
        try:
            result = streamsvd.svd(A, plan=plan, center=True, scale=True)
        except streamsvd.NotConverged as error:
            result = error.result
        scaled = centred / np.sqrt((centred**2).mean(axis=0))
        assert_holds(result, scaled.astype(float), slack=1e-11)


def test_a_missing_chunk_of_a_result_is_not_zeros(tmp_path):
    A = KnownMatrix("pow1", 400, 60, "float64").rows(0, 400)
    streamsvd.svd(A, 4, out=tmp_path / "M.zarr", u=True)
    assert streamsvd.load(tmp_path / "M.zarr").rank == 4
    for name in ("s", "Vh", "U"):
        streamsvd.svd(A, 4, out=tmp_path / f"{name}.zarr", u=True)
        chunk = next(p for p in (tmp_path / f"{name}.zarr" / name).rglob("*") if p.name.isdigit())
        while chunk.is_dir():
            chunk = next(chunk.iterdir())
        chunk.unlink()
        with pytest.raises(streamsvd.StoreError, match=rf"lacks 1 of the \d+ chunks of {name}"):
            streamsvd.load(tmp_path / f"{name}.zarr")


def test_every_error_can_be_caught_by_name():
    for name in ("BudgetError", "NonFiniteError", "ShapeError", "SpecError", "StoreError"):
        assert issubclass(getattr(streamsvd, name), streamsvd.StreamSVDError)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_one_row_that_scaling_leaves_nothing_of_ends(axis, route):
    A = np.random.default_rng(0).normal(size=(1, 238)).astype(np.float16)
    plan = streamsvd.plan_svd(A, 1, scale=True, axis=axis, route=route)
    try:
        assert streamsvd.svd(A, plan=plan, scale=True).s[0] == 0
    except streamsvd.SpecError as error:
        assert "nothing is left to factorise" in str(error)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_weights_too_large_to_sum_end_in_a_sentence(axis, route):
    """No power of two of the entries makes up for them: the pass is not taken again for ever."""
    A = np.random.default_rng(0).normal(size=(300, 6))
    weights = np.full(300, 1e50)
    plan = streamsvd.plan_svd(A, 2, axis=axis, route=route, row_weights=weights)
    with pytest.raises(streamsvd.SpecError, match=r"weights of up to 1e\+50 .* Divide them by"):
        streamsvd.svd(A, 2, plan=plan, row_weights=weights)

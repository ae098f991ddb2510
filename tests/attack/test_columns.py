"""Streamed along columns: constant columns and large offsets, where one sum for the mean keeps too few digits."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from tests.matrices import run


def _checked(A: np.ndarray, truth: np.ndarray, **options: bool) -> None:
    plan = streamsvd.plan_svd(A, 3, axis="columns", route="krylov", center=True, **options)
    c = streamsvd.svd(A, 3, plan=plan, center=True, **options).certificate
    slack = 1e-12 * truth[0]
    assert (c.sigma_lower <= truth[:3] + slack).all()
    assert (c.sigma_upper >= truth[:3] - slack).all()


@pytest.mark.parametrize("value", [7.1, 0.1, -1e-3, 1e9 / 3])
def test_constant_columns_stay_constant_when_scaled(value: float) -> None:
    """A column of 7.1 has a deviation of 1e-15 by rounding; divided by it, it was a leading direction."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 5))
    A = np.hstack([noise, np.full((200, 3), value)])
    z = (noise - noise.mean(axis=0)) / noise.std(axis=0)
    _checked(A, np.linalg.svd(z, compute_uv=False), scale=True)


@pytest.mark.parametrize("scale", [False, True])
def test_offset_beside_small_deviations(scale: bool) -> None:
    """Columns at 1e12 with deviations of one: the mean must be right to a part of the deviation."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(400, 40)) / np.arange(1, 41) + 1e12
    exact = A.astype(np.longdouble)
    exact = exact - exact.mean(axis=0)
    if scale:
        exact = exact / np.sqrt((exact**2).mean(axis=0))
    _checked(A, np.linalg.svd(exact.astype(np.float64), compute_uv=False), scale=scale)


SIZES = [(1e-200, 1e200), (1e-160, 1.0), (1.0, 1e160), (1e-300, 1e-100)]


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("kind", ["real", "complex", "weighted", "holes"])
def test_a_column_that_varies_is_never_taken_for_constant(axis, route, small, large, kind) -> None:
    """Where its squares vanish beside larger columns, an error names it."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(300, 6))
    A[:, 2] *= small
    A[:, 5] *= large
    others = [0, 1, 3, 4]
    A[:, others] *= large
    options: dict = {"scale": True, "center": True}
    if kind == "complex":
        A = A.real + 1j * rng.permutation(A)
    if kind == "weighted":
        options["row_weights"] = 1e10 * rng.random(300)
    if kind == "holes":
        A[rng.random(A.shape) < 0.1] = np.nan
        options["nonfinite"] = "mean"
    plan = streamsvd.plan_svd(A, 2, axis=axis, route=route, **options)
    words = r"column 2 varies by \d.*, beside .* scale=True would take it for constant\. Multiply"
    with pytest.raises(streamsvd.StreamSVDError, match=words):
        streamsvd.svd(A, 2, plan=plan, **options)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_what_is_constant_at_any_size_is_left_out_as_ever(axis, route, policy) -> None:
    """As are columns that vary only in rows of weight zero, or in what is missing."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(300, 9))
    A[:, 1], A[:, 3], A[:, 4], A[:, 7] = 1e-200, 0.0, 7e-170, 0.0
    A[:, 8] *= 1e-130
    weights = np.ones(300)
    weights[250:] = 0
    A[250:, 4] = 1.0
    A[40:60, 7] = np.nan
    options = {"scale": True, "row_weights": weights, "nonfinite": policy}
    result = run(A, 3, axis=axis, route=route, **options)
    alive = [0, 2, 5, 6, 8]
    B = A[:250, alive] - A[:250, alive].mean(axis=0)
    expected = np.linalg.svd(A[:250, alive] / B.std(axis=0))[1][:3]
    np.testing.assert_allclose(result.s, expected, rtol=1e-3)
    np.testing.assert_allclose(result.Vh[:, [1, 3, 4, 7]], 0, atol=1e-12)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_small_rows_of_a_large_column_do_not_make_it_faint(axis, route) -> None:
    A = np.random.default_rng(0).normal(size=(3000, 6))
    A[:1500, 2] *= 1e-200
    result = run(A, 3, axis=axis, route=route, scale=True, center=True)
    Z = (A - A.mean(axis=0)) / A.std(axis=0)
    np.testing.assert_allclose(result.s, np.linalg.svd(Z)[1][:3], rtol=1e-3)

"""Streamed along columns: constant columns and large offsets, where one sum for the mean keeps too few digits."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd


def _checked(A: np.ndarray, truth: np.ndarray, **options: bool) -> None:
    plan = streamsvd.plan_svd(A, 3, axis="columns", route="krylov", center=True)
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

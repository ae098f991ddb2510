"""Batch results as the beginning of a model: what they prove alone is less than what they prove of a sum."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd


def interval_holds(certificate, A):
    count = certificate.sigma_lower.size
    truth = np.linalg.svd(A, compute_uv=False)[:count]
    rounding = 1e-14 * truth[0]
    assert (certificate.sigma_lower <= truth + rounding).all()
    assert (truth <= certificate.sigma_upper + rounding).all()


@pytest.mark.parametrize("seed", range(20))
def test_repeated_values_are_none_of_them_missed(seed):
    A = np.linalg.qr(np.random.default_rng(seed).standard_normal((120, 50)))[0]
    result = streamsvd.svd(A, 2)
    interval_holds(result.certificate, A)
    np.testing.assert_allclose(result.s, 1, rtol=1e-9)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["gram", "krylov"])
def test_new_rows_do_not_uncover_what_rounding_hid(tmp_path, axis, route):
    """Integers of rank two whose new rows cancel most of the old: what is left is as small as the rounding was."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        B = rng.integers(-9, 10, (2, 5))
        far = 10**6 * (rng.integers(-9, 10, 2) @ B)
        A = (rng.integers(-9, 10, (50, 2)) @ B + far).astype(float)
        new = (rng.integers(-9, 10, (2, 2)) @ B - far).astype(float)
        path = tmp_path / f"{seed}.zarr"
        plan = streamsvd.plan_svd(A, 4, axis=axis, route=route)
        streamsvd.svd(A, 4, plan=plan, out=path)
        streamsvd.update(path, new, "new")
        certificate = streamsvd.Model.open(path).certificate
        assert (certificate.sigma_lower[2:] <= 1e-15 * certificate.sigma_upper[0]).all()
        interval_holds(certificate, np.vstack([A, new]))


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_certified_factor_is_below_the_matrix_by_no_more_than_its_deficit(axis, dtype):
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((400, 90)) * 0.9 ** np.arange(90)).astype(dtype)
    plan = streamsvd.plan_svd(A, 5, axis=axis, route="krylov", tol=1e-2)
    result = streamsvd.svd(A, 5, plan=plan, tol=1e-2)
    c, wide = result.certificate, A.astype(float)
    part = (result.Vh.T * c.sigma_lower**2) @ result.Vh
    below = -np.linalg.eigvalsh(wide.T @ wide - part)[0]
    assert below <= c.deficit * (1 + 1e-9)
    assert c.deficit <= 2e-2 * c.sigma_upper[0] ** 2


def test_values_of_which_nothing_is_proved_keep_their_left_vectors(tmp_path):
    rng = np.random.default_rng(1)
    Q, R = (np.linalg.qr(rng.standard_normal((m, 120)))[0] for m in (400, 120))
    A = 1e5 * np.ones((400, 1)) * rng.standard_normal(120) + (Q * np.arange(1, 121) ** -0.5) @ R
    path = tmp_path / "m.zarr"
    result = streamsvd.svd(A, 10, tol=0.3, u=True, out=path)
    assert (result.certificate.sigma_lower == 0).any()
    new = rng.standard_normal((5, 120))
    streamsvd.update(path, new, "new")
    model = streamsvd.Model.open(path)
    both = np.vstack([A, new])
    assert model.U.shape == (405, model.s.size)
    error = np.linalg.norm(both - (model.U[:] * model.s) @ model.Vh)
    assert error <= model.certificate.frobenius_error

"""Columns divided by what their mean tells: a factorisation of that matrix, without a pass of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.numerics import scalings

AXES = ("rows", "columns")


def genotypes(m: int = 240, n: int = 70, seed: int = 0, gaps: float = 0.03) -> np.ndarray:
    """Counts of three populations, some not called, one column without the allele and one of it alone."""
    rng = np.random.default_rng(seed)
    shift = 0.15 * rng.standard_normal((3, n))
    frequency = np.clip(rng.uniform(0.02, 0.98, n) + shift, 0.01, 0.99)
    A = rng.binomial(2, frequency[np.arange(m) % 3]).astype(float)
    A[:, 5], A[:, 6] = 0, 2
    A[rng.random(A.shape) < gaps] = np.nan
    return A


def by_hand(A, weights=None, columns=1.0, fill=None):
    """Mean, divisor and the matrix that is factorised, by numpy; missing values are the mean, or what fills them."""
    w = np.ones(len(A)) if weights is None else weights
    if fill is not None:
        A = np.where(np.isnan(A), fill, A)
    there = ~np.isnan(A)
    mean = np.sum(w[:, None] * np.where(there, A, 0), axis=0) / np.sum(w[:, None] * there, axis=0)
    p = mean / 2
    divisor = np.sqrt(np.clip(2 * p * (1 - p), 0, None))
    divisor[divisor < 1e-6] = 0
    B = np.where(there, A, mean) - mean
    B = np.divide(B, divisor, out=np.zeros_like(B), where=divisor > 0)
    return mean, divisor, np.sqrt(w)[:, None] * B * columns


def planned(A, axis, route="gram", **options):
    return streamsvd.plan_svd(A, 4, center=True, scale="hwe", axis=axis, route=route, **options)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
def test_hwe_is_the_deviation_of_alleles_in_equilibrium(axis, dtype):
    A = genotypes()
    mean, divisor, B = by_hand(A)
    plan = planned(A.astype(dtype), axis, nonfinite="mean")
    r = streamsvd.svd(A.astype(dtype), plan=plan)
    np.testing.assert_allclose(r.s, np.linalg.svd(B, compute_uv=False)[:4], rtol=1e-6)
    np.testing.assert_allclose(r.scale, divisor, rtol=1e-12, atol=0)
    np.testing.assert_allclose(r.mean, mean, rtol=1e-12)
    assert (r.Vh[:, 5:7] == 0).all()
    assert (divisor[5:7] == 0).all()
    assert r.preparation["scale"] == r.options.scale == "hwe"
    other = streamsvd.plan_svd(
        A, 4, center=True, scale=True, axis=axis, route="gram", nonfinite="mean"
    )
    assert r.info.passes == streamsvd.svd(A, plan=other).info.passes  # as many as with a deviation


@pytest.mark.parametrize("axis", AXES)
def test_weights_and_zeros_go_along(axis):
    rng = np.random.default_rng(1)
    A, rows, columns = genotypes(), rng.uniform(0, 2, 240), rng.uniform(0.5, 2, 70)
    rows[:7], columns[9] = 0, 0
    A[3, 20] = 77  # nobody looks at a row of weight 0
    for policy, fill in (("mean", None), ("zero", 0.0)):
        _, _, B = by_hand(np.delete(A, 3, 0), np.delete(rows, 3), columns, fill)
        plan = planned(A, axis, row_weights=rows, column_weights=columns, nonfinite=policy)
        r = streamsvd.svd(A, plan=plan)
        np.testing.assert_allclose(r.s, np.linalg.svd(B, compute_uv=False)[:4], rtol=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from(AXES), st.booleans())
def test_any_counts(seed, axis, center):
    """Also without centring, where the mean stays and the divisor is the same."""
    rng = np.random.default_rng(seed)
    A = rng.binomial(2, rng.uniform(0, 1, 12), (60, 12)).astype("int8")
    _mean, divisor, B = by_hand(A.astype(float))
    if not center:
        B = np.divide(A, divisor, out=np.zeros(A.shape), where=divisor > 0)
    plan = streamsvd.plan_svd(A, 3, center=center, scale="hwe", axis=axis, route="gram")
    r = streamsvd.svd(A, plan=plan)
    s = np.linalg.svd(B, compute_uv=False)[:3]
    np.testing.assert_allclose(r.s, s, rtol=1e-6, atol=1e-6 * s[0])


def test_the_iteration_proves_the_same_matrix():
    A = genotypes(600, 300, gaps=0.01)
    _, _, B = by_hand(A)
    s = np.linalg.svd(B, compute_uv=False)
    c = streamsvd.svd(A, plan=planned(A, "rows", "krylov", nonfinite="mean")).certificate
    assert (c.sigma_lower <= s[:4] * (1 + 1e-9)).all()
    assert (s[:4] <= c.sigma_upper * (1 + 1e-9)).all()
    assert c.frobenius_norm == pytest.approx(np.linalg.norm(B), rel=1e-9)


def test_a_frequency_near_its_ends_is_none_of_rounding():
    """One allele among many is a column; weights that round a mean of 2 make none of one that does not vary."""
    rng = np.random.default_rng(0)
    A = rng.binomial(2, 0.3, (1001, 6)).astype(float)
    A[:, 1], A[:, 2] = 0, 2
    A[17, 1] = 1
    r = streamsvd.svd(A, 3, center=True, scale="hwe", row_weights=rng.uniform(0.1, 1, 1001))
    assert r.scale[1] > 0
    assert r.scale[2] == 0
    assert np.abs(r.Vh[:, 2]).max() == 0


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", ["int8", "f4", "f8"])
def test_what_is_no_count_is_named(axis, dtype):
    A = genotypes(gaps=0).astype(dtype)
    A[41, 33] = -9
    with pytest.raises(SpecError, match=r"-9 at row 41, column 33 .*counts of an allele, 0 to 2"):
        streamsvd.svd(A, plan=planned(A, axis))
    mask = np.ones(70, bool)
    mask[[2, 8]] = False
    with pytest.raises(SpecError, match="row 41, column 33 "):
        streamsvd.svd(A, 3, center=True, scale="hwe", mask=mask)
    A[41, 33] = 3
    with pytest.raises(SpecError, match="3 at row 41, column 33"):
        streamsvd.pca(A, 3, scale="hwe")


def test_a_scale_that_cannot_be_is_refused():
    A = genotypes(gaps=0)
    with pytest.raises(
        SpecError, match="scale='hardy' is unknown. Pass True, False, 'std' or 'hwe'"
    ):
        streamsvd.plan_svd(A, 2, scale="hardy")
    with pytest.raises(SpecError, match="holds complex numbers"):
        streamsvd.plan_svd(A.astype(complex), 2, scale="hwe")
    with pytest.raises(SpecError, match="all 3 columns are constant, which scale='hwe' leaves out"):
        streamsvd.svd(np.zeros((50, 3)), 1, scale="hwe")


def test_std_is_another_word_for_true():
    A = genotypes(gaps=0)
    plan = streamsvd.plan_svd(A, 3, scale="std", memory="1GiB")
    assert plan.options.scale is True
    assert plan == streamsvd.plan_svd(A, 3, scale=True, memory="1GiB")
    one, other = streamsvd.svd(A, 3, scale="std", plan=plan), streamsvd.svd(A, 3, scale=True)
    np.testing.assert_array_equal(one.Vh, other.Vh)
    with pytest.raises(SpecError, match="scale='hwe' was asked, the plan was made for scale=True"):
        streamsvd.svd(A, plan=plan, scale="hwe")


def test_a_scaling_is_a_line(monkeypatch):
    """By the root of the deviation, as in metabolomics (van den Berg and others 2006)."""
    line = scalings.Scaling(lambda mean, deviation, alpha: (deviation * alpha) ** 0.5)
    monkeypatch.setitem(scalings.SCALINGS, "pareto", line)
    A = np.random.default_rng(0).standard_normal((200, 9)) * np.geomspace(1e4, 1e-4, 9)
    B = (A - A.mean(axis=0)) / np.sqrt(A.std(axis=0))
    for axis in AXES:
        plan = streamsvd.plan_pca(A, 3, scale="pareto", axis=axis, route="gram")
        r = streamsvd.pca(A, plan=plan)
        np.testing.assert_allclose(r.s, np.linalg.svd(B, compute_uv=False)[:3], rtol=1e-9)
        np.testing.assert_allclose(r.scale, np.sqrt(A.std(axis=0)))


def test_a_stored_result_is_verified_and_goes_on(tmp_path):
    A = np.delete(genotypes(), [5, 6], axis=1)
    np.save(tmp_path / "A.npy", A)
    mean, divisor, B = by_hand(A)
    streamsvd.pca(
        tmp_path / "A.npy", 3, scale="hwe", nonfinite="mean", out=tmp_path / "r", tol=1e-6
    )
    assert streamsvd.load(tmp_path / "r").options.scale == "hwe"
    assert streamsvd.verify(tmp_path / "r", tmp_path / "A.npy").agrees
    new = genotypes(30, 70, seed=3, gaps=0)[:, np.delete(np.arange(70), [5, 6])]
    streamsvd.update(tmp_path / "r", new, "more")
    both = np.vstack([B, (new - mean) / divisor])
    s = np.linalg.svd(both - both.mean(axis=0), compute_uv=False)
    model = streamsvd.Model.open(tmp_path / "r")
    c = model.certificate
    assert (c.sigma_lower <= s[:3] * (1 + 1e-9)).all()
    assert (s[:3] <= c.sigma_upper * (1 + 1e-9)).all()
    np.testing.assert_allclose(model.as_svd().scale, divisor, rtol=1e-14)

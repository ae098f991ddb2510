"""The inputs on which the tools of today are wrong, silent or cryptic; ``benchmarks.peers`` shows them so.

The Krylov route is forced where the Gram route would be chosen, so that the method is what is tested.
"""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import NonFiniteError
from streamsvd.testing.spectra import KnownMatrix

K = 10


def factorised(A, **options):
    plan = streamsvd.plan_svd(A, K, route="krylov", **options)
    center = options.get("center", False)
    try:
        return streamsvd.svd(A, plan=plan, center=center)
    except streamsvd.NotConverged as error:
        return error.result


def assert_certified(result, truth, tol=1e-3):
    assert result.info.status is streamsvd.Status.CONVERGED
    c = result.certificate
    assert (c.sigma_lower <= truth[:K] * (1 + 1e-7)).all()
    assert (c.sigma_upper >= truth[:K] * (1 - 1e-7)).all()
    np.testing.assert_allclose(result.s, truth[:K], rtol=tol)


def test_m1_a_slow_spectrum_is_right_by_default():
    known = KnownMatrix("slow", 4000, 1000, "float64")
    result = factorised(known.rows(0, 4000))
    assert_certified(result, known.s)
    cosines = np.linalg.svd(result.Vh @ known.Vh(K).T, compute_uv=False)
    sine = float(np.sqrt(max(0.0, 1 - cosines.min() ** 2)))
    assert sine <= min(result.certificate.subspace_angle_bound, 1.0) + 1e-7


def test_m2_spikes_over_a_flat_noise_spectrum_are_certified_or_honest():
    known = KnownMatrix("spikes", 4000, 1000, "float64")
    result = factorised(known.rows(0, 4000))
    c = result.certificate
    assert (c.sigma_lower <= known.s[:K] * (1 + 1e-9)).all()
    assert (c.sigma_upper >= known.s[:K] * (1 - 1e-9)).all()
    assert_certified(result, known.s)


def test_m3_a_seed_means_the_same_for_every_chunking():
    import dask.array as da

    known = KnownMatrix("slow", 4000, 1000, "float64")
    dense = known.rows(0, 4000)
    results = [
        factorised(da.from_array(dense, chunks=(500, width)), tol=1e-6)
        for width in (250, 500, 1000)
    ]
    for result in results:
        np.testing.assert_allclose(result.s, known.s[:K], rtol=1e-6)
        np.testing.assert_allclose(result.Vh, results[0].Vh, atol=2e-3)


def std15(m):
    known = KnownMatrix("slow", m, 1000)
    return known.rows(0, m) * np.float32(15 * np.sqrt(m * 1000) / np.linalg.norm(known.s))


@pytest.mark.parametrize("m", [2000, 20_000])
def test_m4_m5_float32_of_ordinary_size_neither_overflows_nor_drifts(m):
    dense = std15(m)
    gram = dense.T.astype(np.float64) @ dense.astype(np.float64)
    assert_certified(factorised(dense), np.sqrt(np.linalg.eigvalsh(gram)[::-1]))


def test_m4_a_geometric_spectrum_of_small_numbers_is_right():
    known = KnownMatrix("geometric", 2000, 1000)
    dense = np.float32(1e-3) * known.rows(0, 2000)
    truth = np.linalg.svd(dense.astype(np.float64), compute_uv=False)
    assert_certified(factorised(dense), truth)


def test_m8_one_nan_is_named_with_its_chunk():
    dense = KnownMatrix("slow", 4000, 1000, "float64").rows(0, 4000)
    dense[1234, 567] = np.nan
    with pytest.raises(NonFiniteError, match="NaN at row 1234, column 567") as caught:
        streamsvd.svd(dense, K)
    assert "drop_columns" in str(caught.value)


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_m9_columns_far_from_zero_keep_their_digits(offset, route):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 50)) * np.linspace(0.3, 3, 50)
    Y = (X + offset).astype(np.float32)
    exact = Y.astype(np.float64)
    truth = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    plan = streamsvd.plan_svd(Y, 5, route=route, center=True)
    result = streamsvd.svd(Y, plan=plan, center=True)
    np.testing.assert_allclose(result.s, truth[:5], rtol=1e-4 if offset == 1e6 else 1e-6)
    assert (result.certificate.sigma_lower <= truth[:5] * (1 + 1e-12)).all()
    assert (result.certificate.sigma_upper >= truth[:5] * (1 - 1e-12)).all()


@pytest.mark.parametrize("spectrum", ["geometric", "slow"])
def test_m14_complex_data_are_as_right_as_real_ones(spectrum):
    known = KnownMatrix(spectrum, 2000, 500, "complex128")
    dense = known.rows(0, 2000)
    result = factorised(dense, tol=1e-8 if spectrum == "slow" else 1e-6)
    np.testing.assert_allclose(result.s, known.s[:K], rtol=1e-9)
    best = np.linalg.norm(known.s[K:])
    left = dense - dense @ result.Vh.conj().T @ result.Vh
    np.testing.assert_allclose(np.linalg.norm(left), best, rtol=1e-6)

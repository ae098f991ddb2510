"""Matrices that exist: what is certified of them is what LAPACK finds in memory."""

import numpy as np
import pytest
import zarr

import streamsvd
from tools.realdata import RealDataUnavailable, fetch

pytestmark = pytest.mark.realdata


def opened(name, variable, **kwargs):
    try:
        path = fetch(name)
    except RealDataUnavailable as error:
        pytest.skip(str(error))
    dense = zarr.open_group(str(path), mode="r")[variable][...]
    return streamsvd.open(path, variable=variable, **kwargs), dense


def assert_holds(result, dense):
    truth = np.linalg.svd(dense.astype(np.float64), compute_uv=False)[: result.rank]
    certificate = result.certificate
    assert (certificate.sigma_lower <= truth * (1 + 1e-12)).all()
    assert (certificate.sigma_upper >= truth * (1 - 1e-12)).all()
    np.testing.assert_allclose(result.s, truth, rtol=max(certificate.relative_width, 1e-10))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_token_embeddings_of_flat_tail(route, center):
    A, dense = opened("minilm-tokens", "embeddings.word_embeddings.weight")
    plan = streamsvd.plan_svd(A, 50, tol=1e-3, route=route, center=center, memory="256MiB")
    result = streamsvd.svd(A, plan=plan, center=center)
    assert_holds(result, dense - dense.mean(axis=0, dtype=np.float64) * center)
    assert result.info.passes <= 3.3


def test_half_precision_embeddings():
    A, dense = opened("wordllama", "embedding.weight")
    assert A.dtype == np.float16
    assert_holds(streamsvd.svd(A, 32, tol=1e-3, memory="256MiB"), dense)


def test_digits_sorted_by_label_are_no_harder():
    A, dense = opened("mnist", "pixels")
    plan = streamsvd.plan_svd(A, 20, tol=1e-3, route="krylov", center=True)
    result = streamsvd.pca(A, 20, plan=plan)
    assert_holds(result.svd, dense - dense.mean(axis=0, dtype=np.float64))
    assert result.info.passes <= 3.3


def test_air_temperature_has_the_published_shares():
    A, dense = opened("e1", "air_temperature", rows="time")
    result = streamsvd.pca(A, 4)
    np.testing.assert_allclose(
        100 * result.explained_variance_ratio, [72.1, 6.9, 4.8, 3.4], atol=0.06
    )
    flat = dense.reshape(dense.shape[0], -1)
    assert_holds(result.svd, flat - flat.mean(axis=0, dtype=np.float64))


def test_land_is_missing_and_not_1e20():
    A, dense = opened("ostia", "surface_temperature", rows="time")
    with pytest.raises(streamsvd.StreamSVDError, match="NaN at row 0"):
        streamsvd.svd(A, 3)
    flat = dense.reshape(dense.shape[0], -1)
    sea = flat[:, (flat < 1e19).all(axis=0)]
    result = streamsvd.pca(A, 3, nonfinite="drop_columns")
    assert_holds(result.svd, sea - sea.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(100 * result.explained_variance_ratio, [58, 22, 7], atol=0.6)


def test_few_patients_and_many_genes_stream_along_columns():
    A, dense = opened("nci60", "expression")
    result = streamsvd.pca(A, 10)
    assert result.info.axis == "columns"
    assert_holds(result.svd, dense - dense.mean(axis=0))


def test_genotypes_of_a_flat_spectrum_are_certified_or_honest():
    A, dense = opened("toydata-bed", "alleles")
    try:
        result = streamsvd.pca(A, 10, tol=1e-3)
    except streamsvd.NotConverged as error:
        result = error.result
    assert_holds(result.svd, dense - dense.mean(axis=0, dtype=np.float64))

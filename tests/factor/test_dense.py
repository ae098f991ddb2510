"""`svd` and `pca` against dense LAPACK on matrices small enough for it: every type, shape, axis and route."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

import streamsvd
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import assert_right, prepared, run

WAYS = [(axis, route) for axis in ("rows", "columns") for route in ("krylov", "gram")]
ways = pytest.mark.parametrize(("axis", "route"), WAYS)
DTYPES = [
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
]


def random(shape, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    A = 10 * rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal(shape)
    return (np.abs(A) if np.dtype(dtype).kind == "u" else A).astype(dtype)


@ways
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_type_along_both_axes_by_both_routes(dtype, axis, route):
    A = random((60, 24), dtype)
    assert_right(run(A, 5, axis=axis, route=route), prepared(A), rank=5)
    assert_right(run(A, 5, axis=axis, route=route, center=True), prepared(A, center=True), rank=5)


@ways
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 9), (9, 1), (2, 50), (50, 2), (31, 31), (7, 200), (200, 7)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_every_shape_at_rank_one_and_at_the_full_rank(shape, dtype, axis, route):
    A = random(shape, dtype)
    for rank in {1, min(shape)}:
        result = run(A, rank, axis=axis, route=route)
        assert_right(result, prepared(A), rank=rank)
        assert result.info.status is streamsvd.Status.CONVERGED


@ways
def test_the_zero_matrix_has_singular_values_zero(axis, route):
    for shape in ((8, 5), (5, 8), (1, 1)):
        result = run(np.zeros(shape), 1, axis=axis, route=route, u=True)
        assert result.s[0] == 0
        assert result.certificate.sigma_upper[0] == 0
        assert result.info.status is streamsvd.Status.CONVERGED
        assert not np.asarray(result.U).any() or np.isfinite(result.U).all()
        assert_right(result, np.zeros(shape), rank=1)


@ways
@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (40, 40)])
def test_values_beyond_the_rank_of_the_matrix_are_small_and_never_proved_positive(
    shape, axis, route
):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((shape[0], 4)) @ rng.standard_normal((4, shape[1]))
    result = run(A, 7, axis=axis, route=route)
    assert_right(result, A, rank=7)
    assert (result.certificate.sigma_upper[4:] < 1e-5 * result.s[0]).all()
    assert result.certificate.numerical_rank == 4
    exact = run(A, 4, axis=axis, route=route)
    assert exact.info.status is streamsvd.Status.CONVERGED
    np.testing.assert_allclose(A @ exact.Vh.T @ exact.Vh, A, atol=1e-6)


@ways
def test_rank_one(axis, route):
    A = np.outer(np.arange(1.0, 51), np.linspace(-1, 2, 20))
    result = run(A, 1, axis=axis, route=route, u=True)
    assert_right(result, A, rank=1)
    np.testing.assert_allclose(np.asarray(result.U) * result.s @ result.Vh, A, atol=1e-6)


@ways
def test_the_hilbert_matrix_is_right_as_far_as_its_squares_resolve(axis, route):
    H = linalg.hilbert(12)
    result = run(H, 12, axis=axis, route=route, tol=1e-6)
    assert_right(result, H, tol=1e-6, rank=12)
    np.testing.assert_allclose(result.s[:5], np.linalg.svd(H, compute_uv=False)[:5], rtol=1e-5)


@ways
def test_repeated_values_are_all_found(axis, route):
    rng = np.random.default_rng(0)
    s = np.repeat([3.0, 2.0, 1.0, 0.5], [2, 3, 4, 11])
    Q = np.linalg.qr(rng.standard_normal((60, 20)))[0]
    A = (Q * s) @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    for rank in (1, 2, 4, 9):
        result = run(A, rank, axis=axis, route=route)
        assert_right(result, A, rank=rank)
        np.testing.assert_allclose(result.s, s[:rank], rtol=1e-3)
    cut = run(A, 4, axis=axis, route=route)
    assert cut.certificate.subspace_angle_bound == np.inf  # in the middle of the triple value


@ways
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *(("float64", s) for s in (1e-150, 1e-100, 1e-20, 1e20, 1e100, 1e150)),
        *(("complex128", s) for s in (1e-150, 1e150)),
        *(("float32", s) for s in (1e-40, 1e-30, 1e-10, 1e10, 1e30)),
        *(("complex64", s) for s in (1e-30, 1e30)),
        ("float16", 1e-6),
    ],
)
def test_scales_far_from_one_lose_no_digit(dtype, scale, axis, route):
    A = random((50, 12), "complex128" if dtype.startswith("complex") else "float64") * scale
    A = A.astype(dtype)
    for options in ({}, {"center": True}, {"center": True, "scale": True}):
        result = run(A, 3, axis=axis, route=route, **options)
        unit = float(np.abs(A).max())
        X = prepared(A.astype(np.result_type(A.dtype, np.float64)) / unit, **options)
        X = X if options.get("scale") else X * unit
        assert_right(result, X, rank=3)
        assert result.info.status is streamsvd.Status.CONVERGED


@ways
@pytest.mark.parametrize(
    "options", [{"center": True}, {"center": True, "scale": True}, {"scale": True}]
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_centring_scaling_and_weights_are_the_dense_ones(dtype, weighted, options, axis, route):
    A = random((80, 15), dtype) + np.linspace(0, 30, 15).astype(dtype)
    rng = np.random.default_rng(1)
    if weighted:
        w = rng.random(80)
        w[::7] = 0
        options = options | {"row_weights": w / w.sum(), "column_weights": rng.random(15)}
    result = run(A, 4, axis=axis, route=route, tol=1e-4, **options)
    assert_right(result, prepared(A, **options), tol=1e-4, rank=4)
    w = options.get("row_weights", np.full(80, 1 / 80))
    if options.get("center"):
        np.testing.assert_allclose(
            result.mean,
            (w / w.sum()) @ A.astype(complex if np.iscomplexobj(A) else float),
            rtol=1e-9,
        )
    else:
        assert result.mean is None
    assert (result.scale is None) == (not options.get("scale"))


@ways
@pytest.mark.parametrize(
    "options", [{}, {"center": True}, {"scale": True}, {"center": True, "scale": True}]
)
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_missing_values_mean_what_the_policy_says(dtype, policy, options, axis, route):
    A = (random((200, 20), dtype) / 10 + 3).astype(dtype)
    rng = np.random.default_rng(2)
    gone = rng.random(A.shape) < 0.05
    gone[:, :5] = False
    A[gone] = np.nan
    weights = {"row_weights": rng.random(200) / 200} if policy == "mean" else {}
    result = run(A, 4, axis=axis, route=route, nonfinite=policy, **options, **weights)
    assert_right(result, prepared(A, nonfinite=policy, **options, **weights), rank=4)
    if policy == "drop_columns":
        outside = result.Vh[:, gone.any(axis=0)]
        np.testing.assert_allclose(outside, 0, atol=1e-12)


@ways
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_missing_entries_are_counted_and_not_weighed(policy, axis, route):
    A, rng = random((200, 20)), np.random.default_rng(2)
    gone = rng.random(A.shape) < 0.05
    gone[:, :5] = False
    A[gone] = np.nan
    weights = 7 * rng.random(200)
    weights[:3] = 0  # rows left out have no entries, so none that are missing
    options = {"nonfinite": policy, "row_weights": weights, "center": True}
    result = run(A, 4, axis=axis, route=route, **options)
    assert result.info.missing == gone[3:].sum()
    assert isinstance(result.info.missing, int)
    assert_right(result, prepared(A, **options), rank=4)


@ways
def test_constant_columns_are_left_out_of_scaling(axis, route):
    A = random((60, 10))
    A[:, 3], A[:, 7] = 5.0, 0.0
    for center in (False, True):
        result = run(A, 3, axis=axis, route=route, center=center, scale=True)
        assert_right(result, prepared(A, center=center, scale=True), rank=3)
        np.testing.assert_allclose(result.Vh[:, [3, 7]], 0, atol=1e-12)
    if axis == "rows":
        assert result.info.dropped_columns == (3, 7)


@ways
def test_a_rank_beyond_the_columns_left_is_filled_up_with_zeros(axis, route):
    A = random((60, 6))
    A[:, :2] = 1.0
    result = run(A, 6, axis=axis, route=route, scale=True, u=True)
    assert_right(result, prepared(A, scale=True), rank=6)
    assert (result.s[4:] < 1e-6 * result.s[0]).all()
    assert result.certificate.numerical_rank == 4


def test_with_nothing_left_to_factorise_an_error_says_so():
    with pytest.raises(streamsvd.StreamSVDError, match="all 4 columns are constant"):
        streamsvd.svd(np.ones((10, 4)), 2, scale=True)
    missing = np.full((10, 4), np.nan)
    with pytest.raises(streamsvd.StreamSVDError, match="no column of ndarray has a value"):
        run(missing, 2, axis="rows", nonfinite="drop_columns")


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_columns_at_a_million_in_float32_keep_the_digits_of_their_variation(axis):
    known = KnownMatrix("offset", 3000, 60, "float32")
    A = known.rows(0, 3000)
    exact = A.astype(np.float64)
    truth = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False)
    result = run(A, 10, axis=axis, route="krylov", center=True, tol=1e-4)
    np.testing.assert_allclose(result.s, truth[:10], rtol=1e-4)
    assert (result.certificate.sigma_lower <= truth[:10] * (1 + 1e-12)).all()
    assert (result.certificate.sigma_upper >= truth[:10] * (1 - 1e-12)).all()
    assert result.info.status is streamsvd.Status.CONVERGED


@pytest.mark.slow
@pytest.mark.parametrize("name", ["graded4", "graded5"])
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("precision", ["auto", "single", "double"])
def test_small_values_in_float32_are_right_or_honestly_not(name, axis, precision):
    known = KnownMatrix(name, 1500, 120, "float32")
    A = known.rows(0, 1500)
    truth = np.linalg.svd(A.astype(np.float64), compute_uv=False)
    result = run(A, 50, axis=axis, route="krylov", precision=precision)
    assert_right(result, A.astype(np.float64), rank=50)
    if result.info.status is streamsvd.Status.CONVERGED:
        np.testing.assert_allclose(result.s, truth[:50], rtol=1e-3)
    if precision == "auto":
        assert result.info.status is streamsvd.Status.CONVERGED


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_ten_spikes_over_flat_noise_are_certified(axis):
    known = KnownMatrix("spikes", 800, 300, "float64")
    result = run(known.rows(0, 800), 10, axis=axis, route="krylov")
    assert result.info.status is streamsvd.Status.CONVERGED
    np.testing.assert_allclose(result.s, known.s[:10], rtol=1e-3)
    assert_right(result, known.rows(0, 800), rank=10)


@ways
@pytest.mark.parametrize("name", ["geometric", "pow1"])
def test_complex_matrices_to_ten_digits(name, axis, route):
    known = KnownMatrix(name, 500, 80, "complex128")
    result = run(known.rows(0, 500), 8, axis=axis, route=route, tol=1e-9)
    assert result.info.status is streamsvd.Status.CONVERGED
    np.testing.assert_allclose(result.s, known.s[:8], rtol=1e-10)
    overlap = np.abs(np.sum(result.Vh * known.Vh(8).conj(), axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-8)


# The left factor ----------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128", "int16"])
@pytest.mark.parametrize("stored", [False, True])
def test_the_left_factor_is_that_of_the_matrix_factorised(dtype, stored, axis, route, tmp_path):
    rng = np.random.default_rng(0)
    A = random((90, 20), dtype)
    options = {"center": True, "row_weights": rng.random(90), "column_weights": rng.random(20)}
    where = {"out": tmp_path / "M.zarr"} if stored else {}
    result = run(A, 4, axis=axis, route=route, u=True, tol=1e-8, **options, **where)
    X, U = prepared(A, **options), np.asarray(result.U[...] if stored else result.U)
    assert U.shape == (90, 4)
    single = stored and U.dtype.itemsize <= (8 if U.dtype.kind == "c" else 4)
    near = 3e-6 if single else 1e-6
    np.testing.assert_allclose(X @ result.Vh.conj().T, U * result.s, atol=near * result.s[0])
    np.testing.assert_allclose(U.conj().T @ U, np.eye(4), atol=1e-5)
    if stored:
        assert isinstance(result.U, object)
        again = streamsvd.load(tmp_path / "M.zarr")
        np.testing.assert_array_equal(again.U[...], U)
        np.testing.assert_array_equal(again.s, result.s)
        np.testing.assert_array_equal(again.Vh, result.Vh)


def test_columns_of_u_that_belong_to_zeros_are_zero_or_orthonormal():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 10))
    for axis in ("rows", "columns"):
        result = run(A, 4, axis=axis, route="gram", u=True)
        U = np.asarray(result.U)
        G = U.T @ U
        np.testing.assert_allclose(G[:2, :2], np.eye(2), atol=1e-9)
        np.testing.assert_allclose(U * result.s @ result.Vh, A, atol=1e-5)


# Principal components -----------------------------------------------------------------------------


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_pca_is_the_svd_of_the_centred_matrix_in_the_words_of_statistics(axis):
    A = random((100, 12)) + 7
    plan = streamsvd.plan_svd(A, 3, center=True, axis=axis, u=True)
    result = streamsvd.pca(A, 3, plan=plan, u=True)
    X = prepared(A, center=True)
    s = np.linalg.svd(X, compute_uv=False)
    np.testing.assert_allclose(result.explained_variance, s[:3] ** 2 / 99, rtol=2e-3)
    np.testing.assert_allclose(
        result.explained_variance_ratio, s[:3] ** 2 / np.sum(s**2), rtol=2e-3
    )
    np.testing.assert_allclose(result.mean, A.mean(axis=0))
    assert result.components is result.Vh
    assert result.components.shape == (3, 12)
    assert result.info is result.svd.info
    assert "of the variance" in repr(result)


@pytest.mark.parametrize("power", [-590, 590])
def test_shares_are_right_where_squares_leave_float64_and_it_is_said(power, tmp_path):
    A, size = random((100, 12)) + 7, 2.0**power
    near, far = streamsvd.pca(A, 3), streamsvd.pca(A * size, 3, out=tmp_path / "far")
    far = streamsvd.load(tmp_path / "far")
    np.testing.assert_allclose(far.s, near.s * size, rtol=1e-12)
    ratio = near.explained_variance_ratio
    np.testing.assert_allclose(far.explained_variance_ratio, ratio, rtol=1e-12)
    one, other = near.certificate, far.certificate
    assert other.captured == pytest.approx(one.captured, rel=1e-12)
    assert other.captured_of_best == pytest.approx(one.captured_of_best, rel=1e-12)
    assert other.frobenius_norm == pytest.approx(one.frobenius_norm * size, rel=1e-12)
    assert not other.vanishes
    assert set(far.explained_variance) == {np.inf if power > 0 else 0.0}
    assert near.info.warnings == ()
    (said,) = far.info.warnings
    assert "leave the range of float64: explained_variance, certificate.energy" in said
    (said,) = streamsvd.svd(A * size, 3).info.warnings
    assert "explained_variance" not in said
    assert streamsvd.verify(tmp_path / "far", A * size).agrees
    assert not streamsvd.verify(tmp_path / "far", A * size * 1.01).agrees


def test_pca_of_scaled_columns_has_as_much_variance_as_columns():
    A = random((200, 9)) * np.arange(1, 10)
    result = streamsvd.pca(A, 9, scale=True)
    total = np.sum(result.explained_variance) * 199 / 200
    assert total == pytest.approx(9)
    assert result.explained_variance_ratio.sum() == pytest.approx(1)


def test_pca_without_centring_is_refused():
    with pytest.raises(streamsvd.SpecError, match="pca always centres.*Use svd"):
        streamsvd.pca(random((10, 4)), 2, center=False)


def test_pca_that_does_not_converge_carries_components():
    known = KnownMatrix("slow", 400, 200, "float64")
    plan = streamsvd.plan_svd(
        known.rows(0, 400), 20, center=True, tol=1e-9, max_passes=1, route="krylov"
    )
    with pytest.raises(streamsvd.NotConverged) as error:
        streamsvd.pca(known.rows(0, 400), 20, plan=plan, max_passes=1)
    assert isinstance(error.value.result, streamsvd.PCA)
    assert error.value.result.components.shape == (20, 200)

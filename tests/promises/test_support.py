"""What has weight 0 is not there: the answer is that of the matrix without it, whatever stands in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from tests.matrices import Rows, assert_right, prepared, run

M, N = 70, 14
WAYS = [(axis, route) for axis in ("rows", "columns") for route in ("krylov", "gram")]
ways = pytest.mark.parametrize(("axis", "route"), WAYS)
POLICIES = ("raise", "zero", "mean", "drop_columns")


def garbage(rng, dtype, shape):
    """What no run may look at: missing, endless, and larger than squares can be."""
    top = float(np.finfo(dtype).max)
    return rng.choice([np.nan, np.inf, -np.inf, top, -top / 3, 5e5], shape).astype(dtype)


def case(seed, dtype="float64", *, holes=False, rows=0.4, columns=0.3):
    """A matrix with garbage where weights are 0, the weights, and what is left of it without them."""
    rng = np.random.default_rng(seed)
    A = (rng.standard_normal((M, N)) * 0.8 ** np.arange(N) + 5 * rng.standard_normal(N)).astype(
        dtype
    )
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((M, N)).astype(A.real.dtype)
    w, c = 0.5 + rng.random(M), 0.5 + rng.random(N)
    w[rng.random(M) < rows] = 0
    c[rng.random(N) < columns] = 0
    w[5], c[3], c[7] = 1, 1, 1
    if holes:  # in some columns only, or nothing is left for the policy that drops them
        A[:, 9:][rng.random((M, N - 9)) < 0.06] = np.nan
    A[w == 0] = garbage(rng, A.real.dtype, (np.count_nonzero(w == 0), N))
    A[:, c == 0] = garbage(rng, A.real.dtype, (M, np.count_nonzero(c == 0)))
    return A, w, c


@given(
    way=st.sampled_from(WAYS),
    dtype=st.sampled_from(["float32", "float64", "complex64", "complex128"]),
    policy=st.sampled_from(POLICIES),
    options=st.sampled_from(
        [{}, {"center": True}, {"scale": True}, {"center": True, "scale": True}]
    ),
    shares=st.tuples(st.sampled_from([0, 0.4, 0.9]), st.sampled_from([0, 0.3])),
    height=st.sampled_from([7, 16, 100]),
    seed=st.integers(0, 10**6),
)
def test_weight_zero_is_the_matrix_without_it(
    way, dtype, policy, options, shares, height, seed
) -> None:
    A, w, c = case(seed, dtype, holes=policy != "raise", rows=shares[0], columns=shares[1])
    axis, route = way
    common = {"axis": axis, "route": route, "nonfinite": policy, "u": True, **options}
    rank = min(2, np.count_nonzero(w) - 1) or 1
    found = run(Rows(A, height), rank, row_weights=w, column_weights=c, **common)
    rows, columns = np.flatnonzero(w), np.flatnonzero(c)
    X = prepared(A, row_weights=w, column_weights=c, nonfinite=policy, **options)
    assert_right(found, X, rank=rank)
    B = np.ascontiguousarray(A[np.ix_(rows, columns)])
    cut = run(Rows(B, height), rank, row_weights=w[rows], column_weights=c[columns], **common)
    np.testing.assert_allclose(found.s, cut.s, rtol=2e-3, atol=1e-6 * cut.s[0])
    assert found.info.freedom == pytest.approx(cut.info.freedom, rel=1e-12)
    assert found.info.missing == cut.info.missing
    assert found.info.status is cut.info.status
    np.testing.assert_allclose(found.certificate.energy, cut.certificate.energy, rtol=1e-6)
    for name in ("mean", "scale"):
        one, other = getattr(found, name), getattr(cut, name)
        if other is None:
            assert one is None
        else:
            np.testing.assert_allclose(one[columns], other, rtol=1e-5, atol=1e-5)
    alive = found.s > 1e-6 * found.s[0]
    np.testing.assert_allclose(found.Vh[alive][:, c == 0], 0, atol=1e-10)
    np.testing.assert_allclose(np.asarray(found.U)[w == 0][:, alive], 0, atol=1e-10)


@given(
    way=st.sampled_from(WAYS),
    factor=st.sampled_from([1e-60, 0.3, 2.0, 1e5, 1e12]),
    zeros=st.booleans(),
    scale=st.booleans(),
)
def test_a_factor_common_to_all_row_weights_changes_no_variance(way, factor, zeros, scale) -> None:
    A, w, _ = case(3, rows=0.4 if zeros else 0, columns=0)

    def made(weights):
        options = {"scale": scale, "row_weights": weights}
        plan = streamsvd.plan_svd(A, 3, center=True, axis=way[0], route=way[1], **options)
        return streamsvd.pca(A, 3, plan=plan, **options)

    one, other = made(w), made(factor * w)
    near = 1e-9 if way[1] == "gram" else 2e-3  # other passes may have sufficed
    np.testing.assert_allclose(other.explained_variance, one.explained_variance, rtol=near)
    ratio = one.explained_variance_ratio
    np.testing.assert_allclose(other.explained_variance_ratio, ratio, rtol=near)
    np.testing.assert_allclose(other.s, one.s * np.sqrt(factor), rtol=near)
    np.testing.assert_allclose(other.mean, one.mean, rtol=1e-9)


def test_the_variance_under_weights_is_that_of_the_rows_that_count() -> None:
    A = np.random.default_rng(0).standard_normal((300, 12))
    w = (np.arange(300) < 150).astype(float)
    half, full = streamsvd.pca(A[:150], 3), streamsvd.pca(A, 3)
    found = streamsvd.pca(A, 3, row_weights=w)
    np.testing.assert_allclose(found.explained_variance, half.explained_variance, rtol=1e-9)
    assert (found.info.freedom, half.info.freedom, found.info.n_rows) == (149, 149, 300)
    twice = streamsvd.pca(A, 3, row_weights=np.full(300, 2.0))
    np.testing.assert_allclose(twice.explained_variance, full.explained_variance, rtol=1e-9)


@ways
@pytest.mark.parametrize("policy", POLICIES)
def test_a_column_is_not_dropped_for_a_row_that_does_not_count(policy, axis, route) -> None:
    A = np.random.default_rng(1).standard_normal((60, 8))
    B = A.copy()
    B[4], B[9, 2], B[:, 6] = np.nan, np.inf, np.nan
    w, c = np.ones(60), np.ones(8)
    w[[4, 9]], c[6] = 0, 0
    result = run(B, 3, axis=axis, route=route, nonfinite=policy, row_weights=w, column_weights=c)
    keep = np.flatnonzero(w)
    assert_right(result, np.where(c > 0, A, 0)[keep], rank=3)
    assert result.info.missing == 0
    assert result.info.dropped_columns == (6,)


@ways
def test_what_counts_is_looked_at_all_the_same(axis, route) -> None:
    A = np.random.default_rng(1).standard_normal((400, 8))
    A[:200], A[:, 6] = np.nan, np.inf
    w, c = np.ones(400), np.ones(8)
    w[:200], c[6] = 0, 0
    for bad, value in ((np.nan, "NaN"), (np.inf, "Inf")):
        B = A.copy()
        B[333, 5] = bad
        with pytest.raises(streamsvd.NonFiniteError, match=f"{value} at row 333, column 5"):
            run(B, 3, axis=axis, route=route, row_weights=w, column_weights=c)


@ways
@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64"])
def test_integers_that_do_not_count_may_be_any(dtype, axis, route) -> None:
    rng = np.random.default_rng(2)
    A = rng.integers(0, 100, (50, 9)).astype(dtype)
    w, c = np.ones(50), np.ones(9)
    w[10:30], c[4] = 0, 0
    A[10:30], A[:, 4] = np.iinfo(dtype).max, np.iinfo(dtype).max
    result = run(A, 3, axis=axis, route=route, center=True, row_weights=w, column_weights=c)
    assert_right(result, prepared(A, center=True, row_weights=w, column_weights=c), rank=3)


@pytest.mark.parametrize(("axis", "route"), WAYS)
@pytest.mark.parametrize("scale", [False, True])
def test_a_device_does_not_look_either(device, axis, route, scale) -> None:
    A, w, c = case(5, holes=True)
    options = {"center": True, "scale": scale, "row_weights": w, "column_weights": c}
    options["nonfinite"] = "mean"
    result = run(Rows(A, 20), 3, device=device[0], axis=axis, route=route, **options)
    assert_right(result, prepared(A, **options), rank=3)


@pytest.mark.parametrize("policy", ["raise", "mean"])
def test_tiles_of_columns_do_not_look_either(policy) -> None:
    A, w, c = case(6, holes=policy == "mean")
    store = zarr.create_array({}, shape=A.shape, dtype=A.dtype, chunks=(20, 5))
    store[...] = A
    options = {"center": True, "scale": True, "row_weights": w, "column_weights": c}
    options["nonfinite"] = policy
    plan = streamsvd.plan_svd(store, 3, axis="rows", route="krylov", **options)
    layout = replace(plan.layout, tile=5, panel=plan.layout.grain)
    result = streamsvd.svd(store, 3, plan=replace(plan, layout=layout, prefetch=False), **options)
    assert_right(result, prepared(A, **options), rank=3)


@pytest.mark.parametrize("last", [False, True])
@ways
def test_the_sample_is_drawn_where_something_counts(axis, route, last) -> None:
    """Few rows count, far from zero: a pilot of zeros would cost digits and a pass."""
    rng = np.random.default_rng(7)
    A = (1000 + rng.standard_normal((700, 12)) * 0.7 ** np.arange(12)).astype("float32")
    w = np.zeros(700)
    w[695 if last else 320 : 700 if last else 380] = 1
    A[w == 0] = np.nan
    options = {"center": True, "row_weights": w}
    result = run(Rows(A, 32), 3, axis=axis, route=route, **options)
    assert_right(result, prepared(A, **options), rank=3)
    if (axis, route, last) == ("rows", "gram", False):  # whole runs alone are drawn
        assert result.info.passes < 1.5


@pytest.mark.parametrize("left", [1, 2])
@ways
def test_a_rank_beyond_the_rows_that_count_is_filled_up_with_zeros(axis, route, left) -> None:
    A, w = np.random.default_rng(8).standard_normal((40, 9)), np.zeros(40)
    w[[11, 30][:left]] = 1
    A[w == 0] = np.inf
    result = run(A, 4, axis=axis, route=route, row_weights=w)
    assert_right(result, prepared(A, row_weights=w), rank=4)
    assert result.info.status is streamsvd.Status.CONVERGED
    assert result.certificate.numerical_rank == left
    assert result.info.freedom == 1


def test_the_energy_asked_for_is_that_of_what_counts() -> None:
    A, w, c = case(9)
    X = prepared(A, center=True, row_weights=w, column_weights=c)
    share = np.cumsum(np.linalg.svd(X, compute_uv=False) ** 2) / np.linalg.norm(X) ** 2
    result = streamsvd.pca(A, energy=0.95, row_weights=w, column_weights=c)
    assert result.svd.rank == np.argmax(share >= 0.95) + 1
    expected = share[result.svd.rank - 1]
    assert result.explained_variance_ratio.sum() == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("policy", ["raise", "mean"])
def test_verify_does_not_look_at_what_does_not_count(tmp_path, policy) -> None:
    A, w, c = case(10, holes=policy == "mean")
    out = tmp_path / "p.zarr"
    made = streamsvd.pca(
        A, 3, row_weights=w, column_weights=c, nonfinite=policy, u=True, out=out, tol=1e-6
    )
    assert streamsvd.verify(out, A).agrees
    other = A.copy()
    other[w == 0], other[:, c == 0] = -7, np.nan
    assert streamsvd.verify(out, other).agrees
    again = streamsvd.load(out)
    assert again.info.freedom == made.info.freedom
    other[5, 3] += 100
    assert not streamsvd.verify(out, other).agrees


@pytest.mark.parametrize("name", ["row_weights", "column_weights"])
@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (-1.0, r"\[2\] is -1.0; weights must be finite and not negative. Set it to 0"),
        (np.nan, r"\[2\] is nan; weights must be finite"),
        (np.inf, r"\[2\] is inf; weights must be finite"),
    ],
)
def test_weights_that_are_none_are_refused_in_words(name, weight, words) -> None:
    weights = np.ones(6)
    weights[2] = weight
    with pytest.raises(streamsvd.SpecError, match=name + words):
        streamsvd.pca(np.ones((6, 6)), 2, **{name: weights})
    with pytest.raises(streamsvd.SpecError, match=f"{name} are all zero: nothing would be left"):
        streamsvd.plan_svd(np.ones((6, 6)), 2, **{name: np.zeros(6)})


@ways
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_entries_too_large_for_the_sample_may_have_holes_beside_them(axis, route, policy) -> None:
    """The size of a block is that of what is there: of NaN there is no power of two, and no end of trying."""
    A = np.random.default_rng(0).standard_normal((300, 6))
    A[290] *= 1e140
    A[290, 3], A[5, 3], A[291] = np.nan, np.nan, np.inf
    w = np.ones(300)
    w[291] = 0
    result = run(Rows(A, 10), 2, axis=axis, route=route, nonfinite=policy, row_weights=w)
    X = prepared(A, nonfinite=policy, row_weights=w)
    np.testing.assert_allclose(result.s[0], np.linalg.norm(X[290]), rtol=1e-3)


@ways
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_a_column_is_missing_throughout_where_it_is_so_in_what_counts(axis, route, policy) -> None:
    A = np.random.default_rng(15).standard_normal((60, 8))
    w, c = np.ones(60), np.ones(8)
    w[20:], c[6] = 0, 0
    A[:20, 2], A[:, 6] = np.nan, np.nan  # column 2 has values that do not count, column 6 none
    keep = [0, 1, 3, 4, 5, 7]
    options = {"center": True, "nonfinite": policy, "row_weights": w, "column_weights": c}
    found = run(A, 3, axis=axis, route=route, **options)
    cut = streamsvd.pca(A[:20, keep], 3)
    np.testing.assert_allclose(found.s, cut.s, rtol=2e-3)
    assert np.isnan(found.Vh[:, 2]).all()
    assert np.isnan(found.mean[2])
    np.testing.assert_allclose(found.Vh[:, 6], 0, atol=1e-10)
    assert found.info.dropped_columns == (2, 6)
    assert found.info.missing == 20
    with pytest.raises(streamsvd.SpecError, match="no column of .* has a value"):
        run(A, 1, axis=axis, **options | {"column_weights": (np.arange(8) == 2).astype(float)})


def test_advice_about_columns_speaks_of_those_that_count() -> None:
    A = np.random.default_rng(16).standard_normal((60, 8))
    w, c = np.ones(60), np.ones(8)
    w[20:], c[6] = 0, 0
    A[:20, 2], A[:, 6] = np.nan, np.nan
    with pytest.raises(
        streamsvd.NonFiniteError, match=r"1 of 8 columns has no value in any row \(column 2\)"
    ):
        streamsvd.svd(A, 2, row_weights=w, column_weights=c)
    auto = streamsvd.pca(A, 2, row_weights=w, column_weights=c, mask="auto")
    keep = [0, 1, 3, 4, 5, 7]
    cut = streamsvd.pca(A[:20, keep], 2)
    np.testing.assert_allclose(auto.explained_variance, cut.explained_variance, rtol=2e-3)
    np.testing.assert_allclose(auto.mean[keep], cut.mean, rtol=1e-9)


# Collections --------------------------------------------------------------------------------------


@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e300, 5.0])
@pytest.mark.parametrize("principal", [None, "auto"])
def test_columns_of_weight_zero_of_a_collection_are_not_looked_at(tmp_path, junk, principal):
    rng = np.random.default_rng(12)
    blocks = {
        f"b{i}": rng.standard_normal((48, 4)) @ rng.standard_normal((4, 20)) for i in range(3)
    }
    c = np.where(np.arange(20) == 4, 0.0, 1.0)
    spoilt = {name: np.where(c > 0, A, junk) for name, A in blocks.items()}
    first = {name: spoilt[name] for name in ("b0", "b1")}
    out, options = tmp_path / "c.zarr", {"column_weights": c}
    streamsvd.compress(first, out, 0.05, principal=principal, **options)
    streamsvd.compress({"b2": spoilt["b2"]}, out, append=True, **options)
    found = streamsvd.open_compressed(out)
    for name, A in blocks.items():
        error = np.linalg.norm((found[name] - A) * c) / np.linalg.norm(A * c)
        assert error <= found.block_errors[name] <= 0.05
    assert not found["b0"][:, 4].any()
    for backend in ("primal", "propose"):
        there = streamsvd.cluster(spoilt, 0.05, backend=backend, **options)
        cut = {name: np.delete(A, 4, axis=1) for name, A in blocks.items()}
        here = streamsvd.cluster(cut, 0.05, backend=backend)
        assert [c.members for c in there.clusters] == [c.members for c in here.clusters]
        assert [c.rank for c in there.clusters] == [c.rank for c in here.clusters]
    with pytest.raises(streamsvd.NonFiniteError, match="column 7"):
        bad = spoilt["b0"].copy()
        bad[3, 7] = np.nan
        streamsvd.cluster({"b0": bad}, 0.05, **options)


def test_weights_that_leave_no_column_are_refused() -> None:
    A = np.random.default_rng(13).standard_normal((9, 5))
    with pytest.raises(streamsvd.SpecError, match="weights leave nothing of block"):
        streamsvd.cluster({"b": A}, 0.05, column_weights=np.zeros(5))


# What is stored -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s", "mean", "U"])
def test_a_result_may_be_named_as_one_of_its_arrays(tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    made = streamsvd.pca(np.random.default_rng(17).standard_normal((30, 5)), 2, u=True, out=name)
    np.testing.assert_array_equal(streamsvd.load(name).s, made.s)


def test_a_model_of_weighted_rows_is_refused_for_the_weights(tmp_path) -> None:
    A, w, c = case(18)
    streamsvd.pca(A, 2, row_weights=w, column_weights=c, out=tmp_path / "r")
    with pytest.raises(
        streamsvd.SpecError, match="was made with row_weights, which new rows do not have"
    ):
        streamsvd.update(tmp_path / "r", np.ones((3, N)), block_id="x")


@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_vectors_of_values_that_vanish_are_zero_there_too(route):
    """Null vectors are drawn among what counts: junk in a column of weight 0 never gets into a projection."""
    rng = np.random.default_rng(0)
    columns = np.r_[np.zeros(4), np.ones(4)]
    found = streamsvd.svd(
        rng.standard_normal((3, 8)), 3, column_weights=columns, center=True, route=route
    )
    assert not found.Vh[:, :4].any()
    np.testing.assert_allclose(found.Vh @ found.Vh.T, np.eye(3), atol=1e-12)
    Z = rng.standard_normal((3, 200))
    rows = np.r_[np.ones(6), np.zeros(3)]
    wide = streamsvd.svd(
        np.vstack([Z, Z, rng.standard_normal((3, 200))]), 5, row_weights=rows, u=True, route=route
    )
    assert not wide.U[6:].any()
    np.testing.assert_allclose(wide.U.T @ wide.U, np.eye(5), atol=1e-12)

"""Columns that are missing throughout, or masked, are not there: every verb finds what it finds of the sliced matrix."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.columns import survey_columns
from streamsvd.engine.events import ColumnsLeftOut
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.numerics.columns import Columns, as_mask
from tests.matrices import Rows, run

M, N, LAND = 90, 14, [0, 5, 6, 13]
SEA = np.delete(np.arange(N), LAND)


def matrix(dtype="float64", holes=False):
    """Rows of numbers of different sizes; columns of land, and where asked a hole in a column of the sea."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((M, N)) * np.geomspace(3, 1, N) + 0.5
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((M, N))
    A = A.astype(dtype)
    A[:, LAND] = np.nan
    if holes:
        A[[4, 30], [2, 9]] = np.nan
    return A


def stored(A, kind, tmp_path):
    """The matrix as one of the kinds of sources."""
    if kind == "array":
        return A
    if kind == "npy":
        np.save(tmp_path / "a.npy", A)
        return tmp_path / "a.npy"
    if kind == "dask":
        return pytest.importorskip("dask.array").from_array(A, chunks=(40, 5))
    if kind == "reader":
        return Rows(A, 32)
    out = zarr.create_array(
        tmp_path / "a.zarr", shape=A.shape, chunks=(25, 4), dtype=A.dtype, fill_value=np.nan
    )
    out[...] = A
    return tmp_path / "a.zarr"


KINDS = ["array", "npy", "dask", "reader", "zarr"]


def filled(A, policy):
    """The columns of the sea as the policy makes them."""
    B = A[:, SEA].astype(np.result_type(A.dtype, np.float64))
    gone = np.isnan(B)
    if policy == "zero":
        B[gone] = 0
    if policy == "mean":
        B = np.where(gone, np.nanmean(B, axis=0), B)
    if policy == "drop_columns":
        B[:, gone.any(axis=0)] = 0
    return B


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["krylov", "gram"])
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
@pytest.mark.parametrize("center", [False, True])
def test_every_policy_that_tolerates_missing_values_leaves_them_out(axis, route, policy, center):
    A = matrix(holes=True)
    B = filled(A, policy)
    found = run(A, 3, axis=axis, route=route, nonfinite=policy, center=center)
    s = np.linalg.svd(B - B.mean(axis=0) if center else B, compute_uv=False)
    np.testing.assert_allclose(found.s, s[:3], rtol=1e-3)
    assert (found.certificate.sigma_lower <= s[:3] * (1 + 1e-9)).all()
    assert (found.certificate.sigma_upper >= s[:3] * (1 - 1e-9)).all()
    assert set(LAND) <= set(found.info.dropped_columns)
    assert np.isnan(found.Vh[:, LAND]).all()
    assert np.isfinite(found.Vh[:, SEA]).all()
    assert found.Vh.shape == (3, N)
    if center:
        assert np.isnan(found.mean[LAND]).all()
        if policy != "drop_columns":
            np.testing.assert_allclose(found.mean[SEA], B.mean(axis=0), rtol=1e-9)
    assert found.info.missing >= M * len(LAND)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["auto", "mask", "policy"])
def test_every_kind_of_source_gives_what_its_slice_gives(dtype, kind, way, tmp_path):
    A = matrix(dtype)
    options = {
        "auto": {"mask": "auto"},
        "mask": {"mask": np.isin(np.arange(N), SEA)},
        "policy": {"nonfinite": "mean"},
    }[way]
    result = streamsvd.svd(stored(A, kind, tmp_path), 4, u=True, scale=True, **options)
    truth = streamsvd.svd(np.ascontiguousarray(A[:, SEA]), 4, u=True, scale=True)
    np.testing.assert_allclose(result.s, truth.s, rtol=1e-5)
    np.testing.assert_allclose(np.abs(result.Vh[:, SEA]), np.abs(truth.Vh), atol=1e-4)
    np.testing.assert_allclose(np.abs(result.U), np.abs(truth.U), atol=1e-4)
    np.testing.assert_allclose(result.scale[SEA], truth.scale, rtol=1e-6)
    assert np.isnan(result.scale[LAND]).all()
    assert result.info.dropped_columns == tuple(LAND)


def test_weights_of_columns_stay_with_theirs(tmp_path):
    A, w = matrix(), np.linspace(1, 2, N)
    out = tmp_path / "r"
    found = streamsvd.svd(A, 3, nonfinite="mean", column_weights=w, out=out)
    s = np.linalg.svd(A[:, SEA] * w[SEA], compute_uv=False)
    np.testing.assert_allclose(found.s, s[:3], rtol=1e-6)
    assert streamsvd.verify(out, A).agrees


def test_a_constant_column_is_listed_by_its_number_among_all():
    A = matrix()
    A[:, 9] = 2.0
    found = streamsvd.svd(A, 3, scale=True, nonfinite="mean")
    assert found.info.dropped_columns == tuple(sorted([*LAND, 9]))


@pytest.mark.parametrize("policy", ["mean", "drop_columns", None])
@pytest.mark.parametrize("scale", [False, True])
def test_a_stored_result_is_verified_from_itself_and_its_source(policy, scale, tmp_path):
    A, out = matrix(holes=policy is not None), tmp_path / "r"
    options = {"mask": "auto"} if policy is None else {"nonfinite": policy}
    streamsvd.pca(A, 3, scale=scale, out=out, u=True, **options)
    kept = streamsvd.load(out)
    assert np.isnan(kept.Vh[:, LAND]).all()
    assert streamsvd.verify(out, A).agrees
    other = A.copy()
    other[:20, 3] *= 5
    assert not streamsvd.verify(out, other).agrees


# Verbs without a policy -----------------------------------------------------------------------------------


def verbs():
    """Each verb over rows, as a function of the matrix and options, and what of its result has an entry a column."""
    b = np.random.default_rng(1).standard_normal(M)
    return {
        "nystrom": (
            lambda X, **o: streamsvd.nystrom(X, n_centres=5, length=3.0, **o),
            lambda f: f.rows.T,
            lambda f: f.feature_map.centres,
        ),
        "kernel_ridge": (
            lambda X, **o: streamsvd.kernel_ridge(X, b, n_centres=5, length=3.0, **o),
            lambda f: f.nystrom.rows.T,
            lambda f: f.coefficients,
        ),
        "lstsq": (lambda X, **o: streamsvd.lstsq(X, b, **o), lambda f: f.x, lambda f: f.x),
        "sample_rows": (
            lambda X, **o: streamsvd.sample_rows(X, 30, **o),
            lambda f: f.rows.T,
            lambda f: f.scores,
        ),
        "top_eigenvectors": (
            lambda X, **o: streamsvd.top_eigenvectors(X, 2, **o),
            lambda f: f.components.T,
            lambda f: f.values,
        ),
    }


@pytest.mark.parametrize("verb", list(verbs()))
@pytest.mark.parametrize("kind", ["array", "zarr", "dask"])
@pytest.mark.parametrize("way", ["auto", "mask"])
def test_every_verb_of_rows_finds_what_it_finds_of_the_slice(verb, kind, way, tmp_path):
    A = matrix()
    act, by_column, other = verbs()[verb]
    found = act(
        stored(A, kind, tmp_path), mask="auto" if way == "auto" else np.isin(np.arange(N), SEA)
    )
    # a row of chunks of a dask array is a task, and a dictionary depends on them
    like = "dask" if kind == "dask" else "array"
    truth = act(stored(np.ascontiguousarray(A[:, SEA]), like, tmp_path))
    wide = by_column(found)
    assert wide.shape[0] == N
    assert np.isnan(wide[LAND]).all()
    np.testing.assert_allclose(wide[SEA], by_column(truth), rtol=1e-6, atol=1e-9)
    if verb != "lstsq":
        np.testing.assert_allclose(other(found), other(truth), rtol=1e-5, atol=1e-9)
    info = (
        found.info
        if isinstance(found.info, dict)
        else {name: getattr(found.info, name) for name in ("dropped_columns", "warnings")}
    )
    assert tuple(info["dropped_columns"]) == tuple(LAND)
    assert any("4 of 14 columns are left out" in said for said in info["warnings"])


@pytest.mark.parametrize("verb", [*verbs(), "svd", "pca", "update"])
def test_the_advice_for_a_column_without_values_can_be_followed(verb, tmp_path):
    A = matrix()
    act = {
        "svd": lambda X, **o: streamsvd.svd(X, 2, **o),
        "pca": lambda X, **o: streamsvd.pca(X, 2, **o),
        "update": lambda X, **o: streamsvd.update(tmp_path / "m", X, "a", rank=2, **o),
    }.get(verb) or verbs()[verb][0]
    with pytest.raises(NonFiniteError) as caught:
        act(A)
    text = str(caught.value)
    assert "4 of 14 columns have no value in any row (columns 0, 5, 6, 13)" in text
    assert "row," not in text.replace("at row 0,", "")
    assert 'mask="auto"' in text
    act(A, mask="auto")


def test_a_hole_in_a_column_with_values_is_named_by_its_number_among_all():
    A = matrix(holes=True)
    with pytest.raises(NonFiniteError) as caught:
        streamsvd.lstsq(A, np.ones(M), mask="auto")
    assert (caught.value.row, caught.value.column) == (4, 2)
    assert "leave out the row" in str(caught.value)
    mask = np.isin(np.arange(N), SEA)
    mask[5] = True  # of the land
    with pytest.raises(NonFiniteError, match=r"\(column 5\)\. Leave them out of the mask too"):
        streamsvd.svd(np.where(np.arange(N) == 2, 1.0, A), 2, mask=mask)


@pytest.mark.parametrize("kind", ["array", "dask"])
def test_an_integer_that_cannot_be_is_named_by_its_column_among_all(kind, tmp_path):
    A = np.ones((20, 6), dtype=np.int64)
    A[3, 4] = 2**60
    A = A if kind == "array" else pytest.importorskip("dask.array").from_array(A, chunks=(5, 3))
    with pytest.raises(streamsvd.StreamSVDError, match="at row 3, column 4"):
        streamsvd.svd(A, 1, mask=np.arange(6) != 1)


def test_a_column_too_faint_to_be_scaled_is_named_by_its_number_among_all():
    A = np.random.default_rng(0).standard_normal((40, 5)) * 1e150
    A[:, 1] = np.nan
    A[:, 3] = np.where(np.arange(40) % 2, 1e-170, -1e-170)
    with pytest.raises(streamsvd.StreamSVDError, match="column 3 varies by"):
        streamsvd.svd(A, 2, scale=True, mask="auto")


def test_an_infinite_column_is_not_missing():
    A = matrix()
    A[:, 2] = np.inf
    for mask in ("auto", None):
        with pytest.raises(NonFiniteError) as caught:
            streamsvd.svd(A, 2, nonfinite="mean", mask=mask)
        assert (caught.value.value, caught.value.column) == ("Inf", 2)


def test_feature_maps_take_rows_of_all_columns_and_do_not_look_at_those_left_out(tmp_path):
    A = matrix()
    found = streamsvd.nystrom(A, n_centres=5, length=3.0, mask="auto")
    z = found.feature_map(A[:7])
    assert z.shape[0] == 7
    np.testing.assert_array_equal(z, found.feature_map(np.nan_to_num(A[:7], nan=9.0)))
    np.savez(tmp_path / "d.npz", **found.arrays())
    again = streamsvd.load_nystrom(tmp_path / "d.npz")
    np.testing.assert_array_equal(again.feature_map(A[:7]), z)
    assert again.info.dropped_columns == tuple(LAND)
    more = again.update(A[:40])
    assert more.info.dropped_columns == tuple(LAND)
    assert more.feature_map(A[:3]).shape[0] == 3
    with pytest.raises(SpecError, match=r"column 0 has a value at row 0 .* Begin anew"):
        again.update(np.nan_to_num(A[:40], nan=1.0))
    with pytest.raises(ShapeError, match="rows of 14 numbers"):
        again.feature_map(A[:3, SEA])


def test_a_regression_predicts_rows_of_all_columns(tmp_path):
    A = matrix()
    y = np.nansum(A, axis=1)
    fit = streamsvd.kernel_ridge(A, y, n_centres=20, length=5.0, mask="auto")
    np.savez(tmp_path / "f.npz", **fit.arrays())
    again = streamsvd.load_ridge(tmp_path / "f.npz")
    np.testing.assert_array_equal(again.predict(A), fit.predict(A))
    out = again.predict_to(A, tmp_path / "p.zarr")
    np.testing.assert_allclose(zarr.open_array(out)[:, 0], fit.predict(A), rtol=1e-9)


def test_blocks_of_a_stream_are_masked_as_they_come():
    A, mask = matrix(), np.isin(np.arange(N), SEA)
    found = streamsvd.top_eigenvectors([A[:30], A[30:]], 2, order="arbitrary", mask=mask)
    truth = streamsvd.top_eigenvectors([A[:30, SEA], A[30:, SEA]], 2, order="arbitrary")
    np.testing.assert_allclose(found.components[:, SEA], truth.components, atol=1e-9)
    assert np.isnan(found.components[:, LAND]).all()
    assert found.info.dropped_columns == tuple(LAND)
    with pytest.raises(ShapeError, match="mask has 14 entries"):
        streamsvd.top_eigenvectors([A[:, :3]], 1, mask=mask)
    with pytest.raises(SpecError, match="array of booleans"):
        streamsvd.top_eigenvectors([A], 1, mask="auto")
    with pytest.raises(NonFiniteError, match="has no value in this block: leave it out"):
        streamsvd.top_eigenvectors([A], 1)


@pytest.mark.parametrize("name", ["TruncatedSVD", "Nystroem", "KernelRidge"])
def test_estimators_say_who_leaves_columns_out(name, tmp_path):
    pytest.importorskip("sklearn")
    source = stored(matrix(), "zarr", tmp_path)
    with pytest.raises(NonFiniteError, match=r"use streamsvd\.(svd|nystrom|kernel_ridge), which"):
        getattr(streamsvd, name)().fit(source, np.ones(M))


def test_a_stream_in_the_hands_of_its_user_keeps_its_mask_when_it_is_saved(tmp_path):
    A, mask = matrix(), np.isin(np.arange(N), SEA)
    stream = streamsvd.TopEigenvectorStream(2, order="arbitrary", mask=mask).partial_fit(A[:50])
    stream.save(tmp_path / "s")
    found = streamsvd.TopEigenvectorStream.load(tmp_path / "s").partial_fit(A[50:]).finalize()
    truth = streamsvd.top_eigenvectors([A[:, SEA]], 2, order="arbitrary")
    np.testing.assert_allclose(found.components[:, SEA], truth.components, atol=1e-9)
    assert np.isnan(found.components[:, LAND]).all()
    assert found.info.dropped_columns == tuple(LAND)


def test_what_did_not_converge_has_all_columns_too():
    A = np.random.default_rng(0).standard_normal((300, 200))
    A[:, 7] = np.nan
    found = run(A, 3, axis="rows", route="krylov", nonfinite="mean", max_passes=1, tol=1e-9)
    assert found.info.status.value == "not converged"
    assert found.Vh.shape == (3, 200)
    assert np.isnan(found.Vh[:, 7]).all()


# Masks ------------------------------------------------------------------------------------------------------


def cube(tmp_path):
    """A variable of time, lat and lon, with land; a mask of it turned, one of numbers, and one that is none."""
    rng = np.random.default_rng(0)
    X, sea = rng.standard_normal((30, 4, 3)), rng.random((4, 3)) > 0.3
    X[:, ~sea] = np.nan
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    for name, values, dims in (
        ("sst", X, ("time", "lat", "lon")),
        ("sea", sea.T, ("lon", "lat")),
        ("fraction", sea * 0.4, ("lat", "lon")),
        ("ones", np.where(sea, 1.0, np.nan), ("lat", "lon")),
        ("time", np.ones(30, bool), ("time",)),
    ):
        array = group.create_array(
            name, shape=values.shape, chunks=values.shape, dtype=values.dtype, dimension_names=dims
        )
        array[...] = values
    return streamsvd.open(tmp_path / "g.zarr", variable="sst", rows="time"), X, sea


def test_a_mask_is_an_array_of_any_shape_of_the_columns_or_the_name_of_one(tmp_path):
    A, X, sea = cube(tmp_path)
    s = np.linalg.svd(X[:, sea], compute_uv=False)[:2]
    for mask in ("sea", "ones", sea, sea.ravel(), sea.astype(int), sea.ravel().tolist(), "auto"):
        found = streamsvd.svd(A, 2, mask=mask)
        np.testing.assert_allclose(found.s, s, rtol=1e-9)
        assert found.info.dropped_columns == tuple(np.flatnonzero(~sea.ravel()))
    plan = streamsvd.plan_svd(A, 2, mask="sea")
    assert plan.shape == (30, int(sea.sum()))
    np.testing.assert_allclose(streamsvd.svd(A, 2, mask="sea", plan=plan).s, s, rtol=1e-9)
    for nonfinite in ("raise", "mean"):  # a plan does not look
        plan = streamsvd.plan_svd(A, 2, nonfinite=nonfinite, mask="auto")
        assert plan.shape == A.shape
        found = streamsvd.svd(A, 2, mask="auto", nonfinite=nonfinite, plan=plan)
        np.testing.assert_allclose(found.s, s, rtol=1e-9)


def test_a_mask_is_the_same_along_dimensions_that_it_lacks(tmp_path):
    X, sea = np.random.default_rng(0).standard_normal((20, 2, 4, 3)), np.eye(4, 3) == 0
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    for name, values, dims in (
        ("t", X, ("time", "level", "lat", "lon")),
        ("sea", sea.T, ("lon", "lat")),
    ):
        array = group.create_array(
            name, shape=values.shape, chunks=values.shape, dtype=values.dtype, dimension_names=dims
        )
        array[...] = values
    A = streamsvd.open(tmp_path / "g.zarr", variable="t", rows="time")
    gone = np.flatnonzero(np.broadcast_to(~sea, (2, 4, 3)))
    assert streamsvd.svd(A, 2, mask="sea").info.dropped_columns == tuple(gone)
    alone = streamsvd.open(tmp_path / "g.zarr" / "t", rows="time")
    with pytest.raises(SpecError, match="opened by itself: open its group, with variable="):
        streamsvd.svd(alone, 2, mask="sea")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("fraction", "not all 0 or 1"),
        ("time", r"shape \(30,\), .* has 12 columns"),
        ("nothing", "no array beside"),
        (np.ones(5, bool), r"shape \(5,\)"),
        (np.zeros(12, bool), "leaves every column out"),
        (np.arange(12), "not all 0 or 1"),
        (np.array(["a"] * 12), "not all 0 or 1"),
    ],
)
def test_what_is_no_mask_of_these_columns_is_refused(mask, words, tmp_path):
    A = cube(tmp_path)[0]
    for act in (
        lambda: streamsvd.svd(A, 1, mask=mask),
        lambda: streamsvd.plan_svd(A, 1, mask=mask),
        lambda: streamsvd.lstsq(A, np.ones(30), mask=mask),
        lambda: streamsvd.update(tmp_path / "m", A, rank=1, mask=mask),
    ):
        with pytest.raises(SpecError, match=words):
            act()
    assert not (tmp_path / "m").exists()


def test_a_name_needs_a_group():
    with pytest.raises(SpecError, match="no array of a group"):
        streamsvd.svd(matrix(), 1, mask="land")


def test_masked_entries_of_a_mask_are_left_out():
    mask = np.ma.masked_array(np.ones(4, bool), mask=[0, 1, 0, 0])
    assert as_mask(mask, (4,), "A").tolist() == [True, False, True, True]


def test_chunks_that_were_never_written_are_missing_where_the_fill_is_nan(tmp_path):
    A = matrix()[:, SEA]
    out = zarr.create_array(
        tmp_path / "a.zarr", shape=(M, N), chunks=(25, 5), dtype="f8", fill_value=np.nan
    )
    out[:, :10] = A
    source = streamsvd.open(tmp_path / "a.zarr", missing="fill")
    found = streamsvd.svd(source, 2, nonfinite="mean")
    assert found.info.dropped_columns == (10, 11, 12, 13)
    np.testing.assert_allclose(found.s, np.linalg.svd(A, compute_uv=False)[:2], rtol=1e-9)


def test_a_matrix_without_any_value_and_a_rank_beyond_what_is_left_are_refused():
    A = matrix()
    with pytest.raises(SpecError, match="no column of ndarray has a value"):
        streamsvd.svd(np.full((5, 3), np.nan), 1, mask="auto")
    for options in ({"mask": "auto"}, {"nonfinite": "zero"}):
        with pytest.raises(ShapeError, match="rank=12"):
            streamsvd.svd(A, 12, **options)
        with pytest.raises(ShapeError, match="rank=12 exceeds the 10 columns"):
            streamsvd.svd(A, 12, plan=streamsvd.plan_svd(A, 12, **options), **options)


# The look ---------------------------------------------------------------------------------------------------


class Counted(Rows):
    """Storage that counts what it is asked for."""

    bytes_read = 0

    def read(self, rows):
        found = super().read(rows)
        Counted.bytes_read += found.nbytes
        return found


def test_where_no_column_is_suspicious_a_few_rows_are_looked_at(monkeypatch):
    monkeypatch.setattr("streamsvd.engine.columns.FIRST_BYTES", 1000)
    A = np.ones((400, 10))
    A[0, 3] = np.nan
    source = streamsvd.open(Counted(A, 50))
    Counted.bytes_read = 0
    found = survey_columns(source)
    assert not found.empty.any()
    assert found.bytes_read == Counted.bytes_read == 12 * 80
    A[:260, 3] = np.nan  # followed until its first value
    found = survey_columns(source)
    assert not found.empty.any()
    assert found.rows == 300


def test_bytes_of_the_look_count_as_passes():
    A = matrix()
    by_mask = streamsvd.svd(A, 2, mask=np.isin(np.arange(N), SEA), route="gram")
    found = streamsvd.svd(A, 2, mask="auto", route="gram")
    looked = found.info.bytes_read - by_mask.info.bytes_read
    assert looked == A.nbytes
    assert found.info.passes == pytest.approx(by_mask.info.passes + looked / A[:, SEA].nbytes)


@pytest.mark.parametrize("nonfinite", ["zero", "mean", "drop_columns"])
def test_rows_of_weight_zero_give_a_column_no_value(nonfinite):
    A, w = matrix(), np.ones(M)
    w[[3, 50]] = 0
    A[3, LAND] = 4.0
    found = streamsvd.svd(A, 3, nonfinite=nonfinite, row_weights=w)
    assert found.info.dropped_columns == tuple(LAND)
    s = np.linalg.svd(A[w > 0][:, SEA], compute_uv=False)[:3]
    np.testing.assert_allclose(found.s, s, rtol=1e-9)


def test_what_cannot_be_is_refused_before_the_look(tmp_path):
    A = Counted(matrix(), 10)
    (tmp_path / "taken").mkdir()
    for options in (
        {"row_weights": [1.0]},
        {"column_weights": [1.0]},
        {"rank": 99},
        {"out": tmp_path / "taken"},
        {"mask": np.ones(3, bool)},
    ):
        Counted.bytes_read = 0
        with pytest.raises(streamsvd.StreamSVDError):
            streamsvd.svd(A, **{"rank": 1, "mask": "auto", "nonfinite": "mean"} | options)
        assert Counted.bytes_read == 0
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    "options", [{"mask": "auto"}, {"nonfinite": "mean"}, {"mask": np.isin(np.arange(N), SEA)}]
)
def test_a_result_does_not_go_into_the_matrix_of_which_columns_are_left_out(options, tmp_path):
    source = stored(matrix(), "zarr", tmp_path)
    with pytest.raises(SpecError, match="lie in one another"):
        streamsvd.svd(source, 2, out=source / "inside", **options)
    assert not (source / "inside").exists()


def test_those_who_watch_are_told_how_many_are_left_out():
    seen = []
    mask = np.ones(N, bool)
    mask[1] = False
    streamsvd.svd(matrix(), 2, mask=mask, nonfinite="mean", callback=seen.append)
    told = [event for event in seen if isinstance(event, ColumnsLeftOut)]
    assert [(t.left_out, t.columns) for t in told] == [(5, 14)]
    assert (
        told[0].description == "5 of 14 columns are left out: 4 missing throughout, 1 by the mask"
    )


def test_columns_are_put_back_where_they_were():
    columns = Columns.of(np.array([True, False, True, True]), np.array([False, False, True, False]))
    assert columns.dropped_indices == (1, 2)
    assert columns.n_empty == 1
    rows = np.arange(8.0).reshape(2, 4)
    back = columns.spread(columns.take(rows))
    np.testing.assert_array_equal(back[:, [0, 3]], rows[:, [0, 3]])
    assert np.isnan(back[:, [1, 2]]).all()
    assert columns.spread(np.array([1, 2]), 0.0).tolist() == [1.0, 0.0, 0.0, 2.0]

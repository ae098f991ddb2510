"""What was done to a matrix is done to new rows, and undone: ``T = (A - 1 mu) d Vh*``, ``A ~ T Vh d^-1 + 1 mu``."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as SklearnPCA

import streamsvd
from streamsvd.errors import BudgetError, NonFiniteError, ShapeError, SpecError, StoreError
from tests.matrices import Rows, prepared, run

M, N, K = 60, 11, 4
POLICIES = ("raise", "zero", "mean", "drop_columns")
DTYPES = ("float32", "float64", "complex64", "complex128", "int16")


def matrix(seed, dtype="float64", *, holes=False):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((M, N)) * 0.7 ** np.arange(N) + 3 * rng.standard_normal(N)
    if np.dtype(dtype).kind == "c":
        A = A + 1j * rng.standard_normal((M, N))
    if np.dtype(dtype).kind == "i":
        return np.round(50 * A).astype(dtype)
    A = A.astype(dtype)
    if holes:  # in some columns only, or nothing is left for the policy that drops them
        A[:, 8:][rng.random((M, N - 8)) < 0.1] = np.nan
    return A


def cases():
    return st.fixed_dictionaries(
        {
            "axis": st.sampled_from(["rows", "columns"]),
            "dtype": st.sampled_from(DTYPES),
            "center": st.booleans(),
            "scale": st.booleans(),
            "weighs_rows": st.sampled_from(["no", "yes", "zeros"]),
            "weighs_columns": st.sampled_from(["no", "yes", "zeros"]),
            "masks": st.booleans(),
            "nonfinite": st.sampled_from(POLICIES),
            "seed": st.integers(0, 10**6),
        }
    )


def made(case):
    """The matrix, the result, its options, and the columns that took part."""
    rng = np.random.default_rng(case["seed"])
    A = matrix(case["seed"], case["dtype"], holes=case["nonfinite"] != "raise")
    options = {name: case[name] for name in ("center", "scale", "nonfinite")}
    counts = np.ones(N, bool)
    if case["weighs_rows"] != "no":
        options["row_weights"] = 0.5 + rng.random(M)
        if case["weighs_rows"] == "zeros":
            options["row_weights"][rng.random(M) < 0.2] = 0
    if case["weighs_columns"] != "no":
        options["column_weights"] = 0.5 + rng.random(N)
        if case["weighs_columns"] == "zeros":
            options["column_weights"][2] = 0
            counts[2] = False
    if case["masks"]:
        options["mask"] = np.arange(N) != 5
        counts[5] = False
    if case["nonfinite"] == "drop_columns" and np.dtype(case["dtype"]).kind != "i":
        rows = options.get("row_weights", np.ones(M)) > 0
        counts &= ~np.isnan(A[rows]).any(axis=0)
    result = run(A, K, axis=case["axis"], u=True, tol=1e-8, **options)
    return A, result, options, counts


def as_array(source):
    out = np.empty(source.shape, source.dtype)
    source.read(slice(0, source.shape[0]), slice(0, source.shape[1]), out)
    return out


def tolerance(result, dtype):
    return 1e-4 if np.dtype(dtype) in (np.float32, np.complex64) else 1e-8


@settings(max_examples=30 if settings().max_examples <= 60 else settings().max_examples)
@given(case=cases())
def test_what_was_done_to_a_matrix_is_done_to_rows_and_undone(case) -> None:
    A, result, options, counts = made(case)
    w = options.get("row_weights", np.ones(M))
    there, near = w > 0, tolerance(result, A.dtype)
    new = A.copy()
    new[~there] = 0  # such a row may lack a value of a column that takes part
    if new.dtype.kind in "fc":
        new[:, ~counts] = np.nan  # nobody looks at them
    T = result.transform(new)
    expected = np.asarray(result.U) * result.s
    at = {"rtol": 0, "atol": near * result.s[0]}
    np.testing.assert_allclose(np.sqrt(w)[:, None] * T, expected, **at)
    alive = result.s > 1e-6 * result.s[0]
    X = prepared(A, **{key: options[key] for key in options if key != "mask"})
    X[:, ~counts] = 0
    Vh = np.where(np.isnan(result.Vh), 0, result.Vh)
    np.testing.assert_allclose((X @ Vh.conj().T)[:, alive], expected[:, alive], **at)

    size = float(np.nanmax(np.abs(A)))
    lazy = result.reconstruct()
    back = np.asarray(lazy)
    assert (back.shape, lazy.dtype) == (A.shape, back.dtype)
    assert np.array_equal(np.isfinite(back), there[:, None] & counts)
    again = result.inverse_transform(T)
    np.testing.assert_allclose(again[there], back[there], rtol=0, atol=max(near, 1e-7) * size)
    d = options.get("column_weights", np.ones(N))
    d = d if result.scale is None else d / np.where(result.scale > 0, result.scale, 1)
    hand = (expected @ Vh)[there] / np.sqrt(w[there])[:, None] / np.where(d > 0, d, 1)
    hand = hand + (0 if result.mean is None else result.mean)
    np.testing.assert_allclose(back[there][:, counts], hand[:, counts], rtol=0, atol=1e-5 * size)

    left = result.residual(A[there])
    R = as_array(left)
    rest = A[there] - np.asarray(result.reconstruct(source=A[there]))
    assert np.array_equal(np.isnan(R), np.isnan(rest))
    np.testing.assert_allclose(R, rest, rtol=0, atol=near * size)
    part = np.empty((3, 3), left.dtype)
    left.read(slice(2, 5), slice(4, 7), part)
    np.testing.assert_allclose(part, R[2:5, 4:7], rtol=0, atol=1e-10 * size)


def keys():
    rng = np.random.default_rng(0)
    return [
        3, -1, np.int64(4), (3, 4), (-2, -3), slice(2, 9), slice(None, None, -7), (slice(None), 2), (slice(3, 30, 4), [1, 5, 1]),
        [7, 2, 2], ([1, 2, 1], [3, -4, 0]), np.ix_([1, 5], [2, 3, 4]), ..., (..., 3), (3, ...), (..., slice(2), 1),
        rng.random(M) > 0.5, rng.random((M, N)) > 0.5, ([[1, 2], [3, 4]],), (slice(5), np.arange(N) > 5),
        ([1, 2], 3), (3, [1, 2]), slice(40, 20), [], np.arange(M)[::-1],
    ]  # fmt: skip


@pytest.mark.parametrize("source", [False, True])
def test_a_lazy_array_is_indexed_as_in_numpy(source) -> None:
    A = matrix(1)
    result = streamsvd.pca(A, K, u=True)
    lazy = result.reconstruct(source=A if source else None)
    dense = np.asarray(lazy)
    assert (lazy.shape, lazy.ndim, lazy.dtype, len(lazy), lazy.size) == (
        (M, N),
        2,
        dense.dtype,
        M,
        M * N,
    )
    for key in keys():
        expected = dense[key]
        found = lazy[key]
        assert np.shape(found) == expected.shape, key
        assert np.asarray(found).dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12, err_msg=str(key))
    np.testing.assert_allclose(np.stack([row for row in lazy]), dense, atol=1e-12)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (M, "index 60 is out of bounds for axis 0 with size 60"),
        ((0, -N - 1), "index -12 is out of bounds for axis 1"),
        ((1, 2, 3), "3 indices"),
        (np.ones(3, bool), "mask of axis 0 has shape"),
        (np.ones((3, 3), bool), r"the mask has shape \(3, 3\)"),
        (None, "new axis"),
        ((..., ...), "one ellipsis"),
        ([0.5], "numbers or booleans"),
    ],
)
def test_an_index_that_is_none_is_refused_as_in_numpy(key, words) -> None:
    lazy = streamsvd.svd(matrix(1), K, u=True).reconstruct()
    with pytest.raises(IndexError, match=words):
        lazy[key]


def test_some_rows_columns_and_components_are_a_part_of_the_whole() -> None:
    A = matrix(2)
    result = streamsvd.pca(A, K, u=True, tol=1e-10)
    whole = np.asarray(result.reconstruct())
    part = result.reconstruct(slice(50, 10, -3), [4, 0, 7])
    np.testing.assert_allclose(part, whole[50:10:-3][:, [4, 0, 7]], atol=1e-12)
    np.testing.assert_allclose(part[2:5, -1], whole[50:10:-3][2:5, 7], atol=1e-12)
    few = result.reconstruct(np.arange(M) % 2 == 0, rank=2)
    U, s, Vh = np.linalg.svd(A - A.mean(axis=0), full_matrices=False)
    expected = (U[:, :2] * s[:2]) @ Vh[:2] + A.mean(axis=0)
    np.testing.assert_allclose(few, expected[::2], atol=1e-6)
    np.testing.assert_allclose(result.transform(A, rank=2), result.transform(A)[:, :2], atol=1e-12)
    np.testing.assert_allclose(
        result.inverse_transform(result.transform(A)[:, :2]), expected, atol=1e-6
    )
    left = result.residual(A, rank=2)
    np.testing.assert_allclose(as_array(left), A - expected, atol=1e-6)


def stored(array, chunks):
    found = zarr.create_array({}, shape=array.shape, dtype=array.dtype, chunks=chunks)
    found[...] = array
    return found


def lazily(A, heights):
    """A dask array in uneven runs of rows."""
    edges = np.concatenate([[0], np.cumsum(heights)])
    parts = [
        da.from_array(A[a:b], chunks=(max(b - a, 1), 5))
        for a, b in zip(edges, edges[1:], strict=False)
    ]
    return da.concatenate(parts)


LONG = matrix(3)[np.random.default_rng(3).integers(0, M, 3000)] + np.random.default_rng(
    4
).standard_normal((3000, N))


@pytest.mark.parametrize("kind", ["numpy", "zarr", "narrow", "dask", "uneven", "reader"])
def test_what_is_written_is_what_is_handed_back(kind, tmp_path) -> None:
    A = LONG
    result = streamsvd.pca(A, 3, scale=True, u=True)
    new = {
        "numpy": lambda: A,
        "zarr": lambda: stored(A, (170, N)),
        "narrow": lambda: stored(A, (64, 3)),
        "dask": lambda: da.from_array(A, chunks=(37, 4)),
        "uneven": lambda: lazily(A, [900, 3, 0, 1500, 597]),
        "reader": lambda: Rows(A, 13),
    }[kind]()
    expected = ((A - A.mean(axis=0)) / A.std(axis=0)) @ result.Vh.T
    kept = result.transform(new)
    np.testing.assert_allclose(kept, expected, atol=1e-10)
    S = result.transform(new, out=tmp_path / "S.zarr")
    np.testing.assert_allclose(S[:], expected, atol=1e-10)
    np.testing.assert_allclose(
        zarr.open_array(tmp_path / "S.zarr", mode="r")[:], expected, atol=1e-10
    )
    R = result.inverse_transform(tmp_path / "S.zarr", out=tmp_path / "R.zarr")
    back = expected @ result.Vh * A.std(axis=0) + A.mean(axis=0)
    np.testing.assert_allclose(R[:], back, atol=1e-10)
    E = result.residual(new, out=tmp_path / "E.zarr")
    np.testing.assert_allclose(E[:], A - back, atol=1e-9)
    for source in (None, new):
        W = result.reconstruct(
            slice(7, 2900, 3),
            [3, 1],
            rank=2,
            source=source,
            out=tmp_path / "W.zarr",
            overwrite=True,
        )
        two = expected[:, :2] @ result.Vh[:2] * A.std(axis=0) + A.mean(axis=0)
        np.testing.assert_allclose(W[:], two[7:2900:3][:, [3, 1]], atol=1e-6)
    assert {p.name for p in tmp_path.iterdir()} == {"S.zarr", "R.zarr", "E.zarr", "W.zarr"}


def test_left_vectors_of_a_dask_array_are_written_whole_whatever_its_chunks(tmp_path) -> None:
    """Tasks that shared a chunk of ``U`` lost one another's rows."""
    for name, new in (
        ("even", da.from_array(LONG, chunks=(37, N))),
        ("uneven", lazily(LONG, [900, 3, 0, 1500, 597])),
    ):
        result = streamsvd.svd(new, 3, u=True, out=tmp_path / name)
        np.testing.assert_allclose(result.U[:], LONG @ result.Vh.T / result.s, atol=1e-9)


def test_a_residual_is_a_matrix_of_its_own() -> None:
    A = LONG
    result = streamsvd.pca(A, 2, tol=1e-9)
    left = result.residual(A)
    again = streamsvd.pca(left, 2, tol=1e-6)
    s = np.linalg.svd(A - A.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(again.s, s[2:4], rtol=1e-5)
    np.testing.assert_allclose(result.transform(left), 0, atol=5e-1 * s[0])


def test_likelihoods_are_those_of_scikit_learn() -> None:
    A = LONG
    peer = SklearnPCA(3).fit(A)
    np.testing.assert_allclose(
        streamsvd.pca(A, 3, tol=1e-10).score_samples(A), peer.score_samples(A), rtol=1e-8
    )
    X = (A - A.mean(axis=0)) / A.std(axis=0)
    peer = SklearnPCA(N).fit(X)
    np.testing.assert_allclose(
        streamsvd.pca(A, N, scale=True, tol=1e-10).score_samples(A),
        peer.score_samples(X),
        rtol=1e-8,
    )


def test_likelihoods_are_those_of_the_gaussian_of_the_rows_as_they_were_factorised() -> None:
    A = LONG[:200]
    c, w = 0.5 + np.arange(N) / 7, 0.5 + np.random.default_rng(1).random(200)
    result = streamsvd.pca(A, 2, column_weights=c, row_weights=w, tol=1e-10)
    variances = result.explained_variance
    X = (A - result.mean) * c
    total = result.certificate.energy / result.info.freedom
    noise = (total - variances.sum()) / (N - 2)
    C = result.Vh.T * (variances - noise) @ result.Vh + noise * np.eye(N)
    _, log_det = np.linalg.slogdet(C)
    expected = -0.5 * (
        N * np.log(2 * np.pi) + log_det + np.einsum("ij,ij->i", X, np.linalg.solve(C, X.T).T)
    )
    np.testing.assert_allclose(result.score_samples(A), expected, rtol=1e-8)


def test_rows_without_a_density_are_refused() -> None:
    A = LONG[:50, :4] @ np.random.default_rng(0).standard_normal((4, N))
    with pytest.raises(SpecError, match="hold all of the variance"):
        streamsvd.svd(A, 4).score_samples(A)


@pytest.mark.parametrize(
    "dtype",
    ["float32", *(pytest.param(d, marks=pytest.mark.slow) for d in ("float64", "complex64"))],
)
def test_rows_are_the_same_bits_on_any_number_of_threads(dtype, tmp_path) -> None:
    import dask

    A = np.repeat(matrix(5, dtype), 100, axis=0)
    result = streamsvd.pca(A, 3, u=True)
    new, found = stored(A, (500, 7)), []
    for threads in (1, 2, 5):
        with dask.config.set(num_workers=threads):
            S = result.transform(new, out=tmp_path / f"S{threads}")
            R = result.reconstruct(source=new, out=tmp_path / f"R{threads}")
            E = result.residual(new, out=tmp_path / f"E{threads}")
            found.append(
                [S[:].tobytes(), R[:].tobytes(), E[:].tobytes(), result.transform(new).tobytes()]
            )
    assert found[0] == found[1] == found[2]


def test_single_precision_follows_the_result() -> None:
    A = (
        np.random.default_rng(0).standard_normal((4000, 40)).astype("float32")
        * 0.7 ** np.arange(40, dtype="float32")
        + 100
    )
    single = streamsvd.pca(A, 3, precision="single", route="krylov")
    assert single.transform(A).dtype == np.float32
    double = streamsvd.pca(A, 3, precision="double", route="krylov")
    assert double.transform(A).dtype == np.float64
    # about the mean first: entries of 100 leave deviations of 1 their digits
    np.testing.assert_allclose(single.transform(A), (A - single.mean) @ single.Vh.T, atol=2e-5)


def test_missing_values_of_new_rows_are_what_they_were() -> None:
    A = matrix(6, holes=True)
    new = matrix(7)
    new[2, 3] = new[5, 9] = np.nan
    for policy, fill in (("zero", lambda r: 0.0), ("mean", lambda r: np.nanmean(A, axis=0))):
        for center in (False, True):
            result = streamsvd.svd(A, 3, center=center, nonfinite=policy)
            level = result.mean if center else 0
            expected = (np.where(np.isnan(new), fill(result), new) - level) @ result.Vh.T
            np.testing.assert_allclose(result.transform(new), expected, atol=1e-8)
    result = streamsvd.svd(A, 3, nonfinite="drop_columns")
    with pytest.raises(NonFiniteError, match="NaN at row 2, column 3") as error:
        result.transform(new)
    assert "nonfinite" in str(error.value)
    result = streamsvd.pca(np.nan_to_num(A), 3)
    with pytest.raises(NonFiniteError, match="NaN at row 2, column 3"):
        result.transform(new)
    left = result.residual(new)
    with pytest.raises(NonFiniteError, match="NaN at row 2, column 3"):
        as_array(left)
    assert np.isfinite(result.transform(new, nonfinite="mean")).all()
    new[4, 1] = np.inf
    with pytest.raises(NonFiniteError, match="Inf at row 4, column 1"):
        result.transform(new, nonfinite="mean")
    with pytest.raises(SpecError, match='nonfinite="mean" has none to fill with'):
        streamsvd.svd(matrix(1), 2).transform(new, nonfinite="mean")
    with pytest.raises(SpecError, match="nonfinite='drop' is unknown here"):
        result.transform(new, nonfinite="drop")


def test_a_constant_column_under_scaling_is_its_mean() -> None:
    A = matrix(8)
    A[:, 4] = 7
    result = streamsvd.pca(A, 3, scale=True, u=True)
    np.testing.assert_array_equal(result.reconstruct()[:, 4], np.full(M, 7.0))
    assert np.isnan(streamsvd.svd(A, 3, scale=True, u=True).reconstruct()[:, 4]).all()


def test_what_cannot_be_is_refused_before_anything_is_read(tmp_path) -> None:
    A = matrix(9)
    result = streamsvd.pca(A, 3)
    with pytest.raises(ShapeError, match="has 5 columns, the result is of 11"):
        result.transform(A[:, :5])
    with pytest.raises(ShapeError, match="has 5 columns, the result is of 11"):
        result.residual(A[:, :5])
    with pytest.raises(SpecError, match=r"no U.*u=True, or pass source="):
        result.reconstruct()
    for rank in (0, 4, 1.5):
        with pytest.raises(ShapeError, match="Pass 1 <= rank <= 3"):
            result.transform(A, rank=rank)
    with pytest.raises(ShapeError, match="4 scores in a row, the result has 3 components"):
        result.inverse_transform(A[:, :4])
    with pytest.raises(ShapeError, match="rows= does not lie among the 60 rows"):
        result.reconstruct([60], source=A)
    with pytest.raises(BudgetError, match="or out= to write the rows"):
        result.transform(A, memory="1MiB")
    (tmp_path / "there").mkdir()
    for method, new in (("transform", A), ("residual", A), ("inverse_transform", A[:, :2])):
        with pytest.raises(StoreError, match="exists already"):
            getattr(result, method)(new, out=tmp_path / "there")
        with pytest.raises(StoreError, match="is no zarr array"):
            getattr(result, method)(new, out=tmp_path / "there", overwrite=True)
    zarr.save_array(tmp_path / "A.zarr", A)
    with pytest.raises(SpecError, match="which is read, are the same"):
        result.transform(tmp_path / "A.zarr", out=tmp_path / "A.zarr", overwrite=True)
    left = result.residual(tmp_path / "A.zarr")
    with pytest.raises(SpecError, match="which is read"):
        streamsvd.svd(left, 2, out=tmp_path / "A.zarr", overwrite=True)
    kept = streamsvd.svd(A, 3, u=True, out=tmp_path / "kept")
    with pytest.raises((SpecError, StoreError), match="kept"):
        kept.transform(A, out=tmp_path / "kept" / "S.zarr")


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path) -> None:
    A = np.repeat(matrix(9), 50, axis=0)
    result = streamsvd.pca(A, 3)
    A[2500, 4] = np.nan
    for method in ("transform", "residual"):
        with pytest.raises(NonFiniteError, match="row 2500, column 4"):
            getattr(result, method)(stored(A, (100, N)), out=tmp_path / "out")
    assert not list(tmp_path.iterdir())

    def stop(event):
        if type(event).__name__ == "SpanDone":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result.transform(stored(A, (100, N)), nonfinite="mean", out=tmp_path / "out", callback=stop)
    assert not list(tmp_path.iterdir())


def test_tiles_of_columns_are_read_where_rows_do_not_fit(tmp_path) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((24, 60_000)).astype("float32")
    new = stored(A, (24, 4096))
    result = streamsvd.svd(new, 2)
    whole = result.transform(new)
    with pytest.raises(BudgetError) as error:
        result.transform(new, memory="1MiB")
    found = result.transform(new, memory=error.value.needs)
    np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-4 * np.abs(whole).max())
    assert error.value.needs < 41 * 2**20 + 60_000 * 90
    np.testing.assert_allclose(
        result.score_samples(new, memory=2 * error.value.needs),
        result.score_samples(new),
        rtol=1e-6,
    )


def test_a_matrix_that_is_zero_has_no_scores() -> None:
    model = streamsvd.svd(np.zeros((20, 4)), 1)
    np.testing.assert_array_equal(model.transform(np.ones((3, 4))).shape, (3, 1))


def test_products_that_leave_the_range_are_refused() -> None:
    A = matrix(9)
    result = streamsvd.pca(A, 3, column_weights=np.full(N, 1e10))
    new = np.full((4, N), 1e300) * np.sign(result.Vh[0])
    with pytest.raises(SpecError, match="leave the range of float64"):
        result.transform(new)


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_columns_that_took_no_part_are_listed_whatever_is_streamed(axis) -> None:
    A = matrix(9)
    A[3, 2], A[:, 6] = np.nan, 4.0
    options = {"center": True, "scale": True, "nonfinite": "drop_columns"}
    result = run(A, 3, axis=axis, **options)
    assert result.info.dropped_columns == (2, 6)
    again = run(np.nan_to_num(A), 3, axis=axis, center=True, mask=np.arange(N) != 2)
    assert again.info.dropped_columns == (2,)

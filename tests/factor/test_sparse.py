"""Factorisations of sparse matrices: what is proved holds the values of the dense matrix, whatever is asked and however it is stored."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import zarr
from scipy import sparse, stats

import streamsvd
from streamsvd import NonFiniteError, NotConverged
from streamsvd.engine.layout import SPARSE_DENSITY

M, N, K = 1200, 240, 4


def counts(m=M, n=N, density=0.04, seed=0, kind="float32"):
    """Counts with a few groups of rows, popular columns, and a gap after the fourth value."""
    rng = np.random.default_rng(seed)
    popularity = rng.gamma(0.5, 1.0, n)
    groups = rng.gamma(0.3, 1.0, (K, n))
    rates = groups[rng.integers(K, size=m)] * popularity
    rates *= -np.log1p(-density) / rates.mean()
    A = sparse.csr_array(rng.poisson(rates))
    A.data = A.data.astype(kind)
    return A


def stored(A, path, form="csr"):
    """As AnnData writes it."""
    S = A.asformat(form)
    group = zarr.create_group(
        path,
        attributes={
            "encoding-type": f"{form}_matrix",
            "encoding-version": "0.1.0",
            "shape": list(S.shape),
        },
    )
    for name, values in (("data", S.data), ("indices", S.indices), ("indptr", S.indptr)):
        group.create_array(name, data=values, chunks=(min(997, max(1, values.size)),))
    return path


def values_of(D, *, center=False, scale=False, rows=None, columns=None):
    D = D.astype(np.float64)
    w = np.ones(len(D)) if rows is None else rows
    mean = w @ D / w.sum()
    X = D - mean * center
    if scale:
        spread = np.sqrt(w @ (D - mean) ** 2 / w.sum())
        X = np.divide(X, spread, out=np.zeros_like(X), where=spread > 0)
    X = X if columns is None else X * columns
    return np.linalg.svd(np.sqrt(w)[:, None] * X, compute_uv=False)


ASKED = {
    "plain": {},
    "centred": {"center": True},
    "standardised": {"center": True, "scale": True},
    "scaled": {"scale": True},
    "weighted": {"center": True, "rows": True, "columns": True},
}


def result_of(A, verb=streamsvd.svd, **options):
    """What is proved by stored entries alone; scaled columns leave no gap, so that not all of it is what was asked."""
    try:
        return verb(A, K, route="krylov", target="values", max_passes=20, **options)
    except NotConverged as stopped:
        return stopped.result


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int16"])
@pytest.mark.parametrize("asked", ASKED)
def test_intervals_hold_the_values_of_the_dense_matrix(tmp_path, form, kind, asked):
    A = counts(kind=kind)
    assert A.nnz < SPARSE_DENSITY * M * N
    rng, options = np.random.default_rng(5), dict(ASKED[asked])
    rows = rng.random(M) * (rng.random(M) < 0.9) if options.pop("rows", False) else None
    columns = rng.random(N) * (np.arange(N) != 7) if options.pop("columns", False) else None
    truth = values_of(A.toarray(), rows=rows, columns=columns, **options)[:K]
    found = result_of(
        str(stored(A, tmp_path / "a.zarr", form)), tol=1e-3, row_weights=rows, column_weights=columns, **options
    )  # fmt: skip
    c = found.certificate
    assert found.info.axis == ("rows" if form == "csr" else "columns")
    assert np.all(c.sigma_lower <= truth * (1 + 1e-12))
    assert np.all(truth <= c.sigma_upper * (1 + 1e-12))
    assert c.relative_width <= (0.5 if "scale" in options else 1e-3)


def test_passes_read_what_is_stored_alone(tmp_path):
    A = counts()
    found = streamsvd.svd(
        str(stored(A, tmp_path / "a.zarr")), K, route="krylov", memory="64MiB", tol=1e-3
    )
    assert found.info.bytes_read <= 1.01 * found.info.passes * A.nnz * 8
    assert found.info.bytes_read < A.shape[0] * A.shape[1]  # a fourth of what the dense matrix has


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_the_same_bits_on_any_number_of_threads_and_in_any_memory(tmp_path, form):
    path = str(stored(counts(), tmp_path / "a.zarr", form))
    one = streamsvd.pca(path, K, route="krylov", memory="1GiB", u=True)
    with dask.config.set(num_workers=1):
        two = streamsvd.pca(path, K, route="krylov", memory="60MiB", u=True)
    assert one.s.tobytes() == two.s.tobytes()
    assert one.Vh.tobytes() == two.Vh.tobytes()
    assert np.asarray(one.U).tobytes() == np.asarray(two.U).tobytes()


@pytest.mark.parametrize("form", ["csr", "csc"])
def test_left_vectors_belong_to_the_values(tmp_path, form):
    A = counts(kind="float64")
    found = streamsvd.pca(
        str(stored(A, tmp_path / "a.zarr", form)), K, route="krylov", tol=1e-6, u=True
    )
    X = A.toarray() - A.toarray().mean(0)
    U, V = np.asarray(found.U), found.Vh.T
    np.testing.assert_allclose(U.T @ U, np.eye(K), atol=1e-6)
    np.testing.assert_allclose(X @ V, U * found.s, atol=1e-3 * found.s[0])


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("policy", ["zero", "mean", "drop_columns"])
def test_what_is_missing_among_what_is_stored(tmp_path, form, policy):
    A = counts(kind="float64")
    holes = np.random.default_rng(2).permutation(A.nnz)[:40]
    A.data[holes] = np.nan
    D = A.toarray()
    means = np.nanmean(D, axis=0)
    gone = np.isnan(D)
    if policy == "drop_columns":
        D = D[:, ~gone.any(0)]
    else:
        D[gone] = 0.0 if policy == "zero" else np.broadcast_to(means, D.shape)[gone]
    truth = values_of(D, center=True)[:K]
    path = str(stored(A, tmp_path / "a.zarr", form))
    found = streamsvd.pca(path, K, route="krylov", nonfinite=policy, target="values", max_passes=20)
    c = found.certificate
    assert found.info.missing == 40
    assert np.all((c.sigma_lower <= truth) & (truth <= c.sigma_upper))
    with pytest.raises(NonFiniteError, match="NaN"):
        streamsvd.pca(path, K, route="krylov")


def test_a_column_far_from_zero_is_no_reason_for_a_wrong_answer():
    """It is full, and its mean is a million times its deviation: then all sums lose digits, and say so."""
    A = counts(kind="float64", density=0.02).tolil()
    A[:, [3]] = 1e6 + np.random.default_rng(1).standard_normal((M, 1))
    A = A.tocsr()
    truth = values_of(A.toarray(), center=True)[:K]
    c = result_of(A, streamsvd.pca, tol=1e-2).certificate
    assert np.all((c.sigma_lower <= truth) & (truth <= c.sigma_upper))
    whole = streamsvd.pca(A, K, tol=1e-2).certificate  # the Gram matrix, of blocks with their zeros
    assert np.all((whole.sigma_lower <= truth) & (truth <= whole.sigma_upper))
    assert whole.relative_width <= 1e-2


def test_rows_of_very_unequal_length():
    rng = np.random.default_rng(3)
    sizes = rng.integers(0, 3, 900)
    sizes[[5, 700]] = 900
    indices = np.concatenate([np.sort(rng.permutation(900)[:size]) for size in sizes])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    A = sparse.csr_array((rng.random(indices.size) + 1, indices, offsets), shape=(900, 900))
    truth = np.linalg.svd(A.toarray(), compute_uv=False)[:2]
    c = streamsvd.svd(A, 2, route="krylov", target="values", max_passes=20).certificate
    assert np.all((c.sigma_lower <= truth) & (truth <= c.sigma_upper))


def test_a_matrix_without_entries():
    found = streamsvd.svd(sparse.csr_array((500, 40), dtype=np.float32), 3)
    assert not found.s.any()


def test_a_run_that_was_killed_goes_on(tmp_path):
    A = counts()
    path, place = str(stored(A, tmp_path / "a.zarr")), tmp_path / "saves"
    whole = streamsvd.pca(path, K, route="krylov", memory="64MiB")

    class Stop(Exception):
        pass

    seen = []

    def stop(event):
        if type(event).__name__ == "PassDone":
            seen.append(event)
            if len(seen) == 2:
                raise Stop

    with pytest.raises(Stop):
        streamsvd.pca(
            path, K, route="krylov", memory="64MiB", checkpoint=place, save_seconds=0, callback=stop
        )
    found = streamsvd.pca(path, K, route="krylov", memory="64MiB", checkpoint=place, save_seconds=0)
    assert found.s.tobytes() == whole.s.tobytes()
    assert found.Vh.tobytes() == whole.Vh.tobytes()


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("scale", [False, True])
def test_rows_are_projected_as_they_are_with_their_zeros(tmp_path, kind, scale):
    A = counts(kind=kind)
    path, new = str(stored(A, tmp_path / "a.zarr")), counts(seed=9, kind=kind)
    found = result_of(path, streamsvd.pca, scale=scale)
    dense = new.toarray()
    place = str(stored(new, tmp_path / "new.zarr"))
    scores, likely = found.transform(place), found.score_samples(place)
    eps = 1e-4 if kind == "float32" else 1e-10
    np.testing.assert_allclose(scores, found.transform(dense), atol=eps * np.abs(scores).max())
    np.testing.assert_allclose(likely, found.score_samples(dense), rtol=1e-9)
    written = found.transform(place, out=tmp_path / "scores.zarr", memory="64MiB")
    assert np.asarray(written).tobytes() == scores.tobytes()
    new.data[33] = np.nan
    row = int(np.searchsorted(new.indptr, 33, side="right")) - 1
    with pytest.raises(NonFiniteError, match=f"row {row}, column {new.indices[33]}"):
        found.transform(new)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_intervals_fail_no_more_often_than_is_said(kind):
    """Of random matrices, centred or not, along both axes, with an upper end that may fail once in a hundred times."""
    delta, runs, failures = 1e-2, 80, 0
    for number in range(runs):
        rng = np.random.default_rng(number)
        m, n = (int(x) for x in rng.integers(150, 400, 2))
        A = counts(m, n, float(rng.uniform(0.005, 0.05)), seed=number, kind=kind)
        center, form = bool(number % 2), ("csr", "csc")[number // 2 % 2]
        truth = values_of(A.toarray(), center=center)[:K]
        found = result_of(
            A.asformat(form), tol=1e-4, delta=delta, seed=number, center=center
        ).certificate
        assert np.all(found.sigma_lower <= truth + 1e-12 * truth[0])
        failures += bool(np.any(truth > found.sigma_upper + 1e-12 * truth[0]))
    assert failures <= stats.binom.isf(1e-6, runs, delta)


def test_one_number_of_bytes_is_planned_for_any_number_of_rows():
    """The memory of a plan does not grow with the rows, but for what each span hands back."""
    sizes = []
    for m in (200_000, 1_600_000):
        A = sparse.csr_array((m, 3000), dtype=np.float32)
        A.indptr[:] = np.arange(m + 1) * 20
        A.indices = np.zeros(20 * m, np.int32)
        A.data = np.zeros(20 * m, np.float32)
        plan = streamsvd.plan_svd(streamsvd.open(A), 10, route="krylov", memory="200MiB")
        assert plan.layout.stored is not None
        sizes.append(plan.projected_bytes)
    assert sizes[1] <= 1.25 * sizes[0]

"""Steps of stored matrices are those of their dense rows, counted in one pass; results and models keep them for rows that come later."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import streamsvd
from streamsvd.engine.events import PassStarted
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.engine.step_counts import PURPOSE, StepCountPass, plan_counts
from streamsvd.engine.steps import plan_steps
from streamsvd.errors import BudgetError, NonFiniteError, ShapeError, SpecError
from streamsvd.numerics.columns import Columns
from streamsvd.numerics.row_steps import Log1p, Normalize, ScaleColumns, parse_steps
from streamsvd.protocols import is_sparse
from streamsvd.store.sources.views.kept_columns import KeptColumns
from streamsvd.testing import assert_pass, assert_source

M, N = 300, 40
CELLS = "normalize,log1p"


def counts(m: int = M, n: int = N, seed: int = 0, kind: str = "float32") -> sparse.csr_array:
    """Counts of few kinds of rows, some rows empty."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.3, 1.0, (4, n))[rng.integers(4, size=m)] * rng.gamma(4, 0.1, (m, 1))
    A = rng.poisson(2 * rates)
    A[rng.random(m) < 0.03] = 0
    return sparse.csr_array(A.astype(kind))


def stored(path, A: sparse.csr_array) -> str:
    """As AnnData writes it."""
    attributes = {
        "encoding-type": f"{A.format}_matrix",
        "encoding-version": "0.1.0",
        "shape": list(A.shape),
    }
    group = zarr.create_group(path, attributes=attributes)
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(A, name), chunks=(97,))
    return str(path)


def everything(source) -> np.ndarray:
    """The whole matrix."""
    out = np.empty(source.shape, source.dtype)
    source.read(slice(0, source.shape[0]), slice(0, source.shape[1]), out)
    return out


def cells(D: np.ndarray, target: float | None = None) -> np.ndarray:
    """Counts to a common sum, and their logarithms."""
    sums = D.sum(axis=1, keepdims=True, dtype=float)
    target = np.median(sums[sums > 0]) if target is None else target
    return np.log1p(D * np.divide(target, sums, out=np.ones_like(sums), where=sums > 0))


def idf(D: np.ndarray) -> np.ndarray:
    """Terms by their rarity, rows of norm 1."""
    X = D * (np.log((len(D) + 1) / (np.count_nonzero(D, axis=0) + 1)) + 1)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1)


ALL = {
    "normalize=1e4,log1p": lambda D: cells(D, 1e4),
    CELLS: cells,
    "tfidf": idf,
    "normalize,tfidf": lambda D: idf(np.expm1(cells(D))),
    "binarize": lambda D: (D > 0) * 1.0,
    "sqrt": np.sqrt,
}


@pytest.mark.parametrize("steps", ALL)
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint8"])
def test_steps_are_those_of_dense_rows(tmp_path, steps, kind):
    A = counts(kind=kind)
    expected = ALL[steps](A.toarray().astype(float))
    dense = zarr.create_array({}, shape=A.shape, dtype=kind, chunks=(71, 13))
    dense[...] = A.toarray()
    for source in (A, stored(tmp_path / "A.zarr", A), streamsvd.open(dense, missing="fill")):
        found = streamsvd.apply_steps(source, steps)
        assert found.dtype == np.float64
        assert is_sparse(found) == (source is not None and is_sparse(streamsvd.open(source)))
        np.testing.assert_allclose(everything(found), expected, rtol=1e-12, atol=1e-12)
        assert_source(found, like=everything(found))


def test_what_is_read_sparse_is_what_is_read_with_zeros(tmp_path):
    A = counts()
    A.data[5] = 0  # stored, and no document
    for source in (A, stored(tmp_path / "A.zarr", A)):
        found = streamsvd.apply_steps(source, CELLS)
        assert found.entries == A.nnz
        rows = found.read_sparse(slice(20, 290))
        np.testing.assert_array_equal(rows.toarray(), everything(found)[20:290])
        assert rows.nnz == A.indptr[290] - A.indptr[20]
        assert found.sparse_bytes(1000) > 1000 * 16


def test_columns_of_csc_go_through_steps_of_entries():
    A = sparse.csc_array(counts())
    found = streamsvd.apply_steps(A, "log1p,sqrt")
    assert found.sparse_axis == "columns"
    np.testing.assert_array_equal(
        found.read_sparse(slice(3, 9)).toarray().T, everything(found)[:, 3:9]
    )
    np.testing.assert_allclose(everything(found), np.sqrt(np.log1p(A.toarray())), rtol=1e-6)
    with pytest.raises(
        SpecError, match=r"normalize=5 needs sums of rows, and .* stored by columns"
    ):
        streamsvd.apply_steps(A, "normalize=5")


def test_single_precision_is_asked_for_and_says_what_it_loses():
    A = counts()
    exact, rounded = (streamsvd.apply_steps(A, CELLS, precise=p) for p in (True, False))
    assert (exact.step_rounding, rounded.step_rounding) == (0.0, 2.0**-24)
    assert rounded.dtype == np.float32
    np.testing.assert_array_equal(everything(rounded), everything(exact).astype(np.float32))
    assert streamsvd.apply_steps(counts(kind="float64"), CELLS, precise=False).dtype == np.float64
    with pytest.raises(SpecError, match="rounded to float32 by its steps"):
        streamsvd.anomalies(rounded, by=np.arange(M) % 2)


@pytest.mark.parametrize("steps", [CELLS, "tfidf", "pearson"])
@pytest.mark.parametrize("options", [{}, {"center": True}, {"center": True, "scale": True}])
def test_intervals_of_rounded_steps_hold_the_values_of_exact_ones(steps, options):
    """Without what rounding may have moved they would not: they are a thousand times as narrow."""
    A = counts()
    exact, rounded = (streamsvd.apply_steps(A, steps, precise=p) for p in (True, False))
    X = everything(exact)
    X = X - X.mean(axis=0) if options else X
    if "scale" in options:
        X = X / np.where(X.std(axis=0) > 0, X.std(axis=0), np.inf)
    truth = np.linalg.svd(X, compute_uv=False)
    found = streamsvd.svd(rounded, 5, precision="double", **options)
    c = found.certificate
    assert (c.sigma_lower <= truth[:5]).all()
    assert (truth[:5] <= c.sigma_upper).all()
    assert np.linalg.norm(X - X @ found.Vh.T @ found.Vh) <= c.frobenius_error
    moved = 2.0**-24 * np.linalg.norm(everything(exact))
    if "scale" not in options:
        assert c.sigma_upper[0] - c.sigma_lower[0] == pytest.approx(2 * moved, rel=0.01)
    narrow = streamsvd.svd(exact, 5, precision="double", **options).certificate
    assert (narrow.sigma_lower <= truth[:5] * (1 + 1e-14)).all()
    assert (narrow.widths < 0.01 * c.widths).all()


def test_principal_components_are_those_of_the_dense_matrix(tmp_path):
    A = counts()
    X = cells(A.toarray())
    found = streamsvd.pca(streamsvd.apply_steps(stored(tmp_path / "A.zarr", A), CELLS), 4)
    truth = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(found.s, truth[1][:4], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.Vh * truth[2][:4], axis=1)), 1, rtol=1e-6)


def test_residuals_are_read_as_dense_panels(tmp_path):
    A = counts()
    D = A.toarray().astype(float)
    mean = np.outer(D.sum(axis=1), D.sum(axis=0)) / D.sum()
    spread = np.sqrt(mean + mean**2 / 100)
    Z = np.divide(D - mean, spread, out=np.zeros_like(D), where=spread > 0)
    Z = np.clip(Z, -np.sqrt(M), np.sqrt(M))
    found = streamsvd.apply_steps(stored(tmp_path / "A.zarr", A), "pearson")
    assert not is_sparse(found)
    np.testing.assert_allclose(everything(found), Z, atol=1e-12)
    assert_source(found, like=everything(found))
    np.testing.assert_allclose(
        streamsvd.svd(found, 3).s, np.linalg.svd(Z, compute_uv=False)[:3], rtol=1e-9
    )


def test_columns_are_kept_from_what_steps_of_all_columns_leave():
    A = counts()
    found = streamsvd.apply_steps(A, "normalize,log1p,tfidf")
    kept = np.arange(N) % 3 == 0
    view = KeptColumns(found, Columns.of(kept))
    np.testing.assert_array_equal(everything(view), everything(found)[:, kept])
    assert is_sparse(view)
    np.testing.assert_array_equal(
        view.read_sparse(slice(7, 90)).toarray(), everything(found)[7:90, kept]
    )
    result = streamsvd.pca(found, 3, mask=kept, u=True)
    X = everything(found)[:, kept]
    np.testing.assert_allclose(
        result.s, np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:3], rtol=1e-9
    )
    np.testing.assert_allclose(result.transform(A), result.U * result.s, atol=1e-12)


@st.composite
def sparse_matrices(draw):
    """Counts or numbers with gaps, in any chunks."""
    m, n = draw(st.integers(1, 60)), draw(st.integers(1, 12))
    A = counts(m, n, draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from(["f4", "f8", "i4"])))
    if draw(st.booleans()) and A.dtype.kind == "f" and A.nnz:
        A.data[:: draw(st.integers(2, 5))] *= 1.37
    return A


@given(
    sparse_matrices(),
    st.sampled_from(["normalize=7,log1p", "tfidf", "degrees=-0.5,-0.5", "tfidf=l1"]),
)
@settings(max_examples=20)
def test_any_sparse_matrix_is_read_the_same_in_any_pieces(A, steps):
    found = streamsvd.apply_steps(A, steps)
    assert_source(found, like=everything(found))
    dense = streamsvd.apply_steps(A.toarray(), steps)
    np.testing.assert_allclose(everything(dense), everything(found), rtol=1e-12, atol=1e-12)


def test_one_pass_counts_all_and_bits_are_the_same_on_any_threads(tmp_path):
    A = counts(5000, kind="float64")
    A.data *= np.random.default_rng(1).random(A.nnz) + 0.5  # sums that round
    path, seen, found = stored(tmp_path / "A.zarr", A), [], []
    for workers, memory in ((1, None), (2, None), (2, "60MiB")):
        with use_scheduler(None, workers):
            found.append(
                streamsvd.apply_steps(
                    path, "normalize,log1p,tfidf", memory=memory, callback=seen.append
                )
            )
    for other in found[1:]:
        assert other.row_steps == found[0].row_steps
        np.testing.assert_array_equal(other.row_steps[2].vector, found[0].row_steps[2].vector)
        np.testing.assert_array_equal(everything(other), everything(found[0]))
    passes = [event for event in seen if isinstance(event, PassStarted)]
    assert [event.purpose for event in passes] == [PURPOSE] * 3
    assert {event.bytes_read for event in passes} == {A.nnz * 12}  # what is stored, once
    seen.clear()
    streamsvd.apply_steps(path, "normalize=1e4,log1p,sqrt", callback=seen.append)
    assert not seen
    degrees = streamsvd.apply_steps(path, "normalize,degrees=-1,-1", callback=seen.append)
    assert len([e for e in seen if isinstance(e, PassStarted)]) == 2  # the second needs the first
    np.testing.assert_allclose(
        1 / degrees.row_steps[1].vector,
        everything(streamsvd.apply_steps(path, "normalize", like=None)).sum(axis=0),
    )


def test_a_cluster_counts_the_same_bits(tmp_path):
    A = counts(2000, kind="float64")
    A.data *= np.random.default_rng(1).random(A.nnz) + 0.5
    path, steps = stored(tmp_path / "A.zarr", A), "normalize,log1p,tfidf"
    here = streamsvd.apply_steps(path, steps)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        there = streamsvd.apply_steps(path, steps)
    assert there.row_steps == here.row_steps
    np.testing.assert_array_equal(there.row_steps[2].vector, here.row_steps[2].vector)


@pytest.mark.parametrize("needs", [{"row sums"}, {"documents", "column sums"}])
def test_the_pass_adds_up_the_same_however_it_is_cut(needs):
    assert_pass(StepCountPass(frozenset(needs), N), counts().toarray().astype(float))


def test_sums_are_of_a_cut_that_depends_on_the_matrix_alone():
    A = streamsvd.open(counts(5000))
    few, many = (plan_counts(A, frozenset({"row sums"}), memory) for memory in ("60MiB", "1GiB"))
    assert few.reader.spans == many.reader.spans
    assert few.reader.layout.unit == many.reader.layout.unit
    assert few.projected_bytes <= 60 << 20
    with pytest.raises(
        BudgetError, match=r"counts of 5,000 rows and 40 columns from .* Pass memory="
    ):
        plan_counts(A, frozenset({"row sums"}), 1 << 20)
    assert plan_steps(A, parse_steps("log1p"), "1MiB") is None


def test_rows_that_come_later_go_through_the_same_steps(tmp_path):
    A, new = counts(), counts(50, seed=5)
    source = streamsvd.apply_steps(A, "normalize,log1p,tfidf")
    found = streamsvd.pca(source, 4, u=True, out=tmp_path / "r")
    later = everything(streamsvd.apply_steps(new, like=source))
    assert later[3].any()
    idfs = source.row_steps[2].vector
    X = cells(new.toarray(), source.row_steps[0].target) * idfs
    X /= np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
    np.testing.assert_allclose(later, X, atol=1e-12)
    expected = (X - found.mean) @ found.Vh.T
    for result in (found, streamsvd.load(tmp_path / "r")):
        np.testing.assert_allclose(result.transform(A), found.U[:] * found.s, atol=1e-12)
        np.testing.assert_allclose(result.transform(new), expected, atol=1e-12)
        same = streamsvd.apply_steps(new, like=result)
        np.testing.assert_array_equal(result.transform(same), result.transform(new))
        left = result.residual(new)
        np.testing.assert_allclose(
            everything(left), X - found.mean - expected @ found.Vh, atol=1e-10
        )
    for other in (
        streamsvd.apply_steps(new, "log1p"),
        streamsvd.apply_steps(new, "normalize,log1p,tfidf"),
    ):
        with pytest.raises(
            SpecError,
            match=r"was made of rows after the steps 'normalize=.*', 'log1p', 'tfidf', and",
        ):
            found.transform(other)
    with pytest.raises(ShapeError, match=r"tfidf knows of 40 columns, and .* has 39"):
        found.transform(new[:, :39])
    assert streamsvd.verify(tmp_path / "r", A).agrees


def test_models_take_the_steps_of_their_first_block(tmp_path):
    A, new = counts(), counts(50, seed=5)
    first = streamsvd.apply_steps(A, "normalize,log1p,tfidf")
    X = np.vstack([everything(streamsvd.apply_steps(part, like=first)) for part in (A, new)])
    values = np.linalg.svd(X, compute_uv=False)
    streamsvd.update(tmp_path / "m", first, block_id="a", rank=N)
    model = streamsvd.Model.open(tmp_path / "m")
    assert [record.text for record in model.row_steps] == [s.text for s in first.row_steps]
    model.update(new, block_id="b")
    np.testing.assert_allclose(model.s, values, rtol=1e-9)
    again = streamsvd.Model.open(tmp_path / "m")
    np.testing.assert_allclose(again.transform(new), X[M:] @ again.Vh.T, atol=1e-12)
    with pytest.raises(SpecError, match="the model was made of rows after the steps"):
        model.update(streamsvd.apply_steps(new, "log1p"), block_id="c")
    assert model.update(streamsvd.apply_steps(new, like=again), block_id="b").n_absorbed == 0
    streamsvd.svd(first, 3, out=tmp_path / "r")  # a batch result goes on as a model
    grown = streamsvd.update(tmp_path / "r", new, block_id="b")
    assert grown.n_absorbed == 50
    assert streamsvd.Model.open(tmp_path / "r").row_steps[2].vector is not None
    streamsvd.update(tmp_path / "other", streamsvd.apply_steps(new, "log1p"), block_id="z", rank=N)
    with pytest.raises(SpecError, match="rows after other steps, or with other counts"):
        streamsvd.merge_models(tmp_path / "m", tmp_path / "other", tmp_path / "both")
    with pytest.raises(SpecError, match="the model grows by columns"):
        streamsvd.update(tmp_path / "c", first, axis="columns", rank=3)


def test_what_cannot_be_meant_is_refused_before_it_is_read():
    A = counts()
    for call, said in (
        (lambda: streamsvd.apply_steps(A), r"steps= names nothing"),
        (lambda: streamsvd.apply_steps(A, []), r"steps= names nothing"),
        (lambda: streamsvd.apply_steps(A, "nothing"), r"'nothing' is no step"),
        (lambda: streamsvd.apply_steps(A, like=A), r"like= has had no steps"),
        (lambda: streamsvd.apply_steps(A.astype(complex), "log1p"), r"'log1p' take real numbers"),
        (
            lambda: streamsvd.apply_steps(streamsvd.anomalies(A, by=np.arange(M) % 2), "log1p"),
            r"anomalies\(apply_steps\(A, steps\)\)",
        ),
        (
            lambda: streamsvd.apply_steps(A, "sqrt", like=streamsvd.apply_steps(A, "log1p")),
            r"the steps were 'log1p', and are to be 'sqrt'",
        ),
    ):
        with pytest.raises(SpecError, match=said):
            call()
    with pytest.raises(ShapeError, match=r"columns knows of 3 columns"):
        streamsvd.apply_steps(A, [ScaleColumns(np.ones(3))])


@pytest.mark.parametrize("way", ["sparse", "dense"])
def test_entries_that_cannot_be_meant_are_named_as_they_are_read(way):
    A = counts()
    at = int(A.indptr[200])
    A.data[at] = -1.5
    row, column = 200, int(A.indices[at])
    source = A if way == "sparse" else A.toarray()
    with pytest.raises(SpecError, match=rf"log1p of -1.5 at row {row}, column {column}"):
        streamsvd.svd(streamsvd.apply_steps(source, "log1p"), 2)
    A.data[at] = np.inf
    source = A if way == "sparse" else A.toarray()
    for steps in ("normalize", "normalize=3"):
        with pytest.raises(NonFiniteError, match=rf"Inf at row {row}, column {column}"):
            streamsvd.svd(streamsvd.apply_steps(source, steps), 2, nonfinite="zero")
    A.data[at] = np.nan
    source = A if way == "sparse" else A.toarray()
    found = streamsvd.svd(streamsvd.apply_steps(source, CELLS), 2, nonfinite="zero")
    X = cells(np.nan_to_num(A.toarray()))
    np.testing.assert_allclose(found.s, np.linalg.svd(X, compute_uv=False)[:2], rtol=1e-9)
    with pytest.raises(NonFiniteError, match=rf"NaN at row {row}, column {column}"):
        streamsvd.svd(streamsvd.apply_steps(source, CELLS), 2)


def test_steps_may_be_values_and_follow_one_another():
    A = counts()
    by_value = streamsvd.apply_steps(A, [Normalize(), Log1p()])
    one_by_one = streamsvd.apply_steps(streamsvd.apply_steps(A, "normalize"), "log1p")
    assert by_value.row_steps == one_by_one.row_steps
    np.testing.assert_array_equal(everything(by_value), everything(one_by_one))

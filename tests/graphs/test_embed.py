"""Embeddings of nodes: those of the formula, the same bits however they are cut, and within the memory."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd import BudgetError, NonFiniteError, ShapeError, SpecError, StoreError
from streamsvd.graphs.mathematics import first_lost_row, multiply_rows, projected_rows
from streamsvd.graphs.mathematics.powers import PART
from tests.graphs.communities import communities, embedding

A, GROUP = communities(2400, 6, 16, 4)
WAYS = {
    "default": {},
    "adjacency": {"step": "adjacency", "beta": 0.0},
    "normalize": {"normalize": True, "step_weights": (0.5, 0, 2)},
    "double": {"precision": "double", "beta": -0.9, "sparsity": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_that_of_the_formula(way):
    found = streamsvd.embed(A, 24, seed=3, **WAYS[way])
    expected = embedding(A, found)
    scale = np.abs(expected).max()
    tol = 1e-14 if way == "double" else 1e-6
    np.testing.assert_allclose(found.vectors, expected, rtol=0, atol=tol * scale)
    assert found.vectors.dtype == ("float64" if way == "double" else "float32")
    steps = {"normalize": 3}.get(way, 4)
    assert found.info.passes == 1 + steps
    entry = A.data.itemsize + A.indices.itemsize
    assert found.info.bytes_read == (1 + steps) * A.nnz * entry


@pytest.mark.parametrize("way", WAYS)
def test_columns_made_one_after_another_are_the_same_bits(way, tmp_path):
    whole = streamsvd.embed(A, 13, **WAYS[way])
    least = refused_memory(A, 13, **WAYS[way])
    for memory, out in ((least, None), (least + 100_000, None), (None, tmp_path / "E")):
        found = streamsvd.embed(A, 13, memory=memory, out=out, **WAYS[way])
        np.testing.assert_array_equal(found.vectors[:], whole.vectors)
    assert streamsvd.embed(A, 13, memory=least, **WAYS[way]).slabs > 1


def refused_memory(graph, dim, **options):
    """The least memory, as the refusal of less names it."""
    with pytest.raises(BudgetError, match="one of its .* columns at a time") as refused:
        streamsvd.embed(graph, dim, memory=1000, **options)
    return refused.value.needs


def test_any_width_gives_the_same_bits(monkeypatch):
    whole = streamsvd.embed(A, 11, normalize=True)
    for width in (1, 2, 4, 10):
        monkeypatch.setattr("streamsvd.graphs.planning._widths", lambda _, w=width: [w])
        found = streamsvd.embed(A, 11, normalize=True)
        assert found.slabs == -(-11 // width)
        np.testing.assert_array_equal(found.vectors, whole.vectors)


def test_rows_may_be_cut_anywhere(monkeypatch):
    whole = streamsvd.embed(A, 6)
    for entries in (1, 100, 5000):
        monkeypatch.setattr("streamsvd.graphs.planning.BLOCK_ENTRIES", entries)
        np.testing.assert_array_equal(streamsvd.embed(A, 6).vectors, whole.vectors)


def test_a_dense_matrix_is_the_same_graph():
    small, _ = communities(300, 3, 8, 2)
    found = streamsvd.embed(small.toarray(), 8)
    np.testing.assert_array_equal(found.vectors, streamsvd.embed(small, 8).vectors)


def test_groups_are_found_again():
    rows = streamsvd.embed(A, 48).vectors
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    middles = np.array([rows[::2][GROUP[::2] == g].mean(axis=0) for g in range(6)])
    nearest = np.argmax(rows[1::2] @ middles.T, axis=1)
    assert (nearest == GROUP[1::2]).mean() > 0.97


def test_nodes_without_edges_are_rows_of_zeros():
    graph = A.tolil()
    graph[7], graph[:, 7], graph[9] = 0, 0, 0
    graph = graph.tocsr()
    for way in WAYS.values():
        found = streamsvd.embed(graph, 9, **way)
        assert found.isolated == 2
        assert np.isfinite(found.vectors).all()
        assert not found.vectors[[7, 9]].any()
        assert (np.abs(found.vectors).sum(axis=1) == 0).sum() == 2
    empty = streamsvd.embed(sparse.csr_array((5, 5)), 3)
    assert empty.isolated == 5
    assert not empty.vectors.any()


def test_a_hub_loses_no_more_digits_than_others():
    n = 40 * PART + 7
    j = np.arange(1, n)
    star = sparse.csr_array((np.full(n - 1, 0.1), (np.zeros(n - 1, int), j)), shape=(n, n))
    star = (star + star.T).tocsr()
    X = np.random.default_rng(0).uniform(0.5, 1, (n, 3)).astype("float32")
    degrees = np.asarray(star.sum(axis=1)).ravel()
    found = multiply_rows(star, X, degrees)
    exact = (star @ X.astype("f8")) / degrees[:, None]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=2e-6)
    alone = [multiply_rows(star, np.ascontiguousarray(X[:, [k]]), degrees) for k in range(3)]
    np.testing.assert_array_equal(np.hstack(alone), found)


def test_random_entries_are_those_of_their_places():
    ones = np.ones(5000)
    R = projected_rows(ones, 0, slice(0, 40), seed=1, sparsity=9.0)
    part = projected_rows(ones[:70], 300, slice(5, 9), seed=1, sparsity=9.0)
    np.testing.assert_array_equal(part, R[300:370, 5:9])
    assert set(np.unique(R)) == {-3.0, 0.0, 3.0}
    share = np.count_nonzero(R) / R.size
    assert abs(share - 1 / 9) < 5 * np.sqrt(1 / 9 / R.size)
    assert abs(R.mean()) < 5 / np.sqrt(R.size)
    assert not np.array_equal(R, projected_rows(ones, 0, slice(0, 40), seed=2, sparsity=9.0))


def write_csr(path, matrix):
    """A sparse matrix as a group of zarr."""
    kind = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [*matrix.shape]}
    group = zarr.create_group(path, attributes=kind)
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(matrix, name), chunks=(1000,))
    return path


def test_what_was_written_is_a_result_and_a_matrix(tmp_path):
    path = write_csr(tmp_path / "graph.zarr", A)
    found = streamsvd.embed(path, 10, out=tmp_path / "E", seed=5)
    again = streamsvd.load(tmp_path / "E")
    assert type(again) is streamsvd.Embedding
    assert again.options == found.options
    assert again.info == found.info
    expected = streamsvd.embed(A, 10, seed=5).vectors
    np.testing.assert_array_equal(again.vectors[:], expected)
    np.testing.assert_array_equal(found.vectors[3:5], expected[3:5])
    rows = streamsvd.open(tmp_path / "E", variable="vectors")
    assert rows.shape == (2400, 10)
    assert streamsvd.pca(rows, 2).s.size == 2
    with pytest.raises(StoreError, match="exists already"):
        streamsvd.embed(path, 10, out=tmp_path / "E")
    streamsvd.embed(path, 4, out=tmp_path / "E", overwrite=True)
    assert streamsvd.load(tmp_path / "E").vectors.shape == (2400, 4)


def test_nodes_keep_their_names(tmp_path):
    anndata = pytest.importorskip("anndata")
    graph, _ = communities(40, 2, 6, 2)
    cells = anndata.AnnData(np.zeros((40, 1), "f4"), obsp={"near": sparse.csr_matrix(graph)})
    cells.obs_names = [f"cell {i}" for i in range(40)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    source = streamsvd.open(tmp_path / "cells.h5ad", variable="obsp/near")
    found = streamsvd.embed(source, 3, out=tmp_path / "E")
    np.testing.assert_array_equal(found.vectors[:], streamsvd.embed(graph, 3).vectors)
    for each in (streamsvd.load(tmp_path / "E"), streamsvd.graph_eigenvectors(source, 2)):
        (names,) = each.labels.column_coordinates
        assert list(names.array[:3]) == ["cell 0", "cell 1", "cell 2"]


def test_a_run_that_fails_leaves_what_was_there(tmp_path):
    streamsvd.embed(A, 4, out=tmp_path / "E")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def stop(event):
        if getattr(event, "number", 0) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamsvd.embed(A, 8, out=tmp_path / "E", overwrite=True, callback=stop)
    bad = A.copy()
    bad.data[100] = np.nan
    with pytest.raises(NonFiniteError):
        streamsvd.embed(bad, 8, out=tmp_path / "E", overwrite=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_what_is_no_graph_is_refused_in_words():
    with pytest.raises(ShapeError, match=r"has 4 rows and 3 columns.*square"):
        streamsvd.embed(sparse.csr_array(np.ones((4, 3))), 2)
    with pytest.raises(SpecError, match=r"compressed along its columns.*A\.T.*A\.tocsr"):
        streamsvd.embed(A.tocsc(), 2)
    with pytest.raises(SpecError, match="is complex"):
        streamsvd.embed(A.astype(complex), 2)
    import dask.array

    with pytest.raises(SpecError, match="tasks of its own"):
        streamsvd.embed(dask.array.ones((5, 5)), 2)


def test_a_weight_that_cannot_be_meant_is_named_with_its_edge():
    bad = A.copy()
    at = 12_345
    row = int(np.searchsorted(bad.indptr, at, side="right")) - 1
    column = bad.indices[at]
    bad.data[at] = -2.5
    with pytest.raises(SpecError, match=rf"from node {row} to node {column} has weight -2\.5"):
        streamsvd.embed(bad, 3)
    for value, text in ((np.nan, "NaN"), (np.inf, "Inf")):
        bad.data[at] = value
        with pytest.raises(NonFiniteError, match=rf"{text}.*at row {row}, column {column}"):
            streamsvd.embed(bad, 3)
    huge = sparse.csr_array(np.full((2, 2), 1.5e308))
    with pytest.raises(SpecError, match="add up beyond float64"):
        streamsvd.embed(huge, 2)


def test_numbers_that_leave_the_type_are_refused():
    large = A * 1e30
    assert np.isfinite(streamsvd.embed(large, 3).vectors).all()  # shares of a row are small
    with pytest.raises(SpecError, match=r'range of float32\. Pass step="transition"'):
        streamsvd.embed(large, 3, step="adjacency")
    uneven = sparse.csr_array(np.diag([1e-60, 1e60]))
    with pytest.raises(SpecError, match=r"beta=-1.* range of float32"):
        streamsvd.embed(uneven, 3, beta=-1)


@pytest.mark.parametrize("weight", [1e-20, 1e-42, 1e-300])
@pytest.mark.parametrize("normalize", [False, True])
def test_numbers_too_small_for_the_type_are_refused(weight, normalize):
    small = sparse.eye_array(9, format="csr") * weight
    options = {"step": "adjacency", "normalize": normalize}
    assert streamsvd.embed(small, 3).vectors.any()  # shares of a row are 1
    with pytest.raises(SpecError, match=r"of node \d .* too small for float32"):
        streamsvd.embed(small, 3, **options)
    if weight == 1e-20:
        found = streamsvd.embed(small, 3, precision="double", **options)
        assert found.vectors.any()
    else:
        with pytest.raises(SpecError, match=r"too small for float64|norms of the rows"):
            streamsvd.embed(small, 3, precision="double", step_weights=(0,) * 7 + (1,), **options)


def test_nodes_from_which_nothing_is_reached_are_no_lost_ones():
    """Chains that end, terms that cancel, edges of weight 0, and a random projection that is nearly all 0."""
    chains = sparse.csr_array(np.diag([1e-3, 0, 1e-3, 1e-3, 0], 1))
    assert not streamsvd.embed(
        chains, 4, step="adjacency"
    ).vectors.any()  # three steps lead nowhere
    light = A.copy()
    light.data[::3] = 1e-4
    light.data[::5] = 0
    found = streamsvd.embed(
        light, 4, step="adjacency", sparsity=2000, precision="double", step_weights=(1,)
    )
    expected = embedding(light, found)
    np.testing.assert_allclose(found.vectors, expected, rtol=0, atol=1e-14 * abs(expected).max())
    assert (found.vectors == 0).all(axis=1).sum() > 100
    one, other = np.array([[0.0, 1], [1, 0]]), np.zeros(2, np.float32)
    Y = multiply_rows(sparse.csr_array(one + 1), np.array([[1.0], [-1]], np.float32), None)
    assert first_lost_row(sparse.csr_array(one), np.ones(2), other + 1, Y * 0) is None


def test_sums_and_norms_that_leave_the_type_are_refused():
    with pytest.raises(SpecError, match="sum of steps leaves the range of float32"):
        streamsvd.embed(A, 3, step_weights=(1e38, 1e38))
    for weight in (1e60, 1e-60):
        with pytest.raises(SpecError, match="norms of the rows of step 3 leave"):
            streamsvd.embed(
                sparse.eye_array(9, format="csr") * weight, 3, step="adjacency", precision="double", normalize=True,
                step_weights=(0, 0, 1),
            )  # fmt: skip


def test_numbers_of_half_precision_are_taken():
    dense = A.toarray()[:60, :60].astype(np.float16)
    dense = np.maximum(dense, dense.T) + np.eye(60, dtype=np.float16)
    found = streamsvd.embed(dense, 5, seed=1)
    np.testing.assert_array_equal(
        found.vectors, streamsvd.embed(dense.astype(np.float32), 5, seed=1).vectors
    )
    values = streamsvd.graph_eigenvectors(dense, 2, tol=1e-6).values
    wide = streamsvd.graph_eigenvectors(dense.astype(np.float32), 2, tol=1e-6).values
    np.testing.assert_allclose(values, wide, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dim": 0}, "dim=0 is no count"),
        ({"step_weights": ()}, "say of no step"),
        ({"step_weights": (0, 0)}, "say of no step"),
        ({"step_weights": (1, "x")}, "has 'x'"),
        ({"step_weights": 3}, "no weights of steps"),
        ({"step_weights": (1, np.inf)}, "has inf"),
        ({"beta": 0.5}, "beta=0.5 is out of range"),
        ({"beta": "x"}, "beta='x' is not a number"),
        ({"step": "walk"}, "step='walk' is unknown"),
        ({"precision": "half"}, "precision='half' is unknown"),
        ({"sparsity": 0.5}, "sparsity=0.5 is out of range"),
        ({"seed": -1}, "seed=-1 is no seed"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options, said):
    with pytest.raises(SpecError, match=said):
        streamsvd.embed(A, **{"dim": 3, **options})

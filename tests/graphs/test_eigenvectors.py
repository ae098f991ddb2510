"""Eigenvalues of normalised graphs lie in their intervals, and vectors are those of scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import eigsh

import streamsvd
from streamsvd import BudgetError, NotConverged, ShapeError, SpecError
from streamsvd.graphs.mathematics import asymmetry_hash
from streamsvd.protocols import is_sparse
from streamsvd.store.sources.views.normalized_graph import normalized_graph
from tests.graphs.communities import communities

A, GROUP = communities(4000, 5, 20, 4)


def normalized(graph):
    """``D^-1/2 A D^-1/2`` in memory."""
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    roots = sparse.diags_array(1 / np.sqrt(np.where(degrees > 0, degrees, np.inf)))
    return roots @ graph @ roots


def truth(graph, k):
    """The k largest eigenvalues, descending, and their vectors."""
    values, vectors = eigsh(normalized(graph), k=k, which="LA", v0=np.ones(graph.shape[0]))
    order = np.argsort(-values)
    return values[order], vectors[:, order]


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_eigenvalues_lie_in_intervals_as_narrow_as_asked(tol):
    found = streamsvd.graph_eigenvectors(A, 5, tol=tol)
    values, vectors = truth(A, 5)
    assert found.info.status is streamsvd.Status.CONVERGED
    assert found.is_resolved.all()
    assert (found.lower - 1e-13 <= values).all()
    assert (values <= found.upper + 1e-13).all()
    assert (found.lower <= found.values).all()
    assert (found.values <= found.upper).all()
    assert found.upper[0] == 1
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(5), atol=1e-10)
    span = np.linalg.svd(found.vectors.T @ vectors, compute_uv=False)
    assert span.min() > 1 - 10 * tol
    assert found.info.passes > 2
    assert found.info.peak_bytes <= found.info.projected_bytes


def test_small_and_negative_eigenvalues_keep_their_order():
    graph, _ = communities(60, 3, 8, 2, seed=4)
    graph = graph.tolil()
    graph[11], graph[:, 11] = 0, 0
    graph = graph.tocsr()
    expected = np.sort(np.linalg.eigvalsh(normalized(graph).toarray()))[::-1]
    for given in (graph, graph.toarray()):
        found = streamsvd.graph_eigenvectors(given, 60, tol=1e-6)
        assert found.isolated == 1
        assert found.lower.min() < -0.3
        assert (found.lower - 1e-13 <= expected).all()
        assert (expected <= found.upper + 1e-13).all()
    np.testing.assert_allclose(
        normalized(graph) @ found.vectors, found.vectors * expected, atol=1e-6
    )


def test_what_is_not_proved_is_said_with_what_is():
    with pytest.raises(
        NotConverged, match=r"of 12 eigenvalues have intervals wider than 1e-05"
    ) as error:
        streamsvd.graph_eigenvectors(A, 12, tol=1e-5, max_passes=2, memory="150MiB")
    found = error.value.result
    values, _ = truth(A, 12)
    assert not found.is_resolved.all()
    assert (found.lower - 1e-13 <= values).all()
    assert (values <= found.upper + 1e-13).all()


def test_the_view_is_the_same_matrix_sparse_and_dense():
    graph, _ = communities(300, 3, 8, 2)
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    expected = 0.5 * (np.eye(300) + normalized(graph).toarray())
    for given in (graph, graph.toarray()):
        view = normalized_graph(streamsvd.open(given), degrees**-0.5)
        out = np.empty((120, 90))
        view.read(slice(100, 220), slice(150, 240), out)
        np.testing.assert_allclose(out, expected[100:220, 150:240], atol=1e-15)
        assert is_sparse(view) == sparse.issparse(given)
    view = normalized_graph(streamsvd.open(graph), degrees**-0.5)
    rows = view.read_sparse(slice(100, 220))
    np.testing.assert_allclose(rows.toarray(), expected[100:220], atol=1e-15)
    assert rows.nnz <= view.most_entries(120)
    assert view.entries == graph.nnz + 300
    rows.sort_indices()
    rows.check_format()


def test_a_matrix_that_is_not_symmetric_is_refused():
    assert asymmetry_hash(A, 0) == 0
    halves = asymmetry_hash(A[:1000], 0) + asymmetry_hash(A[1000:], 1000)
    assert halves % 2**64 == 0
    bad = A.copy()
    bad.data[77] = np.nextafter(bad.data[77], 9)
    with pytest.raises(SpecError, match=r"is not symmetric.*\(A \+ A\.T\) / 2"):
        streamsvd.graph_eigenvectors(bad, 3)
    zeros = A.copy()
    zeros.data[zeros.data < 0.7] = 0  # zeros that are stored on one side alone are none
    upper = sparse.triu(zeros).tocsr()
    upper.eliminate_zeros()
    assert asymmetry_hash((sparse.tril(zeros, -1) + upper).tocsr(), 0) == 0


def test_what_cannot_be_is_refused_before_anything_is_read():
    with pytest.raises(ShapeError, match="square"):
        streamsvd.graph_eigenvectors(sparse.csr_array(np.ones((4, 3))), 2)
    with pytest.raises(ShapeError, match="rank=5000"):
        streamsvd.graph_eigenvectors(A, 5000)
    with pytest.raises(BudgetError, match="memory=") as refused:
        streamsvd.graph_eigenvectors(A, 3, memory=1000)
    least = refused.value.needs
    with pytest.raises(BudgetError):
        streamsvd.graph_eigenvectors(A, 3, memory=least - 1)
    found = streamsvd.graph_eigenvectors(A, 3, tol=0.1, memory=least)
    assert found.info.projected_bytes <= least
    for options, said in (
        ({"tol": 2}, "tol=2 is out of range"),
        ({"rank": 0}, "rank=0 is no count"),
    ):
        with pytest.raises(SpecError, match=said):
            streamsvd.graph_eigenvectors(A, **{"rank": 3, **options})
    bad = A.copy()
    bad.data[:] = -1
    with pytest.raises(SpecError, match="weights of edges are 0 or more"):
        streamsvd.graph_eigenvectors(bad, 3)


def test_a_result_is_saved(tmp_path):
    found = streamsvd.graph_eigenvectors(A, 3, tol=0.1, out=tmp_path / "V")
    again = streamsvd.load(tmp_path / "V")
    assert type(again) is streamsvd.GraphEigenvectors
    np.testing.assert_array_equal(again.vectors, found.vectors)
    with pytest.raises(streamsvd.StoreError, match="exists already"):
        streamsvd.graph_eigenvectors(A, 3, out=tmp_path / "V")

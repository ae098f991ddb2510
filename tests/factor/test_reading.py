"""What a run asks of the store is what its plan and record say, for every kind of source and grid of chunks."""

from __future__ import annotations

from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import streamsvd
from streamsvd.engine import dask_source as dask_source_module
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.stores import CountingStore
from tests.matrices import assert_right, run

M, N = 1200, 90


@pytest.fixture(scope="module")
def known():
    return KnownMatrix("pow1", M, N, "float32")


@pytest.fixture(scope="module")
def dense(known):
    return known.rows(0, M)


def stored(dense, chunks):
    store = CountingStore(MemoryStore())
    array = zarr.create_array(
        store, shape=dense.shape, dtype=dense.dtype, chunks=chunks, compressors=None
    )
    array[...] = dense
    store.reset()
    return store


@pytest.mark.parametrize("chunks", [(100, 90), (100, 30), (37, 23), (1200, 10), (1, 90)])
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["krylov", "gram"])
@pytest.mark.parametrize("u", [False, True])
@pytest.mark.parametrize("is_cached", [False, True])
def test_passes_are_as_the_store_saw_them(dense, chunks, axis, route, u, is_cached):
    store = stored(dense, chunks)
    plan = streamsvd.plan_svd(store, 5, axis=axis, route=route, u=u)
    assert store.chunk_gets == 0
    assert plan.is_cached == (plan.passes > 2)
    plan = replace(plan, is_cached=plan.is_cached and is_cached)
    result = streamsvd.svd(store, 5, plan=plan, u=u)
    rows, columns = (-(-n // c) * c for n, c in zip(dense.shape, chunks, strict=True))
    entire = rows * columns * 4  # border chunks are stored whole
    seen = store.chunk_bytes / entire
    assert seen == pytest.approx(result.info.bytes_read / dense.nbytes, abs=0.02)
    if plan.is_cached:
        assert seen <= 2 < result.info.passes
    else:
        assert seen == pytest.approx(result.info.passes, abs=0.02)
    whole_passes = [count for key, count in store.gets.items() if key.startswith("c/")]
    assert max(whole_passes) - min(whole_passes) <= 2  # and only the sample tells them apart
    assert result.info.passes == pytest.approx(plan.passes, abs=1.3)


@pytest.mark.parametrize("tile", [30, 23])
@pytest.mark.parametrize("u", [False, True])
def test_tiles_read_every_chunk_twice_a_pass_and_give_the_same_answer(dense, known, tile, u):
    store = stored(dense, (100, tile))
    plan = streamsvd.plan_svd(store, 5, axis="rows", route="krylov", u=u)
    tiled = replace(
        plan, layout=replace(plan.layout, tile=tile, panel=plan.layout.grain), prefetch=False
    )
    result = streamsvd.svd(store, 5, plan=tiled, u=u)
    assert_right(result, dense.astype(np.float64), rank=5)
    whole = streamsvd.svd(store, 5, plan=plan, u=u)
    np.testing.assert_allclose(result.s, whole.s, rtol=1e-6)
    np.testing.assert_allclose(result.Vh, whole.Vh, atol=1e-4)
    if u:
        np.testing.assert_allclose(result.U, whole.U, atol=1e-4)
    loops = len(result.info.widths)
    sample = result.info.passes - 2 * loops - u
    assert 0 < sample < 0.3
    store.reset()
    streamsvd.svd(store, 5, plan=tiled, u=u)
    counts = [count for key, count in store.gets.items() if key.startswith("c/")]
    assert min(counts) == 2 * loops + u


@given(
    st.integers(60, M),
    st.integers(9, N),
    st.sampled_from(["rows", "columns"]),
    st.integers(0, 2**32),
)
@settings(max_examples=15)
def test_any_chunking_of_the_same_data_gives_the_same_factors(height, width, axis, seed):
    known = KnownMatrix("geometric", M, N, "float64")
    dense = known.rows(0, M)
    result = run(stored(dense, (height, width)), 6, axis=axis, route="krylov", tol=1e-9, seed=seed)
    assert result.info.status is streamsvd.Status.CONVERGED
    np.testing.assert_allclose(result.s, known.s[:6], rtol=1e-9)
    reference = np.linalg.svd(dense, full_matrices=False)[2][:6]
    np.testing.assert_allclose(np.abs(np.sum(result.Vh * reference, axis=1)), 1, atol=1e-9)


def test_a_budget_changes_panels_and_not_the_answer(dense):
    store = stored(dense, (100, 90))
    with pytest.raises(streamsvd.BudgetError) as refused:
        streamsvd.plan_svd(store, 5, memory=1, route="krylov", axis="rows")
    least = refused.value.needs
    results = [
        run(store, 5, axis="rows", route="krylov", memory=budget, tol=1e-5)
        for budget in (least, 2 * least, 10 * least)
    ]
    for result in results:
        assert result.info.projected_bytes <= 10 * least
        np.testing.assert_allclose(result.s, results[0].s, rtol=1e-5)


# dask ---------------------------------------------------------------------------------------------


GRIDS = [
    ((1200,), (90,)),
    ((300,) * 4, (45, 45)),
    ((500, 1, 650, 49), (10, 79, 1)),
    ((100,) * 12, (90,)),
    ((600, 0, 600), (90,)),
]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("route", ["krylov", "gram"])
def test_a_dask_array_is_the_matrix_it_computes(dense, grid, axis, route):
    source = da.from_array(dense, chunks=grid)
    result = run(source, 5, axis=axis, route=route, tol=1e-4, u=True)
    assert_right(result, dense.astype(np.float64), tol=1e-4, rank=5)
    plain = run(dense, 5, axis=axis, route=route, tol=1e-4, u=True)
    np.testing.assert_allclose(result.s, plain.s, rtol=2e-4)
    np.testing.assert_allclose(np.asarray(result.U), np.asarray(plain.U), atol=1e-2)


def test_a_lazy_dask_expression_is_factorised_without_being_stored(dense):
    x = da.from_array(dense, chunks=(300, 45))
    expression = (x - x.mean(axis=0)) * 2
    result = run(expression, 4, axis="rows", route="krylov")
    centred = 2 * (dense.astype(np.float64) - dense.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(result.s, np.linalg.svd(centred, compute_uv=False)[:4], rtol=1e-3)


def test_passes_over_a_dask_array_read_its_chunks_in_tasks_and_never_in_the_client(
    dense, monkeypatch
):
    """The graph of the array is part of ours: only the sample computes a rectangle by itself."""
    reads = []
    original = dask_source_module.DaskSource.read

    def counted(self, rows, columns, out):
        reads.append((rows, columns))
        original(self, rows, columns, out)

    monkeypatch.setattr(dask_source_module.DaskSource, "read", counted)
    computed: list[tuple[int, ...]] = []

    def seen(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    source = da.from_array(dense, chunks=(300, 45)).map_blocks(seen, dtype=dense.dtype)
    computed.clear()
    plan = streamsvd.plan_svd(source, 5, axis="rows", route="krylov")
    result = streamsvd.svd(source, 5, plan=replace(plan, is_cached=False))
    sample_reads = len(reads)
    assert sum((r.stop - r.start) for r, _ in reads) <= 0.35 * M
    loops = len(result.info.widths)
    for place in {(i, j) for i in range(4) for j in range(2)}:
        assert loops <= computed.count(place) <= loops + sample_reads


def test_chunks_of_a_dask_array_are_computed_by_the_threads_asked_for(dense):
    with dask.config.set(num_workers=1):
        result = run(da.from_array(dense, chunks=(100, 90)), 3)
    np.testing.assert_allclose(
        result.s, np.linalg.svd(dense.astype(np.float64), compute_uv=False)[:3], rtol=1e-3
    )


def test_one_nan_in_a_dask_array_is_named_with_its_chunk(dense):
    spoiled = dense.copy()
    spoiled[701, 50] = np.nan
    source = da.from_array(spoiled, chunks=((500, 300, 400), (45, 45)))
    with pytest.raises(
        streamsvd.NonFiniteError, match=r"NaN at row 701, column 50 \(chunk \(1, 1\)"
    ):
        streamsvd.svd(source, 3)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (
            lambda: da.ones((3, 4, 5)),
            streamsvd.ShapeError,
            r"3 dimensions \(3, 4, 5\); a matrix has 2",
        ),
        (lambda: da.ones(7), streamsvd.ShapeError, r"1 dimensions"),
        (lambda: da.ones((0, 5)), streamsvd.ShapeError, r"is empty: shape \(0, 5\)"),
        (lambda: da.from_array(np.array([["a", "b"]])), streamsvd.SpecError, r"holds <U1; convert"),
        (
            lambda: da.ones((9, 3), chunks=(3, 3))[da.ones(9, chunks=3) > 0],
            streamsvd.ShapeError,
            r"unknown chunk sizes.*compute_chunk_sizes",
        ),
    ],
)
def test_dask_arrays_that_are_no_matrix_are_refused(array, error, words):
    with pytest.raises(error, match=words):
        streamsvd.svd(array(), 1)


def test_options_of_stored_arrays_are_refused_for_dask_arrays():
    with pytest.raises(streamsvd.SpecError, match="rows= belongs to stored arrays"):
        streamsvd.open(da.ones((3, 3)), rows=0)

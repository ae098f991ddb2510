"""What a pass leaves in memory for the next: read once, of any source, along either axis; never sent elsewhere."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import dask.array
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.allocator import PanelBuffer
from streamsvd.engine.opening import as_source
from streamsvd.engine.panel_cache import PANEL_OVERHEAD, PanelCache
from streamsvd.streams.options import StreamOptions
from streamsvd.streams.planning import plan_reading
from streamsvd.testing.stores import CountingStore
from tests.matrices import Rows


@pytest.fixture
def A():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((900, 40)) * np.geomspace(1, 1e-3, 40)).astype("f4")


def test_rows_of_spans_are_counted():
    cache = PanelCache()
    for run in ((20, 30), (0, 10), (10, 20)):
        cache.put(run, (np.zeros((10, 1)), None))
    assert cache.rows([(0, 40)]) == 30
    assert cache.rows([(20, 40), (0, 10)]) == 20
    assert cache.rows([(30, 40)]) == cache.rows([]) == 0
    cache.clear()
    assert cache.get((0, 10)) is None


def test_panels_are_not_sent_to_other_processes():
    with pytest.raises(TypeError, match="stay in their process"):
        pickle.dumps(PanelCache())


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_chunks_of_a_dask_array_are_computed_once(A, axis):
    computed = Counter()

    def count(block, block_info):
        computed[tuple(block_info[0]["chunk-location"])] += 1
        return block

    stored = dask.array.from_array(A, chunks=(100, 20))
    lazy = stored.map_blocks(count, dtype=A.dtype, meta=np.empty((0, 0), A.dtype))
    plan = streamsvd.plan_svd(lazy, 4, u=True, axis=axis, route="krylov", memory="1GiB")
    assert plan.is_cached
    found = streamsvd.svd(lazy, 4, plan=plan)
    sampled = found.info.bytes_read - A.nbytes
    assert 0 <= sampled < A.nbytes
    assert sum(computed.values()) == 18 + sampled * 18 // A.nbytes
    np.testing.assert_allclose(found.s, np.linalg.svd(A, compute_uv=False)[:4], rtol=1e-3)


@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_chunks_of_an_array_are_fetched_once(tmp_path, A, axis):
    zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(100, 20), dtype="f4")[...] = A
    store = CountingStore(zarr.storage.LocalStore(tmp_path / "a.zarr", read_only=True))
    A = streamsvd.open(store)
    plan = streamsvd.plan_svd(A, 4, u=True, axis=axis, route="krylov", memory="1GiB")
    found = streamsvd.svd(A, 4, plan=plan)
    assert found.info.passes > 2
    assert store.chunk_gets == found.info.bytes_read * 18 // A.nbytes < 2 * 18


@pytest.mark.parametrize(
    "options",
    [{}, {"mask": np.arange(40) % 3 > 0}, {"nonfinite": "zero"}, {"nonfinite": "mean"}],
    ids=["whole", "mask", "zero", "mean"],
)
def test_a_matrix_in_memory_is_not_copied(A, options):
    assert not streamsvd.plan_svd(A, 4, route="krylov", memory="1GiB", **options).is_cached
    assert not streamsvd.plan("sample_rows", A, 50, memory="1GiB", **options).is_cached


def test_memory_is_given_back_when_the_run_goes_over_to_the_gram_matrix(tmp_path):
    flat = np.random.default_rng(1).standard_normal((3000, 300))
    zarr.create_array(tmp_path / "a.zarr", shape=flat.shape, chunks=(500, 300), dtype="f8")[...] = (
        flat
    )
    found = streamsvd.svd(tmp_path / "a.zarr", 5, tol=1e-8, memory="1GiB")
    assert "gram" in found.info.route
    assert found.info.peak_bytes <= found.info.projected_bytes
    assert found.info.bytes_read < 3 * flat.nbytes


def test_small_panels_share_pieces_of_memory():
    made, cache = [], PanelCache()

    def make(n_bytes):
        made.append(n_bytes)
        return PanelBuffer(n_bytes)

    rooms = [cache.room(88, make).array((1, 11), np.dtype("f8")) for _ in range(40_000)]
    assert len(made) == 2  # a process gets some 65,000 pieces of memory
    for number, room in enumerate(rooms):
        room[...] = number
    assert all((room == number).all() for number, room in enumerate(rooms))
    assert cache.room(2 << 20, make).array((1, 2 << 20), np.dtype("u1")).size == made[-1]


def test_what_small_panels_take_beside_their_entries_is_planned():
    rows = Rows(np.zeros((20_000, 10)), 1)
    less = replace(plan_reading(as_source(rows), StreamOptions(k=1), 1 << 30)[0], is_cached=False)
    more = replace(less, is_cached=True)
    assert more.bytes_needed - less.bytes_needed == rows.A.nbytes + 20_000 * PANEL_OVERHEAD

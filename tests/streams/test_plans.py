"""What a plan says is what a run needs, and nothing is read for it."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.events import PassStarted, SpanDone
from streamsvd.errors import BudgetError, SpecError
from streamsvd.streams.shuffle import plan_shuffle
from streamsvd.streams.verb import plan_top_eigenvectors
from streamsvd.testing.stores import CountingStore


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "a.zarr"
    A = np.random.default_rng(0).standard_normal((6_000, 40)).astype("f4")
    zarr.create_array(path, shape=A.shape, chunks=(100, 40), dtype="f4")[...] = A
    return path


@pytest.mark.parametrize("order", ["auto", "random", "arbitrary"])
@pytest.mark.parametrize("memory", ["41MiB", "1GiB"])
def test_a_run_is_as_planned(stored, order, memory):
    options = {"k": 2, "order": order, "passes": 2, "memory": memory, "seed": 3}
    plan = plan_top_eigenvectors(stored, **options)
    events = []
    result = streamsvd.top_eigenvectors(stored, callback=events.append, **options)
    assert plan.options == result.options
    assert (result.options.k, result.options.order, result.options.passes) == (2, order, 2)
    assert plan.passes == result.info.passes == 2
    assert plan.bytes_read == result.info.bytes_read
    begun = [e for e in events if isinstance(e, PassStarted)]
    assert {e.bytes_read + e.cached_bytes for e in begun} == {plan.pass_bytes}
    assert {e.spans for e in events if isinstance(e, SpanDone) and e.number == 1} == {plan.spans}
    assert result.info.projected_bytes == plan.projected_bytes <= plan.budget_bytes
    assert result.info.status is streamsvd.Status.DONE
    assert f"state of at most {result.bound_bytes:,} bytes" in plan.explain()


def test_a_shuffle_is_as_planned(stored, tmp_path):
    plan = plan_shuffle(stored, memory="41MiB", seed=2)
    events = []
    streamsvd.shuffle(stored, tmp_path / "b.zarr", memory="41MiB", seed=2, callback=events.append)
    started = [e for e in events if isinstance(e, PassStarted)]
    assert len(started) == plan.passes == 2
    assert started[0].bytes_read == plan.pass_bytes
    assert plan.spans == max(e.spans for e in events if isinstance(e, SpanDone) and e.number == 1)
    (buckets,) = {e.spans for e in events if isinstance(e, SpanDone) and e.number == 2}
    assert f"into {buckets} bucket" in plan.explain()
    assert plan.options.seed == 2
    assert plan.projected_bytes <= plan.budget_bytes


def test_a_plan_reads_nothing(stored):
    store = CountingStore(zarr.storage.LocalStore(stored, read_only=True))
    A = streamsvd.open(store)
    streamsvd.plan("top_eigenvectors", A, 3)
    streamsvd.plan("shuffle", A)
    assert store.chunk_gets == 0


def test_what_the_memory_leaves_of_a_stream_is_said():
    A = np.zeros((200, 3_000), "f4")
    with pytest.raises(BudgetError) as error:
        plan_top_eigenvectors(A, 10, memory="1MiB")
    plan = plan_top_eigenvectors(A, 10, memory=error.value.needs)
    assert plan.projected_bytes == error.value.needs
    assert "leaves 14 columns iterated, 14 rows of the sketch, 16 heavy rows" in plan.explain()
    assert "leaves" not in plan_top_eigenvectors(A, 10, memory="1GiB").explain()


def test_blocks_have_no_plan():
    with pytest.raises(SpecError, match=r"a list of blocks .* Pass a matrix"):
        plan_top_eigenvectors([np.ones((3, 4))])
    with pytest.raises(SpecError, match="n_rows= is known"):
        plan_top_eigenvectors(np.ones((3, 4)), n_rows=3)
    with pytest.raises(SpecError, match="k=9 exceeds the 4 columns"):
        plan_top_eigenvectors(np.ones((3, 4)), 9)

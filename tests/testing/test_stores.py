from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore

from streamsvd.testing.stores import CountingStore, Fault, FaultyStore

A = np.arange(100, dtype="f4").reshape(10, 10) + 1


def create(store, **layout):
    array = zarr.create_array(
        store, shape=A.shape, chunks=(5, 5), dtype="f4", compressors=None, **layout
    )
    array[...] = A
    return array


@pytest.mark.parametrize("layout", [{}, {"shards": (10, 10)}])
def test_reads_by_zarr_are_counted_through_every_copy_it_makes(layout):
    store = CountingStore(MemoryStore())
    create(store, **layout)
    store.reset()
    array = zarr.open_array(store, mode="r")
    assert store.chunk_bytes == 0
    assert store.nbytes["zarr.json"] > 0
    np.testing.assert_array_equal(array[...], A)
    index = 4 * 16 + 4 if layout else 0
    assert store.chunk_bytes == A.nbytes + index
    if not layout:
        assert store.gets["c/0/1"] == 1
        assert store.chunk_gets == 4


def test_writes_are_counted():
    store = CountingStore(MemoryStore())
    create(store)
    assert store.sets["c/1/1"] == 1


def test_counts_survive_threads_and_pickling(tmp_path):
    store = CountingStore(LocalStore(tmp_path))
    array = create(store)
    store.reset()
    threads = [threading.Thread(target=lambda: [array[...] for _ in range(5)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.chunk_gets == 4 * 4 * 5
    assert pickle.loads(pickle.dumps(store)).chunk_gets == store.chunk_gets


@pytest.mark.parametrize("kind", ["EIO", "ENOSPC"])
def test_planned_errors_strike_the_attempts_they_are_planned_for(kind):
    inner = MemoryStore()
    create(inner)
    store = FaultyStore(inner, Fault("get", "c/0/.", kind, attempts=(1,)))
    array = zarr.open_array(store, mode="r")
    np.testing.assert_array_equal(array[...], A)
    with pytest.raises(OSError, match="c/0/0"):
        array[:5, :5]
    np.testing.assert_array_equal(array[:5, :5], A[:5, :5])
    assert store.attempts["get", "c/0/0"] == 3


def test_values_are_damaged_or_dropped_on_their_way():
    inner = MemoryStore()
    create(inner)

    def read(*faults):
        return zarr.open_array(FaultyStore(inner, *faults), mode="r")[...]

    flipped = read(Fault("get", "c/0/0", "flip", amount=31))
    assert flipped[0, 0] == -1
    assert (flipped == A).sum() == A.size - 1
    assert (read(Fault("get", "c/0/0", "drop"))[:5, :5] == 0).all()
    with pytest.raises(ValueError, match=r"reshape|buffer|size"):
        read(Fault("get", "c/0/0", "truncate", amount=40))
    store = FaultyStore(
        MemoryStore(), Fault("set", "c/1/1", "drop"), Fault("set", "c/0/0", "flip", amount=31)
    )
    written = create(store)[...]
    assert written[0, 0] == -1
    assert (written[5:, 5:] == 0).all()


def test_delays_do_not_hold_up_other_keys():
    inner = MemoryStore()
    create(inner)
    store = FaultyStore(inner, Fault("get", "c/.*", "delay", amount=0.05))
    np.testing.assert_array_equal(zarr.open_array(store, mode="r")[...], A)


def test_deletes_may_fail(tmp_path):
    store = FaultyStore(
        LocalStore(tmp_path), Fault("delete", "c/0/0", "EIO"), Fault("delete", "c/0/1", "drop")
    )
    create(store)
    with pytest.raises(OSError, match="c/0/0"):
        zarr.core.sync.sync(store.delete("c/0/0"))
    zarr.core.sync.sync(store.delete("c/0/1"))
    zarr.core.sync.sync(store.delete("c/1/1"))
    assert sorted(path.name for path in tmp_path.glob("c/*/*")) == ["0", "0", "1"]


def test_a_faulty_store_pickles_with_its_plan():
    store = FaultyStore(MemoryStore(), Fault("get", "x", "EIO"))
    assert pickle.loads(pickle.dumps(store)).faults == store.faults

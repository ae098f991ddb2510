"""In which order a CUDA backend asks for copies and products: on streams that only write down what waits for what.

No GPU is needed: streams, events and memory are those of a small namespace of our own. What a device makes of the order is
for ``tests/gpu``.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import threading
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from streamsvd.engine import cuda_device


class Event:
    def __init__(self, **_):
        self.after = frozenset()

    def record(self, stream):
        self.after = stream.after

    def synchronize(self):
        return


class Stream:
    """Work in order; each piece knows all that is done before it begins."""

    current = threading.local()

    def __init__(self, **_):
        self.after = frozenset()

    def wait_event(self, event):
        self.after = self.after | event.after

    def add(self, work):
        before, self.after = self.after, self.after | {work}
        return before

    def __enter__(self):
        self.outer, Stream.current.stream = getattr(Stream.current, "stream", None), self

    def __exit__(self, *_):
        Stream.current.stream = self.outer


class Memory:
    """A number for an address, and what its owner keeps alive."""

    numbers = itertools.count(1)

    def __init__(self, ptr, size, owner, device_id):
        self.ptr, self.size, self.owner = ptr, size, owner


class Array:
    def __init__(self, shape, dtype, memptr=None):
        self.shape, self.dtype = tuple(np.atleast_1d(shape)), np.dtype(dtype)
        self.nbytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self.data = memptr or SimpleNamespace(ptr=next(Memory.numbers), mem=None)
        self.device = SimpleNamespace(id=0)

    def __matmul__(self, other):
        return self

    def __getitem__(self, _):
        return Array(self.shape, self.dtype, self.data)

    def set(self, panel, stream):
        COPIES[panel] = stream.add(("copy", panel.name))
        PLACES[panel.name] = self.data.ptr


class Panel:
    shape, dtype, nbytes = (4, 8), np.dtype("f4"), 128

    def __init__(self, name, nbytes=128):
        self.name, self.nbytes, self.shape = name, nbytes, (nbytes // 32, 8)


COPIES: dict = {}
PLACES: dict = {}


@pytest.fixture
def backend(monkeypatch):
    COPIES.clear()
    PLACES.clear()
    cupy = ModuleType("cupy")
    cupy.ones = lambda shape: Array(shape, "f8")
    cupy.empty = lambda shape, dtype: Array(shape, dtype)
    cupy.ndarray = Array
    cupy.cuda = SimpleNamespace(
        Stream=Stream,
        Event=Event,
        Device=lambda: SimpleNamespace(id=0),
        UnownedMemory=Memory,
        MemoryPointer=lambda memory, offset: SimpleNamespace(ptr=memory.ptr + offset, mem=memory),
        get_current_stream=lambda: Stream.current.stream,
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", ModuleType("array_api_compat.cupy"))
    monkeypatch.setattr(cuda_device, "_COPY_STREAMS", {})
    return cuda_device.CupyBackend


def multiply(engine, name, block):
    """Products of a block: what is done before them."""
    assert block.data.ptr == PLACES[name]
    return engine._stream.add(("products", name))


def read(engine, panels):
    """As the reader does it: the last block of a panel is in hand until the next panel has one."""
    before = {}
    block = None
    for panel in panels:
        there = engine.send(panel)
        for rows in (slice(0, 2), slice(2, 4)):
            block = there[rows]
            before.setdefault(panel.name, multiply(engine, panel.name, block))
        del there
        engine.settle()
    del block
    return before


def test_a_copy_waits_for_no_products_of_the_panel_before_it(backend):
    engine, panels = backend(), [Panel(k) for k in range(6)]
    with engine.computing():
        products = read(engine, panels)
    for k, panel in enumerate(panels):
        assert ("copy", k) in products[k]  # products have their panel
        assert ("products", k - 1) not in COPIES[panel]
        if k >= 2:  # the memory is that of the panel before the last, and its products are over
            assert PLACES[k] == PLACES[k - 2]
            assert ("products", k - 2) in COPIES[panel]
    assert PLACES[0] != PLACES[1]


def test_memory_that_is_shown_is_not_used_again(backend):
    engine, kept = backend(), []
    with engine.computing():
        for k in range(5):
            kept.append(engine.send(Panel(k))[0:1])
            multiply(engine, k, kept[-1])
        assert len(set(PLACES.values())) == 5  # though two were made at first
        engine._stream.add("late")
        kept.pop(0)
        gc.collect()
        last = Panel(5)
        engine.send(last)
        assert PLACES[5] == PLACES[0]
        assert "late" in COPIES[last]  # all that was asked before it was let go


def test_memory_that_is_too_small_is_not_used(backend):
    engine = backend()
    with engine.computing():
        read(engine, [Panel(0, 64), Panel(1, 64), Panel(2, 128), Panel(3, 64)])
        assert PLACES[2] not in (PLACES[0], PLACES[1])
    assert not engine._idle


def test_copies_of_all_threads_go_through_one_stream_and_products_through_their_own(backend):
    one, two = backend(), backend()
    assert one._copies is two._copies
    assert one._stream is not two._stream
    with one.computing():
        (first,) = read(one, [Panel("a")]).values()
    with two.computing():
        (second,) = read(two, [Panel("b")]).values()
    assert first == {("copy", "a")}
    assert second == {
        ("copy", "a"),
        ("copy", "b"),
    }  # in the order of asking; of no products of the other


def test_new_memory_waits_for_what_the_pool_may_still_read(backend):
    engine, panel = backend(), Panel(0)
    with engine.computing(), contextlib.suppress(StopIteration):
        engine._stream.add("queued")
        engine.send(panel)
    assert "queued" in COPIES[panel]

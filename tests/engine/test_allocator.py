from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from streamsvd.engine import allocator
from streamsvd.engine.allocator import (
    PanelBuffer,
    held_between_tasks,
    held_memory,
    panel_buffers,
)


@pytest.fixture(autouse=True)
def _nobody_holds():
    """What tasks of earlier tests linger for has ended."""
    for thread in threading.enumerate():
        if thread.name == "streamsvd-linger":
            thread.join()


@pytest.mark.parametrize("dtype", ["float32", "complex128", "int8"])
def test_a_panel_is_memory_of_its_own_that_can_be_written(dtype):
    buffer = PanelBuffer(1000 * 16)
    first = buffer.array((10, 7), np.dtype(dtype))
    first[...] = 3
    again = buffer.array((70, 1), np.dtype(dtype))
    assert first.flags.c_contiguous
    assert first.dtype == dtype
    np.testing.assert_array_equal(again, 3)  # the same pages


def test_a_panel_larger_than_the_buffer_is_refused():
    with pytest.raises(ValueError, match="buffer is smaller"):
        PanelBuffer(10).array((10, 10), np.dtype("float64"))


def test_memory_is_let_go_when_the_last_holder_leaves():
    with held_memory():
        with held_memory():
            pass
        assert allocator._holders == 1
        with panel_buffers(2, 4096) as first:
            pass
        with panel_buffers(2, 4096) as second:
            assert set(map(id, first)) == set(map(id, second))
    assert allocator._holders == 0
    assert not allocator._free_buffers


def test_spans_at_once_never_share_a_buffer():
    taken, lock = [], threading.Lock()
    together = threading.Barrier(4)

    def span() -> None:
        with panel_buffers(2, 4096) as mine:
            together.wait()
            with lock:
                taken.extend(mine)
            together.wait()

    with held_memory():
        threads = [threading.Thread(target=span) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len({id(b) for b in taken}) == 8


def test_holding_survives_an_error():
    with pytest.raises(RuntimeError, match="lost"), held_memory():
        raise RuntimeError("lost")
    assert allocator._holders == 0


def test_between_tasks_of_a_worker_memory_is_held_and_then_let_go(monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr(time, "sleep", lambda _: ends.wait())
    for _ in range(3):
        with held_between_tasks(), panel_buffers(1, 4096):
            assert allocator._holders in (1, 2)
        assert allocator._holders == 1
        assert len(allocator._free_buffers) == 1
    (lingering,) = [t for t in threading.enumerate() if t.name == "streamsvd-linger"]
    monkeypatch.setattr(allocator, "LINGER_SECONDS", 0.0)
    ends.set()
    lingering.join()
    assert allocator._holders == 0
    assert not allocator._free_buffers

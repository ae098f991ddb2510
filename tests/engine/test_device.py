from __future__ import annotations

import threading

import numpy as np
import pytest

from streamsvd.engine import device
from streamsvd.engine.device import ArrayApiBackend, NumpyBackend, borrow_backend, thread_backend
from streamsvd.errors import SpecError


def test_an_unknown_device_is_refused_by_name():
    with pytest.raises(SpecError, match='device=\'tpu\' is unknown. Pass "cpu" or "cuda"'):
        thread_backend("tpu")


def test_a_device_that_does_not_answer_says_what_to_install():
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(
            SpecError, match=r'device="cuda" was asked for.*gpu-cuda12.*device="cpu"'
        ):
            thread_backend("cuda")
    else:
        pytest.skip("cupy is installed")


def test_the_host_is_its_own_device_and_copies_nothing():
    host = np.arange(6.0)
    engine = NumpyBackend()
    assert engine.to_device(host) is host
    assert engine.to_host(host) is host
    assert engine.to_device(host, "float32").dtype == np.float32


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "complex64", "complex128", "int16", "uint8"]
)
def test_both_doors_are_counted_and_lose_nothing(dtype):
    engine = thread_backend("strict")
    assert isinstance(engine, ArrayApiBackend)
    before = (engine.traffic.to_device_bytes, engine.traffic.to_host_bytes)
    host = np.arange(12).reshape(3, 4).astype(dtype)
    there = engine.to_device(host)
    assert there.device == engine.device
    np.testing.assert_array_equal(engine.to_host(there), host)
    assert engine.traffic.to_device_bytes - before[0] == host.nbytes
    assert engine.traffic.to_host_bytes - before[1] == host.nbytes


def test_float16_arrives_as_float32():
    engine = thread_backend("strict")
    host = np.float16([1.5, 2.25])
    np.testing.assert_array_equal(engine.to_host(engine.to_device(host)), host)


def test_a_hidden_copy_to_the_host_raises_in_tests(no_hidden_sync):
    there = thread_backend("strict").to_device(np.ones(1))
    for hidden in (float, bool, np.asarray):
        with pytest.raises((AssertionError, RuntimeError)):
            hidden(there[0] if hidden is not np.asarray else there)
    assert thread_backend("strict").to_host(there)[0] == 1


def test_every_thread_has_its_own_backend():
    seen = [thread_backend("strict")]
    other = threading.Thread(target=lambda: seen.append(thread_backend("strict")))
    other.start()
    other.join()
    assert seen[0] is thread_backend("strict")
    assert seen[0] is not seen[1]


def test_a_backend_is_lent_to_one_at_a_time_and_then_to_the_next(monkeypatch):
    monkeypatch.setattr(device, "_IDLE_BACKENDS", {})
    with borrow_backend("strict") as one, borrow_backend("strict") as two:
        assert one is not two
    with borrow_backend("strict") as again:
        assert any(again is known for known in (one, two))
    with pytest.raises(ZeroDivisionError), borrow_backend("strict") as failed:
        _ = 1 / 0
    with borrow_backend("strict") as three, borrow_backend("strict") as four:
        assert all(failed is not known for known in (three, four))  # work may be queued on it


@pytest.mark.parametrize("name", ["cpu", "strict"])
def test_a_panel_sent_is_a_panel_there(name):
    engine = thread_backend(name)
    panel = engine.panel(240).array((6, 5), np.dtype("float64"))
    panel[...] = np.arange(30.0).reshape(6, 5)
    with engine.computing():
        there = engine.send(panel)
        engine.settle()
    np.testing.assert_array_equal(engine.to_host(there[2:4, :]), panel[2:4])

"""What only a CUDA device can show: copies that overlap, memory that is reused, answers that stay the same.

The laws of every device are in ``tests/factor/test_devices.py``, ``tests/numerics/test_passes.py`` and
``tests/numerics``; ``-m gpu`` runs them on cupy too.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.cuda_device import CupyBackend
from streamsvd.engine.device import thread_backend
from streamsvd.testing.spectra import KnownMatrix
from tests.matrices import Rows, assert_right, run

pytestmark = pytest.mark.gpu
cupy = pytest.importorskip("cupy")


@pytest.fixture
def engine() -> CupyBackend:
    found = thread_backend("cuda")
    assert isinstance(found, CupyBackend)
    return found


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "complex64", "complex128", "int8", "uint16", "int64"]
)
@pytest.mark.parametrize("shape", [(1, 1), (1000, 7), (3, 100_000)])
def test_what_goes_through_both_doors_is_unchanged(engine, dtype, shape):
    host = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    np.testing.assert_array_equal(engine.to_host(engine.to_device(host)), host)


def test_parts_that_are_not_contiguous_arrive_whole(engine):
    host = np.arange(1200.0).reshape(30, 40)
    for part in (host[3:20], host[:, 5:17], host.T, host[::2, ::3]):
        np.testing.assert_array_equal(engine.to_host(engine.to_device(part)), part)


def test_a_panel_may_be_filled_again_once_it_is_settled(engine):
    """Many panels through one page-locked buffer, with work queued on each."""
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((2000, 1000)) for _ in range(12)]
    panel = engine.panel(blocks[0].nbytes).array((2000, 1000), np.dtype("float64"))
    there = []
    with engine.computing():
        for block in blocks:
            panel[...] = block
            x = engine.send(panel)
            there.append(x @ x.T[:, :8])
            engine.settle()
        for block, product in zip(blocks, there, strict=True):
            np.testing.assert_allclose(engine.to_host(product), block @ block.T[:, :8], rtol=1e-9)


def test_memory_handed_back_is_not_overwritten_while_it_is_read(engine):
    """A panel is dropped as soon as its products are queued; the next one may get its memory."""
    rng = np.random.default_rng(0)
    host_q = rng.standard_normal((1500, 64))
    truth = np.zeros((1500, 64))
    panels = [
        engine.panel(8 * 3000 * 1500).array((3000, 1500), np.dtype("float64")) for _ in range(2)
    ]
    with engine.computing():
        Q, sums = engine.to_device(host_q), engine.zeros((1500, 64), "float64")
        for turn in range(30):
            block = panels[turn % 2]
            block[...] = rng.standard_normal((3000, 1500))
            x = engine.send(block)
            sums += x.T @ (x @ Q)
            del x
            truth += block.T @ (block @ host_q)
            engine.settle()
        np.testing.assert_allclose(engine.to_host(sums), truth, rtol=1e-9, atol=1e-6)


def test_threads_do_not_disturb_one_another():
    results, lock = [], threading.Lock()

    def work(seed: int) -> None:
        mine = thread_backend("cuda")
        rng = np.random.default_rng(seed)
        panel = mine.panel(8 * 1000 * 500).array((1000, 500), np.dtype("float64"))
        for _ in range(10):
            panel[...] = rng.standard_normal((1000, 500))
            with mine.computing():
                x = mine.send(panel)
                good = np.allclose(mine.to_host(x.T @ x), panel.T @ panel)
            with lock:
                results.append(good)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 40


@pytest.mark.parametrize("name", ["pow1", "slow", "step", "drift", "geometric"])
def test_known_spectra_are_certified(name):
    known = KnownMatrix(name, 20_000, 500, "float32")
    A = known.rows(0, 20_000)
    result = run(Rows(A, 1000), 20, device="cuda", route="krylov")
    assert_right(result, A.astype(np.float64), rank=20)
    assert result.info.status is streamsvd.Status.CONVERGED


def test_single_products_are_not_made_in_tf32():
    """Ten bits of mantissa would show as rounding of 1e-4; float32 shows 1e-7."""
    known = KnownMatrix("geometric", 5000, 300, "float32")
    result = run(Rows(known.rows(0, 5000), 500), 10, device="cuda", route="krylov")
    assert result.certificate.rounding < 1e-6

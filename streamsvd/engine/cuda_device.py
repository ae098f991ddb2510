"""A CUDA device through cupy: copies from page-locked memory that go on while panels before them are multiplied."""

from __future__ import annotations

import importlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.engine.allocator import PanelBuffer
from streamsvd.engine.device import Traffic
from streamsvd.typing import Matrix

Array = Any
_lock = threading.Lock()


class CupyBackend:
    """CUDA through cupy: panels leave page-locked memory on a copy stream while others are multiplied.

    Copies of all threads go through one stream of the device, in the order in which they are asked for, each at the full rate
    of the bus. Each backend, so each thread, has a compute stream of its own: what one brings home does not wait for the
    products of all. A panel is copied into memory whose products were asked for one panel earlier, so that a copy waits for
    none of the panel before it. Waiting sleeps: a thread that spins would keep a core from reading.
    """

    has_float64 = True

    def __init__(self) -> None:
        cupy = self._cupy = importlib.import_module("cupy")
        cupy.ones((2, 2)) @ cupy.ones((2, 2))  # importing succeeds without a GPU: multiply
        self.xp = importlib.import_module("array_api_compat.cupy")
        self.traffic = Traffic()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._copies, self._one_copy = _copy_stream(cupy)
        self._sent = cupy.cuda.Event(block=True, disable_timing=True)
        self._idle: deque[_PanelMemory] = deque()
        self._has_spare = False
        self.panel: Callable[[int], PanelBuffer] = page_locked_panel

    @contextmanager
    def computing(self) -> Iterator[object]:
        """The compute stream of this backend; the memory of its panels is kept no longer."""
        with self._stream:
            try:
                yield self._stream
            finally:
                self._idle.clear()
                self._has_spare = False

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array:
        """Copy to the device; the host's memory may change at once."""
        host = np.ascontiguousarray(a)
        self.traffic.to_device_bytes += host.nbytes
        out = self._cupy.asarray(host)
        return out if dtype is None else out.astype(dtype, copy=False)

    def send(self, panel: Matrix) -> Array:
        """Copy a page-locked panel on the copy stream, and let the compute stream wait for it."""
        self.traffic.to_device_bytes += panel.nbytes
        cuda = self._cupy.cuda
        compute = cuda.get_current_stream()
        memory = self._panel_memory(panel.nbytes, compute)
        lease = _Lease()
        weakref.finalize(lease, self._give_back, memory, compute).atexit = False
        place = cuda.UnownedMemory(
            memory.pages.data.ptr, memory.pages.nbytes, lease, memory.pages.device.id
        )
        out = self._cupy.ndarray(panel.shape, panel.dtype, cuda.MemoryPointer(place, 0))
        with self._one_copy:
            self._copies.wait_event(memory.free)
            out.set(panel, stream=self._copies)
            self._sent.record(self._copies)
        compute.wait_event(self._sent)
        return out

    def _panel_memory(self, n_bytes: int, compute: Any) -> _PanelMemory:
        """Memory of a panel that nobody shows any more; new memory where there is none, or too little of it."""
        while self._idle:
            memory = self._idle.popleft()
            if memory.pages.nbytes >= n_bytes:
                return memory
        # two at first, before there are products: the pool may hand out what those that are queued still read
        made, *spare = (
            self._new_memory(n_bytes, compute) for _ in range(1 if self._has_spare else 2)
        )
        self._has_spare = True
        self._idle.extend(spare)
        return made

    def _new_memory(self, n_bytes: int, compute: Any) -> _PanelMemory:
        cupy = self._cupy
        made = _PanelMemory(
            cupy.empty(max(n_bytes, 1), dtype=np.uint8),
            cupy.cuda.Event(block=True, disable_timing=True),
        )
        made.free.record(compute)
        return made

    def _give_back(self, memory: _PanelMemory, compute: Any) -> None:
        """What was asked of it is asked for: it is free when that is done."""
        memory.free.record(compute)
        self._idle.append(memory)

    def settle(self) -> None:
        """Wait for the last copy."""
        self._sent.synchronize()

    def finish(self) -> None:
        """Wait for the compute stream."""
        self._cupy.cuda.get_current_stream().synchronize()

    def to_host(self, x: Array) -> Matrix:
        """Copy to the host; waits for the compute stream."""
        host = self._cupy.asnumpy(x)
        self.traffic.to_host_bytes += host.nbytes
        return np.asarray(host)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """New memory on the device."""
        return self._cupy.zeros(shape, dtype=dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _PanelMemory:
    """Memory of a panel on the device, and when the last products of it are done."""

    pages: Any
    free: Any


class _Lease:
    """Lives as long as any array shows a panel."""

    __slots__ = ("__weakref__",)


_COPY_STREAMS: dict[int, tuple[Any, threading.Lock]] = {}


def _copy_stream(cupy: Any) -> tuple[Any, threading.Lock]:
    """The copy stream of the device in use, and what keeps a copy and the events around it together."""
    with _lock:
        number = int(cupy.cuda.Device().id)
        if number not in _COPY_STREAMS:
            _COPY_STREAMS[number] = cupy.cuda.Stream(non_blocking=True), threading.Lock()
        return _COPY_STREAMS[number]


def page_locked_panel(n_bytes: int) -> PanelBuffer:
    """A panel in memory that a CUDA device copies from by itself; cupy keeps what is freed for the next."""
    pages = importlib.import_module("cupyx").empty_pinned(max(n_bytes, 1), dtype=np.uint8)
    return PanelBuffer(n_bytes, pages)

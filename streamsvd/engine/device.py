"""Where a span computes: the two doors between host and device, and byte counters on both.

Device arrays never leave a task. The cupy backend has not run on hardware yet: ``tests/gpu`` is what
proves it, and until then its answers are unverified.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsvd.blocks import Backend
from streamsvd.errors import SpecError
from streamsvd.typing import Matrix

Array = Any


@dataclass(slots=True)
class Traffic:
    """Bytes through the doors of one backend."""

    to_device_bytes: int = 0
    to_host_bytes: int = 0


@dataclass(slots=True)
class NumpyBackend:
    """The host itself: both doors are open and cost nothing."""

    xp: Any = np
    has_float64: bool = True
    traffic: Traffic = field(default_factory=Traffic)

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array:
        """``a`` itself, cast where another type is asked for.

        What came over a network may lie across words: numpy would then multiply without BLAS.
        """
        return np.require(a, dtype=dtype, requirements="A")

    def to_host(self, x: Array) -> Matrix:
        """``x`` itself."""
        return np.asarray(x)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """New memory."""
        return np.zeros(shape, dtype=dtype)


@dataclass(slots=True)
class ArrayApiBackend:
    """Any array-API namespace with a device; array-api-strict's ``device1`` stands in for a GPU in tests."""

    xp: Any
    device: Any
    has_float64: bool = True
    traffic: Traffic = field(default_factory=Traffic)

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array:
        """Copy to the device."""
        host = np.ascontiguousarray(a, dtype=dtype)
        if host.dtype == np.float16:  # unknown to the standard, and float32 holds it
            host = host.astype(np.float32)
        self.traffic.to_device_bytes += host.nbytes
        return self.xp.asarray(host, device=self.device)

    def to_host(self, x: Array) -> Matrix:
        """Copy to the host."""
        host = np.asarray(x.to_device(self.xp.Device("CPU_DEVICE")))
        self.traffic.to_host_bytes += host.nbytes
        return host

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """New memory on the device."""
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype), device=self.device)


class CupyBackend:
    """CUDA through cupy: blocks pass through two pinned buffers on a copy stream.

    While the compute stream multiplies one block, the next is staged; it is copied when that stream is done
    with the memory it gets. An event per buffer keeps a buffer from being filled before its copy is done.
    """

    has_float64 = True

    def __init__(self) -> None:
        self._cupy = importlib.import_module("cupy")
        self._cupyx = importlib.import_module("cupyx")
        self._cupy.ones((2, 2)) @ self._cupy.ones(
            (2, 2)
        )  # importing succeeds without a GPU: multiply
        self.xp = importlib.import_module("array_api_compat.cupy")
        self.traffic = Traffic()
        self._copies = self._cupy.cuda.Stream(non_blocking=True)
        self._pinned: list[Any] = [None, None]
        self._done: list[Any] = [None, None]
        self._turn = 0

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array:
        """Stage in a pinned buffer, copy on the copy stream, and let the compute stream wait for it."""
        host = np.ascontiguousarray(a)
        self.traffic.to_device_bytes += host.nbytes
        turn, self._turn = self._turn, 1 - self._turn
        if self._done[turn] is not None:
            self._done[turn].synchronize()
        if self._pinned[turn] is None or self._pinned[turn].nbytes < host.nbytes:
            self._pinned[turn] = self._cupyx.empty_pinned(host.nbytes, dtype=np.uint8)
        staged = self._pinned[turn][: host.nbytes].view(host.dtype).reshape(host.shape)
        np.copyto(staged, host)
        out = self._cupy.empty(host.shape, dtype=host.dtype)
        # The pool may hand out memory that queued products still read: the copy waits for them.
        self._copies.wait_event(self._cupy.cuda.get_current_stream().record())
        with self._copies:
            out.set(staged, stream=self._copies)
        self._done[turn] = self._copies.record()
        self._cupy.cuda.get_current_stream().wait_event(self._done[turn])
        return out if dtype is None else out.astype(dtype, copy=False)

    def to_host(self, x: Array) -> Matrix:
        """Copy to the host; waits for the compute stream."""
        host = self._cupy.asnumpy(x)
        self.traffic.to_host_bytes += host.nbytes
        return np.asarray(host)

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array:
        """New memory on the device."""
        return self._cupy.zeros(shape, dtype=dtype)


_LOCAL = threading.local()


def backend(device: str) -> Backend:
    """The backend of this thread for ``"cpu"``, ``"cuda"`` or ``"strict"`` (array-api-strict, for tests).

    Raises
    ------
    SpecError
        If the device is unknown or does not answer a small product.
    """
    made: dict[str, Backend] = _LOCAL.__dict__.setdefault("backends", {})
    if device not in made:
        made[device] = _make(device)
    return made[device]


def _make(device: str) -> Backend:
    if device == "cpu":
        return NumpyBackend()
    if device == "strict":
        xp = importlib.import_module("array_api_strict")
        return ArrayApiBackend(xp, xp.Device("device1"))
    if device == "cuda":
        try:
            return CupyBackend()
        except Exception as error:
            raise SpecError(
                f'device="cuda" was asked for, but a small product on it failed: {error}. '
                'Install the extra streamsvd[gpu-cuda12] on a machine with a CUDA device, or pass device="cpu".'
            ) from error
    raise SpecError(f'device={device!r} is unknown. Pass "cpu" or "cuda".')

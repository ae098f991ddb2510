"""Where a span computes: the doors between host and device, and byte counters on them.

Device arrays never leave a task. What panels are read into is the device's to choose: a CUDA device copies
from page-locked memory without a second copy on the host, and while other work goes on.
"""

from __future__ import annotations

import importlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from streamsvd.engine.allocator import PanelBuffer
from streamsvd.errors import SpecError
from streamsvd.numerics.blocks import Backend
from streamsvd.typing import Matrix

Array = Any
_LOCK = threading.Lock()


@dataclass(slots=True)
class Traffic:
    """Bytes through the doors of one backend."""

    to_device_bytes: int = 0
    to_host_bytes: int = 0


class Device(Backend, Protocol):
    """A backend that panels are sent to."""

    @property
    def panel(self) -> Callable[[int], PanelBuffer]:
        """Makes the memory that panels are read into, from its size."""
        ...

    def computing(self) -> AbstractContextManager[object]:
        """What a span computes in: work of one thread does not wait for that of another."""
        ...

    def send(self, panel: Matrix) -> Array:
        """A panel on the device; its memory on the host stays as it is until `settle`."""
        ...

    def settle(self) -> None:
        """Return when every panel sent has left the host's memory."""
        ...

    def finish(self) -> None:
        """Return when all that was asked of the device is done, so that other threads may use it."""
        ...


class _SynchronousDevice(ABC):
    """A device whose copies are done when they return."""

    __slots__ = ()
    panel: Callable[[int], PanelBuffer] = PanelBuffer

    def computing(self) -> AbstractContextManager[object]:
        return nullcontext()

    def send(self, panel: Matrix) -> Array:
        return self.to_device(panel)

    def settle(self) -> None:
        return

    def finish(self) -> None:
        return

    @abstractmethod
    def to_device(self, a: Matrix, dtype: str | None = None) -> Array: ...


@dataclass(slots=True)
class NumpyBackend(_SynchronousDevice):
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
class ArrayApiBackend(_SynchronousDevice):
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


_LOCAL = threading.local()


def thread_backend(device: str) -> Device:
    """The backend of this thread for ``"cpu"``, ``"cuda"`` or ``"strict"`` (array-api-strict, for tests).

    Raises
    ------
    SpecError
        If the device is unknown or does not answer a small product.
    """
    made: dict[str, Device] = _LOCAL.__dict__.setdefault("backends", {})
    if device not in made:
        made[device] = _make_backend(device)
    return made[device]


DEVICE_PACKAGES = {"cuda": "cupy", "strict": "array_api_strict"}
"""What a device needs beside ours."""

_IDLE_BACKENDS: dict[str, list[Device]] = {}


@contextmanager
def borrow_backend(device: str) -> Iterator[Device]:
    """A backend for as long as it is used; then it is the next one's, with its streams and their memory.

    For threads that come and go: what a thread of a pool keeps is `thread_backend`.
    """
    with _LOCK:
        idle = _IDLE_BACKENDS.setdefault(device, [])
        engine = idle.pop() if idle else None
    engine = _make_backend(device) if engine is None else engine
    with engine.computing():
        yield engine
        engine.finish()
    with _LOCK:
        idle.append(engine)


def device_fault(device: str) -> str:
    """Why a device does not answer here, in a few words; empty if it does."""
    package = DEVICE_PACKAGES.get(device)
    if package is None:
        return ""
    try:
        importlib.import_module(package)
    except ImportError:
        return f"{package} missing"
    try:
        with borrow_backend(device):
            return ""
    except Exception as error:  # whatever a driver says
        cause = error.__cause__ or error
        return f"{package} finds none: {' '.join(str(cause).split())}"


def _make_backend(device: str) -> Device:
    if device == "cpu":
        return NumpyBackend()
    if device == "strict":
        xp = importlib.import_module("array_api_strict")
        return ArrayApiBackend(xp, xp.Device("device1"))
    if device == "cuda":
        from streamsvd.engine.cuda_device import CupyBackend

        try:
            return CupyBackend()
        except Exception as error:
            raise SpecError(
                f'device="cuda" was asked for, but a small product on it failed: {error}. '
                'Install the extra streamsvd[gpu-cuda12] on a machine with a CUDA device, or pass device="cpu".'
            ) from error
    raise SpecError(f'device={device!r} is unknown. Pass "cpu" or "cuda".')

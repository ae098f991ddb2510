"""What every test shares: one BLAS thread for small matrices, and profiles of hypothesis."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

from streamsvd.engine import device as device_module

pytest_plugins = ["tests.object_store.moto"]  # an S3 on the loopback

settings.register_profile(
    "quick",
    deadline=None,
    max_examples=60,
    derandomize=True,  # the daily run fails for a change, not for a draw
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("STREAMSVD_HYPOTHESIS", "quick"))


def pytest_configure() -> None:
    """A shell ignores Ctrl-C for what it runs in the background, and Python then raises nothing; tests raise it themselves."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    """Two threads for matrices of 40 columns wait for each other; runs of the product set their own number."""
    with threadpool_limits(1, user_api="blas"):
        yield


class Namespace:
    """An array-API namespace with the doors to and from the host, as kernels meet it.

    Attributes
    ----------
    name
        ``"numpy"``, ``"read-only numpy"``, ``"strict"`` or ``"cupy"``.
    xp
        The namespace.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        if name == "strict":
            self.xp = importlib.import_module("array_api_strict")
            self._device = self.xp.Device("device1")
        elif name == "cupy":
            self.xp = importlib.import_module("array_api_compat.cupy")
        else:
            self.xp = np

    def array(self, host: Any) -> Any:
        """On the device; what a kernel must not write into cannot be written into."""
        host = np.ascontiguousarray(host)
        if self.name == "strict":
            return self.xp.asarray(host, device=self._device)
        if self.name == "cupy":
            return self.xp.asarray(host)
        out = host.copy()
        out.flags.writeable = self.name == "numpy"
        return out

    def host(self, x: Any) -> Any:
        """On the host."""
        if self.name == "strict":
            return np.asarray(x.to_device(self.xp.Device("CPU_DEVICE")))
        if self.name == "cupy":
            return importlib.import_module("cupy").asnumpy(x)
        return np.asarray(x)


HIDDEN = (
    "__float__",
    "__bool__",
    "__int__",
    "__index__",
    "__complex__",
    "__dlpack__",
    "__buffer__",
    "__array__",
)


@pytest.fixture
def no_hidden_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would copy from the device behind the scenes raises: to_host is the only door."""
    strict = importlib.import_module("array_api_strict")
    kind = type(strict.asarray([0.0]))
    home = strict.Device("CPU_DEVICE")
    for name in HIDDEN:
        original = getattr(kind, name, None)
        if original is None:
            continue

        def guarded(
            self: Any, *args: Any, _name: str = name, _it: Any = original, **kw: Any
        ) -> Any:
            if self.device != home:
                raise AssertionError(f"{_name} on {self.device}: a hidden copy to the host")
            return _it(self, *args, **kw)

        monkeypatch.setattr(kind, name, guarded)


@pytest.fixture(
    params=["numpy", "read-only numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)]
)
def xp(request: pytest.FixtureRequest) -> Namespace:
    """Every namespace the kernels are made for."""
    if request.param == "cupy":
        pytest.importorskip("cupy")
    if request.param == "strict":
        request.getfixturevalue("no_hidden_sync")
    return Namespace(request.param)


@pytest.fixture(params=["strict", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A device other than the host, its backends collected so that their traffic can be counted."""
    if request.param == "cuda":
        pytest.importorskip("cupy")
    else:
        request.getfixturevalue("no_hidden_sync")
    made: list[Any] = []
    original = device_module._make_backend

    def recorded(name: str) -> Any:
        made.append(original(name))
        return made[-1]

    monkeypatch.setattr(device_module, "_make_backend", recorded)
    monkeypatch.setattr(device_module, "_LOCAL", type(device_module._LOCAL)())
    monkeypatch.setattr(device_module, "_IDLE_BACKENDS", {})
    return request.param, made

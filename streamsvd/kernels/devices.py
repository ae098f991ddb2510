"""Where features are computed: a map is sent to a device once in each process, and all threads use it there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from streamsvd.engine.device import Device, NumpyBackend, borrow_backend
from streamsvd.engine.passes import Block
from streamsvd.engine.submit import active_client
from streamsvd.engine.worker_devices import home_device, require_device
from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import (
    DeviceFeatureMap,
    DeviceGram,
    DictionaryOptions,
    FeatureMap,
    Kernel,
)

Array = Any
_there: WeakKeyDictionary[FeatureMap, dict[type, DeviceFeatureMap]] = WeakKeyDictionary()
_lock = threading.Lock()


def check_device(device: str, kernel: Kernel) -> None:
    """Refuse a device that does not answer where this process computes, or that cannot compute a kernel.

    Raises
    ------
    SpecError
        If the device is unknown or does not answer; if the kernel is a function of rows of the host.
    """
    if device == "cpu":
        return
    require_device(device, active_client())
    if callable(kernel.name):
        raise SpecError(
            f'device="{device}" was asked for, but the kernel is a function of rows of the host. Use one of the named '
            'kernels, or pass device="cpu".'
        )


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A feature map where the blocks of a pass are."""

    device: Device
    map_: FeatureMap | DeviceFeatureMap

    @classmethod
    def on(cls, device: Device, map_: FeatureMap) -> Features:
        """On a device, where what was sent stays as long as there is the map."""
        if isinstance(device, NumpyBackend):
            return cls(device, map_)
        with _lock:
            kept, kind = _there.setdefault(map_, {}), type(device)
            if kind not in kept:
                kept[kind] = DeviceFeatureMap.of(map_, device)
                device.finish()
            return cls(device, kept[kind].by(device))

    def pieces(self, block: Block) -> Iterator[tuple[int, Array, FeatureMap | DeviceFeatureMap]]:
        """First number and rows in float64 of parts of a block, as many as the device takes at once, with the map for them."""
        if isinstance(self.map_, FeatureMap):
            yield block.first, block.float64(self.device), self.map_
            return
        there = self.map_ if block.largest is None else self.map_.of_entries(block.largest)
        xp, step = self.device.xp, there.rows_at_once
        for a in range(0, block.n_rows, step):
            part = block.data[a : min(a + step, block.n_rows), :]
            yield block.first + a, xp.astype(part, xp.float64), there


def sampling_on(device: Device, sampling: DictionaryOptions) -> DictionaryOptions:
    """How rows are sampled, with the cubic work on a device."""
    if isinstance(device, NumpyBackend):
        return sampling
    return replace(sampling, make_gram=partial(DeviceGram.of, device))


@contextmanager
def sampling_at_home(device: str, sampling: DictionaryOptions) -> Iterator[DictionaryOptions]:
    """The same for what this process does itself in a run on a device: on the host where a cluster has the device."""
    with sampling_at(home_device(device, active_client()), sampling) as here:
        yield here


@contextmanager
def sampling_at(device: str, sampling: DictionaryOptions) -> Iterator[DictionaryOptions]:
    """The same on a device of this name, for as long as it is used."""
    with borrow_backend(device) as engine:
        yield sampling_on(engine, sampling)

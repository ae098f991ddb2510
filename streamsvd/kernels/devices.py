"""Where features are computed: a map is sent to a device once in each process, and all threads use it there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from streamsvd.engine.device import Device, NumpyBackend, borrow_backend
from streamsvd.engine.runs import RowStream
from streamsvd.engine.tree import Run
from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import (
    DeviceFeatureMap,
    DeviceGram,
    DictionaryOptions,
    FeatureMap,
    Kernel,
)

Array = Any
_there: WeakKeyDictionary[FeatureMap, dict[str, DeviceFeatureMap]] = WeakKeyDictionary()
_lock = threading.Lock()


def check_device(device: str, kernel: Kernel) -> None:
    """Refuse a device that does not answer, or that cannot compute a kernel.

    Raises
    ------
    SpecError
        If the device is unknown or does not answer; if the kernel is a function of rows of the host.
    """
    if device == "cpu":
        return
    with borrow_backend(device):
        pass  # it answers
    if callable(kernel.name):
        raise SpecError(
            f'device="{device}" was asked for, but the kernel is a function of rows of the host. Use one of the named '
            'kernels, or pass device="cpu".'
        )


@contextmanager
def computing(
    device: str, map_: FeatureMap, rows: RowStream, run: Run
) -> Iterator[tuple[Device, Iterator[tuple[int, Array, FeatureMap | DeviceFeatureMap]]]]:
    """The engine of this thread, and the rows of a run as they come to its device, with the map as it is used for them."""
    with borrow_backend(device) as engine:
        if isinstance(engine, NumpyBackend):
            yield engine, ((first, block, map_) for first, block in rows.blocks(run))
        else:
            there = _device_map(map_, device, engine)
            blocks = rows.device_blocks(run, engine, there.rows_at_once)
            yield engine, ((first, block, there.of_entries(size)) for first, block, size in blocks)


@contextmanager
def choosing(device: str, spec: DictionaryOptions) -> Iterator[DictionaryOptions]:
    """How rows are sampled, with the cubic work on a device."""
    if device == "cpu":
        yield spec
        return
    with borrow_backend(device) as engine:
        yield replace(spec, make_gram=partial(DeviceGram.of, engine))


def _device_map(map_: FeatureMap, device: str, engine: Device) -> DeviceFeatureMap:
    """What was sent stays on the device as long as there is the map."""
    with _lock:
        kept = _there.setdefault(map_, {})
        if device not in kept:
            kept[device] = DeviceFeatureMap.of(map_, engine)
            engine.finish()
        return kept[device].by(engine)

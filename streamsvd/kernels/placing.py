"""Where features are computed: a map is sent to a device once in each process, and all threads use it there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from streamsvd.engine.device import Device, NumpyBackend, lent
from streamsvd.engine.runs import Rows
from streamsvd.engine.tree import Run
from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import FeatureMap, Kernel, Placed, PlacedDense, Spec

Array = Any
_there: WeakKeyDictionary[FeatureMap, dict[str, Placed]] = WeakKeyDictionary()
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
    with lent(device):
        pass  # it answers
    if callable(kernel.name):
        raise SpecError(
            f'device="{device}" was asked for, but the kernel is a function of rows of the host. Use one of the named '
            'kernels, or pass device="cpu".'
        )


@contextmanager
def computing(
    device: str, map_: FeatureMap, rows: Rows, run: Run
) -> Iterator[tuple[Device, Iterator[tuple[int, Array, FeatureMap | Placed]]]]:
    """The engine of this thread, and the rows of a run as they come to its device, with the map as it is used for them."""
    with lent(device) as engine:
        if isinstance(engine, NumpyBackend):
            yield engine, ((first, block, map_) for first, block in rows.blocks(run))
        else:
            there = _placed(map_, device, engine)
            blocks = rows.sent(run, engine, there.rows_at_once)
            yield engine, ((first, block, there.of_entries(size)) for first, block, size in blocks)


@contextmanager
def choosing(device: str, spec: Spec) -> Iterator[Spec]:
    """How rows are sampled, with the cubic work on a device."""
    if device == "cpu":
        yield spec
        return
    with lent(device) as engine:
        yield replace(spec, weighted=partial(PlacedDense.of, engine))


def _placed(map_: FeatureMap, device: str, engine: Device) -> Placed:
    """What was sent stays on the device as long as there is the map."""
    with _lock:
        kept = _there.setdefault(map_, {})
        if device not in kept:
            kept[device] = Placed.of(map_, engine)
            engine.finish()
        return kept[device].by(engine)

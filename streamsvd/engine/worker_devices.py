"""Devices of a cluster: which workers have one, which tasks ask for one, and what is computed at home instead.

Device arrays never leave a task, so a client needs no GPU to use those of its workers: what it computes itself, the dense
steps between passes, is done on the host. Where workers say that they have GPUs, as ``dask worker --resources GPU=1`` does,
a task that computes on one takes one, so that only one at a time does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamsvd.engine.device import DEVICE_PACKAGES, thread_backend
from streamsvd.errors import SpecError

RESOURCE = "GPU"
"""As dask-cuda and dask's own pages call it."""


def task_resources(device: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What a task that computes on a device takes of its worker: one GPU where any worker says that it has some.

    Parameters
    ----------
    device
        Where it computes.
    known
        The workers, as `streamsvd.engine.worker_checks.workers_of` has them.
    """
    return {RESOURCE: 1.0} if device != "cpu" and _gpu_counts(known) else {}


def device_threads(device: str, known: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How many tasks each worker does at once: one a thread, and on a device no more than it says that it has GPUs.

    Workers without one are left out where others say that they have some.
    """
    declared = {} if device == "cpu" else _gpu_counts(known)
    threads = {worker: int(told["nthreads"]) for worker, told in known.items()}
    return {w: min(threads[w], count) for w, count in declared.items()} or threads


def _gpu_counts(known: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """GPUs of the workers that say that they have some."""
    found = {w: int((told.get("resources") or {}).get(RESOURCE, 0)) for w, told in known.items()}
    return {worker: count for worker, count in found.items() if count}


def check_devices(
    device: str, faults: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse a cluster whose workers lack the device; those to which no task of it goes need none.

    Parameters
    ----------
    device
        Where tasks compute.
    faults
        Of each worker, why it has none; empty where it has one.
    known
        The workers.

    Raises
    ------
    SpecError
        It says how many of how many lack it, and why.
    """
    counted = set(_gpu_counts(known) or known)
    lacking = {w: fault for w, fault in faults.items() if fault and w in counted}
    if device == "cpu" or not lacking:
        return
    worker, fault = min(lacking.items())
    raise SpecError(
        f'device="{device}": {len(lacking)} of {len(counted)} workers have none ({fault}; the first is {worker}). '
        'Start GPU workers alone, or pass device="cpu".'
    )


def require_device(device: str, client: Any | None) -> None:
    """Return if the device is one that is known and, where this process computes, that answers.

    On a cluster its workers compute, and are asked before the first pass.

    Raises
    ------
    SpecError
        If it is unknown, or does not answer here.
    """
    if device == "cpu":
        return
    if client is None or device not in DEVICE_PACKAGES:
        thread_backend(device)


def home_device(device: str, client: Any | None) -> str:
    """Where this process computes what it does itself in a run on a device: there, but on the host where a cluster has it."""
    return device if client is None else "cpu"

"""A look at every worker before the first pass: whether it runs the same code, has the memory and sees the same matrix.

A worker that does not would fail in the middle, or give other bits; one that sees no folder where absent chunks count as
fill would read zeros. So each is asked by one small task, and who differs is refused in words.
"""

from __future__ import annotations

import os
import pickle
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from streamsvd.engine.sending import sent_bytes
from streamsvd.engine.worker_devices import check_devices
from streamsvd.engine.worker_faults import (
    has_left,
    is_unreached,
    kernel_difference,
    own_version,
    worker_fault,
)
from streamsvd.engine.worker_names import worker_label
from streamsvd.engine.worker_report import LOOK_SECONDS, report
from streamsvd.errors import Allowance, BudgetError, SpecError, StoreError, StreamSVDError
from streamsvd.numerics.sentences import show_bytes
from streamsvd.store.sight import Address, addresses

FRESH_SECONDS = 60.0
"""For so long a look counts; the passes of a run are mostly longer."""

LOOK_TRIES = 3
"""Looks until a difference counts: someone may be writing just then."""

ANSWER_SECONDS = LOOK_SECONDS + 15
PING_SECONDS = 5
WAKE_SECONDS = 120
"""For the first worker of a cluster that has asked for some: a queue may start it."""

MOST_SENT = 64 << 20
"""What a run without an array in memory sends is mostly less: thin blocks of its passes, which the plan counts."""

_look_times: weakref.WeakKeyDictionary[Any, dict[Any, float]] = weakref.WeakKeyDictionary()
_kernels: weakref.WeakKeyDictionary[Any, dict[str, str]] = weakref.WeakKeyDictionary()


def inspect_workers(client: Any, shared: Any, needs: int = 0) -> None:
    """Ask every worker of a cluster that was not asked lately.

    Parameters
    ----------
    client
        Of the cluster.
    shared
        What tasks will be given: their source, and what they write to, are looked at, and where they compute.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Raises
    ------
    StoreError
        If a worker does not see what this process sees; it names the worker, what it sees, and what to do.
    BudgetError
        If the limit of a worker leaves too little memory.
    SpecError
        If what tasks are given cannot be sent, or lies in memory here and is too much for a worker; if a worker lacks the
        device.
    StreamSVDError
        If a worker has other versions.
    """
    known = workers_of(client)
    found, device = addresses(shared), str(getattr(shared, "device", "cpu"))
    asked = tuple((address.name, address.metadata_name) for address in found), needs, device
    times, now = _look_times.setdefault(client, {}), time.monotonic()
    new = [w for w in known if now - times.get((w, asked), -FRESH_SECONDS) >= FRESH_SECONDS]
    if not new:
        return
    answers: dict[str, Any] = {}
    for attempt in range(LOOK_TRIES):
        here = {address: address.look() for address in found}
        answers = _ask_workers(client, found, new, device)
        differ = [
            (worker, wrong)
            for worker in new
            if worker in answers
            and (wrong := _fault(client, worker, answers[worker], here)) is not None
        ]
        if not differ:
            break
        if attempt == LOOK_TRIES - 1 or not all(
            isinstance(wrong, StoreError) for _, wrong in differ
        ):
            worker, wrong = differ[0]
            raise _worker_error(wrong, worker_label(worker, known[worker]), len(differ), len(known))
    answered = {w: answers[w] for w in new if w in answers and not has_left(answers[w])}
    check_devices(device, {w: answer["device_fault"] for w, answer in answered.items()}, known)
    name = _name_of(shared)
    sent = sent_bytes(shared, name)
    for worker, answer in answered.items():
        _check_memory(answer, worker, known, name, needs, sent)
        times[worker, asked] = now
        _kernels.setdefault(client, {})[worker] = answer["kernels"]


def worker_warnings(client: Any | None) -> list[str]:
    """What a careful user should know of the workers that were looked at; nothing without a cluster."""
    found = {} if client is None else _kernels.get(client, {})
    if len(set(found.values())) < 2:
        return []
    known = workers_of(client)
    warning = kernel_difference({w: kernel for w, kernel in found.items() if w in known})
    return [warning] if warning else []


def workers_of(client: Any) -> Mapping[str, Mapping[str, Any]]:
    """Every worker by its address, with what the scheduler knows of it.

    The scheduler itself is asked: what a client keeps of its answer is replaced every two seconds by one without workers.
    """
    known: Mapping[str, Mapping[str, Any]] = client.sync(client.scheduler.identity, n_workers=-1)[
        "workers"
    ]
    return known


def require_workers(client: Any) -> Mapping[str, Mapping[str, Any]]:
    """Every worker by its address, as `workers_of`; where there is none yet, after some time for those on their way.

    Raises
    ------
    StoreError
        If there are none.
    """
    known = workers_of(client)
    if known:
        return known
    address, coming = client.scheduler.address, are_coming(client)
    if coming:
        _await_worker(client)
        known = workers_of(client)
    if not known and coming:
        raise StoreError(
            f"the scheduler at {address} has no workers yet: of those that its cluster asked for, none came within "
            f"{WAKE_SECONDS} s. Wait for them with client.wait_for_workers(1), and run again."
        )
    if not known:
        raise StoreError(
            f"the scheduler at {address} has no workers. Start some: dask worker {address}."
        )
    return known


def are_coming(client: Any) -> bool:
    """Whether the cluster of a client has asked for workers, or starts some when there is work."""
    cluster = getattr(client, "cluster", None)
    return bool(getattr(cluster, "_adaptive", None) or getattr(cluster, "plan", None))


def _await_worker(client: Any) -> None:
    """Wait for one; a small task makes an adaptive cluster start it."""
    task = client.submit(os.getpid, pure=False)
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=WAKE_SECONDS)
    task.release()


def _name_of(shared: Any) -> str:
    """How messages call what is read."""
    source = getattr(getattr(shared, "reader", shared), "source", shared)
    return str(getattr(source, "name", None) or type(source).__name__)


def _ask_workers(
    client: Any, found: Sequence[Address], workers: Sequence[str], device: str
) -> dict[str, Any]:
    """What workers answer, or the error that each met."""
    try:
        return _answers(client, workers, ANSWER_SECONDS, report, found, device)
    except TimeoutError:
        raise StreamSVDError(
            f"{_silent_worker(client, workers)} gave no answer within {ANSWER_SECONDS} s: its process is stopped, or its "
            "machine hangs. End it, and run again."
        ) from None
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        names = ", ".join(address.name for address in found)
        raise SpecError(
            f"{names} cannot be sent to workers: {error}. Pass a path or a URL, which every worker opens itself."
        ) from error


def _answers(
    client: Any, workers: Sequence[str], seconds: float, function: Any, *asked: Any
) -> dict[str, Any]:
    """What a function finds on each worker, or the error that it raises there; ``Client.run`` with a deadline."""
    found: dict[str, Any] = client.sync(
        client._run, function, *asked, workers=list(workers), on_error="return", callback_timeout=seconds
    )  # fmt: skip
    return found


def _silent_worker(client: Any, workers: Sequence[str]) -> str:
    """The first that does not answer a question that needs no time."""
    for worker in workers:
        try:
            _answers(client, [worker], PING_SECONDS, int)
        except TimeoutError:
            return f"worker {worker}"
    return "a worker"


def _fault(client: Any, worker: str, answer: Any, here: Mapping[Address, Any]) -> Any:
    """What is wrong with a worker; one that could not load the question is asked which streamsvd it has."""
    if is_unreached(answer) and worker in workers_of(client):
        return StreamSVDError(
            f"cannot be reached, and the scheduler still counts on it: {answer}. End it, and run again"
        )
    wrong = worker_fault(answer, here)
    if wrong is None or not isinstance(answer, BaseException) or isinstance(answer, OSError):
        return wrong
    return own_version(answer, _own_version_there(client, worker)) or wrong


def _own_version_there(client: Any, worker: str) -> str:
    """The version of streamsvd on a worker, asked by what every Python has; empty if it does not say."""
    asked = "__import__('importlib').import_module('streamsvd').__version__"
    found = _answers(client, [worker], ANSWER_SECONDS, eval, asked).get(worker)
    if isinstance(found, ModuleNotFoundError):
        return "none"
    return found if isinstance(found, str) else ""


def _check_memory(
    answer: Any,
    worker: str,
    known: Mapping[str, Mapping[str, Any]],
    name: str,
    needs: int,
    sent: int,
) -> None:
    """Refuse a worker whose limit leaves too little for its threads, and for what it is sent."""
    if worker.startswith("inproc://"):  # what this process holds is not the worker's
        return
    limit = int(known[worker].get("memory_limit") or 0)
    if not limit:
        return
    free = max(limit - int(answer["used"]), 0)
    needs = _share_of(needs, worker, known)
    if sent > max(MOST_SENT, needs) and sent + needs > free:
        raise SpecError(
            f"{show_bytes(sent)} that lie in the memory of this process would be sent to every worker; "
            f"{worker_label(worker, known[worker])}, whose limit is {show_bytes(limit)}, has {show_bytes(free)} left. "
            "Write it to zarr first, and pass the path."
        )
    if needs > free:
        label = f"{worker_label(worker, known[worker])}, whose limit is {show_bytes(limit)},"
        used = int(answer["used"])
        raise BudgetError(f"a pass over {name}", needs, Allowance(free, label, 1.0, used), "")


def _share_of(needs: int, worker: str, known: Mapping[str, Mapping[str, Any]]) -> int:
    """Of what the tasks of the busiest worker take, those of another one with fewer threads, and what all share."""
    threads, busiest = (
        int(known[worker].get("nthreads", 1)),
        max(int(told.get("nthreads", 1)) for told in known.values()),
    )
    return needs * (threads + 1) // (busiest + 1)


def _worker_error(wrong: StreamSVDError, worker: str, count: int, total: int) -> StreamSVDError:
    others = "" if count == 1 else f" ({count:,} of {total:,} workers differ)"
    return type(wrong)(f"{worker} {wrong}{others}.")

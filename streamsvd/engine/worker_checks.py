"""A look at every worker before the first pass: whether it runs the same code, has the memory and sees the same matrix.

A worker that does not would fail in the middle, or give other bits; one that sees no folder where absent chunks count as
fill would read zeros. So each is asked by one small task, and who differs is refused in words.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import pickle
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from streamsvd.errors import BudgetError, SpecError, StoreError, StreamSVDError
from streamsvd.store.sight import Address, Sight, addresses

PACKAGES = ("streamsvd", "numpy", "zarr", "dask")
LOOK_SECONDS = 120
"""A worker that has not looked by then does not see the matrix: its folder hangs."""

FRESH_SECONDS = 60.0
"""For so long a look counts; the passes of a run are mostly longer."""

LOOK_TRIES = 3
"""Looks until a difference counts: someone may be writing just then."""

REMEDY = (
    "Every worker reads and writes by itself: mount the folder there under the same path, or start "
    "workers only where it is"
)

_look_times: weakref.WeakKeyDictionary[Any, dict[Any, float]] = weakref.WeakKeyDictionary()


def inspect_workers(client: Any, shared: Any, needs: int = 0) -> None:
    """Ask every worker of a cluster that was not asked lately.

    Parameters
    ----------
    client
        Of the cluster.
    shared
        What tasks will be given: their source, and what they write to, are looked at.
    needs
        Bytes that the tasks of one worker take; 0 if that is not known.

    Raises
    ------
    StoreError
        If a worker does not see what this process sees; it names the worker, what it sees, and what to do.
    BudgetError
        If the limit of a worker leaves too little memory.
    StreamSVDError
        If a worker has other versions.
    """
    known = workers_of(client)
    found = addresses(shared)
    asked = tuple((address.name, address.metadata_name) for address in found), needs
    times, now = _look_times.setdefault(client, {}), time.monotonic()
    new = [w for w in known if now - times.get((w, asked), -FRESH_SECONDS) >= FRESH_SECONDS]
    for attempt in range(LOOK_TRIES):
        if not new:
            return
        here = {address: address.look() for address in found}
        answers = _ask_workers(client, found, new)
        differ = [
            (worker, wrong)
            for worker in new
            if worker in answers and (wrong := _worker_fault(answers[worker], here)) is not None
        ]
        if not differ:
            break
        if attempt == LOOK_TRIES - 1 or not all(
            isinstance(wrong, StoreError) for _, wrong in differ
        ):
            worker, wrong = differ[0]
            raise _worker_error(
                wrong, _worker_label(worker, known[worker]), len(differ), len(known)
            )
    for worker in new:
        if worker in answers and not _worker_left(answers[worker]):
            _check_memory(answers[worker], worker, known[worker], needs)
            times[worker, asked] = now


def workers_of(client: Any) -> Mapping[str, Mapping[str, Any]]:
    """Every worker by its address, with what the scheduler knows of it.

    The scheduler itself is asked: what a client keeps of its answer is replaced every two seconds by one without workers.
    """
    known: Mapping[str, Mapping[str, Any]] = client.sync(client.scheduler.identity, n_workers=-1)[
        "workers"
    ]
    return known


def _ask_workers(client: Any, found: Sequence[Address], workers: Sequence[str]) -> dict[str, Any]:
    """What workers answer, or the error that each met."""
    try:
        answers: dict[str, Any] = client.run(report, found, workers=workers, on_error="return")
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        names = ", ".join(address.name for address in found)
        raise SpecError(
            f"{names} cannot be sent to workers: {error}. Pass a path or a URL, which every worker opens itself."
        ) from error
    return answers


async def report(found: Sequence[Address]) -> dict[str, Any]:
    """What a worker says of itself; built-in types alone, so that any other version can read it."""
    seen = asyncio.to_thread(lambda: [_sight_values(address.look()) for address in found])
    try:
        sights = await asyncio.wait_for(seen, LOOK_SECONDS)
    except TimeoutError:
        silence = (None, None, f"it gave no answer within {LOOK_SECONDS} s")
        sights = [silence for _ in found]
    return {"versions": versions(), "used": psutil.Process().memory_info().rss, "sights": sights}


def versions() -> dict[str, str]:
    """Of the packages that results depend on; of our own also a digest of the code, as versions stay while it changes."""
    return {name: _package_version(name) for name in PACKAGES} | {"code": _code_digest()}


def _package_version(name: str) -> str:
    return str(getattr(importlib.import_module(name), "__version__", "unknown"))


@cache
def _code_digest() -> str:
    """Names and sizes of our modules, as they were when it was first asked."""
    root = Path(__file__).parents[1]
    found = sorted((p.relative_to(root).as_posix(), p.stat().st_size) for p in root.rglob("*.py"))
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _sight_values(sight: Sight) -> tuple[str | None, str | None, str]:
    return sight.metadata, sight.chunk, sight.error


def _worker_left(answer: Any) -> bool:
    """Whether a worker left before it answered: others do its work."""
    from distributed.comm.core import CommClosedError

    return isinstance(answer, CommClosedError | ConnectionError | TimeoutError)


def _worker_fault(answer: Any, here: Mapping[Address, Sight]) -> StreamSVDError | None:
    """What is wrong with a worker, in a sentence that goes on from its name."""
    if _worker_left(answer):
        return None
    if isinstance(answer, OSError):  # an address that opens what it names when it comes
        return StoreError(f"cannot open what this process reads: {answer}. {REMEDY}")
    if isinstance(answer, BaseException):
        return StreamSVDError(
            f"cannot load what this process sends: {type(answer).__name__}: {answer}. "
            f"Install the same {', '.join(PACKAGES[:-1])} and {PACKAGES[-1]} there"
        )
    other = _other_version(versions(), answer["versions"])
    if other:
        return StreamSVDError(other)
    for (address, own), sight in zip(here.items(), answer["sights"], strict=True):
        difference = _sight_difference(address, own, Sight(*sight))
        if difference:
            return StoreError(difference)
    return None


def _other_version(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    for name in PACKAGES:
        if here[name] != there.get(name):
            return (
                f"has {name} {there.get(name)}, this process {here[name]}: its bits may be others. "
                f"Install {name} {here[name]} there"
            )
    if here["code"] != there.get("code"):
        return (
            f"has streamsvd {here['streamsvd']} with other code than this process. Install the same "
            "one in both"
        )
    return ""


def _sight_difference(address: Address, here: Sight, there: Sight) -> str:
    if here.error:  # the run will say so
        return ""
    if there.error:
        return f"cannot read {address.name}: {there.error.rstrip('.')}. {REMEDY}"
    if there.metadata is None and here.metadata is not None:
        return f"does not see {address.name}: {address.metadata_name} is not there. {REMEDY}"
    if there.metadata != here.metadata:
        return f"sees another {address.name} than this process: {address.metadata_name} differs. {REMEDY}"
    if there.chunk is None and here.chunk is not None:
        return f"sees {address.name} without its {address.chunk_name}, which this process sees. {REMEDY}"
    if there.chunk != here.chunk:
        return f"sees other values in {address.chunk_name} of {address.name} than this process. {REMEDY}"
    return ""


def _check_memory(answer: Any, worker: str, known: Mapping[str, Any], needs: int) -> None:
    if worker.startswith("inproc://"):  # what this process holds is not the worker's
        return
    limit = int(known.get("memory_limit") or 0)
    free = limit - int(answer["used"])
    if limit and needs > free:
        raise BudgetError(
            f"{_worker_label(worker, known)}, whose limit of {limit:,} bytes leaves {max(free, 0):,},",
            needs,
            max(free, 0),
            "Give workers more memory (--memory-limit), or fewer threads, or pass less memory= to the run.",
        )


def _worker_label(worker: str, known: Mapping[str, Any]) -> str:
    name = known.get("name", worker)
    return f"worker {worker}" if name in (worker, None) else f"worker {name} at {worker}"


def _worker_error(wrong: StreamSVDError, worker: str, count: int, total: int) -> StreamSVDError:
    others = "" if count == 1 else f" ({count:,} of {total:,} workers differ)"
    return type(wrong)(f"{worker} {wrong}{others}.")

"""The machines of a cluster as plans count with them: one that is only thought of, or that of the active client."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from streamsvd.engine.memory import parse_bytes, show_bytes
from streamsvd.engine.submit import active_client
from streamsvd.engine.worker_checks import require_workers
from streamsvd.errors import Allowance, SpecError

BANDWIDTH = 1.25e9
"""Bytes a second of a worker's link where none is said: 10 Gbit/s."""
WORKER_SHARE = 0.6
"""Of a worker's limit: at more it spills, is paused, and is killed in the end."""
PAUSE_SHARE = 0.8
"""Of its limit at which a worker is paused."""
PROCESS_BYTES = 110 << 20
"""A worker with our imports, before any task."""
MOST_WORKERS = 1_000_000

_RATE = re.compile(
    r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([kKMGTP]i?)?(bit|Bit|byte|Byte|B)s?\s*(/s|/sec|ps)\s*"
)
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}


@dataclass(frozen=True, slots=True)
class Machines:
    """Workers and what joins them.

    Attributes
    ----------
    workers, threads
        Processes, and threads of the busiest.
    total_threads
        Of all workers.
    worker_memory
        Limit of the smallest worker in bytes; None where there is none.
    bandwidth, source_bandwidth
        Bytes a second of the link of each process, and of the store that all read; None where the store is no limit.
    price_per_hour
        Of one worker, in any currency; None for plans without money.
    thread_rate
        Decoded bytes that a thread reads and multiplies a second; None for what the plan knows of the verb.
    """

    workers: int
    threads: int
    total_threads: int
    worker_memory: int | None = None
    bandwidth: float = BANDWIDTH
    source_bandwidth: float | None = None
    price_per_hour: float | None = None
    thread_rate: float | None = None

    @property
    def allowance(self) -> Allowance | None:
        """What a plan may take of a worker; None where nothing limits."""
        if self.worker_memory is None:
            return None
        of = f"a worker of {count_of(self.threads, 'thread')} and {show_bytes(self.worker_memory)}"
        share = worker_share_of(self.worker_memory)
        return Allowance(share, of, 1 / WORKER_SHARE, int(PROCESS_BYTES / PAUSE_SHARE))

    def explain(self) -> str:
        """The machines in words."""
        text = f"{count_of(self.workers, 'worker')} of {count_of(self.threads, 'thread')}"
        if self.total_threads != self.workers * self.threads:
            text = f"{count_of(self.workers, 'worker')}, {self.total_threads:,} threads, at most {self.threads} in one"
        if self.worker_memory is not None:
            text += f" and {show_bytes(self.worker_memory)}"
        return f"{text}, links of {show_rate(self.bandwidth)}"


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What a plan was told of machines: everything but the active cluster itself."""

    workers: int | None = None
    threads: int | None = None
    worker_memory: int | float | str | None = None
    bandwidth: str | None = None
    source_bandwidth: str | None = None
    price_per_hour: float | None = None
    thread_rate: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return self == _NOTHING

    def machines(self, workers: int, threads: int, total: int, memory: int | None) -> Machines:
        """These many, with what was said of the rest.

        Raises
        ------
        SpecError
            If something cannot be meant; it says what, and how it is written.
        """
        return Machines(
            workers=workers,
            threads=threads,
            total_threads=total,
            worker_memory=memory,
            bandwidth=BANDWIDTH
            if self.bandwidth is None
            else parse_rate(self.bandwidth, "bandwidth"),
            source_bandwidth=_rate_or_none(self.source_bandwidth, "source_bandwidth"),
            price_per_hour=_price(self.price_per_hour),
            thread_rate=_rate_or_none(self.thread_rate, "thread_rate"),
        )


_imaginary: ContextVar[Machines | None] = ContextVar("streamsvd_machines", default=None)
_NOTHING = MachineOptions()
_options_in_force: ContextVar[MachineOptions] = ContextVar(
    "streamsvd_machine_options", default=_NOTHING
)


@contextmanager
def planning_for(options: MachineOptions) -> Iterator[None]:
    """Plans made inside are for these machines; those of the active cluster where no number of workers is given.

    Raises
    ------
    SpecError
        If an option cannot be meant, or contradicts the active cluster.
    """
    client = None if options.is_empty else active_client()
    thought = None
    if client is not None:
        for name in ("workers", "threads", "worker_memory"):
            if getattr(options, name) is not None:
                raise SpecError(
                    f"{name}={getattr(options, name)!r} was passed, but a cluster is active, which has its own. Leave it out, "
                    "or plan without the cluster."
                )
    elif not options.is_empty:
        workers = _count(options.workers, "workers", MOST_WORKERS)
        threads = _count(1 if options.threads is None else options.threads, "threads", 4096)
        memory = None if options.worker_memory is None else _memory(options.worker_memory)
        thought = options.machines(workers, threads, workers * threads, memory)
    tokens = _imaginary.set(thought), _options_in_force.set(options)
    try:
        if client is not None:
            machines_in_force()  # what was said is checked before anything else
        yield
    finally:
        _imaginary.reset(tokens[0])
        _options_in_force.reset(tokens[1])


def machines_thought_of() -> Machines | None:
    """Those that a plan is made for, which are not there; None for a plan of what is."""
    return _imaginary.get()


def machines_in_force() -> Machines | None:
    """Those that a plan is made for, or of the active cluster; None where passes run in this process."""
    thought = _imaginary.get()
    if thought is not None:
        return thought
    client = active_client()
    if client is None:
        return None
    known = require_workers(client)
    threads = [int(worker["nthreads"]) for worker in known.values()]
    limits = [  # of workers in this process nothing is known
        0 if address.startswith("inproc://") else int(worker.get("memory_limit") or 0)
        for address, worker in known.items()
    ]
    return _options_in_force.get().machines(
        max(1, len(threads)),
        max(threads, default=1),
        max(1, sum(threads)),
        min((x for x in limits if x), default=None),
    )


def worker_share_of(limit: int) -> int:
    """Bytes of a worker of this limit that a plan may take."""
    return max(1, min(int(WORKER_SHARE * limit), int(PAUSE_SHARE * limit) - PROCESS_BYTES))


def is_on_cluster() -> bool:
    """Whether passes run, or would run, on a cluster: its threads are what they are, and nothing of the matrix stays there."""
    return _imaginary.get() is not None or active_client() is not None


def parse_rate(text: Any, name: str) -> float:
    """Bytes a second from a text such as ``"10Gbit/s"`` or ``"1.25GB/s"``; ``bit`` and ``B`` are never taken for one another.

    Raises
    ------
    SpecError
        If it is none; bare numbers are none either, as nothing says whether they are bits or bytes.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    try:
        value = float(match[1]) if match else 0.0
    except ValueError:
        value = 0.0
    if match is None or not 0 < value < 1e18:
        raise SpecError(
            f'{name}={text!r} is no speed. Pass bits a second as "10Gbit/s", or bytes a second as "1.25GB/s".'
        )
    prefix = (match[2] or "").lower()
    size = 2 ** (10 * "kmgtp".index(prefix[0]) + 10) if prefix.endswith("i") else _SIZES[prefix]
    return value * size / (8 if "bit" in match[3].lower() else 1)


def show_rate(rate: float) -> str:
    """Bytes a second for people, in bytes: ``"1.25 GB/s"``."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}/s"
    return f"{rate:.3g} B/s"


def count_of(number: int, what: str) -> str:
    """``"1 worker"``, ``"1,000 workers"``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _count(value: Any, name: str, most: int) -> int:
    if value is None:
        raise SpecError(
            f"a plan for a cluster needs {name}=, and there is neither a number nor an active cluster. Pass {name}=100."
        )
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise SpecError(
            f"{name}={value!r} is no number of {name}. Pass a whole number from 1 to {most:,}."
        )
    return value


def _memory(value: Any) -> int:
    try:
        return parse_bytes(value)
    except (SpecError, TypeError, ValueError):
        raise SpecError(
            f'worker_memory={value!r} is no size. Pass bytes, or a text such as "4GiB".'
        ) from None


def _rate_or_none(text: Any, name: str) -> float | None:
    return None if text is None else parse_rate(text, name)


def _price(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SpecError(
            f"price_per_hour={value!r} is no price. Pass that of one worker and hour, such as 0.05."
        )
    return float(value)

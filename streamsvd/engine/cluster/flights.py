"""Tasks that workers have, by worker, in the order in which they were sent: when each began, about, and which is late."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

K = TypeVar("K")

LATE = 1.5
"""Medians of finished tasks after which one is late."""

LATE_SECONDS = 1.0
"""And so much longer at least: a copy sooner would cost more than it saves."""

LEAST_KNOWN = 2
"""Finished tasks from which a median is taken."""

MOST_DURATIONS = 256
"""Finished tasks that are remembered."""


@dataclass(slots=True, eq=False)
class Flight:
    """A task that was sent to a worker.

    Attributes
    ----------
    key, worker, part
        Its key, the worker that it was sent to, and the number of what it does.
    future
        Of its result.
    began_s
        When a thread of the worker took it, about; None while it waits there.
    """

    key: str
    worker: str
    part: int
    future: Any
    began_s: float | None = None


@dataclass(slots=True, eq=False)
class Flights:
    """All of them that have not ended."""

    by_key: dict[str, Flight] = field(default_factory=dict)
    durations: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_DURATIONS))
    _by_worker: dict[str, dict[str, Flight]] = field(default_factory=dict)
    _by_part: dict[int, dict[str, Flight]] = field(default_factory=dict)

    def of_part(self, part: int) -> list[Flight]:
        """Those of a part: one, or two where one is late."""
        return list(self._by_part.get(part, {}).values())

    def count(self, worker: str) -> int:
        """How many a worker has."""
        return len(self._by_worker.get(worker, {}))

    def add(self, flight: Flight, threads: int, now: float) -> None:
        """One that is sent; a worker takes as many at once as it has threads."""
        if self.count(flight.worker) < threads:
            flight.began_s = now
        self.by_key[flight.key] = flight
        self._by_worker.setdefault(flight.worker, {})[flight.key] = flight
        self._by_part.setdefault(flight.part, {})[flight.key] = flight

    def end(self, flight: Flight, now: float) -> None:
        """One that has done what it was sent for."""
        self.remove(flight, now)
        if flight.began_s is not None:
            self.durations.append(now - flight.began_s)

    def remove(self, flight: Flight, now: float) -> None:
        """One that is not waited for any more; its worker takes the next."""
        del self.by_key[flight.key]
        _drop(self._by_worker, flight.worker, flight.key)
        _drop(self._by_part, flight.part, flight.key)
        if flight.began_s is not None:
            followers = self._by_worker.get(flight.worker, {}).values()
            follower = next((f for f in followers if f.began_s is None), None)
            if follower is not None:
                follower.began_s = now

    def waiting(self) -> list[Flight]:
        """Those that no thread has taken yet, the last sent first."""
        return [flight for flight in reversed(self.by_key.values()) if flight.began_s is None]

    def late(self, now: float) -> list[Flight]:
        """Those that a second worker should try, the latest first; of parts that have no second one yet."""
        if len(self.durations) < LEAST_KNOWN:
            return []
        usual = median(self.durations)
        limit = max(LATE * usual, usual + LATE_SECONDS)
        found = [
            (flight.began_s, flight)
            for flight in self.by_key.values()
            if flight.began_s is not None
            and now - flight.began_s > limit
            and len(self._by_part[flight.part]) == 1
        ]
        return [flight for _, flight in sorted(found, key=lambda each: each[0])]


def _drop(index: dict[K, dict[str, Flight]], name: K, key: str) -> None:
    del index[name][key]
    if not index[name]:
        del index[name]

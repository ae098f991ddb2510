"""Which worker takes which part of a pass: runs of neighbours, so that sums are joined where they lie.

Each worker begins with a run of its own, as long as its threads are many. One that has done its run takes over half of what
the latest has before it; less than two tasks are not worth a sum that has to travel. What a worker leaves that goes away,
others take whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping


class SubtreePlacement:
    """Parts of a pass, numbered in their order, that no worker has begun.

    Parameters
    ----------
    count
        How many there are.
    threads
        Of each worker that is there.
    """

    def __init__(self, count: int, threads: Mapping[str, int]) -> None:
        self.runs: dict[str, deque[int]] = {}
        self.orphans: deque[deque[int]] = deque()
        self.threads = dict(threads)
        total, first, passed = sum(threads.values()), 0, 0
        for worker, number in threads.items():
            passed += number
            stop = round(count * passed / total)
            self.runs[worker] = deque(range(first, stop))
            first = stop

    @property
    def left(self) -> int:
        """Parts that no worker has begun."""
        return sum(map(len, (*self.runs.values(), *self.orphans)))

    def add(self, worker: str, threads: int) -> None:
        """A worker that came later: it takes from others."""
        self.runs[worker], self.threads[worker] = deque(), threads

    def remove(self, worker: str) -> None:
        """A worker that left: others take what it had."""
        run = self.runs.pop(worker)
        del self.threads[worker]
        if run:
            self.orphans.append(run)

    def put_back(self, part: int) -> None:
        """A part that is to be done again, before others."""
        self.orphans.appendleft(deque([part]))

    def take(self, worker: str, *, is_idle: bool) -> int | None:
        """The next part of a worker; of others only if it would wait otherwise."""
        run = self.runs[worker]
        if not run and is_idle:
            self._take_over(run)
        return run.popleft() if run else None

    def _take_over(self, run: deque[int]) -> None:
        if self.orphans:
            run.extend(self.orphans.popleft())
            return
        latest = max(self.runs, key=lambda w: len(self.runs[w]) / self.threads[w])
        taken = self.runs[latest]
        half = len(taken) // 2
        run.extend(taken.pop() for _ in range(half))
        run.reverse()

"""Passes over runs of rows, one after another: each a graph of tasks, counted, watched, and saved on the way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, send_remarks
from streamsvd.engine.runs.reading import RowSchedule
from streamsvd.engine.saves import Saves
from streamsvd.engine.tree import Job, reduce_runs, unread_runs
from streamsvd.typing import Matrix

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Passes:
    """Runs jobs over all rows.

    Attributes
    ----------
    schedule
        How rows are read.
    notify
        Receives events.
    saves
        Where what is found is saved; None for nowhere.
    number, bytes_read
        Passes made and bytes asked of the store, in this process; not those that a run before it read and saved.
    """

    schedule: RowSchedule
    notify: Callback
    saves: Saves | None = None
    number: int = 0
    bytes_read: int = 0

    def __post_init__(self) -> None:
        send_remarks(self.schedule.rows.source, self.notify)

    def __call__(self, purpose: str, job: Job[T]) -> T:
        """What a job finds in all rows."""
        self.number += 1
        number, saves = self.number, self.saves
        self.notify(PassStarted(number, purpose, self.schedule.pass_bytes))
        began = time.perf_counter()
        known = {} if saves is None else saves.known_nodes(purpose)
        nbytes = self.schedule.bytes_of(unread_runs(self.schedule.parts, known))
        value: T = reduce_runs(
            job,
            self.schedule.parts,
            workers=self.schedule.workers,
            leaf_done=lambda done, runs: self.notify(SpanDone(number, done, runs)),
            known=known,
            found=None if saves is None else saves.keep_node,
            what=purpose,
            needs=self.schedule.task_bytes,
        )
        self.bytes_read += nbytes
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))
        return value

    def once(self, name: str, job: Job[T]) -> T:
        """The same, unless it was saved under this name."""
        saves = self.saves
        if saves is not None and name in saves.values:
            saved: T = saves.values[name]
            return saved
        value = self(name, job)
        self.keep(name, value)
        return value

    def keep(self, name: str, value: Any) -> None:
        """Save what was found under a name."""
        if self.saves is not None:
            self.saves.keep_value(name, value)


def blocks_with_events(
    blocks: Iterable[tuple[int, Matrix]], purpose: str, nbytes: int, rows: int, notify: Callback
) -> Iterator[tuple[int, Matrix]]:
    """Blocks of rows in their order, with the events of a pass that is no graph."""
    notify(PassStarted(1, purpose, nbytes))
    began = time.perf_counter()
    for first, block in blocks:
        yield first, block
        notify(SpanDone(1, first + block.shape[0], rows))
    notify(PassDone(1, purpose, time.perf_counter() - began, None))

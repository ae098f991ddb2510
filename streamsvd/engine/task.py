"""The task of a pass: one span in, one partial result out; and how tasks of a run that was interrupted stop."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.device import thread_backend
from streamsvd.engine.passes import P, Pass, Reader, Sink, Span
from streamsvd.engine.value_bytes import bytes_of
from streamsvd.engine.worker_names import naming_this_worker
from streamsvd.errors import (
    NonFiniteError,
    ScaleError,
    SpecError,
    StreamSVDError,
    remedy_of,
)
from streamsvd.numerics.blocks import BadEntry, OutOfScale, OutsideLimits
from streamsvd.numerics.columns import original_column
from streamsvd.store.writing.shield import defer_interrupts

STOP_SECONDS = 60
NONFINITE_REMEDY = 'Pass nonfinite="zero", "mean" or "drop_columns" to treat NaN as missing.'

cancelled_runs: set[str] = set()
"""Runs of this process that were interrupted; their tasks stop at the next panel."""
_running: Counter[str] = Counter()
_task_ended = threading.Condition()


class RunCancelled(StreamSVDError):
    """The run that this task belongs to was interrupted."""


@dataclass(frozen=True, slots=True)
class HomeTask:
    """What is done at home, in the order of the rows, as part of a run."""

    run: str
    sink: Sink | None = None

    def check(self) -> None:
        """Raise if the run was cancelled."""
        if self.run in cancelled_runs:
            raise RunCancelled("interrupted")


@dataclass(frozen=True, slots=True, eq=False)
class Work(Generic[P]):
    """All that a task needs: what is read and how, what is added up, and where. Small, picklable.

    Attributes
    ----------
    reader, pass_
        What is read and how it is cut; what is added up.
    device
        Where.
    run
        Whose task it is.
    sink
        Where finished rows go.
    is_unwanted
        Of a task on a worker: says whether nobody waits for it any more.
    """

    reader: Reader
    pass_: Pass[Any, P]
    device: str
    run: str
    sink: Sink | None = None
    is_unwanted: Callable[[], bool] | None = None

    def __sizeof__(self) -> int:
        return bytes_of((self.reader, self.pass_, self.sink))

    def check(self) -> None:
        """Raise if the run was cancelled, or nobody waits for this task."""
        if self.run in cancelled_runs or (self.is_unwanted is not None and self.is_unwanted()):
            raise RunCancelled("interrupted")


@in_one_thread
def run_span(work: Work[P], span: Span) -> P:
    """Fold the blocks of a span, from zero; a retry gives the same bits."""
    with count_task(work.run):
        work.check()
        device = thread_backend(work.device)
        try:
            with naming_this_worker(), device.computing(), held_memory():
                return work.reader.run(work.pass_, span, device, work)
        except BadEntry as bad:
            raise _error_at(bad, work.reader.source) from None
        except OutOfScale as error:
            raise ScaleError(error.size) from None


@in_one_thread
def merge(work: Work[P], left: P, right: P) -> P:
    """A node of the tree; on a cluster, or for a checkpoint, what is merged may be asked for again."""
    return work.pass_.merge(left, right)


@in_one_thread
def absorb(work: Work[P], left: P, right: P) -> P:
    """The same where nobody else holds ``left``: threads run each task once and keep nothing."""
    join = getattr(work.pass_, "absorb", work.pass_.merge)
    joined: P = join(left, right)
    return joined


def stop(run: str) -> None:
    """Cancel a run and wait for its tasks in this process: after that none of them reads or writes any more."""
    with defer_interrupts(), _task_ended:
        cancelled_runs.add(run)
        _task_ended.wait_for(lambda: _running[run] == 0, timeout=STOP_SECONDS)
        del _running[run]


def wait_until_ended(names: Iterable[str]) -> None:
    """Wait for tasks of these names in this process, as long as is reasonable."""
    with _task_ended:
        _task_ended.wait_for(
            lambda: all(_running[name] == 0 for name in names), timeout=STOP_SECONDS
        )


@contextmanager
def count_task(name: str) -> Iterator[None]:
    """Let others wait for what runs here under the name of its run, or of its own."""
    with _task_ended:
        _running[name] += 1
    try:
        yield
    finally:
        with _task_ended:
            _running[name] -= 1
            if _running[name] <= 0:
                del _running[name]
            _task_ended.notify_all()


def _error_at(bad: BadEntry, source: Any) -> StreamSVDError:
    """The error of an entry, with the chunk that holds it."""
    chunk = source.locate(bad.row, bad.column)
    if isinstance(bad, OutsideLimits):
        return SpecError(
            f"{bad.value} at row {bad.row}, column {original_column(source, bad.column)} ({chunk}) lies outside of what scale= was "
            f"asked for: {bad.meaning}, and NaN where there is none. Say which value means missing, or pass scale=True."
        )
    if bad.value.lstrip("-").isdigit():
        return StreamSVDError(
            f"the integer {bad.value} at row {bad.row}, column {original_column(source, bad.column)} ({chunk}) is beyond 2**53, where "
            "float64 skips integers. Subtract an offset from the integers, or divide them, before."
        )
    return NonFiniteError(
        bad.value, bad.row, bad.column, chunk, remedy_of(bad.value, NONFINITE_REMEDY)
    )

"""Steps that read one source at once: each chunk is read of the store for all of them, and each step has its own pass over it.

A step gives the same bits alone and with others: the verbs do not know of one another. What it costs is memory, that of all of
them and of the chunks that wait; so steps share a read only where that is within what the pipeline may take.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psutil

from streamsvd.engine.events import (
    Callback,
    ColumnsLeftOut,
    Event,
    ResultWritten,
    SourceRemarked,
)
from streamsvd.engine.memory import default_budget, show_bytes
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.threads import own_threads
from streamsvd.errors import BudgetError
from streamsvd.pipelines.arguments import accepts
from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.records import SharedReadRecord
from streamsvd.pipelines.step_work import StepOutcome, StepWork
from streamsvd.protocols import Source
from streamsvd.store.sources.views.shared import SMALL_BYTES, SharedReading
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.verbs import plan

LEAST_BYTES = 32 << 20
"""Matrices of less are read by each step for itself, unless they are said to be shared: there is nothing to gain."""

STEPS_PER_CORE = 0.5
"""Steps that share a read multiply on one thread each. Where there are fewer of them for each core, one after another on all
cores is faster."""

WINDOW_SHARE = 4
"""Of the memory, a fourth is for chunks that wait."""
LEAST_STRIPS = 4


@dataclass(frozen=True, slots=True, eq=False)
class SharingPlan:
    """How steps share a read.

    Attributes
    ----------
    works
        What is to be done for each.
    memory
        Bytes for each; None where its options say so.
    threads
        Of each.
    window_bytes
        For chunks that wait.
    projected_bytes
        Upper bound of the memory of all together.
    """

    works: tuple[StepWork, ...]
    memory: tuple[int | None, ...]
    threads: int
    window_bytes: int
    projected_bytes: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the steps."""
        return tuple(work.step.name for work in self.works)


def may_share(pipeline: Pipeline, work: StepWork) -> bool:
    """Whether a step reads a matrix that is worth sharing."""
    described = pipeline.sources[work.step.source]
    source = work.source
    if described.share is False or not isinstance(source, Source):
        return False
    return described.share is True or source.nbytes >= LEAST_BYTES


def plan_sharing(pipeline: Pipeline, works: Sequence[StepWork]) -> SharingPlan | None:
    """How these steps share a read of their source; None where they would not fit into memory, or be slower for it."""
    if len(works) < 2:
        return None
    source, allowed = works[0].source, pipeline.memory or default_budget()
    m, n = source.shape
    strip = min(source.chunks[0], m) * n * source.dtype.itemsize
    holds_matrix = source.nbytes + strip <= allowed // WINDOW_SHARE
    window = source.nbytes + strip if holds_matrix else allowed // WINDOW_SHARE
    if not holds_matrix and LEAST_STRIPS * strip > window:
        return None
    cores = psutil.cpu_count() or 1
    is_asked = pipeline.sources[works[0].step.source].share is True
    if not (holds_matrix or is_asked or len(works) >= STEPS_PER_CORE * cores):
        return None
    threads = max(1, cores // len(works)) if holds_matrix else 1
    try:
        with own_threads(threads):
            return _fit(works, threads, window, allowed)
    except BudgetError:
        return None


def _fit(works: Sequence[StepWork], threads: int, window: int, allowed: int) -> SharingPlan | None:
    """The plan within the memory; steps that do not say how much they may take share what is left."""
    told = [work for work in works if "memory" in work.options or not accepts(work.step, "memory")]
    left = allowed - window - SMALL_BYTES - sum(_needed_bytes(work, None) for work in told)
    others = len(works) - len(told)
    if left < 0 or (others and left // others < 1):
        return None
    memory = tuple(None if work in told else left // others for work in works)
    needed = (
        window + SMALL_BYTES + sum(_needed_bytes(w, x) for w, x in zip(works, memory, strict=True))
    )
    return SharingPlan(tuple(works), memory, threads, window, needed) if needed <= allowed else None


def _needed_bytes(work: StepWork, memory: int | None) -> int:
    """Upper bound of the memory of a step alone, with the means that are subtracted from its rows."""
    options = work.options if memory is None else work.options | {"memory": memory}
    if accepts(work.step, "checkpoint", "plan"):
        options = options | {"checkpoint": work.saves}
    planned = plan(work.step.verb, *work.inputs, **options).projected_bytes
    return int(planned) + work.mean_bytes


@dataclass(slots=True, eq=False)
class _Watch:
    """The callback of several steps: what all have to say, and the progress of the first that is not done."""

    callback: Callback
    is_over: list[bool]
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_cancelled: bool = False

    def of(self, number: int) -> Callback:
        """That of one step."""

        def tell(event: Event) -> None:
            with self.lock:
                if self.is_cancelled:
                    raise KeyboardInterrupt
                leads = all(self.is_over[:number])
                if leads or isinstance(event, ColumnsLeftOut | SourceRemarked | ResultWritten):
                    self.callback(event)

        return tell


def make_together(
    shared: SharingPlan, callback: Callback
) -> tuple[list[StepOutcome | BaseException], SharedReadRecord]:
    """What came of each step, or what it raised; and what the read cost.

    A step that fails ends, and the others go on without it. Where one is interrupted, all are.

    Raises
    ------
    KeyboardInterrupt
        Once no step reads or writes any more.
    """
    source = shared.works[0].source
    reading = SharedReading(source, len(shared.works), shared.window_bytes)
    outcomes: list[Any] = [None] * len(shared.works)
    watch = _Watch(callback, [False] * len(shared.works))
    memory = mark_memory()
    names = ", ".join(shared.names)
    callback(
        SourceRemarked(f"one read of {source.name} for {names}: at most {show_bytes(shared.projected_bytes)} of memory")
    )  # fmt: skip

    def cancel() -> None:
        watch.is_cancelled = True
        reading.cancel()

    def make(number: int) -> None:
        work = shared.works[number].with_source(reading.source(number), shared.memory[number])
        try:
            with own_threads(shared.threads):
                outcomes[number] = work.make(watch.of(number))
        except BaseException as error:
            outcomes[number] = error
            if not isinstance(error, Exception):
                cancel()
        finally:
            watch.is_over[number] = True
            reading.leave(number)

    threads = [
        threading.Thread(target=make, args=(number,), name=f"streamsvd-step-{name}")
        for number, name in enumerate(shared.names)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:
        with defer_interrupts():
            cancel()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        raise
    records = [outcome.record for outcome in outcomes if isinstance(outcome, StepOutcome)]
    cost = SharedReadRecord(
        source=source.name,
        steps=shared.names,
        bytes_read=reading.bytes_read,
        asked_bytes=sum(record.bytes_read for record in records),
        peak_bytes=peak_since(memory),
        projected_bytes=shared.projected_bytes,
    )
    for outcome in outcomes:
        if isinstance(outcome, StepOutcome):  # nobody can tell whose memory it was
            outcome.record = msgspec.structs.replace(
                outcome.record, peak_bytes=cost.peak_bytes, projected_bytes=cost.projected_bytes
            )
    return outcomes, cost

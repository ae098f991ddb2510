"""A run: the passes of one verb over what it reads, one after another, counted, watched, saved, and stopped in order.

``with running(reader, ...) as run`` opens it; ``run(pass_, purpose)`` makes one pass; ``run.info(...)`` is the record of it all.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.device import Device, borrow_backend
from streamsvd.engine.events import (
    Callback,
    PassDone,
    PassStarted,
    SourceRemarked,
    SpanDone,
    ignore_event,
    send_remarks,
)
from streamsvd.engine.meter import MemoryMark, mark_memory, peak_since
from streamsvd.engine.ordered import one_ahead, run_in_order
from streamsvd.engine.panel_cache import new_cache
from streamsvd.engine.passes import Block, P, Pass, Reader, Sink, Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run_pass import run_pass
from streamsvd.engine.saves import Saves
from streamsvd.engine.schedule import Schedule
from streamsvd.engine.submit import GraphCallbacks, active_client
from streamsvd.engine.task import HomeTask, Work, stop
from streamsvd.engine.tree import Node, missing_spans
from streamsvd.engine.worker_checks import worker_warnings
from streamsvd.info import Info, Status
from streamsvd.store.writing.shield import defer_interrupts

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Run:
    """The passes of one verb.

    Attributes
    ----------
    reader
        What is read, if a pass does not say otherwise; None where all is read at home.
    workers, device
        Tasks that run at once in this process; where they compute.
    projected_bytes
        Upper bound of the memory, as planned.
    needs
        Of these, what the tasks of a worker of a cluster take; 0 if that is not known.
    notify
        Receives events.
    saves
        Where what is found is saved; None for nowhere.
    seed
        Of all random numbers, for the record.
    passes, bytes_read
        Passes begun, and decoded bytes asked of the store, in this process; not those that a run before it read and saved.
    cached_bytes
        Decoded bytes that passes took from memory, where an earlier pass had left them.
    saved_bytes, saved_passes
        Decoded bytes that a run before this one asked, so that they need not be read again; whole passes that it made.
    warnings
        What a careful user should know, a sentence each.
    is_preparing
        Whether its passes stand before the run that was planned, for events.
    """

    reader: Reader | None
    workers: int = 1
    device: str = "cpu"
    projected_bytes: int = 0
    needs: int = 0
    notify: Callback = ignore_event
    saves: Saves | None = None
    seed: int = 0
    passes: int = 0
    bytes_read: int = 0
    cached_bytes: int = 0
    saved_bytes: int = 0
    saved_passes: int = 0
    warnings: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    start_s: float = field(default_factory=time.perf_counter)
    memory: MemoryMark = field(default_factory=mark_memory)
    is_preparing: bool = False

    def __call__(
        self,
        pass_: Pass[Any, P],
        purpose: str,
        *,
        reader: Reader | None = None,
        sink: Sink | None = None,
        name: str = "",
        is_saved: bool = True,
    ) -> P:
        """One pass: what it adds up over all that is read.

        Parameters
        ----------
        pass_, purpose
            What is added up, and what for, in events.
        reader
            What is read; that of the run if left out.
        sink
            Where finished rows go; then nothing of the pass is saved.
        name
            Under which nodes are saved; its purpose if left out.
        is_saved
            Whether they are, where there are saves.
        """
        reader = self.reader if reader is None else reader
        assert reader is not None
        self.passes += 1
        number, saves = self.passes, self.saves if sink is None and is_saved else None
        whole, cached = (f(reader.spans, pass_) for f in (reader.cost, reader.cached_bytes))
        self.notify(PassStarted(number, purpose, whole - cached, cached, self.is_preparing))
        began = time.perf_counter()
        done: dict[Node, Any] = {} if saves is None else saves.known_nodes(name or purpose)
        missing = missing_spans(reader.spans, done)
        cost, cached = (f(missing, pass_) for f in (reader.cost, reader.cached_bytes))
        work: Work[P] = Work(reader, pass_, self.device, self.id, sink)
        try:
            value: P = run_pass(
                work,
                done,
                GraphCallbacks(
                    lambda spans, of: self.notify(SpanDone(number, spans, of)),
                    None if saves is None else saves.keep_node,
                    lambda text: self.notify(SourceRemarked(text)),
                ),
                workers=self.workers,
                what=purpose if saves is not None else f"pass {number}",
                needs=self.needs,
            )
        except BaseException:
            self.halt()  # what is left of the pass must not write where its caller now cleans up
            raise
        self.bytes_read += cost - cached
        self.cached_bytes += cached
        self.saved_bytes += whole - cost
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))
        return value

    def once(
        self, name: str, pass_: Pass[Any, P], purpose: str = "", *, reader: Reader | None = None
    ) -> P:
        """The same, unless its result was saved under this name, which is its purpose too if none is given."""
        saves = self.saves
        if saves is not None and name in saves.values:
            value: P = saves.values[name]
            read = self.reader if reader is None else reader
            assert read is not None
            self.saved_bytes += read.cost(read.spans, pass_)
            self.saved_passes += 1
            return value
        value = self(pass_, purpose or name, name=name, reader=reader)
        self.keep(name, value)
        return value

    def in_order(self, purpose: str) -> Iterator[Block]:
        """Blocks of the whole matrix in their order, at home, for what depends on it.

        The next are read, decoded and checked meanwhile: by as many threads as there would be tasks, in their memory, or by the
        workers of a cluster.
        """
        reader = self.reader
        assert isinstance(reader, MatrixReader)
        whole, cost = (reader.spans[0][0], reader.spans[-1][1]), reader.cost(reader.spans, None)
        with self.at_home(purpose, cost) as progress, borrow_backend("cpu") as device:
            for block in self._blocks_in_order(reader, whole, device):
                yield block
                progress(block.first + block.n_rows, whole[1])
        self.bytes_read += cost

    def _blocks_in_order(
        self, reader: MatrixReader, whole: Span, device: Device
    ) -> Iterator[Block]:
        if active_client() is None:  # into buffers that are used again
            reader = replace(reader, readers=self.workers)
            yield from reader.blocks(whole, device, HomeTask(self.id))
            return
        panels = run_in_order(
            MatrixReader.read_panel, replace(reader, cache=None), reader.layout.panels(whole),
            at_once=self.workers, what=f"pass {self.passes}", needs=self.needs,
        )  # fmt: skip
        with closing(one_ahead(panels)) as coming:
            yield from reader.blocks_of(coming, whole, device)

    @contextmanager
    def at_home(
        self, purpose: str, cost: int, cached: int = 0
    ) -> Iterator[Callable[[int, int], None]]:
        """A pass that the caller makes at home, of so many bytes, of which some are cached.

        He tells how much of it is done, and adds the bytes read.
        """
        self.passes += 1
        number = self.passes
        self.notify(PassStarted(number, purpose, cost - cached, cached, self.is_preparing))
        began = time.perf_counter()
        yield lambda done, of: self.notify(SpanDone(number, done, of))
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))

    def keep(self, name: str, value: Any) -> None:
        """Save what was found under a name."""
        if self.saves is not None:
            self.saves.keep_value(name, value)

    def saved_value(self, name: str, otherwise: T) -> T:
        """What was saved under a name by a run that was killed; else what it is to begin with."""
        if self.saves is not None and name in self.saves.values:
            value: T = self.saves.values[name]
            return value
        return otherwise

    def halt(self) -> None:
        """Wait for what is left of a pass that was cut short: after that nothing is read or written."""
        stale, self.id = self.id, uuid.uuid4().hex
        stop(stale)

    def info(self, status: Status = Status.DONE, **facts: Any) -> Info:
        """The record of the run.

        Parameters
        ----------
        status
            How it ended.
        **facts
            Fields of `streamsvd.info.Info` that the verb knows better, or alone.
        """
        source: Any = getattr(self.reader, "source", None)
        record: dict[str, Any] = {
            "passes": float(self.passes + self.saved_passes),
            "bytes_read": self.bytes_read,
            "peak_bytes": peak_since(self.memory),
            "projected_bytes": self.projected_bytes,
            "elapsed_s": time.perf_counter() - self.start_s,
            "n_rows": source.shape[0] if hasattr(source, "shape") else 0,
            "seed": self.seed,
            "warnings": tuple(self.warnings),
        }
        record |= facts
        told = tuple(record["warnings"])
        of_workers = worker_warnings(active_client())
        record["warnings"] = (*told, *(text for text in of_workers if text not in told))
        return Info(status=status, **record)


@contextmanager
def running(
    schedule: Schedule,
    *,
    device: str = "cpu",
    notify: Callback = ignore_event,
    saves: Saves | None = None,
    seed: int = 0,
) -> Iterator[Run]:
    """A run over a scheduled matrix while it lasts; see `in_run`."""
    reader = replace(schedule.reader, cache=new_cache(schedule.is_cached))
    run = Run(
        reader, schedule.workers, device, schedule.projected_bytes, schedule.task_bytes, notify, saves, seed
    )  # fmt: skip
    with in_run(run):
        yield run


@contextmanager
def in_run(run: Run, *, width: int = 1) -> Iterator[None]:
    """What holds while a run lasts.

    Memory that is freed is used again, BLAS has one thread for dense steps of so narrow a ``width``, and what is to be known of
    the source is told. Whatever ends it early, no task is left that reads or writes; at its end the saves are removed, and
    what was cached is given back.
    """
    send_remarks(getattr(run.reader, "source", None), run.notify)
    with held_memory(), dense_threads(width):
        try:
            yield
        except BaseException:
            with defer_interrupts():
                run.halt()
            raise
        finally:
            cache = getattr(run.reader, "cache", None)
            if cache is not None:
                cache.clear()
    if run.saves is not None:
        run.saves.clear()

"""The task of a pass: read ahead, prepare, multiply, add; one span in, one partial sum out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import PanelBuffer, held_memory, panel_buffers
from streamsvd.engine.blas import in_one_thread
from streamsvd.engine.device import Device, thread_backend
from streamsvd.engine.layout import Layout
from streamsvd.errors import NonFiniteError, ScaleError, StreamSVDError
from streamsvd.numerics.blocks import Axis, BadEntry, OutOfScale
from streamsvd.numerics.columns import original_column
from streamsvd.numerics.passes import Fold, PassSums
from streamsvd.protocols import Source
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.typing import Matrix

cancelled_runs: set[str] = set()
"""Runs of this process that were interrupted; their spans stop at the next panel."""

STOP_SECONDS = 60
_running: Counter[str] = Counter()
_running_condition = threading.Condition()


@contextmanager
def _span_in_progress(run: str) -> Iterator[None]:
    with _running_condition:
        _running[run] += 1
    try:
        yield
    finally:
        with _running_condition:
            _running[run] -= 1
            _running_condition.notify_all()


def stop_run(run: str) -> None:
    """Cancel a run and wait for its spans in this process: after that none of them writes any more."""
    with defer_interrupts(), _running_condition:
        cancelled_runs.add(run)
        _running_condition.wait_for(lambda: _running[run] == 0, timeout=STOP_SECONDS)
        del _running[run]


class RunCancelled(StreamSVDError):
    """The run this span belongs to was interrupted."""


class Sink(Protocol):
    """Takes finished rows of a factor; writing the same rows twice is harmless."""

    def write(self, start: int, rows: Matrix, /) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class SpanWork:
    """All that a span needs: an address, a cut, a fold, and where to compute. Small, picklable."""

    source: Source
    layout: Layout
    fold: Fold
    device: str
    prefetch: bool
    run: str
    sink: Sink | None = None


def read_part(source: Source, axis: Axis, run: slice, other: slice, out: npt.NDArray[Any]) -> None:
    """Read a run of the streamed axis (and part of the other) into ``out``."""
    if axis == "rows":
        source.read(run, other, out)
    else:
        source.read(other, run, out)


@in_one_thread
def run_span(work: SpanWork, span: tuple[int, int]) -> PassSums:
    """Fold the panels of a span, from zero; a retry gives the same bits."""
    with _span_in_progress(work.run):
        return _run_span(work, span)


def _run_span(work: SpanWork, span: tuple[int, int]) -> PassSums:
    engine = thread_backend(work.device)
    try:
        with engine.computing(), held_memory():
            state = work.fold.init(engine)
            if work.layout.tile is not None:
                _fold_tiles(work, engine, span, state)
            else:
                _fold_panels(work, engine, span, state)
            return work.fold.close(state)
    except BadEntry as bad:
        chunk = work.source.locate(bad.row, bad.column)
        if bad.value.lstrip("-").isdigit():
            raise StreamSVDError(
                f"the integer {bad.value} at row {bad.row}, column {original_column(work.source, bad.column)} ({chunk}) is beyond 2**53, where "
                "float64 skips integers. Subtract an offset from the integers, or divide them, before."
            ) from None
        raise NonFiniteError(bad.value, bad.row, bad.column, chunk, NONFINITE_REMEDY) from None
    except OutOfScale as error:
        raise ScaleError(error.size) from None


NONFINITE_REMEDY = 'Pass nonfinite="zero", "mean" or "drop_columns" to treat NaN as missing; Inf is always an error.'


def _flush(work: SpanWork, state: Any) -> None:
    if work.sink is not None and state.pieces:
        start = state.pieces[0][0]
        work.sink.write(start, np.concatenate([rows for _, rows in state.pieces], axis=0))
        state.pieces.clear()


def _check_cancelled(work: SpanWork) -> None:
    if work.run in cancelled_runs:
        raise RunCancelled("interrupted")


def _fold_panels(work: SpanWork, engine: Device, span: tuple[int, int], state: Any) -> None:
    """Blocks of every panel, one after another."""
    rows_axis = work.layout.axis == "rows"
    for start, panel in _panels(work, engine, span):
        stop = start + panel.shape[0 if rows_axis else 1]
        there = engine.send(panel)
        for a, b in work.layout.blocks(start, stop):
            run = slice(a - start, b - start)
            work.fold.update(state, there[run, :] if rows_axis else there[:, run], a)
        del there
        engine.settle()
        _flush(work, state)


def _panels(
    work: SpanWork, engine: Device, span: tuple[int, int]
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Panels of a span with their first row; with prefetch, one reader thread stays one panel ahead."""
    layout, source = work.layout, work.source
    dtype = source.dtype
    size = layout.panel * layout.width * dtype.itemsize
    whole = slice(0, layout.width)

    def load(buffer: PanelBuffer, start: int, stop: int) -> npt.NDArray[Any]:
        _check_cancelled(work)
        rows = stop - start
        shape = (rows, layout.width) if layout.axis == "rows" else (layout.width, rows)
        out = buffer.array(shape, dtype)
        read_part(source, layout.axis, slice(start, stop), whole, out)
        return out

    if not work.prefetch or span[1] - span[0] <= layout.panel:  # nothing to read ahead
        with panel_buffers(1, size, engine.panel) as (only,):
            for start, stop in layout.panels(span):
                yield start, load(only, start, stop)
        return
    with (
        panel_buffers(2, size, engine.panel) as buffers,
        ThreadPoolExecutor(1, thread_name_prefix="streamsvd-read") as reader,
    ):
        pending = None
        for index, (start, stop) in enumerate(layout.panels(span)):
            following = (start, reader.submit(load, buffers[index % 2], start, stop))
            if pending is not None:
                yield pending[0], pending[1].result()
            pending = following
        if pending is not None:
            yield pending[0], pending[1].result()


def _fold_tiles(work: SpanWork, engine: Device, span: tuple[int, int], state: Any) -> None:
    """Two half-passes over each panel, a tile of columns at a time: twice the reads, a fraction of the memory."""
    layout, fold = work.layout, work.fold
    assert layout.tile is not None
    size = layout.panel * layout.tile * work.source.dtype.itemsize
    tiles = [
        slice(c, min(c + layout.tile, layout.width)) for c in range(0, layout.width, layout.tile)
    ]
    with panel_buffers(1, size, engine.panel) as (buffer,):
        for start, stop in layout.panels(span):
            sums: dict[int, list[Any]] = {}
            for columns, a, part in _tiles(work, engine, start, stop, buffer, tiles):
                Y = fold.forward(state, part, a, columns)
                sums[a] = [p + y for p, y in zip(sums[a], Y, strict=True)] if a in sums else Y
                state.block = None
            if fold.two_sided:
                for columns, a, part in _tiles(work, engine, start, stop, buffer, tiles):
                    fold.backward(state, part, a, columns, sums[a])
            else:
                for a, Y in sums.items():
                    fold.backward(state, None, a, tiles[0], Y)
            _flush(work, state)


def _tiles(
    work: SpanWork,
    engine: Device,
    start: int,
    stop: int,
    buffer: PanelBuffer,
    tiles: list[slice],
) -> Iterator[tuple[slice, int, Any]]:
    """Blocks of each tile of a panel: the tile's columns, the block's first row, its data on the device."""
    for columns in tiles:
        _check_cancelled(work)
        shape = (stop - start, columns.stop - columns.start)
        out = buffer.array(shape, work.source.dtype)
        work.source.read(slice(start, stop), columns, out)
        there = engine.send(out)
        for a, b in work.layout.blocks(start, stop):
            yield columns, a, there[a - start : b - start, :]
        engine.settle()

"""Blocks of rows of a stored matrix: read ahead, checked, and sent to where the pass computes.

This is the one place that makes blocks of a matrix. A panel is what is read at once, into one of two buffers that are used
again; while BLAS works on one, a thread reads and decodes the next into the other. Blocks are cut from panels. Their cut
depends on the matrix, its chunks and the options alone, so that sums over them are the same bits whatever the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from streamsvd.checks.sizes import check_size
from streamsvd.engine.allocator import PanelBuffer, panel_buffers
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.device import Device
from streamsvd.engine.layout import Layout, matrix_bytes
from streamsvd.engine.panel_cache import Panel, PanelCache
from streamsvd.engine.passes import Block, P, Pass, Pieces, S, Span, Task, TilePass
from streamsvd.engine.threads import ThreadPool
from streamsvd.errors import NonFiniteError, remedy_of
from streamsvd.numerics.blocks import Axis
from streamsvd.protocols import Source, SparseSource

T = TypeVar("T")

ROW_REMEDY = 'Mend or leave out the row, or pass nonfinite="zero", "mean" or "drop_columns".'


@dataclass(frozen=True, slots=True, eq=False)
class MatrixReader:
    """How a pass reads a matrix.

    Attributes
    ----------
    source, layout
        The matrix, and how it is cut.
    prefetch, readers
        Whether panels are read while blocks of this one are multiplied, and by how many threads, each a panel of its own.
    checks_entries
        Whether entries are checked as they are read: an error names the first that is NaN or Inf. Otherwise the pass itself
        looks, where its sums say that there is something to see.
    cache
        Where panels stay, so that the next pass reads none; None where the memory does not hold the matrix.
    """

    source: Source
    layout: Layout
    prefetch: bool = True
    checks_entries: bool = False
    cache: PanelCache | None = None
    readers: int = 1

    @property
    def spans(self) -> Sequence[Span]:
        """What tasks read; of a dask array, whole rows (or columns) of its chunks, which its own tasks compute."""
        if isinstance(self.source, DaskSource):
            return [(a, b) for a, b, _ in self.source.spans(self.layout.axis)]
        return self.layout.spans

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of a pass over these spans: whole chunks, also where a part is wanted."""
        layout, nbytes = self.layout, matrix_bytes(self.source, self.layout)
        if layout.tile is None or getattr(pass_, "two_sided", True):
            nbytes = int(nbytes * layout.amplification)
        return nbytes * sum(stop - start for start, stop in spans) // layout.length

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Of these, those that are in memory."""
        rows = sum(stop - start for start, stop in spans)
        if self.cache is None or rows == 0:
            return 0
        return self.cost(spans, pass_) * self.cache.rows(spans) // rows

    def is_cached(self, span: Span) -> bool:
        """Whether all of a span is in memory."""
        cache = self.cache
        return cache is not None and all(cache.get(run) for run in self.layout.panels(span))

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the blocks of a span, from zero."""
        state = pass_.init(device)
        if self.layout.tile is not None:
            self._run_tiles(cast(TilePass[S, P], pass_), state, span, device, task)
        else:
            along = 0 if self.layout.axis == "rows" or self.layout.stored is not None else 1
            ends = None if getattr(pass_, "in_bands", False) else self._panel_ends(span)
            for block in self.blocks(span, device, task):
                task.check()
                state = pass_.update(state, block)
                if task.sink is not None and (
                    ends is None or block.first + block.data.shape[along] in ends
                ):
                    flush(state, task)
        return pass_.close(state)

    def _panel_ends(self, span: Span) -> set[int] | None:
        """Where finished rows leave for a sink: whole panels, whose rows are whole chunks of what is written; None for any block."""
        return None if self.layout.even else {stop for _, stop in self.layout.panels(span)}

    def blocks(self, span: Span, device: Device, task: Task) -> Iterator[Block]:
        """Blocks of a span, in their order."""
        yield from self.blocks_of(self._panels(span, device, task), span, device)

    def blocks_of(
        self,
        panels: Iterable[tuple[int, npt.NDArray[Any], float | None]],
        span: Span,
        device: Device,
    ) -> Iterator[Block]:
        """The same of panels that were read, each with its first row and its largest entry."""
        if self.layout.even:
            yield from self._even(panels, span, device)
            return
        along_rows, whole = self.layout.axis == "rows", slice(0, self.layout.width)
        if self.layout.stored is not None:
            for start, panel, largest in panels:
                for a, b in self.layout.blocks(start, start + panel.shape[0]):
                    yield Block(a, whole, panel[a - start : b - start], largest)
            return
        for start, panel, largest in panels:
            stop = start + panel.shape[0 if along_rows else 1]
            there = device.send(panel)
            for a, b in self.layout.blocks(start, stop):
                run = slice(a - start, b - start)
                yield Block(a, whole, there[run, :] if along_rows else there[:, run], largest)
            del there
            device.settle()

    def _even(
        self,
        panels: Iterable[tuple[int, npt.NDArray[Any], float | None]],
        span: Span,
        device: Device,
    ) -> Iterator[Block]:
        """Blocks of the same height from the first row of the span on, whatever the chunks; the last may have fewer."""
        xp, height, whole = device.xp, self.layout.unit, slice(0, self.layout.width)
        first, waiting, count, largest = span[0], list[Any](), 0, 0.0
        for _, panel, size in panels:
            there, at = device.send(panel), 0
            largest = max(largest, size or 0.0)
            while count + panel.shape[0] - at >= height:
                end = at + height - count
                part = there[at:end, :]
                rows = xp.concat([*waiting, part]) if waiting else part
                yield Block(first, whole, rows, largest)
                first, waiting, count, at, largest = first + height, [], 0, end, size or 0.0
            if at < panel.shape[0]:
                waiting.append(xp.asarray(there[at:, :], copy=True))  # the panel is used again
                count += panel.shape[0] - at
            del there
            device.settle()
        if count:
            yield Block(
                first, whole, xp.concat(waiting) if len(waiting) > 1 else waiting[0], largest
            )

    def _panels(
        self, span: Span, device: Device, task: Task
    ) -> Iterator[tuple[int, npt.NDArray[Any], float | None]]:
        """Panels of a span with their first row and their largest entry; each reader thread stays one panel ahead."""
        layout, source, cache = self.layout, self.source, self.cache
        if layout.stored is not None:
            yield from self._sparse_panels(span, task)
            return
        dtype = source.dtype
        longest = max(stop - start for start, stop in (*layout.spans, span))
        size = min(layout.panel, longest) * layout.width * dtype.itemsize
        whole, runs = slice(0, layout.width), list(layout.panels(span))
        ahead = self.prefetch and not self.is_cached(span)
        slots = min(1 + self.readers, len(runs)) if ahead else 1

        def load(slot: int, start: int, stop: int) -> Panel:
            task.check()
            found = None if cache is None else cache.get((start, stop))
            if found is not None:
                return found
            rows = stop - start
            shape = (rows, layout.width) if layout.axis == "rows" else (layout.width, rows)
            nbytes = rows * layout.width * dtype.itemsize
            buffer = buffers[slot] if cache is None else cache.room(nbytes, device.panel)
            out = buffer.array(shape, dtype)
            read_part(source, layout.axis, slice(start, stop), whole, out)
            found = out, self.check(out, start) if self.checks_entries else None
            if cache is not None:
                cache.put((start, stop), found)
            return found

        with (
            panel_buffers(slots if cache is None else 0, size, device.panel) as buffers,
            closing(read_ahead(runs, load, slots)) as panels,
        ):
            for start, (panel, largest) in panels:
                yield start, panel, largest

    def _sparse_panels(self, span: Span, task: Task) -> Iterator[tuple[int, Any, float | None]]:
        """The same of rows without their zeros, each in memory of its own."""
        source, cache = cast(SparseSource, self.source), self.cache
        runs = list(self.layout.panels(span))
        ahead = self.prefetch and not self.is_cached(span)

        def load(slot: int, start: int, stop: int) -> Panel:
            del slot
            task.check()
            found = None if cache is None else cache.get((start, stop))
            if found is None:
                rows = source.read_sparse(slice(start, stop))
                found = rows, self.check_entries(rows, start) if self.checks_entries else None
                if cache is not None:
                    cache.put((start, stop), found)
            return found

        slots = min(1 + self.readers, len(runs)) if ahead else 1
        with closing(read_ahead(runs, load, slots)) as panels:
            for start, (panel, largest) in panels:
                yield start, panel, largest

    def read_panel(self, run: Span) -> tuple[int, npt.NDArray[Any], float | None]:
        """A panel in memory of its own, with its first row and its largest entry."""
        start, stop = run
        rows, layout = stop - start, self.layout
        shape = (rows, layout.width) if layout.axis == "rows" else (layout.width, rows)
        out = np.empty(shape, self.source.dtype)
        read_part(self.source, layout.axis, slice(start, stop), slice(0, layout.width), out)
        return start, out, self.check(out, start) if self.checks_entries else None

    def check(self, panel: npt.NDArray[Any], first: int) -> float:
        """Largest modulus of a panel's entries.

        Raises
        ------
        NonFiniteError
            If an entry is NaN or Inf; it names row and column.
        SpecError
            If squares of entries leave float64.
        """
        largest = check_size(panel, self.source.name)
        check_finite(self.source, panel, first)
        return largest

    def check_entries(self, rows: Any, first: int) -> float:
        """The same of rows without their zeros."""
        largest = check_size(rows.data, self.source.name) if rows.nnz else 0.0
        found = stored_place(rows, find_nonfinite(rows.data[None, :]))
        if found is not None:
            value, line, other = found
            at = (first + line, other) if self.layout.axis == "rows" else (other, first + line)
            chunk, remedy = self.source.locate(*at), remedy_of(value, ROW_REMEDY)
            raise NonFiniteError(value, *at, chunk, remedy)
        return largest

    def _run_tiles(
        self, pass_: TilePass[S, P], state: S, span: Span, device: Device, task: Task
    ) -> None:
        """Two half-passes over each panel, a tile of columns at a time: twice the reads, a fraction of the memory."""
        layout = self.layout
        assert layout.tile is not None
        size = layout.panel * layout.tile * self.source.dtype.itemsize
        tiles = [
            slice(c, min(c + layout.tile, layout.width))
            for c in range(0, layout.width, layout.tile)
        ]
        with panel_buffers(1, size, device.panel) as (buffer,):
            for start, stop in layout.panels(span):
                sums: dict[int, list[Any]] = {}
                for block in self._tiles(start, stop, buffer, tiles, device, task):
                    Y, a = pass_.forward(state, block), block.first
                    sums[a] = [p + y for p, y in zip(sums[a], Y, strict=True)] if a in sums else Y
                if pass_.two_sided:
                    for block in self._tiles(start, stop, buffer, tiles, device, task):
                        pass_.backward(state, block, sums[block.first])
                else:
                    for a, Y in sums.items():
                        pass_.backward(state, Block(a, tiles[0], None), Y)
                if task.sink is not None:
                    flush(state, task)

    def _tiles(
        self,
        start: int,
        stop: int,
        buffer: PanelBuffer,
        tiles: list[slice],
        device: Device,
        task: Task,
    ) -> Iterator[Block]:
        """Blocks of each tile of a panel."""
        for columns in tiles:
            task.check()
            shape = (stop - start, columns.stop - columns.start)
            out = buffer.array(shape, self.source.dtype)
            self.source.read(slice(start, stop), columns, out)
            there = device.send(out)
            for a, b in self.layout.blocks(start, stop):
                yield Block(a, columns, there[a - start : b - start, :])
            device.settle()


def read_ahead(
    runs: Iterable[Span], load: Callable[[int, int, int], T], slots: int
) -> Generator[tuple[int, T]]:
    """The start of each run and what was loaded of it, in order.

    ``load(slot, start, stop)`` may use the memory of a slot, a number below ``slots``: while what one holds is used, a thread
    for each of the others loads what follows. To be closed before that memory is given back: then nothing writes there.
    """
    if slots == 1:
        for start, stop in runs:
            yield start, load(0, start, stop)
        return
    pending: deque[tuple[int, Future[T]]] = deque()
    with ThreadPool(slots - 1, thread_name_prefix="streamsvd-read") as readers:
        for index, (start, stop) in enumerate(runs):
            pending.append((start, readers.submit(load, index % slots, start, stop)))
            if len(pending) == slots:
                first, found = pending.popleft()
                yield first, found.result()
        for first, found in pending:
            yield first, found.result()


def read_part(source: Source, axis: Axis, run: slice, other: slice, out: npt.NDArray[Any]) -> None:
    """Read a run of the streamed axis (and part of the other) into ``out``."""
    if axis == "rows":
        source.read(run, other, out)
    else:
        source.read(other, run, out)


def check_finite(source: Source, rows: npt.NDArray[Any], first: int) -> None:
    """Refuse rows, from number ``first`` on, with an entry that is NaN or Inf.

    Raises
    ------
    NonFiniteError
        It names row and column.
    """
    found = find_nonfinite(rows)
    if found is not None:
        value, i, column = found
        row = first + i
        raise NonFiniteError(
            value, row, column, source.locate(row, column), remedy_of(value, ROW_REMEDY)
        )


def find_nonfinite(
    rows: npt.NDArray[Any], *, nan_counts: bool = True
) -> tuple[str, int, int] | None:
    """The first entry that is NaN (where that counts) or Inf: which of the two, its row and its column; None without one."""
    if rows.dtype.kind in "iub":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(rows)):  # no memory, and no entry of a sum that is finite is not
            return None
    bad = ~np.isfinite(rows) if nan_counts else np.isinf(rows)
    if not bad.any():
        return None
    i, j = (int(k) for k in np.unravel_index(int(np.argmax(bad)), bad.shape))
    return ("NaN" if np.isnan(rows[i, j]) else "Inf"), i, j


def stored_place(rows: Any, found: tuple[str, int, int] | None) -> tuple[str, int, int] | None:
    """What was found among the stored entries of some rows, by row and column."""
    if found is None:
        return None
    value, _, at = found
    return value, int(np.searchsorted(rows.indptr, at, side="right")) - 1, int(rows.indices[at])


def flush(state: Any, task: Task) -> None:
    """Hand finished rows to the sink."""
    if task.sink is not None and isinstance(state, Pieces) and state.pieces:
        start = state.pieces[0][0]
        task.sink.write(start, np.concatenate([rows for _, rows in state.pieces], axis=0))
        state.pieces.clear()

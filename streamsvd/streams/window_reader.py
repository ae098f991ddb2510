"""Rows on their way into a stream: chunks in random order, mixed within the budget, or in the order in which they lie.

A window is what is in memory at once: some runs of rows, of which the next is read while this one is taken in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import PanelBuffer, panel_buffers
from streamsvd.engine.concurrency import at_once, concurrency
from streamsvd.engine.layout import Layout
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.ordered import WINDOW, run_in_order
from streamsvd.engine.panel_cache import PANEL_OVERHEAD, PanelCache
from streamsvd.engine.passes import Span, Task
from streamsvd.engine.reader import MatrixReader, check_finite, read_part
from streamsvd.engine.submit import active_client
from streamsvd.numerics import sketches as sketch
from streamsvd.protocols import Source

MAX_MIX = 16
"""Runs of rows that are mixed with one another, where the memory allows."""
PIECE_BYTES = 4 << 20
"""Rows handed on at once, about."""
FEW_CHUNKS = 256
USUAL_THREADS = 2
"""Threads for which reading, and further passes, are cut: the order of rows and sums are the same on any number of them."""
Array = npt.NDArray[Any]
ReadRuns = Callable[[dict[Span, Array]], None]
"""Fills the place of each run of rows."""


@dataclass(frozen=True, slots=True)
class WindowReader:
    """How the rows of a stored matrix are read.

    Attributes
    ----------
    source
        The matrix.
    unit
        Rows of a run that is read at once: a chunk, or a part of one that is too large.
    mix_count
        Runs whose rows are mixed with one another; 0 to take all rows in their order.
    ahead
        Whether the next runs are read while these are absorbed.
    seed
        Of the order.
    must_be_finite
        Whether an entry that is NaN or Inf is an error, which names it.
    is_cached, cache
        Whether runs that were read stay in memory for the next pass, and where.
    readers
        Threads of this process that read the runs of a window.
    """

    source: Source
    unit: int
    mix_count: int
    ahead: bool
    seed: int
    must_be_finite: bool = True
    is_cached: bool = False
    cache: PanelCache | None = None
    readers: int = USUAL_THREADS

    @property
    def matrix_reader(self) -> MatrixReader:
        """The engine's reader of the same runs, which knows what they cost."""
        m, n = self.source.shape
        chunk = min(self.source.chunks[0], m)
        layout = Layout("rows", m, n, chunk, self.unit, self.unit, ((0, m),))
        layout = replace(layout, spans=tuple(layout.panels((0, m))))
        return MatrixReader(self.source, layout, self.ahead, self.must_be_finite, self.cache)

    @property
    def runs_together(self) -> int:
        """Runs that are in memory together."""
        return max(1, self.mix_count)

    @property
    def n_windows(self) -> int:
        """Windows of a pass."""
        return -(-len(self.matrix_reader.layout.spans) // self.runs_together)

    @property
    def bytes_needed(self) -> int:
        """Upper bound of the memory that reading takes."""
        n = self.source.shape[1]
        windows = (2 if self.ahead else 1) * self._window_bytes
        readers = min(self.runs_together, self.readers)
        count = -(-self.source.shape[0] // self.unit)
        cached = self.source.nbytes + count * PANEL_OVERHEAD if self.is_cached else 0
        # Runs are read here, or come from workers: in pieces, and put together.
        reading = max(readers * self.source.read_bytes, 3 * self.unit_bytes)
        return windows + 2 * self.piece * n * 8 + reading + cached

    @property
    def worker_bytes(self) -> int:
        """Upper bound of what the tasks of a worker take, each a run, and runs that wait to be fetched."""
        task = BASE_BYTES + self.source.read_bytes + (1 + WINDOW) * self.unit_bytes
        return concurrency()[1] * task

    @property
    def unit_bytes(self) -> int:
        """Of a run, as it is stored in memory."""
        m, n = self.source.shape
        return min(self.unit, m) * n * self.source.dtype.itemsize

    @property
    def piece(self) -> int:
        """Rows handed on at once."""
        row = self.source.shape[1] * self.source.dtype.itemsize
        return max(64, min(PIECE_BYTES // max(row, 1), self.unit * self.runs_together))

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes of a pass: whole chunks, also where a part is wanted."""
        return self.bytes_from(0)[0]

    def bytes_from(self, begin: int) -> tuple[int, int]:
        """Those of the windows from ``begin`` on, and how many of them are in memory."""
        units = [unit for group in self._groups()[begin:] for unit in group]
        reader = self.matrix_reader
        return reader.cost(units, None), reader.cached_bytes(units, None)

    @property
    def _window_bytes(self) -> int:
        return self.runs_together * self.unit_bytes

    def _groups(self) -> list[list[Span]]:
        """Runs of each window."""
        units = list(self.matrix_reader.layout.spans)
        if self.mix_count:
            order = sketch.generator(self.seed, "sample", index=2).permutation(len(units))
            units = [units[i] for i in order]
        return [units[a : a + self.runs_together] for a in range(0, len(units), self.runs_together)]

    def windows(self, task: Task, begin: int = 0) -> Iterator[tuple[int, Iterator[Array]]]:
        """Number of each window from ``begin`` on, and its rows in pieces, mixed where asked.

        The memory of a window is used again for the next but one.

        Parameters
        ----------
        task
            Stops the reading when its run is cancelled.
        begin
            The first window.

        Raises
        ------
        NonFiniteError
            If an entry is NaN or Inf and that is checked: the first one of its window, by row and column.
        """
        groups = self._groups()[begin:]
        count = 2 if self.ahead else 1
        with (
            panel_buffers(count, self._window_bytes) as buffers,
            self._run_reader(groups, task) as read,
            at_once(1) as map_ahead,
        ):

            def load(number: int) -> Array:
                return self._load(buffers[number % count], groups[number], read)

            index = begin
            for rows in (map_ahead if self.ahead else map)(load, range(len(groups))):
                yield index, self._pieces(rows, index)
                index += 1

    def _load(self, buffer: PanelBuffer, units: list[Span], read: ReadRuns) -> Array:
        """The rows of a window, run after run."""
        n, ends = self.source.shape[1], np.cumsum([b - a for a, b in units])
        rows = buffer.array((int(ends[-1]), n), self.source.dtype)
        places = {
            (a, b): rows[end - (b - a) : end] for (a, b), end in zip(units, ends, strict=True)
        }
        read(places)
        return rows

    @contextmanager
    def _run_reader(self, groups: list[list[Span]], task: Task) -> Iterator[ReadRuns]:
        """Fills places with runs of rows: each by a thread of its own, or as they come, in their order, from a cluster."""
        if active_client() is None:
            with at_once(self.readers) as mapped:

                def read(places: dict[Span, Array]) -> None:
                    for _ in mapped(lambda run: self._fill(places[run], run, task), sorted(places)):
                        pass

                yield read
            return
        reader = replace(self, cache=None)
        runs = (run for group in groups for run in sorted(group))
        coming = run_in_order(
            WindowReader.read_run, reader, runs, at_once=concurrency()[1], what="the stream",
            needs=self.worker_bytes,
        )  # fmt: skip
        with closing(coming):

            def fetch(places: dict[Span, Array]) -> None:
                for run in sorted(places):
                    task.check()
                    places[run][...] = next(coming)

            yield fetch

    def read_run(self, run: Span) -> Array:
        """A run of rows in memory of its own, checked."""
        out = np.empty((run[1] - run[0], self.source.shape[1]), self.source.dtype)
        self._read_into(out, run)
        return out

    def _read_into(self, out: Array, run: Span) -> None:
        a, b = run
        read_part(self.source, "rows", slice(a, b), slice(0, out.shape[1]), out)
        if self.must_be_finite:
            check_finite(self.source, out, a)

    def _fill(self, out: Array, run: Span, task: Task) -> None:
        """Read a run, or find it in memory."""
        task.check()
        here = None if self.cache is None else self.cache.get(run)
        if here is not None:
            out[...] = here[0]
            return
        self._read_into(out, run)
        if self.cache is not None:
            room = self.cache.room(out.nbytes).array(out.shape, out.dtype)
            room[...] = out
            self.cache.put(run, (room, None))

    def _pieces(self, rows: Array, index: int) -> Iterator[Array]:
        if not self.mix_count:
            for a in range(0, rows.shape[0], self.piece):
                yield rows[a : a + self.piece]
            return
        order = sketch.generator(self.seed, "sample", index=3 + index).permutation(rows.shape[0])
        for a in range(0, rows.shape[0], self.piece):
            yield rows[order[a : a + self.piece]]

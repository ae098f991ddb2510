"""Rows on their way into a stream: chunks in random order, mixed within the budget, or in the order in which they lie.

A window is what is in memory at once: some runs of rows, of which the next is read while this one is taken in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import PanelBuffer, panel_buffers
from streamsvd.engine.concurrency import at_once, concurrency
from streamsvd.engine.layout import Layout
from streamsvd.engine.panel_cache import PANEL_OVERHEAD, PanelCache
from streamsvd.engine.passes import Span, Task
from streamsvd.engine.reader import MatrixReader, check_finite, read_part
from streamsvd.numerics import sketches as sketch
from streamsvd.protocols import Source

MAX_MIX = 16
"""Runs of rows that are mixed with one another, where the memory allows."""
PIECE_BYTES = 4 << 20
"""Rows handed on at once, about."""
FEW_CHUNKS = 256
Array = npt.NDArray[Any]


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
    """

    source: Source
    unit: int
    mix_count: int
    ahead: bool
    seed: int
    must_be_finite: bool = True
    is_cached: bool = False
    cache: PanelCache | None = None

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
        readers = min(self.runs_together, concurrency()[1])
        count = -(-self.source.shape[0] // self.unit)
        cached = self.source.nbytes + count * PANEL_OVERHEAD if self.is_cached else 0
        return windows + 2 * self.piece * n * 8 + readers * self.source.read_bytes + cached

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
        m, n = self.source.shape
        return self.runs_together * min(self.unit, m) * n * self.source.dtype.itemsize

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
            at_once() as map_units,
            at_once(1) as map_ahead,
        ):

            def load(number: int) -> Array:
                return self._load(buffers[number % count], groups[number], task, map_units)

            index = begin
            for rows in (map_ahead if self.ahead else map)(load, range(len(groups))):
                yield index, self._pieces(rows, index)
                index += 1

    def _load(self, buffer: PanelBuffer, units: list[Span], task: Task, mapped: Any) -> Array:
        """The rows of a window, run after run, each read by a thread of its own."""
        n, ends = self.source.shape[1], np.cumsum([b - a for a, b in units])
        rows = buffer.array((int(ends[-1]), n), self.source.dtype)

        def read(part: tuple[Span, int]) -> None:
            task.check()
            (a, b), end = part
            out = rows[end - (b - a) : end]
            here = None if self.cache is None else self.cache.get((a, b))
            if here is not None:
                out[...] = here[0]
                return
            read_part(self.source, "rows", slice(a, b), slice(0, n), out)
            if self.must_be_finite:
                check_finite(self.source, out, a)
            if self.cache is not None:
                room = self.cache.room(out.nbytes).array(out.shape, out.dtype)
                room[...] = out
                self.cache.put((a, b), (room, None))

        for _ in mapped(read, sorted(zip(units, ends, strict=True))):
            pass
        return rows

    def _pieces(self, rows: Array, index: int) -> Iterator[Array]:
        if not self.mix_count:
            for a in range(0, rows.shape[0], self.piece):
                yield rows[a : a + self.piece]
            return
        order = sketch.generator(self.seed, "sample", index=3 + index).permutation(rows.shape[0])
        for a in range(0, rows.shape[0], self.piece):
            yield rows[order[a : a + self.piece]]

"""Runs of rows, read within the memory, checked, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.engine.allocator import panel_buffers
from streamsvd.engine.device import Device
from streamsvd.engine.execute import concurrency
from streamsvd.engine.finite import finite_rows, largest_finite_modulus
from streamsvd.engine.memory import BASE_BYTES, default_budget, parse_bytes
from streamsvd.engine.submit import active_client
from streamsvd.engine.tree import Run, cut_runs
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

Array = Any
PIECE_BYTES = 4 << 20
"""Rows handed on at once, about."""
LEAST_UNIT = 64
MOST_RUNS = 64
RUN_BLOCKS = 4
"""Blocks of rows in a run, at least: joining two costs as much as taking in one more."""


@dataclass(frozen=True, slots=True)
class RowStream:
    """How rows are read.

    Attributes
    ----------
    source
        The matrix.
    unit
        Rows read at once: whole chunks, or a part of one that is too large.
    piece
        Rows converted at once.
    """

    source: Source
    unit: int
    piece: int

    def units(self, run: Run) -> Iterator[Run]:
        """Runs of rows that are read at once."""
        start, stop = run
        chunk = self.source.chunks[0]
        while start < stop:
            end = min(start + self.unit, stop)
            if self.unit < chunk:  # parts of a chunk: never across its end
                end = min(end, start + chunk - start % chunk)
            yield start, end
            start = end

    def blocks(self, run: Run) -> Iterator[tuple[int, Matrix]]:
        """Number of the first row and some rows, in their order.

        Raises
        ------
        NonFiniteError
            If an entry is NaN or Inf; it names row and column.
        SpecError
            If squares of entries leave float64.
        """
        n = self.source.shape[1]
        for start, end in self.units(run):
            raw = np.empty((end - start, n), dtype=self.source.dtype)
            self.source.read(slice(start, end), slice(0, n), raw)
            for a in range(0, end - start, self.piece):
                yield start + a, finite_rows(self.source, raw[a : a + self.piece], start + a)

    def device_blocks(
        self, run: Run, engine: Device, at_once: int
    ) -> Iterator[tuple[int, Array, float]]:
        """The same on a device, no more than so many rows, and a size that no entry exceeds; sent as stored, float64 there.

        Raises
        ------
        NonFiniteError, SpecError
            As of `blocks`.
        """
        n, dtype = self.source.shape[1], self.source.dtype
        with panel_buffers(1, self.unit * n * dtype.itemsize, engine.panel) as (buffer,):
            for start, end in self.units(run):
                raw = buffer.array((end - start, n), dtype)
                self.source.read(slice(start, end), slice(0, n), raw)
                size = largest_finite_modulus(self.source, raw, start)
                there = engine.send(raw)
                for a in range(0, end - start, at_once):
                    part = there[a : min(a + at_once, end - start), :]
                    yield start + a, engine.xp.astype(part, engine.xp.float64), size
                engine.settle()

    def even_blocks(self, run: Run, step: int) -> Iterator[tuple[int, Matrix]]:
        """The same in blocks of ``step`` rows, whatever the chunks; the last may have fewer."""
        first, waiting, held = run[0], list[Matrix](), 0
        for _, rows in self.blocks(run):
            waiting.append(rows)
            held += rows.shape[0]
            while held >= step:
                joined = np.concatenate(waiting)
                yield first, joined[:step]
                first, waiting, held = first + step, [joined[step:]], held - step
        if held:
            yield first, np.concatenate(waiting)


@dataclass(frozen=True, slots=True)
class RowSchedule:
    """How passes run within the memory.

    Attributes
    ----------
    rows
        How they are read.
    parts
        Runs of rows, each a task; they depend on the matrix, its chunks and the height of blocks alone.
    workers
        Tasks that run at once in this process.
    projected_bytes
        Upper bound of the memory.
    task_bytes
        Of these, what the tasks of a worker of a cluster take.
    """

    rows: RowStream
    parts: tuple[Run, ...]
    workers: int
    projected_bytes: int
    task_bytes: int = 0

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes that a pass asks of the store: whole chunks, also where a part is wanted."""
        source = self.rows.source
        chunk = min(source.chunks[0], source.shape[0])
        parts = -(-chunk // self.rows.unit) if self.rows.unit < chunk else 1
        return source.nbytes * parts

    def bytes_of(self, read: Sequence[Run]) -> int:
        """The share of some runs in those of a pass."""
        rows = sum(stop - start for start, stop in read)
        return self.pass_bytes * rows // self.rows.source.shape[0]


def plan_row_schedule(
    source: Source,
    height: int,
    allowed: int,
    *,
    work: Callable[[int], int],
    held: int = 0,
    found: int = 0,
    most: int = MOST_RUNS,
    what: str,
    remedy: str,
) -> RowSchedule:
    """As many tasks at once as the memory allows, reading whole chunks if it does.

    Parameters
    ----------
    source, height, allowed
        The matrix, rows of a block, and bytes.
    work
        Bytes that a task takes beside reading, of the rows converted at once.
    held, found
        Bytes that there are once, not in each task; and of what a task finds, as it waits to be joined.
    most
        Most runs.
    what, remedy
        For the message: what needs the memory, and what to pass instead of more of it.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    m, n = source.shape
    row = n * source.dtype.itemsize
    chunk = min(source.chunks[0], m)
    target = max(LEAST_UNIT, PIECE_BYTES // max(row, 1))
    unit = min(m, chunk * max(1, target // chunk))
    parts = cut_runs(source, RUN_BLOCKS * height, most)
    waiting = len(parts).bit_length()
    most = concurrency()[1]
    fewest = most if active_client() is not None else 1  # threads of a cluster are what they are
    tried = []
    while True:
        piece = max(1, min(unit, target))
        reading = unit * row + source.read_bytes + 2 * piece * n * 8
        for workers in range(min(most, len(parts)), min(fewest, len(parts)) - 1, -1):
            needed = BASE_BYTES + held + workers * (reading + work(piece))
            needed += found * (workers + waiting) if len(parts) > 1 else found
            if needed <= allowed:
                tasks = needed - held
                return RowSchedule(RowStream(source, unit, piece), parts, workers, needed, tasks)
            tried.append(needed)
        if unit <= LEAST_UNIT:
            break
        unit = max(LEAST_UNIT, unit // 2)
    raise BudgetError(
        f"{what} from {source.name}",
        min(tried),
        allowed,
        f"Pass memory={min(tried)} or more{remedy}.",
    )


def allowed_bytes(memory: int | float | str | None) -> int:
    """Bytes as the caller wrote them; half of what is free if he did not."""
    return default_budget() if memory is None else parse_bytes(memory)

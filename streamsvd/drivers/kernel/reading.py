"""Rows on their way into kernels: runs of them read within the memory, checked, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from streamsvd.drivers.model.size import check_size
from streamsvd.engine.execute import concurrency
from streamsvd.engine.memory import BASE_BYTES, parse_bytes
from streamsvd.engine.plan import default_budget
from streamsvd.engine.submit import active_client
from streamsvd.engine.tree import Run, runs
from streamsvd.errors import BudgetError, NonFiniteError
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

PIECE_BYTES = 4 << 20
"""Rows handed on at once, about."""
LEAST_UNIT = 64
MOST_RUNS = 64
RUN_BLOCKS = 4
"""Dictionaries' worth of rows in a run, at least: joining two costs as much as taking in one more."""


@dataclass(frozen=True, slots=True)
class Rows:
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

    def blocks(self, run: Run) -> Iterator[tuple[int, Matrix]]:
        """Number of the first row and some rows, in their order.

        Raises
        ------
        NonFiniteError
            If an entry is NaN or Inf; it names row and column.
        SpecError
            If squares of entries leave float64.
        """
        start, stop = run
        n, chunk = self.source.shape[1], self.source.chunks[0]
        while start < stop:
            end = min(start + self.unit, stop)
            if self.unit < chunk:  # parts of a chunk: never across its end
                end = min(end, start + chunk - start % chunk)
            raw = np.empty((end - start, n), dtype=self.source.dtype)
            self.source.read(slice(start, end), slice(0, n), raw)
            for a in range(0, end - start, self.piece):
                part = raw[a : a + self.piece]
                check_size(part, self.source.name)
                rows = part.astype(np.float64)
                self._check(rows, start + a)
                yield start + a, rows
            start = end

    def even(self, run: Run, step: int) -> Iterator[tuple[int, Matrix]]:
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

    def _check(self, rows: Matrix, first: int) -> None:
        bad = ~np.isfinite(rows)
        if bad.any():
            i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
            value = "NaN" if np.isnan(rows[i, j]) else "Inf"
            row, column = first + int(i), int(j)
            chunk = self.source.locate(row, column)
            raise NonFiniteError(value, row, column, chunk, "Mend or leave out the row.")


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How passes run within the memory.

    Attributes
    ----------
    rows
        How they are read.
    parts
        Runs of rows, each a task; they depend on the matrix, its chunks and the dictionary alone.
    workers
        Tasks that run at once in this process.
    projected_bytes
        Upper bound of the memory.
    """

    rows: Rows
    parts: tuple[Run, ...]
    workers: int
    projected_bytes: int

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes that a pass asks of the store: whole chunks, also where a part is wanted."""
        source = self.rows.source
        chunk = min(source.chunks[0], source.shape[0])
        parts = -(-chunk // self.rows.unit) if self.rows.unit < chunk else 1
        return source.nbytes * parts


def arranged(
    source: Source,
    budget: int,
    allowed: int,
    *,
    work: Callable[[int], int],
    held: int = 0,
    what: str,
) -> Arrangement:
    """As many tasks at once as the memory allows, reading whole chunks if it does.

    Parameters
    ----------
    source, budget, allowed
        The matrix, rows of a dictionary, and bytes.
    work
        Bytes that a task takes beside reading, of the rows converted at once.
    held
        Bytes that there are once, not in each task.
    what
        How the message calls it.

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
    parts = runs(source, RUN_BLOCKS * budget, MOST_RUNS)
    most = concurrency()[1]
    fewest = most if active_client() is not None else 1  # threads of a cluster are what they are
    tried = []
    while True:
        piece = max(1, min(unit, target))
        reading = unit * row + source.read_bytes + 2 * piece * n * 8
        for workers in range(min(most, len(parts)), min(fewest, len(parts)) - 1, -1):
            needed = BASE_BYTES + held + workers * (reading + work(piece))
            if needed <= allowed:
                return Arrangement(Rows(source, unit, piece), parts, workers, needed)
            tried.append(needed)
        if unit <= LEAST_UNIT:
            break
        unit = max(LEAST_UNIT, unit // 2)
    raise BudgetError(
        f"{what} from {source.name}",
        min(tried),
        allowed,
        f"Pass memory={min(tried)} or more, or fewer rows of the dictionary (budget, n_centres).",
    )


def allowed_bytes(memory: int | float | str | None) -> int:
    """Bytes as the caller wrote them; half of what is free if he did not."""
    return default_budget() if memory is None else parse_bytes(memory)

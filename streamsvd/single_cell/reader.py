"""Rows of a sparse matrix as they are stored, a run at a time, for passes that look at each entry once.

Runs and spans depend on the matrix alone, so that sums are the same bits on any number of threads and on any scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.device import Device
from streamsvd.engine.layout import span_limit
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.passes import Block, P, Pass, S, Span, Task
from streamsvd.engine.reader import read_ahead
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source, is_sparse

RUN_ENTRIES = 1 << 19
"""Entries of a run, about: what is made of them stays in a few tens of mebibytes."""
MOST_ROWS = 1 << 14
MOST_SPANS = 64
"""Spans as a rule."""
SPAN_RUNS = 4
"""Runs of a span at least."""
ENTRY_BYTES = 56
"""What the sums of an entry take beside it: value, square, what counts apart, and numbers of genes as wide as an address."""


@dataclass(frozen=True, slots=True, eq=False)
class EntryReader:
    """Runs of rows of a matrix, as ``csr_array``; of one that is stored with its zeros, without them.

    Attributes
    ----------
    source
        The matrix: sparse along rows, or dense.
    prefetch
        Whether a thread reads the next run meanwhile.
    """

    source: Source
    prefetch: bool = True

    @property
    def is_sparse(self) -> bool:
        """Whether only what is stored is read."""
        return is_sparse(self.source)

    @property
    def height(self) -> int:
        """Rows of a run; the last has fewer."""
        m, n = self.source.shape
        if not self.is_sparse:
            chunk = min(self.source.chunks[0], m)
            rows = max(1, min(MOST_ROWS, RUN_ENTRIES // n))
            return rows if rows < chunk else chunk * (rows // chunk)
        source: Any = self.source
        rows = MOST_ROWS
        while rows > 1 and source.most_entries(min(rows, m)) > RUN_ENTRIES:
            rows //= 2
        return min(rows, m)

    @property
    def most_entries(self) -> int:
        """Entries of a run at most."""
        source: Any = self.source
        rows = self.height
        return int(source.most_entries(rows)) if self.is_sparse else rows * source.shape[1]

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes of a pass."""
        source: Any = self.source
        return int(source.stored_bytes if self.is_sparse else source.nbytes)

    @property
    def spans(self) -> Sequence[Span]:
        """Runs of rows that a task reads each."""
        m, step = self.source.shape[0], self.height
        runs = -(-m // step)
        most = span_limit(MOST_SPANS, self.pass_bytes, 3 * 8 * self.source.shape[1])
        count = max(1, min(most, runs // SPAN_RUNS))
        edges = [min(m, step * round(i * runs / count)) for i in range(count + 1)]
        return tuple((a, b) for a, b in pairwise(edges) if a < b)

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of these rows."""
        del pass_
        return self.pass_bytes * sum(b - a for a, b in spans) // int(self.source.shape[0])

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None: nothing stays."""
        del spans, pass_
        return 0

    @property
    def run_bytes(self) -> int:
        """What one run takes as it is read."""
        source: Any = self.source
        entries, item = self.most_entries, int(source.dtype.itemsize)
        if not self.is_sparse:
            return int(source.read_bytes) + entries * (2 * item + 13)
        reading = getattr(source, "sparse_bytes", None)
        return int(2 * entries * (item + 8) if reading is None else reading(entries))

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the runs of a span, from zero."""
        state = pass_.init(device)
        for block in self._blocks(span, task):
            task.check()
            state = pass_.update(state, block)
        return pass_.close(state)

    def _blocks(self, span: Span, task: Task) -> Iterator[Block]:
        step, whole = self.height, slice(0, self.source.shape[1])
        runs = list(pairwise([*range(span[0], span[1], step), span[1]]))

        def load(slot: int, start: int, stop: int) -> Any:
            del slot
            task.check()
            return self._rows(start, stop)

        slots = 2 if self.prefetch and len(runs) > 1 else 1
        with closing(read_ahead(runs, load, slots)) as found:
            for start, rows in found:
                yield Block(start, whole, rows)

    def _rows(self, start: int, stop: int) -> Any:
        source: Any = self.source
        if self.is_sparse:
            return source.read_sparse(slice(start, stop))
        out: npt.NDArray[Any] = np.empty((stop - start, source.shape[1]), source.dtype)
        source.read(slice(start, stop), slice(0, source.shape[1]), out)
        return sparse.csr_array(out)


@dataclass(frozen=True, slots=True)
class EntrySchedule:
    """How a pass over entries runs within the memory.

    Attributes
    ----------
    reader
        What is read.
    workers
        Tasks at once in this process.
    projected_bytes, task_bytes
        Upper bound of the memory, and what of it the tasks of a worker take.
    """

    reader: EntryReader
    workers: int
    projected_bytes: int
    task_bytes: int


def schedule_entries(source: Source, allowed: int, *, kept: int, partial: int) -> EntrySchedule:
    """As many tasks at once as the memory allows.

    Parameters
    ----------
    source, allowed
        The matrix, and bytes.
    kept, partial
        Bytes that there are once, and what a task hands back.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    reader = EntryReader(source)
    spans = len(reader.spans)
    threads = concurrency()[1]
    fewest = threads if is_on_cluster() else 1
    waiting = spans.bit_length() if spans > 1 else 0
    tried = []
    for workers in range(min(threads, spans), min(fewest, spans) - 1, -1):
        for prefetch in (True, False):
            one = (2 if prefetch else 1) * reader.run_bytes + reader.most_entries * ENTRY_BYTES
            tasks = BASE_BYTES + workers * (one + 2 * partial) + waiting * partial
            if kept + tasks <= allowed:
                return EntrySchedule(EntryReader(source, prefetch), workers, kept + tasks, tasks)
            tried.append(kept + tasks)
    least = min(tried)
    raise BudgetError(f"counting {source.name}", least, allowed, f"Pass memory={least} or more.")

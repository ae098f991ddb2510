"""How passes over runs of rows fit the memory: as many tasks at once as it allows, reading whole chunks if it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from streamsvd.engine.budget import allowed_bytes as allowed_bytes
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.layout import Layout, matrix_bytes, span_limit
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.panel_cache import may_be_cached
from streamsvd.engine.passes import Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import innermost_source

PIECE_BYTES = 4 << 20
"""Rows read at once, about."""
LEAST_PANEL = 64
MOST_SPANS = 64
"""Spans as a rule."""
SPAN_BLOCKS = 4
"""Blocks of rows in a span, at least: joining two costs as much as taking in one more."""
MOST_REREADS = 8
"""Times that a matrix stored by columns (CSC) is read for one pass over its rows, at most: each panel of rows takes all of it."""
SAVE_COPIES = 4
"""Of what passes found, as it is saved: itself, its bytes, all of them in a row, and as the store takes them."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How passes run within the memory.

    Attributes
    ----------
    source, layout
        The matrix, and how it is cut: spans depend on the matrix, its chunks and the height of blocks alone.
    workers
        Tasks that run at once in this process.
    prefetch
        Whether each reads a panel ahead.
    projected_bytes
        Upper bound of the memory.
    task_bytes
        Of these, what the tasks of a worker of a cluster take.
    is_cached
        Whether what the first pass reads stays in memory for those that follow.
    shared_bytes, sum_bytes
        What there is once and tasks are given, at most; and what a task hands back.
    """

    source: Source
    layout: Layout
    workers: int
    prefetch: bool
    projected_bytes: int
    task_bytes: int = 0
    is_cached: bool = False
    shared_bytes: int = 0
    sum_bytes: int = 0

    @property
    def reader(self) -> MatrixReader:
        """Blocks for a pass; what is not finite is an error."""
        return MatrixReader(self.source, self.layout, self.prefetch, checks_entries=True)

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes that a pass asks of the store."""
        return int(matrix_bytes(self.source, self.layout) * self.layout.amplification)


def row_spans(source: Source, rows: int, most: int) -> tuple[Span, ...]:
    """First and last row (exclusive) of runs of about ``rows`` rows, no more than ``most``, cut where chunks are."""
    m, chunk = source.shape[0], min(source.chunks[0], source.shape[0])
    chunks = -(-m // chunk)
    count = max(1, min(most, m // max(rows, 1), chunks))
    edges = [min(m, chunk * round(i * chunks / count)) for i in range(count + 1)]
    return tuple((a, b) for a, b in pairwise(edges) if a < b)


def least_rows(source: Source) -> int:
    """Rows that are read at once, at least: of CSC so many that a pass reads it no more than `MOST_REREADS` times."""
    stored = innermost_source(source)
    if is_sparse(stored) and stored.sparse_axis == "columns":
        return -(-source.shape[0] // MOST_REREADS)
    return 1


def by_columns_note(source: Source) -> str:
    """What else to do where the memory does not hold as many rows of CSC."""
    if least_rows(source) == 1:
        return ""
    return f". It is stored by columns (CSC), so that no fewer than {least_rows(source):,} rows are read at once; of CSR, fewer are"


def schedule_rows(
    source: Source,
    height: int,
    allowed: int,
    *,
    work: Callable[[int], int],
    shared: int = 0,
    partial: int = 0,
    saved: int = 0,
    most: int = MOST_SPANS,
    passes: int = 1,
    what: str,
    remedy: str,
) -> Schedule:
    """As many tasks at once as the memory allows, reading whole chunks if it does.

    Parameters
    ----------
    source, height, allowed
        The matrix, rows of a block, and bytes.
    work
        Bytes that a task takes beside reading, of the rows in a block.
    shared, partial
        Bytes that there are once, not in each task; and of what a task hands back, as it waits to be joined.
    saved
        Of these, what a save holds, and as much of a pass that is over; 0 where nothing is saved.
    most
        Most spans, but of huge matrices; see `span_limit`.
    passes
        Reads of the matrix: of more than one, all but the first look into memory where the matrix fits into what is left.
    what, remedy
        For the message: what needs the memory, and what to pass instead of more of it.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    m, n = source.shape
    row = n * source.dtype.itemsize
    chunk, height = min(source.chunks[0], m), max(1, min(height, m))
    target = max(LEAST_PANEL, PIECE_BYTES // max(row, 1))
    panel = min(m, chunk * max(1, target // chunk))
    most = span_limit(most, source.nbytes, partial)
    spans = row_spans(source, SPAN_BLOCKS * height, most)
    longest = max(b - a for a, b in spans)
    waiting = len(spans).bit_length()
    least = max(LEAST_PANEL, least_rows(source))
    threads = concurrency()[1]
    fewest = threads if is_on_cluster() else 1  # threads of a cluster are what they are
    tried = []
    while True:
        layout = Layout("rows", m, n, chunk, height, panel, spans, even=True)
        # a block in float64, one as it is put together of panels, and what of a panel waits for the next
        block = height * (8 * n + 2 * row)
        for workers in range(min(threads, len(spans)), min(fewest, len(spans)) - 1, -1):
            for prefetch in (True, False) if longest > panel else (False,):
                panels = 2 if prefetch else 1
                reading = panels * (min(panel, longest) * row + source.read_bytes) + block
                needed = BASE_BYTES + shared + workers * (reading + work(height))
                handed = workers + waiting if len(spans) > 1 else 1
                tasks = needed - shared + partial * handed
                needed = shared + tasks + SAVE_COPIES * saved * (handed + 1)
                if needed <= allowed:
                    found = Schedule(
                        source, layout, workers, prefetch, needed, tasks, shared_bytes=shared, sum_bytes=partial
                    )  # fmt: skip
                    spared = (
                        workers * panels * min(panel, longest) * row
                    )  # panels stay where they are read
                    cached = needed - spared + source.nbytes
                    if passes > 1 and cached <= allowed and may_be_cached(source):
                        found = replace(found, is_cached=True, projected_bytes=cached)
                    return found
                tried.append(needed)
        if panel <= least:
            break
        panel = max(least, panel // 2)
    raise BudgetError(
        f"{what} from {source.name}",
        min(tried),
        allowed,
        f"Pass memory={min(tried)} or more{remedy}{by_columns_note(source)}.",
    )

"""How a graph is read within the memory: as many columns of its embedding at once as fit, for each of which steps are reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from streamsvd.checks.real import check_real
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.layout import Layout, span_limit, with_stored_entries
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.passes import Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.run_plan import RunPlan
from streamsvd.errors import BudgetError, ShapeError, SpecError
from streamsvd.graphs.mathematics.powers import PART, ROWS_AT_ONCE
from streamsvd.graphs.options import EmbedOptions
from streamsvd.protocols import Source, SparseSource, is_sparse

BLOCK_ENTRIES = 1 << 19
"""Stored entries, and numbers of a product, that a task has at once, about."""
SPAN_BYTES = 4 << 20
LEAST_SPANS, MOST_SPANS = 8, 64
"""Tasks of a pass: at least so many bytes each where there are more than the first number, as a rule no more than the second."""
WRITTEN_COPIES = 4
"""Of a chunk of what is written, in the hands of the store."""
CHUNK_ROWS = 1 << 16
"""Rows of a chunk of what is written."""


@dataclass(frozen=True, slots=True)
class GraphSchedule:
    """How passes over a graph run.

    Attributes
    ----------
    source, spans, height
        The graph, what tasks read, and rows that are read at once.
    workers, prefetch
        Tasks at once in this process, and whether each reads ahead.
    width
        Columns of the embedding that are made at once.
    projected_bytes, task_bytes
        Upper bound of the memory, and what of it the tasks of a worker of a cluster take.
    passes
        Reads of the graph.
    """

    source: Source
    spans: tuple[Span, ...]
    height: int
    workers: int
    prefetch: bool
    width: int
    projected_bytes: int
    task_bytes: int
    passes: int

    @property
    def reader(self) -> MatrixReader:
        """What passes read: what is added up of a row depends on it alone, so that runs are cut by the memory."""
        n = self.source.shape[0]
        layout = Layout("rows", n, n, 1, self.height, self.height, self.spans)
        if is_sparse(self.source):
            layout = with_stored_entries(layout, cast(SparseSource, self.source))
        return MatrixReader(self.source, layout, self.prefetch)


def graph_bytes(source: Any) -> int:
    """Decoded bytes of one read of a graph."""
    return int(source.stored_bytes if is_sparse(source) else source.nbytes)


def check_graph(source: Source) -> None:
    """Refuse what is no graph that can be read by rows.

    Raises
    ------
    ShapeError
        If it is not square.
    SpecError
        If it is complex, compressed along columns, or a dask array.
    """
    check_real(source)
    m, n = source.shape
    if m != n:
        raise ShapeError(
            f"{source.name} has {m:,} rows and {n:,} columns, and a graph has a row and a column for each node. Pass its square "
            "adjacency matrix."
        )
    if isinstance(source, DaskSource):
        raise SpecError(
            f"{source.name} is computed by tasks of its own, and a graph is read many times. Write it to a store first, with "
            "streamsvd.convert, or pass a matrix of scipy."
        )
    if is_sparse(source) and getattr(source, "sparse_axis", "rows") != "rows":
        raise SpecError(
            f"{source.name} is compressed along its columns, and edges are followed from the rows. Pass A.T of an undirected graph, "
            "which is the same and compressed along rows; of a directed one A.tocsr(), or convert it."
        )


def schedule_embedding(
    source: Source, options: EmbedOptions, allowed: int, *, written: bool
) -> GraphSchedule:
    """As many columns at once as the memory allows, then as many tasks.

    Parameters
    ----------
    source, options, allowed
        The graph, what is asked, and bytes.
    written
        Whether the embedding is written, and not kept in memory.

    Raises
    ------
    BudgetError
        If not even one column fits; it names the least memory that works.
    """
    check_graph(source)
    threads = concurrency()[1]
    spans = node_spans(source)
    fewest = min(threads, len(spans)) if is_on_cluster() else 1
    tried, fits = [], []
    for workers in range(min(threads, len(spans)), fewest - 1, -1):
        for prefetch in (True, False):
            widths = _widths(options.dim)
            for width in widths:
                height = block_height(source, width)
                tasks = workers * task_bytes(source, height, width, options, prefetch=prefetch)
                needed, home = _total_bytes(source, options, width, tasks, written=written)
                if needed <= allowed:
                    passes = count_passes(options, width)
                    fits.append(
                        GraphSchedule(
                            source,
                            spans,
                            height,
                            workers,
                            prefetch,
                            width,
                            needed,
                            needed - home,
                            passes,
                        )
                    )
                    break
                tried.append(needed)
    if fits:
        return min(fits, key=lambda found: found.passes)  # of equals the first: most workers
    least = min(tried)
    n = source.shape[0]
    raise BudgetError(
        f"an embedding of the {n:,} nodes of {source.name}, one of its {options.dim} columns at a time,", least, allowed,
        f"Pass memory={least} or more{'' if written else ', or out= to write it instead of keeping it'}.",
    )  # fmt: skip


def schedule_degrees(source: Source, allowed: int) -> GraphSchedule:
    """As many tasks at once as the memory allows, for one read that finds a number of each node.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    threads, spans = concurrency()[1], node_spans(source)
    height, tried = block_height(source, 1), []
    fewest = min(threads, len(spans)) if is_on_cluster() else 1
    for workers in range(min(threads, len(spans)), fewest - 1, -1):
        for prefetch in (True, False):
            tasks = BASE_BYTES + workers * task_bytes(source, height, 1, None, prefetch=prefetch)
            needed = tasks + 3 * 8 * source.shape[0]
            if needed <= allowed:
                return GraphSchedule(source, spans, height, workers, prefetch, 1, needed, tasks, 1)
            tried.append(needed)
    least = min(tried)
    raise BudgetError(
        f"degrees of the {source.shape[0]:,} nodes of {source.name}",
        least,
        allowed,
        f"Pass memory={least} or more.",
    )


def count_passes(options: EmbedOptions, width: int) -> int:
    """Reads of the graph: one for degrees, and one a step for each run of columns, twice where norms of rows come first."""
    slabs = -(-options.dim // width)
    return 1 + slabs * options.powers * (2 if options.normalize and slabs > 1 else 1)


def _widths(dim: int) -> list[int]:
    """Columns at once, largest first: those of 1, 2, 3, ... equal runs."""
    return sorted({-(-dim // slabs) for slabs in range(1, dim + 1)}, reverse=True)


def node_spans(source: Source) -> tuple[Span, ...]:
    """Runs of rows that are tasks, about equally many rows."""
    n, nbytes = source.shape[0], graph_bytes(source)
    count = max(LEAST_SPANS, min(nbytes // SPAN_BYTES, span_limit(MOST_SPANS, nbytes, 0)))
    count = min(n, count)
    edges = [n * i // count for i in range(count + 1)]
    return tuple(pairwise(edges))


def block_height(source: Any, width: int) -> int:
    """Rows that are read at once: so many that neither their entries nor their products are too many; one at least."""
    n = source.shape[0]
    height = max(1, min(int(n), BLOCK_ENTRIES // max(width, 1)))
    while height > 1 and _entries(source, height) > BLOCK_ENTRIES:
        height = -(-height // 2)
    return height


def _entries(source: Any, height: int) -> int:
    """At most so many entries have so many rows."""
    return int(source.most_entries(height)) if is_sparse(source) else height * source.shape[1]


def task_bytes(
    source: Any, height: int, width: int, options: EmbedOptions | None, *, prefetch: bool
) -> int:
    """Of one task: rows as stored and turned, their weights in double precision, and what is found of them."""
    entries, prefetched = _entries(source, height), 1 if prefetch else 0
    stored = entries * (int(source.dtype.itemsize) + 8) + 8 * height
    if is_sparse(source):
        reading = int(source.sparse_bytes(entries)) + prefetched * stored
    else:
        dense = height * int(source.shape[1]) * int(source.dtype.itemsize)
        reading = int(source.read_bytes) + (1 + prefetched) * (stored + dense)
    item = 8 if options is None else options.itemsize
    weights = entries * (8 + 8 + 8 + item) if options is not None else 10 * 8 * entries
    parts = 0 if entries < PART else (height + entries // PART) * width
    return reading + weights + 2 * height * width * item + parts * (item + 8)


def _total_bytes(
    source: Source, options: EmbedOptions, width: int, tasks: int, *, written: bool
) -> tuple[int, int]:
    """All of it, and what of it is at home alone.

    Degrees and their factors, squares of norms; what steps begin with and what they find; the sum of steps, or the whole
    embedding where it is kept; a run of random numbers; and a chunk on its way to the store.
    """
    n, item = source.shape[0], options.itemsize
    thin = n * width * item
    vectors = 3 * 8 * n + (8 * n * options.powers if options.normalize else 0)
    random = ROWS_AT_ONCE * width * 8 * 6
    kept = (
        thin + WRITTEN_COPIES * min(n, CHUNK_ROWS) * width * item
        if written
        else n * options.dim * item
    )
    home = vectors + random + kept
    return BASE_BYTES + home + 2 * thin + tasks, home


def plan_of(verb: str, schedule: GraphSchedule, options: EmbedOptions, budget: int) -> RunPlan:
    """What an embedding will read and need."""
    slabs = -(-options.dim // schedule.width)
    n, item = schedule.source.shape[0], options.itemsize
    columns = "all columns at once" if slabs == 1 else f"{slabs} runs of {schedule.width} columns"
    steps = f"{options.powers} step{'s' if options.powers > 1 else ''}"
    twice = " twice, for norms of rows first" if options.normalize and slabs > 1 else ""
    return RunPlan(
        verb, schedule.source.name, options, schedule.passes, graph_bytes(schedule.source), schedule.workers, len(schedule.spans),
        schedule.projected_bytes, budget, (f"one read for degrees, then {steps} for {columns}{twice}",),
        task_bytes=schedule.task_bytes, operand_bytes=n * schedule.width * item,
        sum_bytes=n * schedule.width * item // len(schedule.spans),
    )  # fmt: skip

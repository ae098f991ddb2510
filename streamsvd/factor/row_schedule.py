"""How a pass that makes a row of each row runs within the memory: panels of rows, or tiles of columns where they do not fit.

Blocks, spans and tiles depend on the matrix and on what one task takes, never on how many there are: rows are the same bits on
any number of threads. What is written is cut into chunks that one task owns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from streamsvd.engine import memory
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.layout import (
    Layout,
    cut_axis,
    cut_stored_axis,
    has_few_entries,
    index_bytes,
    row_entries,
    span_count,
    with_stored_entries,
)
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.schedule import Schedule
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source, SparseSource
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.objects.reader import ReaderSource

PANEL_BYTES = 8 << 20
"""Rows read at once, about."""
BAND_BYTES = 1 << 20
MOST_BAND_BYTES = 8 << 20
"""A chunk of what is written: at least about the first, where the matrix has so many rows, and at most the second."""
LEAST_SPANS = 8
MOST_DECODED = 8
"""Times that a chunk is decoded, about, where the memory does not hold what one task reads at once."""
ROW_ITEMS = 1 << 18
"""Entries of a block, about: few enough that a copy of it stays in the cache until it is multiplied."""


@dataclass(frozen=True, slots=True)
class RowWork:
    """What a pass makes of each row.

    Attributes
    ----------
    thin, width
        Columns of what a row is multiplied with, and entries of what is made of it.
    item, wide
        Bytes of an entry of what is made, and of one in double precision.
    entry
        Bytes that preparing an entry takes.
    written
        Whether rows are written, or kept until the end.
    may_tile
        Whether columns may be read in tiles.
    what, remedy
        For messages.
    gives_back
        Whether products are multiplied once more, for rows that are given back.
    """

    thin: int
    width: int
    item: int
    wide: int
    entry: int
    written: bool
    may_tile: bool
    what: str
    remedy: str = ""
    gives_back: bool = False


@dataclass(frozen=True, slots=True)
class RowSchedule:
    """How the pass runs, and the rows and columns of a chunk of what is written."""

    schedule: Schedule
    chunks: tuple[int, int]


def schedule_row_pass(source: Source, work: RowWork, allowed: int) -> RowSchedule:
    """As many tasks at once as the memory allows.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    m, n = source.shape
    chunk = min(source.chunks[0], m)
    spans = max(LEAST_SPANS, span_count(m, source.nbytes))
    # rows that are handed on as they are have all their entries
    if work.thin and has_few_entries(source, "rows", single=work.item <= 4):
        sparse = cast(SparseSource, source)
        row = row_entries(sparse)
        items = max(1, ROW_ITEMS * row // max(row, work.width, work.thin))
        base = cut_stored_axis(sparse, items=items, spans=spans)
    else:
        items = max(1, ROW_ITEMS * n // max(n, work.width, work.thin))
        base = cut_axis("rows", m, n, chunk, items=items, spans=spans)
    band = band_rows(base, work, fixed=chunk if isinstance(source, DaskSource) else None)
    base = replace(base, spans=_spans(base, band, source))
    threads = concurrency()[1]
    fewest = threads if is_on_cluster() else 1
    tried = []
    for layout in _layouts(base, source, may_tile=work.may_tile):
        for workers in range(
            min(threads, len(layout.spans)), min(fewest, len(layout.spans)) - 1, -1
        ):
            for prefetch in (True, False) if layout.tile is None else (False,):
                tasks = workers * _task_bytes(layout, source, work, band, prefetch=prefetch)
                tasks += _fixed_bytes(source)
                needed = tasks + _shared_bytes(layout, work)
                if needed <= allowed:
                    found = Schedule(source, layout, workers, prefetch, needed, tasks)
                    return RowSchedule(found, (band, _chunk_columns(band, work)))
                tried.append(needed)
    least = min(tried)
    raise BudgetError(
        f"{work.what} of {source.name} ({m:,} x {n:,} {source.dtype})", least, allowed,
        f"Pass memory={least} or more{work.remedy}.",
    )  # fmt: skip


def band_rows(layout: Layout, work: RowWork, fixed: int | None = None) -> int:
    """Rows of a chunk of what is written; those of a dask array are, or divide, those of its chunks."""
    if not work.written:
        return 1
    row = work.width * work.item
    if fixed is not None:
        most = max(1, min(fixed, MOST_BAND_BYTES // row))
        return next(rows for rows in range(most, 0, -1) if fixed % rows == 0)
    grain = min(layout.grain, layout.length)
    if grain * row > MOST_BAND_BYTES:
        return max(1, min(MOST_BAND_BYTES // row, grain))
    share = max(1, layout.length // (grain * LEAST_SPANS))
    return min(layout.length, grain * min(max(1, BAND_BYTES // (grain * row)), share))


def _spans(layout: Layout, band: int, source: Source) -> tuple[tuple[int, int], ...]:
    """About as many spans as the layout has, cut where bands end, and chunks where they are longer."""
    m, step = layout.length, max(band, layout.grain if band == 1 else band)
    if isinstance(source, DaskSource):
        return tuple((a, b) for a, b, _ in source.spans("rows"))
    bands = -(-m // step)
    count = min(len(layout.spans), bands)
    edges = [min(m, step * round(i * bands / count)) for i in range(count + 1)]
    return tuple((a, b) for a, b in pairwise(edges) if a < b)


def _layouts(base: Layout, source: Source, *, may_tile: bool) -> Iterator[Layout]:
    """Larger and smaller panels, then tiles of columns, then parts of chunks, which are decoded several times."""
    if base.stored is not None:
        sparse = cast(SparseSource, source)
        row = row_entries(sparse) * (source.dtype.itemsize + index_bytes(sparse))
        several = max(1, min(PANEL_BYTES // max(1, row * base.unit), -(-base.length // base.unit)))
        for count in dict.fromkeys((several, 1)):
            yield with_stored_entries(replace(base, panel=base.unit * count), sparse)
        return
    row = base.width * source.dtype.itemsize
    most = -(-max(b - a for a, b in base.spans) // base.grain)
    several = max(1, min(PANEL_BYTES // max(1, row * base.grain), -(-most // 2)))
    tile = source.chunks[1] if may_tile and source.chunks[1] < base.width else None
    for count in dict.fromkeys((several, 2, 1)):
        if count <= several:
            yield replace(base, panel=base.grain * count)
    if tile is not None:
        yield replace(base, panel=base.grain, tile=tile)
    panel = base.grain
    while panel > base.unit and base.grain < MOST_DECODED * panel:
        panel = max(base.unit, -(-panel // (2 * base.unit)) * base.unit)
        yield replace(base, panel=panel)
    if tile is not None and panel < base.grain:
        yield replace(base, panel=panel, tile=tile)


def _task_bytes(layout: Layout, source: Source, work: RowWork, band: int, *, prefetch: bool) -> int:
    """One task: panels, a read, a prepared block, the thin block, and rows on their way out."""
    columns = layout.tile or layout.width
    longest = max(b - a for a, b in layout.spans)
    panel = min(layout.panel, longest)
    panels = 2 if prefetch and longest > layout.panel else 1
    unit = min(layout.unit, panel)
    if (
        layout.stored is not None
    ):  # a panel, what it is cut and put in order from, and a block in another type
        sparse, (most, _) = cast(SparseSource, source), layout.stored
        item, index = source.dtype.itemsize, index_bytes(sparse)
        reading = panels * (most * (item + index) + 8 * panel) + sparse.sparse_bytes(most)
        block, packed = layout.stored[1] * (work.entry + item + 2 * index), 0
    else:
        reading = panels * panel * columns * source.dtype.itemsize + source.read_bytes
        block = unit * columns * work.entry
        packed = max(unit, columns) * min(memory.DEPTH, unit, columns) * work.wide
    sums = (3 * unit + (panel if layout.tile is not None else 0)) * work.thin * work.wide
    made = 3 * unit * work.width * max(work.wide, work.item)
    leaving = 0
    if work.written:  # waiting, joined, left over, and as the store takes them
        rows = band + (unit if layout.tile is None else panel)
        leaving = (2 + memory.WRITTEN_COPIES) * rows * work.width * work.item
    thin = layout.width * (work.thin + 4) * work.wide
    return reading + block + packed + sums + made + leaving + thin


def _shared_bytes(layout: Layout, work: RowWork) -> int:
    """What there is once: the thin block and what is given back by, and rows that are kept, joined at the end."""
    thin, back = 2 * layout.width * work.thin, work.thin if work.gives_back else 0
    once = (thin + (back + 2) * work.width) * work.wide
    kept = 0 if work.written else 2 * layout.length * work.width * work.item
    return once + kept


def _fixed_bytes(source: Source) -> int:
    inner = innermost_source(source)
    foreign = memory.FOREIGN_BYTES if isinstance(inner, DaskSource | ReaderSource) else 0
    return memory.BASE_BYTES + foreign


def _chunk_columns(band: int, work: RowWork) -> int:
    """Columns of a chunk of what is written."""
    return max(1, min(work.width, MOST_BAND_BYTES // (band * work.item)))

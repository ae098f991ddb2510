"""How a matrix is read once and written in chunks of rows, within the memory.

Chunks that hold whole rows, or rows of chunks that fit, are read in panels of which each is some chunks of what is written: one read
and one write. Where a row of chunks does not fit, as of a matrix stored by columns, a panel is a tile of some columns, so that each
chunk is still read once; tiles go to files, laid out so that what becomes a chunk of rows lies together, and are read from there:
two reads and two writes, whatever the memory. Reading the matrix once for each run of rows that fits would be as many reads as runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.conversion.options import ConvertOptions
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.layout import Layout
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES, FOREIGN_BYTES, MIB
from streamsvd.engine.passes import Span
from streamsvd.engine.reader import MatrixReader
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source
from streamsvd.store.sources.border import strips

MOST_CHUNK_BYTES = 64 << 20
MOST_PANEL_BYTES = 64 << 20
"""Of rows that are read at once, where chunks allow."""
MOST_READS = 8
"""Times that a chunk of whole rows is read, where the memory holds a part of it only."""
READ_BYTES = 2 * MIB
"""Of reading tiles from a file."""
WRITE_BYTES = 2 * MIB
"""Of writing a chunk: its file, zeros behind the last row."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How one pass reads.

    Attributes
    ----------
    layout
        Its cut.
    workers, prefetch
        Tasks at once, and whether each reads a panel ahead.
    needed
        Upper bound of the memory.
    """

    layout: Layout
    workers: int
    prefetch: bool
    needed: int

    def reader(self, source: Source, spans: Sequence[Span]) -> MatrixReader:
        """Blocks of some of the matrix."""
        return MatrixReader(source, replace(self.layout, spans=tuple(spans)), self.prefetch)


@dataclass(frozen=True, slots=True)
class ConversionPlan:
    """How a matrix becomes chunks of rows.

    Attributes
    ----------
    source
        What is read.
    height, dtype
        Rows of a chunk, and type of its entries.
    tiles
        How tiles of columns are read, if chunks of rows cannot be read at once; None otherwise.
    rows
        How rows are read, from the matrix or from the files of tiles.
    width
        Columns of a tile; 0 without.
    """

    source: Source
    height: int
    dtype: np.dtype[Any]
    tiles: Reading | None
    rows: Reading
    width: int = 0

    @property
    def projected_bytes(self) -> int:
        """Upper bound of the memory."""
        return max(self.rows.needed, 0 if self.tiles is None else self.tiles.needed)

    @property
    def written_bytes(self) -> int:
        """Bytes of the new array."""
        return math.prod(self.source.shape) * self.dtype.itemsize

    @property
    def group(self) -> int:
        """Rows that are read together and are whole chunks: what a run that goes on does again is some of these."""
        return min(self.source.shape[0], _group(self.rows.layout.chunk, self.height))


def plan_conversion(
    source: Source, options: ConvertOptions, budget: int, shared: int = 0
) -> ConversionPlan:
    """The way of least reading that the memory allows.

    Parameters
    ----------
    source
        The matrix.
    options
        What was asked.
    budget, shared
        Bytes allowed; of these, what labels take.

    Raises
    ------
    BudgetError
        If no way does; it names the least memory that works.
    """
    dtype = options.written_dtype(source.dtype)
    height = chunk_height(source, options, dtype)
    least: list[int] = []
    straight = _fit(_rows_ways(source, height, dtype, shared), budget, least)
    if straight is not None:
        return ConversionPlan(source, height, dtype, None, straight)
    if not isinstance(source, DaskSource) and _is_in_columns(source):
        files: list[int] = []
        tiles: list[int] = []
        after = _fit(_file_ways(source, height, dtype, shared), budget, files)
        for width in _tile_widths(source):
            found = _fit(_tile_ways(source, height, width, dtype, shared), budget, tiles)
            if found is not None and after is not None:
                return ConversionPlan(source, height, dtype, found, after, width)
        least.append(max(min(tiles), min(files)))
    needed = min(least)
    raise BudgetError(
        f"converting {source.name} ({source.shape[0]:,} x {source.shape[1]:,} {source.dtype}, chunks "
        f"{source.chunks[0]:,} x {source.chunks[1]:,})",
        needed,
        budget,
        f"Pass memory={needed} or more.",
    )


def chunk_height(source: Source, options: ConvertOptions, dtype: np.dtype[Any]) -> int:
    """Rows of a chunk: near the bytes asked, and such that chunks of the matrix are parts of them, or they of those."""
    m, n = source.shape
    if options.chunk_rows is not None:
        return min(m, options.chunk_rows)
    row = max(1, n * dtype.itemsize)
    target = max(1, options.chunk_bytes // row)
    stored = _stored_height(source)
    if target >= m:
        return m
    if stored >= m:  # all rows are read at once, or tiles of columns are: any height does
        return target
    if stored <= target:
        return stored * (target // stored)
    for count in range(-(-stored // target), 2 * (-(-stored // target)) + 1):
        if stored % count == 0:
            return stored // count
    return stored if stored * row <= MOST_CHUNK_BYTES else target


def _stored_height(source: Source) -> int:
    """Rows of a stored chunk; 1 where rows lie one after another, and are read from wherever."""
    if _is_free(source):
        return 1
    if isinstance(source, DaskSource):
        return int(source.array.chunks[0][0])
    return min(source.chunks[0], source.shape[0])


def _is_free(source: Source) -> bool:
    """Whether rows lie one after another, without chunks: reading some of them asks for nothing else."""
    if not getattr(source, "has_no_chunks", False):
        return False
    shape, item = source.shape, source.dtype.itemsize
    return source.chunks[1] == shape[1] or source.chunks == strips(shape, item)


def _is_in_columns(source: Source) -> bool:
    """Whether a chunk holds some columns only."""
    return not _is_free(source) and source.chunks[1] < source.shape[1]


def _group(stored: int, height: int) -> int:
    return math.lcm(stored, height)


def _rows_ways(source: Source, height: int, dtype: np.dtype[Any], shared: int) -> Iterator[Reading]:
    """Ways of reading whole rows, the best first."""
    m, n = source.shape
    row = n * source.dtype.itemsize
    stored = _stored_height(source)
    group = min(m, _group(stored, height))
    panels = [min(m, stored * max(1, height // stored))]
    if group * row <= max(MOST_PANEL_BYTES, panels[0] * row):
        panels.insert(0, group)  # blocks that are parts of it are not put together again
    if not _is_in_columns(source):  # parts of a chunk: it is read again for each, and decoded
        part, least = panels[-1], max(1, min(panels[-1], height), stored // MOST_READS)
        while part > least:
            part = max(least, -(-part // 2))
            panels.append(part)
    for panel in dict.fromkeys(panels):
        aligned = panel % height == 0 or panel >= m
        yield from _each(source, dtype, stored, height, panel, shared, aligned=aligned)


def _file_ways(source: Source, height: int, dtype: np.dtype[Any], shared: int) -> Iterator[Reading]:
    """Ways of reading whole rows from the files of tiles."""
    m, n = source.shape
    size = height * n * dtype.itemsize
    layout = Layout("rows", m, n, height, height, height, ((0, m),), even=True)
    for workers in _worker_counts(-(-m // height)):
        for prefetch in (True, False):
            panels = 2 if prefetch else 1
            needed = (
                BASE_BYTES + shared + workers * panels * (size + READ_BYTES) + workers * WRITE_BYTES
            )
            yield Reading(layout, workers, prefetch, needed)


def _tile_widths(source: Source) -> Iterator[int]:
    """Widths of tiles, the widest first: whole chunks, of at most so many bytes of all rows of a chunk."""
    q, n = source.chunks[1], source.shape[1]
    count = -(-n // q)
    while True:
        yield min(n, q * count)
        if count == 1:
            return
        count = -(-count // 2)


def _tile_ways(
    source: Source, height: int, width: int, dtype: np.dtype[Any], shared: int
) -> Iterator[Reading]:
    """Ways of reading tiles of so many columns: whole columns, where several fit at once, else some rows of them."""
    m, n = source.shape
    stored, item = source.chunks[0], source.dtype.itemsize
    base = BASE_BYTES + shared
    for axis in ("columns", "rows"):
        rows = m if axis == "columns" else min(m, stored)
        piece = rows * width * item
        casting = height * width * dtype.itemsize + rows * width * dtype.itemsize * (
            dtype != source.dtype
        )
        tasks = -(-n // width) if axis == "columns" else -(-m // stored)
        for workers in _worker_counts(tasks):
            for prefetch in (True, False) if axis == "columns" else (False,):
                panels = 2 if prefetch else 1
                needed = base + workers * (
                    panels * piece + source.read_bytes + casting + WRITE_BYTES
                )
                if axis == "columns":
                    layout = Layout("columns", n, m, source.chunks[1], width, width, ((0, n),))
                else:
                    layout = Layout("rows", m, n, stored, stored, stored, ((0, m),), tile=width)
                yield Reading(layout, workers, prefetch, needed)


def _each(
    source: Source,
    dtype: np.dtype[Any],
    stored: int,
    height: int,
    panel: int,
    shared: int,
    *,
    aligned: bool,
) -> Iterator[Reading]:
    """As many tasks at once as there are threads, then fewer; reading ahead, then not."""
    m, n = source.shape
    row, written = n * source.dtype.itemsize, n * dtype.itemsize
    layout = Layout("rows", m, n, stored, height, panel, ((0, m),), even=True)
    joined = (
        0 if aligned else (2 * height + min(panel, m)) * row
    )  # a block of parts of panels, and parts that wait
    cast = min(height, m) * written if dtype != source.dtype else 0
    base = BASE_BYTES + shared + FOREIGN_BYTES * isinstance(source, DaskSource)
    for workers in _worker_counts(-(-m // max(panel, height))):
        for prefetch in (True, False):
            panels = 2 if prefetch else 1
            reading = panels * min(panel, m) * row + source.read_bytes * panels
            needed = base + workers * (reading + joined + cast + WRITE_BYTES)
            yield Reading(layout, workers, prefetch, needed)


def _worker_counts(tasks: int) -> Iterator[int]:
    threads = concurrency()[1]
    fewest = threads if is_on_cluster() else 1
    yield from range(max(1, min(threads, tasks)), min(fewest, max(1, tasks)) - 1, -1)


def _fit(ways: Iterator[Reading], budget: int, tried: list[int]) -> Reading | None:
    for way in ways:
        tried.append(way.needed)
        if way.needed <= budget:
            return way
    return None

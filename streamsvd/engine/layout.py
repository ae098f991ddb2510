"""How a pass cuts the matrix: blocks that are multiplied, panels that are read, spans that are tasks.

Blocks and spans depend on the shape and the chunk grid alone, so sums over them are the same bits whatever
the budget and the scheduler; panels are whole blocks and depend on the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

from streamsvd.numerics.blocks import Axis
from streamsvd.protocols import Source, SparseSource, is_sparse

SPANS = 8
"""Spans of a pass at least: enough to share, few enough that their sums stay small."""

USUAL_SPANS = 64
MOST_SPANS = 16_384
SPAN_ROWS = 4096
SPAN_BYTES = 128 << 20
LARGE_SPAN_BYTES = 1 << 30
"""What a span has at least where there are more than `SPANS`: rows, and bytes, more of them beyond `USUAL_SPANS`."""

SUM_SHARE = 64
"""Times the bytes of its sum that such a span has: joining two costs little beside reading them, and few are alive at once."""

LEAST_BLOCKS = 16
"""Blocks that a matrix has at least, where its chunks allow."""

BLOCK_ITEMS = 1 << 21
"""Entries of a block, about: 2 M float64 values are 16 MB, where BLAS is at full speed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The cut of one axis of the matrix.

    Attributes
    ----------
    axis
        The axis that is streamed.
    length, width
        Extent of the streamed axis and of the other.
    chunk
        Stored chunk along the streamed axis; reads are aligned to it.
    unit
        Rows of a block: a divisor's worth of a chunk, or several chunks.
    panel
        Rows read at once, a multiple of `grain` unless a grain does not fit.
    spans
        First and last row (exclusive) of each task.
    tile
        Columns read at once where a panel of whole rows does not fit; None otherwise.
    stored
        Where rows are read without their zeros: the most stored entries of a panel, and of a block. None where they are dense.
    even
        Whether blocks have the same height from the first row of a span on, whatever the chunks, so that they may begin in
        one panel and end in the next. Otherwise no block crosses the end of a panel.
    """

    axis: Axis
    length: int
    width: int
    chunk: int
    unit: int
    panel: int
    spans: tuple[tuple[int, int], ...]
    tile: int | None = None
    even: bool = False
    stored: tuple[int, int] | None = None

    @property
    def grain(self) -> int:
        """Smallest run that ends both a chunk and a block."""
        return max(self.chunk, self.unit)

    @property
    def amplification(self) -> float:
        """Bytes asked of the store in a pass, relative to the matrix."""
        if self.tile is not None:
            return 2.0
        return float(-(-self.chunk // self.panel)) if self.panel < self.chunk else 1.0

    def decoded_rows(self, start: int, stop: int) -> int:
        """Rows of the chunks that hold a run: what reading it decodes."""
        first, last = start // self.chunk, -(-stop // self.chunk)
        return min(last * self.chunk, self.length) - first * self.chunk

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Blocks of a run that starts where a block does."""
        while start < stop:
            within = self.grain - start % self.grain
            end = min(start + min(self.unit, within), stop)
            yield start, end
            start = end

    def panels(self, span: tuple[int, int]) -> Iterator[tuple[int, int]]:
        """Panels of a span."""
        start, stop = span
        grain = self.chunk if self.even else self.grain
        while start < stop:
            end = min(start + self.panel, stop)
            if self.panel < grain:  # parts of a grain: never across its end
                end = min(end, start + grain - start % grain)
            yield start, end
            start = end


MOST_ROWS, MOST_STORED_ROWS = 8192, 1 << 16
"""Rows of a block at most, with their zeros and without: each takes a row of products."""


def unit_rows(
    length: int, width: int, chunk: int, items: int = BLOCK_ITEMS, most: int = MOST_ROWS
) -> int:
    """Rows of a block: near ``items / width``, few enough for every span, commensurate with the chunk."""
    target = max(16, min(most, items // max(width, 1), -(-length // LEAST_BLOCKS)))
    if chunk <= target:
        return chunk * (target // chunk)
    return -(-chunk // -(-chunk // target))


def cut_axis(
    axis: Axis,
    length: int,
    width: int,
    chunk: int,
    *,
    items: int = BLOCK_ITEMS,
    spans: int = SPANS,
    most_rows: int = MOST_ROWS,
) -> Layout:
    """Layout with spans of nearly equal numbers of grains, panels of one grain."""
    chunk = max(1, min(chunk, length))
    unit = min(unit_rows(length, width, chunk, items, most_rows), length)
    grain = max(chunk, unit)
    grains = -(-length // grain)
    count = min(spans, grains)
    edges = [min(length, grain * round(i * grains / count)) for i in range(count + 1)]
    parts = tuple((a, b) for a, b in pairwise(edges) if a < b)
    return Layout(axis, length, width, chunk, unit, grain, parts)


def with_stored_entries(layout: Layout, source: SparseSource) -> Layout:
    """The same cut, of rows that are read without their zeros."""
    most = source.most_entries
    panel, unit = min(layout.panel, layout.length), min(layout.unit, layout.length)
    return replace(layout, stored=(most(panel), most(unit)))


SPARSE_DENSITY, SPARSE_DENSITY_DOUBLE = 0.08, 0.05
"""Share of entries that are stored, below which sparse products are faster than dense ones, in single and double precision."""


def has_few_entries(source: Source, axis: Axis, *, single: bool) -> bool:
    """Whether a matrix is read without its zeros along an axis: where multiplying what is stored costs less than BLAS with all."""
    if not is_sparse(source):
        return False
    found, (m, n) = cast(SparseSource, source), source.shape
    border = SPARSE_DENSITY if single else SPARSE_DENSITY_DOUBLE
    return found.sparse_axis == axis and found.entries < border * m * n


def row_entries(source: SparseSource) -> int:
    """Stored entries of a row (of CSC: a column), on average."""
    return max(1, -(-source.entries // source.shape[0 if source.sparse_axis == "rows" else 1]))


def index_bytes(source: SparseSource) -> int:
    """Bytes of the index of a stored entry."""
    return max(4, source.stored_bytes // max(1, source.entries) - source.dtype.itemsize)


def cut_stored_axis(source: SparseSource, *, items: int, spans: int) -> Layout:
    """Layout of rows that are read without their zeros: blocks of so many entries, about."""
    m, n = source.shape
    along = source.sparse_axis
    length, width = (m, n) if along == "rows" else (n, m)
    # products of a block are added to all columns, so that there are not many fewer rows
    each, most = row_entries(source), max(MOST_STORED_ROWS, width // 4)
    base = cut_axis(along, length, each, 1, items=items, spans=spans, most_rows=most)
    return with_stored_entries(replace(base, width=width), source)


def matrix_bytes(source: Source, layout: Layout) -> int:
    """Decoded bytes of a matrix as it is read by a layout: with its zeros or without."""
    if layout.stored is None:
        return source.nbytes
    return cast(SparseSource, source).stored_bytes  # a source of such a layout has them


def span_count(length: int, nbytes: int) -> int:
    """Spans of a matrix: by its length and size alone, so that sums are the same bits on any number of threads.

    Twice as many while each keeps enough rows to be much larger than its sum, and bytes enough to be worth a task.
    """
    count = SPANS
    while count < MOST_SPANS and 2 * count * SPAN_ROWS <= length:
        if 2 * count * (SPAN_BYTES if count < USUAL_SPANS else LARGE_SPAN_BYTES) > nbytes:
            break
        count *= 2
    return count


def span_limit(usual: int, nbytes: int, sum_bytes: int) -> int:
    """Most spans of a pass that has few as a rule: more of a matrix so large that a cluster would wait for them.

    Parameters
    ----------
    usual
        As a rule: what matrices of less than 64 GiB keep.
    nbytes, sum_bytes
        Of the matrix, and of what a span hands back.
    """
    if nbytes < USUAL_SPANS * LARGE_SPAN_BYTES:
        return usual
    return max(usual, min(MOST_SPANS, nbytes // max(LARGE_SPAN_BYTES, SUM_SHARE * sum_bytes)))

"""Every way to factorise a matrix, as values: what each needs in memory, reads, and takes in time.

Which axis to stream, Gram matrix or Krylov space, how many spans at once, with or without read-ahead,
panels or tiles. Nothing is read; all is arithmetic on shapes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from streamsvd.engine import memory
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.layout import (
    BLOCK_ITEMS,
    Layout,
    cut_axis,
    cut_stored_axis,
    has_few_entries,
    index_bytes,
    matrix_bytes,
    row_entries,
    span_count,
    span_limit,
    with_stored_entries,
)
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import Sizes
from streamsvd.engine.panel_cache import may_be_cached
from streamsvd.factor.options import Route, SVDOptions
from streamsvd.factor.problem import MatrixOptions
from streamsvd.numerics.blocks import Axis
from streamsvd.protocols import Source, SparseSource
from streamsvd.store.sources.border import innermost_source
from streamsvd.store.sources.objects.reader import ReaderSource

PANEL_BYTES = 32 << 20
PROBES = 20
"""Columns of the probes, of few columns too: a failed certificate costs a pass, a probe costs products."""
GRAM_COLUMNS = 4096
"""Beyond this width the Gram matrix is not considered."""

FEW_COLUMNS = 1024
"""Width up to which the Gram path has four spans; beyond it has two."""

PASS_SECONDS = 0.1
"""What a pass and its look cost beside reading and products."""


@dataclass(frozen=True, slots=True)
class Speeds:
    """Speed of one core, for the cost model.

    Attributes
    ----------
    read
        Decoded bytes read a second.
    single, double
        Floating-point operations a second in products with thin blocks.
    syrk
        Multiply-adds times two a second of the Gram product in float64.
    dense
        Operations a second of small dense factorisations.
    prepare
        Bytes a second that are written while a block is converted, centred and counted; huge where the other
        rates were measured with it.
    sparse_single, sparse_double
        As ``single`` and ``double``, of rows without their zeros: an entry fetches a row of the thin block.
    """

    read: float = 0.9e9
    single: float = 80e9
    double: float = 38e9
    syrk: float = 55e9
    dense: float = 15e9
    prepare: float = 3e9
    sparse_single: float = 5e9
    sparse_double: float = 2e9


@dataclass(frozen=True, slots=True)
class PlanCandidate:
    """One arrangement of a route: everything but its verdict.

    ``tasks`` are the bytes of what runs on a worker, of all that is ``projected``, and ``home`` those of the process that
    asks where others run the tasks.
    """

    route: Route
    layout: Layout
    sizes: Sizes
    sample_rows: int
    sample_readers: int
    at_once: int
    prefetch: bool
    projected_bytes: int
    tasks: int
    home: int

    @property
    def is_cached(self) -> bool:
        """Whether the first pass leaves the matrix in memory for the others."""
        return self.sizes.cached_bytes > 0


def block_width(rank: int, limit: int) -> int:
    """Columns of the start block: the rank and 10 to 50 more; oversampling is the cheapest lever."""
    return min(limit, rank + max(10, min(rank, 50)))


def routes_and_axes(
    source: Source, axis: Axis | None, route: Route | None
) -> Iterator[tuple[Route, Axis]]:
    """Routes and axes that come into question."""
    rows, columns = source.shape
    for along in ("rows", "columns"):
        if axis is not None and along != axis:
            continue
        width = columns if along == "rows" else rows
        wide_axis: Axis = "rows" if along == "rows" else "columns"
        if route in (None, "gram") and (width <= GRAM_COLUMNS or route == "gram"):
            yield "gram", wide_axis
        if route in (None, "krylov"):
            yield "krylov", wide_axis


def reads_stored_entries(source: Source, options: SVDOptions, route: Route, axis: Axis) -> bool:
    """Whether blocks are read without their zeros: where they are so few that multiplying them costs less than BLAS with all.

    The Gram matrix of few columns is made of dense blocks, which are a small part of its products. So are blocks that a device other
    than the host multiplies.
    """
    if route != "krylov" or options.device != "cpu":
        return False
    return has_few_entries(source, axis, single=fits_single(source.dtype))


def plan_candidates(
    source: Source,
    options: SVDOptions,
    matrix: MatrixOptions,
    route: Route,
    axis: Axis,
    *,
    budget: int,
) -> Iterator[PlanCandidate]:
    """Arrangements of a route, as if there were two threads: what decides bits is chosen without asking how many there are.

    A CUDA device multiplies larger blocks, which take no memory of the host: starting one costs what
    starting a small one does.
    """
    rows, columns = source.shape
    length, width = (rows, columns) if axis == "rows" else (columns, rows)
    chunk = min(length, source.chunks[0 if axis == "rows" else 1])
    limit = min(width, length) if route == "krylov" else width
    rank = options.rank_limit(source.shape)
    aim = min(rank, 50) if options.searches_rank else rank
    block = block_width(aim, max(limit, 1))
    counts = (11, 8, 6, 4, 3, 2) if options.searches_rank else (10, 8, 6, 4, 3, 2)
    wide = 16 if source.dtype.kind == "c" else 8
    probes = PROBES if options.wants_bounds and route == "krylov" else 0
    there = options.device == "cuda"
    entry = 0 if there else _entry_bytes(matrix, axis, source.dtype, wide)
    stored = reads_stored_entries(source, options, route, axis)
    index = stored_row = 0
    if stored:
        sparse = cast(SparseSource, source)
        index, stored_row = index_bytes(sparse), row_entries(sparse)
        entry += wide + 4 * index  # squares, and strips with their own indices
    largest = 4 * BLOCK_ITEMS if there else BLOCK_ITEMS
    for items in (largest, largest // 4, largest // 16, largest // 64):
        if stored:
            count = span_count(length, sparse.stored_bytes)
            base = cut_stored_axis(sparse, items=items, spans=count)
        else:
            count = span_count(length, source.nbytes)
            base = cut_axis(axis, length, width, chunk, items=items, spans=count)
        for blocks in counts if route == "krylov" else (1,):
            basis = min(width, blocks * block)
            sizes = Sizes(
                block,
                probes,
                basis,
                min(aim, block) if probes else 0,
                rank,
                source.dtype.itemsize,
                wide // 2 if fits_single(source.dtype) and options.precision != "double" else wide,
                wide,
                entry,
                _read_bytes(source, axis),
                index=index,
                row_entries=stored_row,
            )
            usual = replace(sizes, basis=min(width, USUAL_BLOCKS * block))
            for at_once, prefetch in _thread_choices(USUAL_THREADS[1]):
                for layout in _panel_layouts(base, source, axis, route, stored_row):
                    rest = (at_once, prefetch, source, options, budget)
                    shape = _candidate(route, layout, sizes, *rest)
                    if basis > usual.basis and not options.searches_rank:
                        least = _candidate(route, layout, usual, *rest)
                        if shape.projected_bytes > BASIS_ALLOWANCE * least.projected_bytes:
                            continue
                    yield shape


def thread_variants(
    source: Source, options: SVDOptions, shape: PlanCandidate, *, threads: int, budget: int
) -> Iterator[PlanCandidate]:
    """The same to the last bit, with so many threads in the process or fewer: spans at once, read-ahead, panels."""
    base = replace(shape.layout, panel=shape.layout.grain, tile=None)
    if shape.sizes.row_entries:
        base = with_stored_entries(base, cast(SparseSource, source))
    for at_once, prefetch in _thread_choices(threads):
        for layout in _panel_layouts(base, source, base.axis, shape.route, shape.sizes.row_entries):
            if layout.tile == shape.layout.tile:
                rest = (at_once, prefetch, source, options, budget)
                yield _candidate(
                    shape.route,
                    layout,
                    shape.sizes,
                    *rest,
                    copied=is_on_cluster(),
                    rows=shape.sample_rows,
                )


def cache_variant(
    source: Source, options: SVDOptions, shape: PlanCandidate, *, budget: int
) -> PlanCandidate | None:
    """The same to the last bit, with the matrix kept in memory by its first pass; None where that does not fit or gains nothing."""
    lay = shape.layout
    if lay.tile is not None or pass_count(options, shape) < 2 or not may_be_cached(source):
        return None
    whole = matrix_bytes(source, lay)
    sizes = replace(shape.sizes, cached_bytes=whole)
    found = _candidate(
        shape.route, lay, sizes, shape.at_once, shape.prefetch, source, options, budget - whole,
        rows=shape.sample_rows,
    )  # fmt: skip
    projected = found.projected_bytes + whole
    return replace(found, projected_bytes=projected) if projected <= budget else None


USUAL_THREADS = (2, 2)
"""Threads in all and in one process for which arrangements are compared."""

USUAL_BLOCKS = 4
"""Blocks of a basis that most runs never leave."""

BASIS_ALLOWANCE = 1.25
"""What a larger one may add to the projection: most runs do not use it, and are to take what was projected, about."""

HEAP_FACTOR = 1.75
"""What the heap holds for buffers of unequal size that come and go, relative to those in use at once, as measured."""


def _read_bytes(source: Source, axis: Axis) -> int:
    """Transients of one read; those of a dask array are a whole row or column of its chunks.

    Along columns every chunk is decoded beside its place, one after the other.
    """
    if isinstance(source, DaskSource):
        return source.span_bytes(axis)
    return int(HEAP_FACTOR * source.read_bytes) if axis == "columns" else source.read_bytes


def fits_single(dtype: np.dtype[Any]) -> bool:
    """Whether single precision holds every value of the type, so that multiplying in it loses products only."""
    if dtype.kind in "iu":
        return bool(dtype.itemsize <= 2)
    return bool(dtype.itemsize <= (8 if dtype.kind == "c" else 4))


def _entry_bytes(matrix: MatrixOptions, axis: Axis, dtype: np.dtype[Any], wide: int) -> int:
    """Copies of an entry while its block is prepared, in the worse of the precisions.

    Along rows: the block in float64, twice while a pilot is subtracted; with weights or holes its squares, what is
    filled and the mask besides. Along columns: the block, what is about its means, and their products with weights.
    One more where rows or columns of weight 0 are left out.
    """
    turned = dtype.kind == "c"
    filled, blanked = matrix.has_fills_or_weights, not matrix.support.whole
    if axis == "columns":
        copies = 4 + turned + (bool(matrix.scale) and not matrix.center) + filled
        return (copies + blanked) * wide
    copies = 1 + (matrix.center or bool(matrix.scale)) + (2 + turned) * filled
    return (copies + blanked) * wide + wide // 2


def _thread_choices(threads: int) -> Iterator[tuple[int, bool]]:
    while threads > 1:
        yield threads, True
        yield threads, False
        threads //= 2
    yield 1, True
    yield 1, False


def _stored_layouts(base: Layout, source: SparseSource) -> Iterator[Layout]:
    """Cuts of the same blocks and spans into larger and smaller panels of rows without their zeros."""
    row = row_entries(source) * (source.dtype.itemsize + index_bytes(source))
    several = max(1, PANEL_BYTES // max(1, row * base.unit))
    several = min(several, -(-base.length // (2 * base.unit)))
    for count in sorted({several, 2, 1} if several > 2 else {several, 1}, reverse=True):
        yield with_stored_entries(replace(base, panel=base.unit * count), source)


def _panel_layouts(
    base: Layout, source: Source, axis: Axis, route: Route, stored_row: int
) -> Iterator[Layout]:
    """Cuts of the same blocks and spans into larger and smaller panels, then tiles."""
    if stored_row:
        yield from _stored_layouts(base, cast(SparseSource, source))
        return
    row = base.width * source.dtype.itemsize
    several = max(
        1, min(PANEL_BYTES // max(1, row * base.grain), -(-base.length // (base.grain * 2)))
    )
    yield replace(base, panel=base.grain * several)
    if several > 2:
        yield replace(base, panel=base.grain * 2)
    yield base
    if base.grain > base.unit:
        half = base.unit * -(-base.grain // (2 * base.unit))
        yield replace(base, panel=half)
    if route == "krylov" and axis == "rows" and source.chunks[1] < base.width:
        yield replace(base, tile=source.chunks[1])


def _candidate(
    route: Route,
    layout: Layout,
    s: Sizes,
    at_once: int,
    prefetch: bool,
    source: Source,
    options: SVDOptions,
    budget: int,
    *,
    copied: bool = False,
    rows: int | None = None,
) -> PlanCandidate:
    """One arrangement; ``copied`` where sums stay as they were when they are joined, ``rows`` of the sample where known."""
    copied = copied or options.has_saves
    if layout.stored is not None:
        s = replace(s, read_bytes=cast(SparseSource, source).sparse_bytes(layout.stored[0]))
    if route == "gram":
        # few, as every span has a sum of its own; by shape alone, as their number is in the bits
        usual = 4 if layout.width <= FEW_COLUMNS else 2
        count = span_limit(usual, source.nbytes, layout.width**2 * s.wide)
        layout = replace(layout, spans=_join_spans(layout, count))
    width, ahead = layout.width, prefetch and layout.tile is None
    busy = min(at_once, len(layout.spans))
    packed = busy * memory.block_packing(layout, s)
    last = _factor_bytes(layout, s, busy, ahead, options)
    run = memory.RUN_BYTES
    if isinstance(innermost_source(source), DaskSource | ReaderSource):
        run += memory.FOREIGN_BYTES
    made = _factor_span_bytes(layout, s, busy, ahead, options)
    if route == "gram":
        running = busy * memory.gram_span_bytes(layout, s, prefetch=ahead)
        running += memory.gram_sum_bytes(layout, s, busy, copied=copied)
        dense = memory.gram_dense_bytes(width, s) + packed
        last += width * width * s.wide if last else 0
        if rows is None:
            rows = _sample_rows(layout, s, budget, minimal=True)
        sample = rows * memory.sample_row_bytes(width, s)
        sample += memory.sample_fixed_bytes(width, s, 0, 1, 0)
        kept = kept_sum_bytes(route, layout, s, options)
        running += _saving_bytes(route, layout, s, busy, options)
        peak = run + max(running, kept + dense, kept + last, sample)
        tasks = run + max(running, made)
        sums = 2 * width * width * s.wide + _saving_bytes(route, layout, s, 1, options)
        home = run + max(sums, kept + dense, kept + last, sample)
        return PlanCandidate(route, layout, s, rows, 1, at_once, prefetch, peak, tasks, home)
    running = busy * memory.span_bytes(layout, s, prefetch=ahead)
    running += memory.partial_bytes(layout, s, busy, copied=copied)
    tasks = run + max(running, made)
    running += memory.resident_bytes(width, s) + _saving_bytes(route, layout, s, busy, options)
    kept = kept_sum_bytes(route, layout, s, options)
    peak = run + max(running, kept + memory.dense_bytes(width, s) + packed, kept + last)
    room = max(budget, peak) - run
    rows, readers, sample = _plan_sample(layout, s, room, at_once, rows)
    projected = max(peak, run + sample)
    sums = _saving_bytes(route, layout, s, 1, options) + 2 * _sum_bytes(layout, s)
    dense = memory.dense_bytes(width, s) + packed
    home = run + max(memory.resident_bytes(width, s) + sums, kept + dense, kept + last, sample)
    return PlanCandidate(route, layout, s, rows, readers, at_once, ahead, projected, tasks, home)


SAVE_COPIES = 4
"""Of what is saved, while it is written: put together, with its checksum, and as objects of the store."""


def kept_sum_bytes(route: Route, layout: Layout, s: Sizes, options: SVDOptions) -> int:
    """Sums of finished passes, where they are saved: one of the Gram matrix; of each pass of the loop, and the start block."""
    if not options.has_saves:
        return 0
    if route == "gram":
        return layout.width**2 * s.wide
    passes = min(options.max_passes, 2 + -(-layout.width // s.block))
    return (passes + 1) * _sum_bytes(layout, s)


def _saving_bytes(route: Route, layout: Layout, s: Sizes, busy: int, options: SVDOptions) -> int:
    """The same, and what a save takes while the next pass runs: copies of them and of the sums that wait."""
    if not options.has_saves:
        return 0
    kept = kept_sum_bytes(route, layout, s, options)
    one = layout.width**2 * s.wide if route == "gram" else _sum_bytes(layout, s)
    waiting = memory.waiting_sums(len(layout.spans), busy, copied=True)
    return kept + SAVE_COPIES * (kept + waiting * one)


def _sum_bytes(layout: Layout, s: Sizes) -> int:
    """What a pass of the loop sums, with its moments."""
    return layout.width * (s.block + max(s.probes, s.pinned_vectors) + 6) * s.wide


def _factor_bytes(layout: Layout, s: Sizes, busy: int, ahead: bool, options: SVDOptions) -> int:
    """The pass that makes the other factor, and what is made of it; 0 where there is none.

    The space is gone by then; the vectors of the look are there, and pushed.
    """
    columns = layout.axis == "columns"
    if not (columns or options.u):
        return 0
    whole = columns or options.keeps_u_in_memory
    made = _factor_span_bytes(layout, s, busy, ahead, options)
    found = 4 * layout.width * s.rank * s.wide
    if not whole:
        return made + found
    packed = busy * memory.block_packing(layout, s)
    if (
        columns and options.u and not options.keeps_u_in_memory
    ):  # U is the look's vectors, in one chunk
        packed += (1 + memory.WRITTEN_COPIES) * layout.width * s.rank * s.wide
    factor = memory.factor_bytes(layout.length, s, cleaned=columns)
    return found + factor + max(made, packed)


def _factor_span_bytes(
    layout: Layout, s: Sizes, busy: int, ahead: bool, options: SVDOptions
) -> int:
    """The spans of that pass."""
    columns = layout.axis == "columns"
    if not (columns or options.u):
        return 0
    written = not (columns or options.keeps_u_in_memory)
    return busy * memory.project_span_bytes(layout, s, prefetch=ahead, written=written)


def _join_spans(layout: Layout, count: int) -> tuple[tuple[int, int], ...]:
    """The same edges, joined to at most ``count`` spans."""
    spans = layout.spans
    step = -(-len(spans) // count)
    if step == 1:
        return spans
    return tuple(
        (spans[i][0], spans[min(i + step, len(spans)) - 1][1]) for i in range(0, len(spans), step)
    )


def _plan_sample(
    layout: Layout, s: Sizes, room: int, at_once: int, rows: int | None
) -> tuple[int, int, int]:
    """Rows of the sample, the threads that read it, and the bytes it takes.

    A second reader must not cost rows, which are worth more.
    """
    threads = sample_threads(at_once)
    unit = min(layout.unit, layout.length)
    fixed = memory.sample_fixed_bytes(layout.width, s, threads, 1, unit)
    if rows is None:
        rows = _sample_rows(layout, s, room - fixed, minimal=False)
    data = rows * memory.sample_row_bytes(layout.width, s)
    readers, runs = 1, -(-rows // layout.grain)
    while readers < min(threads, runs) and fixed + readers * s.read_bytes + data <= room:
        readers += 1
    return rows, readers, fixed + (readers - 1) * s.read_bytes + data


def sample_threads(at_once: int) -> int:
    """Threads that multiply the sample; more would wait for each other."""
    return min(at_once, 4)


def _sample_rows(layout: Layout, s: Sizes, room: int, *, minimal: bool) -> int:
    """Rows of the sample, in whole grains: 3 n or 3 %, no more than a fifth of a pass or the room left.

    The Gram path needs a pilot mean only, so one block will do.
    """
    if minimal:
        return min(layout.unit, layout.length)
    free = room // memory.sample_row_bytes(layout.width, s)
    wanted = max(3 * layout.width, math.ceil(0.03 * layout.length))
    allowed = min(wanted, layout.length // 6, free)
    grains = min(round(allowed / layout.grain), int(free // layout.grain))
    if grains >= 1:
        return min(layout.length, grains * layout.grain)
    # Part of a grain: its chunk is decoded whatever is taken of it.
    return int(max(allowed, min(layout.unit, free, layout.length), min(16, layout.length)))


def pass_count(options: SVDOptions, shape: PlanCandidate) -> int:
    """Whole passes expected: the loop, and the other factor."""
    return _loop_passes(options, shape) + _last_passes(options, shape)


def _loop_passes(options: SVDOptions, shape: PlanCandidate) -> int:
    if shape.route == "gram" or shape.layout.width <= shape.sizes.block:
        return min(1, options.max_passes)
    return min(2 if options.width_tol >= 1e-5 else 3, options.max_passes)


def _last_passes(options: SVDOptions, shape: PlanCandidate) -> int:
    along_rows = shape.layout.axis == "rows"
    return 1 if (options.u and along_rows) or not along_rows else 0


def bytes_passed_by(source: Source, options: SVDOptions, shape: PlanCandidate) -> int:
    """Decoded bytes of the passes expected, and of the sample."""
    lay = shape.layout
    whole = matrix_bytes(source, lay)
    one = int(whole * lay.amplification)
    final = whole if lay.tile is not None else one
    passed = _loop_passes(options, shape) * one + _last_passes(options, shape) * final
    return passed + _sampled_bytes(source, shape)


def bytes_read_by(source: Source, options: SVDOptions, shape: PlanCandidate) -> int:
    """Of these, those that are asked of the store."""
    if shape.is_cached:
        whole = matrix_bytes(source, shape.layout)
        return int(whole * shape.layout.amplification) + _sampled_bytes(source, shape)
    return bytes_passed_by(source, options, shape)


def _sampled_bytes(source: Source, shape: PlanCandidate) -> int:
    lay, s = shape.layout, shape.sizes
    if lay.stored is not None:
        return shape.sample_rows * s.row_entries * (s.item + s.index)
    return lay.decoded_rows(0, shape.sample_rows) * lay.width * source.dtype.itemsize


def seconds_of(
    source: Source,
    options: SVDOptions,
    shape: PlanCandidate,
    rates: Speeds,
    total: int,
    per_process: int,
) -> float:
    """Core seconds of reading, products and dense work, shared among the spans at once."""
    lay, s = shape.layout, shape.sizes
    entries = _multiplied_entries(source, shape)
    read = bytes_read_by(source, options, shape) / rates.read
    last = 2 * entries * s.rank / (rates.sparse_double if s.row_entries else rates.double)
    if not ((options.u and lay.axis == "rows") or lay.axis == "columns"):
        last = 0.0
    spans = min(len(lay.spans), shape.at_once * max(1, total // per_process))
    if shape.route == "gram":
        work, dense = _gram_seconds(shape, entries, rates)
        return PASS_SECONDS + _overlap_seconds(read, work + last, spans, total, shape) + dense
    speed = _product_speed(source, options, rates, s)
    loop = 2 if options.width_tol >= 1e-5 else 3
    work = loop * 4 * entries * (s.block + s.probes) / speed + _preparation_seconds(
        shape, rates, loop
    )
    sampled = float(shape.sample_rows) * (s.row_entries or lay.width)
    sample = 5 * 4 * sampled * s.block / (rates.sparse_single if s.row_entries else rates.single)
    dense = loop * 12 * lay.width * float(2 * s.block) ** 2 / rates.dense
    blocks, full = s.basis // max(s.block, 1), 11 if options.searches_rank else 4
    # A small basis may need a pass more; what lies beyond is worth little, but worth more than memory left over.
    dense *= 1 + 0.1 * max(0, full - blocks) - 1e-3 * min(max(0, blocks - full), 6)
    return (
        loop * PASS_SECONDS
        + _overlap_seconds(read, work + last, spans, total, shape)
        + sample
        + dense
    )


def pass_seconds(
    source: Source,
    options: SVDOptions,
    shape: PlanCandidate,
    rates: Speeds,
    total: int,
    per_process: int,
) -> float:
    """Core seconds of one pass of the loop, or of the Gram matrix with its eigenvalues, the sample left out."""
    lay, s = shape.layout, shape.sizes
    entries = _multiplied_entries(source, shape)
    read = matrix_bytes(source, lay) * lay.amplification / rates.read
    spans = min(len(lay.spans), shape.at_once * max(1, total // per_process))
    if shape.route == "gram":
        work, dense = _gram_seconds(shape, entries, rates)
    else:
        work = 4 * entries * (s.block + s.probes) / _product_speed(source, options, rates, s)
        work += _preparation_seconds(shape, rates, 2) / 2
        dense = dense_seconds(shape, rates)
    return PASS_SECONDS + _overlap_seconds(read, work, spans, total, shape) + dense


def dense_seconds(shape: PlanCandidate, rates: Speeds) -> float:
    """Core seconds of what follows a pass at home."""
    lay, s = shape.layout, shape.sizes
    if shape.route == "gram":
        return float(lay.width) ** 3 / rates.dense  # few vectors: tridiagonalisation is what costs
    return 12 * lay.width * float(2 * s.block) ** 2 / rates.dense


def _gram_seconds(shape: PlanCandidate, entries: float, rates: Speeds) -> tuple[float, float]:
    """Core seconds of the products of the Gram matrix, and of its leading eigenvectors."""
    width = shape.layout.width
    work = entries * width / rates.syrk + _preparation_seconds(shape, rates, 1)
    return work, dense_seconds(shape, rates)


def _multiplied_entries(source: Source, shape: PlanCandidate) -> float:
    """Entries that a pass multiplies, complex ones as four."""
    lay, s = shape.layout, shape.sizes
    return float(lay.length) * (s.row_entries or lay.width) * (4 if source.dtype.kind == "c" else 1)


def _product_speed(source: Source, options: SVDOptions, rates: Speeds, s: Sizes) -> float:
    """Operations a second of the products that are expected: small tolerances leave single precision."""
    slow = (
        options.precision == "double" or options.width_tol < 5e-5 or not fits_single(source.dtype)
    )
    if s.row_entries:
        return rates.sparse_double if slow else rates.sparse_single
    return rates.double if slow else rates.single


def _preparation_seconds(shape: PlanCandidate, rates: Speeds, passes: int) -> float:
    """Core seconds of preparing the blocks of so many passes; along rows the first alone makes every copy."""
    lay, s = shape.layout, shape.sizes
    whole = passes if lay.axis == "columns" else 1
    copied = s.narrow if s.narrow != s.item else 0
    bytes_made = whole * s.entry + (passes - whole) * copied
    return float(lay.length) * (s.row_entries or lay.width) * bytes_made / rates.prepare


def _overlap_seconds(
    read: float, work: float, spans: int, cores: int, shape: PlanCandidate
) -> float:
    """Seconds of reading and multiplying on a number of spans, each with a reader thread or without."""
    block = shape.layout.unit * (shape.sizes.row_entries or shape.layout.width)
    work *= (
        1 + min(0.5, 0.05 * BLOCK_ITEMS / max(block, 1))
        if shape.layout.length > 4 * shape.layout.unit
        else 1
    )
    if not shape.prefetch:
        return 1.1 * (read + work) / spans
    return max((read + work) / min(cores, 2 * spans), max(read, work) / spans)

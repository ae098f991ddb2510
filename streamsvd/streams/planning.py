"""How a stream fits a budget: what it remembers, then how its rows are read."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.layout import BLOCK_ITEMS, SPANS, Layout
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.panel_cache import may_be_cached
from streamsvd.engine.schedule import by_columns_note, least_rows
from streamsvd.errors import BudgetError, SpecError
from streamsvd.protocols import Source
from streamsvd.streams.mathematics import fit_options, state_bytes, work_bytes
from streamsvd.streams.options import StreamOptions
from streamsvd.streams.window_reader import MAX_MIX, USUAL_THREADS, WindowReader


def check_k(options: StreamOptions, n: int) -> None:
    """Refuse more vectors than there are columns, before anything is planned for them."""
    if options.k > n:
        raise SpecError(f"k={options.k} exceeds the {n} columns. Pass k <= {n}.")


def projected_bytes(options: StreamOptions, n: int) -> int:
    """Upper bound of what a stream takes, beside the rows on their way in."""
    return BASE_BYTES + state_bytes(options, n) + work_bytes(options, n)


def fit_beside_reading(
    options: StreamOptions, n: int, budget: int, reading: int, what: str
) -> StreamOptions:
    """The options that fit beside what reading takes.

    Raises
    ------
    BudgetError
        If the least does not; it names the smallest budget.
    """
    try:
        return fit_options(options, n, budget - BASE_BYTES - reading)
    except BudgetError as error:
        least = error.needs + BASE_BYTES + reading
        raise BudgetError(
            f"a stream of rows of {n:,} numbers for {options.k} eigenvectors, and {what},",
            least,
            budget,
            f"The smallest budget that works is memory={least}.",
        ) from None


def plan_reading(
    source: Source, options: StreamOptions, budget: int, *, passes: int = 1
) -> tuple[WindowReader, StreamOptions]:
    """How to read a stored matrix so many times, and the options, within a budget.

    The state comes first, then whole chunks, then reading ahead, then as many chunks to mix as there is room for; what is
    read again stays in memory where all of it fits into the rest.
    """
    reader, fitted = _plan_pass(source, options, budget)
    cached = replace(reader, is_cached=True)
    needed = cached.bytes_needed + projected_bytes(fitted, source.shape[1])
    if passes > 1 and needed <= budget and may_be_cached(source):
        reader = cached
    return reader, fitted


def plan_products(reader: WindowReader, options: StreamOptions, budget: int) -> tuple[Layout, int]:
    """How a further pass is cut, and how many of its tasks run at once in this process.

    It takes no more than the first pass with one task that adds up all rows; several, and their sums, take the memory that is left.
    """
    n = reader.source.shape[1]
    cut = reader.matrix_reader.layout
    height = min(reader.unit, max(64, BLOCK_ITEMS // n))
    ends = [0, *(stop for _, stop in cut.spans)]
    sums = 2 * n * options.columns * 8
    task = 2 * reader.unit_bytes + reader.source.read_bytes + 2 * height * n * 8
    left = budget - projected_bytes(options, n) - reader.bytes_needed

    def fits(at_once: int) -> bool:
        return at_once == 1 or at_once * task + (at_once + SPANS.bit_length()) * sums <= left

    spread = fits(USUAL_THREADS)
    count = min(SPANS, len(ends) - 1) if spread else 1
    edges = [ends[round(i * (len(ends) - 1) / count)] for i in range(count + 1)]
    layout = replace(cut, unit=height, spans=tuple(pairwise(edges)))
    threads = concurrency()[1] if spread else 1
    return layout, max(t for t in range(1, threads + 1) if fits(t))


def _plan_pass(
    source: Source, options: StreamOptions, budget: int
) -> tuple[WindowReader, StreamOptions]:
    """How one pass reads, and the options."""
    m, n = source.shape
    chunk = min(source.chunks[0], m)
    mix = options.order == "auto"
    fewest = min(chunk, -(-least_rows(source) // 64) * 64)
    smallest = WindowReader(source, fewest, 1 if mix else 0, False, options.seed)
    units = [chunk]
    while units[-1] > smallest.unit:
        units.append(max(units[-1] // 2, smallest.unit))
    what = f"{fewest:,} rows of it{by_columns_note(source)}"
    least = fit_beside_reading(options, n, budget, smallest.bytes_needed, what)
    for unit in units:
        if unit < chunk and unit % 64:
            unit = max(64, unit // 64 * 64)
        base = replace(smallest, unit=min(unit, chunk))
        room = budget - BASE_BYTES - base.bytes_needed
        if state_bytes(least, n) + work_bytes(least, n) > room:
            continue
        chosen = fit_options(options, n, room)
        left = budget - projected_bytes(chosen, n)
        best = base
        for mixed in range(1, MAX_MIX + 1) if mix else (0,):
            for ahead in (False, True):
                tried = replace(base, mix_count=mixed, ahead=ahead)
                if tried.bytes_needed <= left:
                    best = tried
        for readers in range(1, concurrency()[1] + 1):  # which changes no order
            tried = replace(best, readers=readers)
            if readers <= USUAL_THREADS or tried.bytes_needed <= left:
                best = tried
        return best, chosen
    return smallest, least

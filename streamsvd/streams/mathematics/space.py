"""How much a stream remembers, in bytes, and how its options are fitted to a memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from streamsvd.errors import BudgetError
from streamsvd.streams.options import StreamOptions

MICROBATCH = 64
"""Rows taken at once, counted from the first row of the stream: bits do not depend on the caller's blocks."""
GRID = 48
"""Learning rates tried side by side where the order is arbitrary."""
WORK_ROWS = 12
"""Rows of d numbers that a step takes beside what it keeps."""


def state_bytes(options: StreamOptions, d: int) -> int:
    """Upper bound of what a stream of rows of ``d`` numbers keeps, however long it is, in bytes.

    Rows of d float64 numbers: the basis and its history and sums, also of the window that judges, for b + k
    columns; heavy rows; the sketch and its buffer; the probes and their products; learning rates.
    """
    b, k, h = min(options.columns, d), min(options.k, d), options.heavy_rows
    c, size = min(b + k, d), min(options.rows, d)
    if options.order == "arbitrary":
        rows = h + 2 * size + 2 * options.probes + (GRID + 1 if k == 1 else 0) + 2 * MICROBATCH + k
    else:
        rows = 5 * c + h + 2 * size + 2 * options.probes + 3 * k + 2 * MICROBATCH + WORK_ROWS
    return 8 * (d * rows + 64 * 24 * 3 + 16 * c + 4 * h + 2048) + 4096


def work_bytes(options: StreamOptions, d: int) -> int:
    """Upper bound of what a step takes beside the state, in bytes."""
    b, k, h = min(options.columns, d), min(options.k, d), options.heavy_rows
    c, size = min(b + k, d), min(options.rows, d)
    small = h + c + 2 * size
    rows = 6 * c + 5 * (h + 2 * size) + WORK_ROWS + 4 * MICROBATCH
    return 8 * (d * rows + 6 * small * small)


def fit_options(options: StreamOptions, d: int, budget: int) -> StreamOptions:
    """The options with as much memory as the budget allows: probes shrink first, then sketch, heavy rows, width.

    Raises
    ------
    BudgetError
        If the least that works does not fit; it names the bytes.
    """

    def needed(o: StreamOptions) -> int:
        return state_bytes(o, d) + work_bytes(o, d)

    def having(o: StreamOptions, name: str, value: int) -> StreamOptions:
        changes: dict[str, Any] = {name: value}
        return replace(o, **changes)

    smaller = options
    steps = (
        ("probes", min(8, options.probes)),
        ("sketch_rows", max(options.columns, options.k + 1)),
        ("heavy_rows", min(16, options.heavy_rows)),
        ("width", min(options.columns, options.k + 4)),
        ("sketch_rows", max(options.k + 4, options.k + 1)),
    )
    for name, least in steps:
        if needed(smaller) <= budget:
            return smaller
        now = {"probes": smaller.probes, "sketch_rows": smaller.rows, "heavy_rows": smaller.heavy_rows,
               "width": smaller.columns}[name]  # fmt: skip
        low, high = min(least, now), now
        while low < high:  # the most that fits, or the least
            middle = (low + high + 1) // 2
            fits = needed(having(smaller, name, middle)) <= budget
            low, high = (middle, high) if fits else (low, middle - 1)
        smaller = having(smaller, name, low)
    if needed(smaller) <= budget:
        return smaller
    raise BudgetError(
        f"a stream of rows of {d:,} numbers, for {options.k} eigenvectors",
        needed(smaller),
        budget,
        f"The smallest budget that works is memory={needed(smaller)}.",
    )

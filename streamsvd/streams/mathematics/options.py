"""What a stream is asked, how much it may remember, and the bytes that this takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from streamsvd.checks.numbers import check_integer, check_seed
from streamsvd.errors import BudgetError, SpecError

OrderMode = Literal["auto", "random", "arbitrary"]
MICROBATCH = 64
"""Rows taken at once, counted from the first row of the stream: bits do not depend on the caller's blocks."""
GRID = 48
"""Learning rates tried side by side where the order is arbitrary."""
WORK_ROWS = 12
"""Rows of d numbers that a step takes beside what it keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """What is asked of a stream, and how much it may remember.

    Parameters
    ----------
    k
        Eigenvectors wanted.
    width
        Columns iterated, the k wanted and some more: the knob of accuracy; ``k + max(10, k)`` if left out.
    heavy_rows
        Rows of large norm kept as they are; 64.
    heavy_share
        A row is heavy if its squared norm is at least ``max(||A||_F^2 / d, value_k) / heavy_share``; 16.
    sketch_rows
        Rows of the Frequent Directions sketch, which no order of rows can fool; twice the width if left out, four
        times where the order is arbitrary.
    probes
        Gaussian columns that bound what lies outside the answer, and choose between candidates; 16.
    windows
        Parts of the stream after each of which the basis is brought up to date, where its length is known; 64.
    holdout
        Share of the rows that only judge the answer, where the length is known; 0.1.
    forgetting
        Largest exponent by which older windows weigh less; 4.
    delta
        Failure probability of the statistical claims; 0.05.
    order
        ``"auto"`` measures whether rows come in random order, ``"random"`` trusts it, ``"arbitrary"`` does not.
    seed
        Of all random numbers.

    Raises
    ------
    SpecError
        If an option is out of range.

    References
    ----------
    Kacham, Woodruff (2024) for heavy rows and random order; Price, Xun (2024) for arbitrary order; Ghashami,
    Liberty, Phillips, Woodruff (2016) for Frequent Directions.
    """

    k: int = 1
    width: int | None = None
    heavy_rows: int = 64
    heavy_share: float = 16.0
    sketch_rows: int | None = None
    probes: int = 16
    windows: int = 64
    holdout: float = 0.1
    forgetting: float = 4.0
    delta: float = 0.05
    order: OrderMode = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "width", "heavy_rows", "sketch_rows", "probes", "windows", "seed"):
            value = getattr(self, name)
            if value is not None:  # numpy's integers become plain ones, which can be saved
                object.__setattr__(self, name, check_integer(name, value))
        for name in ("heavy_share", "holdout", "forgetting", "delta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise SpecError(f"{name}={value!r} is not a number. Pass one.")
            object.__setattr__(self, name, float(value))
        self._check_sizes()
        self._check_shares()

    def _check_shares(self) -> None:
        """Refuse shares, exponents and words out of range."""
        if not 0 < self.heavy_share < float("inf"):
            raise SpecError(f"heavy_share={self.heavy_share} is no share. Pass a positive number.")
        if not 0 < self.holdout < 1:
            raise SpecError(f"holdout={self.holdout} is outside (0, 1). Pass a share such as 0.1.")
        if not 0 <= self.forgetting < float("inf"):
            raise SpecError(f"forgetting={self.forgetting} is no exponent. Pass 0 or more.")
        if not 0 < self.delta < 1:
            raise SpecError(f"delta={self.delta} is no probability. Pass one in (0, 1).")
        if self.order not in get_args(OrderMode):
            raise SpecError(
                f'order={self.order!r} is unknown. Pass "auto", "random" or "arbitrary".'
            )

    def _check_sizes(self) -> None:
        """Refuse numbers of rows and columns out of range."""
        check_seed(self.seed)
        if self.k < 1:
            raise SpecError(f"k={self.k} is no number of eigenvectors. Pass k >= 1.")
        if self.width is not None and self.width < self.k + 1:
            raise SpecError(
                f"width={self.width} leaves no room beyond k={self.k}. Pass k + 1 or more."
            )
        if self.heavy_rows < 0:
            raise SpecError(f"heavy_rows={self.heavy_rows} is no number of rows. Pass 0 or more.")
        if self.sketch_rows is not None and self.sketch_rows <= self.k:
            raise SpecError(
                f"sketch_rows={self.sketch_rows} cannot hold k={self.k} directions. Pass more than k."
            )
        if self.probes < 2:
            raise SpecError(f"probes={self.probes} bound nothing. Pass 2 or more.")
        if self.windows < 1:
            raise SpecError(f"windows={self.windows} is no number of parts. Pass 1 or more.")

    @property
    def columns(self) -> int:
        """Columns iterated on light rows, b."""
        return self.k + max(10, self.k) if self.width is None else self.width

    @property
    def rows(self) -> int:
        """Rows of the Frequent Directions sketch, l; it has all the room where nothing else is kept."""
        if self.sketch_rows is not None:
            return self.sketch_rows
        return max((4 if self.order == "arbitrary" else 2) * self.columns, 20)


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

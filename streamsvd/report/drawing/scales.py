"""Axes: from numbers to places on a drawing, and the numbers that stand beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
MOST_TICKS = 6
FEW_DECADES = 1.3
"""Below so many a logarithmic axis has numbers between the powers of ten."""


def short_number(x: float) -> str:
    """A number as it stands beside an axis.

    Examples
    --------
    >>> [short_number(x) for x in (0.0, 1200.0, 2_500_000.0, 1e-07, 0.25)]
    ['0', '1,200', '2.5e6', '1e-7', '0.25']
    """
    if x == 0:
        return "0"
    if 1e-3 <= abs(x) < 1e6:
        text = f"{x:,.6f}".rstrip("0").rstrip(".")
        return text if len(text) <= 9 else f"{x:,.4g}"
    mantissa, _, exponent = f"{x:.3e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def finite(values: Iterable[float] | Numbers) -> Numbers:
    """Those that are numbers, as float64."""
    found = np.asarray(
        values if isinstance(values, np.ndarray) else list(values), dtype=np.float64
    ).ravel()
    return found[np.isfinite(found)]


@dataclass(frozen=True, slots=True)
class Scale:
    """From numbers to places: linear, or by their logarithm.

    Attributes
    ----------
    low, high
        Numbers at the two ends; ``low < high``, and positive where the scale is logarithmic.
    is_log
        Whether equal ratios are equally far apart.
    show
        How a number is written.
    is_integer
        Whether only whole numbers are written.
    is_binary
        Whether round numbers are those of bytes: of KiB, MiB and so on.
    """

    low: float
    high: float
    is_log: bool = False
    show: Callable[[float], str] = short_number
    is_integer: bool = False
    is_binary: bool = False

    @classmethod
    def of(
        cls,
        values: Iterable[float] | Numbers,
        *,
        is_log: bool = False,
        from_zero: bool = False,
        show: Callable[[float], str] = short_number,
        is_integer: bool = False,
        is_binary: bool = False,
    ) -> Scale:
        """One that shows all numbers of some; infinite ones, and of a logarithm what is not positive, have no place."""
        found = finite(values)
        if is_log:
            found = found[found > 0]
        if not found.size:
            return cls(1.0, 10.0, is_log, show) if is_log else cls(0.0, 1.0, False, show)
        low, high = float(found.min()), float(found.max())
        if is_log:
            room = max((high / low) ** 0.06, 1.15) if high / low < math.inf else 1.15
            return cls(max(low / room, 5e-324), min(high * room, 1.7e308), True, show)
        if from_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        span = high / 2 - low / 2  # halves: the difference of two large numbers may overflow
        room = 0.1 * span if span > 0 else 0.05 * (abs(high) or 1.0)
        if is_integer:
            room = max(min(room, 0.5), 0.2) if span else 0.5
        keeps = from_zero and low == 0
        return cls(low if keeps else low - room, high + room, False, show, is_integer, is_binary)

    def place(self, values: Iterable[float] | Numbers, start: float, stop: float) -> Numbers:
        """Places between the two ends of a stretch of the drawing; NaN where there is none."""
        x = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.is_log:
                share = (np.log(x) - math.log(self.low)) / (
                    math.log(self.high) - math.log(self.low)
                )
            else:
                half = self.high / 2 - self.low / 2
                share = (x / 2 - self.low / 2) / half
        share = np.where(np.isfinite(share), np.clip(share, -0.02, 1.02), np.nan)
        return np.asarray(start + share * (stop - start))

    def ticks(self) -> list[float]:
        """Round numbers along it, at most about six."""
        return self._log_ticks() if self.is_log else self._linear_ticks()

    def _linear_ticks(self) -> list[float]:
        half = self.high / 2 - self.low / 2
        unit = 1.0
        while self.is_binary and self.high >= 1024 * unit:
            unit *= 1024
        step = unit * _round_step(half / (MOST_TICKS - 1) * 2 / unit)
        if self.is_integer:
            step = max(1.0, math.ceil(step))
        if not math.isfinite(step) or step <= 0:
            return [self.low, self.high]
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        found = [k * step for k in range(first, last + 1)]
        return found[:: max(1, -(-len(found) // MOST_TICKS))]

    def _log_ticks(self) -> list[float]:
        first, last = math.log10(self.low), math.log10(self.high)
        if last - first < FEW_DECADES:
            powers = range(math.floor(first), math.ceil(last) + 1)
            found = [m * 10.0**p for p in powers if -307 < p < 308 for m in (1, 2, 3, 5)]
            found = [x for x in found if self.low <= x <= self.high]
            if len(found) >= 2:
                return found
            return [x for x in Scale(self.low, self.high)._linear_ticks() if x > 0]
        powers = range(math.ceil(first), math.floor(last) + 1)
        step = -(-len(powers) // MOST_TICKS)
        return [10.0**p for p in powers if p % step == 0 and p < 309]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below a number."""
    if not 0 < rough < math.inf:
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next((m * power for m in (1, 2, 5, 10) if m * power >= rough), 10 * power)


def thin_indices(count: int, most: int) -> list[int]:
    """At most so many of the first ``count`` indices: the leading ones, and then fewer and fewer up to the last.

    Examples
    --------
    >>> thin_indices(5, 10), thin_indices(1000, 8)
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 15, 62, 250, 999])
    """
    if count <= most:
        return list(range(count))
    half = most // 2
    rest = np.geomspace(half, count, most - half + 1)[1:]
    return sorted({*range(half), *(min(count, round(float(x))) - 1 for x in rest)})


def envelope(values: Numbers, bins: int) -> tuple[Numbers, Numbers]:
    """A long row of numbers as the least and the largest of every stretch, in their order: no peak is lost."""
    n = values.size
    if n <= 2 * bins:
        return np.arange(n, dtype=np.float64), values
    cuts = np.linspace(0, n, bins + 1).astype(np.int64)
    found_x, found_y = [], []
    for start, stop in pairwise(cuts):
        part = values[start:stop]
        if np.isnan(part).all():
            found_x.append(float(start))
            found_y.append(np.nan)
            continue
        for i in sorted({int(np.nanargmin(part)), int(np.nanargmax(part))}):
            found_x.append(float(start + i))
            found_y.append(float(part[i]))
    return np.array(found_x), np.array(found_y)

"""Intervals of singular values, descending: how wide they are, and which of them touch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Real

ZERO_LEVEL = 4e-6
"""Values proved to lie below this share of the largest count as zero, not as undetermined: squares of
float64 data do not resolve them to three digits."""


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive values whose intervals touch.

    Attributes
    ----------
    first, last
        Indices, from 0, both inclusive.
    lower, upper
        All of them lie between.
    """

    first: int
    last: int
    lower: float
    upper: float

    @property
    def size(self) -> int:
        """How many values."""
        return self.last - self.first + 1


def touching_groups(lower: Real, upper: Real) -> tuple[Group, ...]:
    """Maximal runs of intervals that touch; ends descending."""
    if lower.size == 0:
        return ()
    cuts = np.flatnonzero(lower[:-1] > upper[1:]) + 1
    edges = [0, *(int(cut) for cut in cuts), lower.size]
    return tuple(Group(a, b - 1, float(lower[b - 1]), float(upper[a])) for a, b in pairwise(edges))


def leading_run(flags: npt.NDArray[np.bool_]) -> int:
    """How many of the first flags are set, up to the first that is not."""
    return int(flags.size if flags.all() else np.argmin(flags))


def relative_widths(lower: Real, upper: Real, zero: float = 0.0) -> Real:
    """Width of each interval relative to its upper end; 0 for values that are numerically zero.

    Those are the ones below `ZERO_LEVEL` of the largest, and those of at most ``zero``.
    """
    widths = np.zeros(upper.size)
    if upper.size == 0 or upper[0] <= 0:
        return widths
    alive = upper > max(ZERO_LEVEL * upper[0], zero)
    with np.errstate(invalid="ignore"):  # an infinite upper end
        widths[alive] = (upper[alive] - lower[alive]) / upper[alive]
    widths[np.isnan(widths)] = 1.0
    return widths


def worst_width(lower: Real, upper: Real, zero: float = 0.0) -> float:
    """Largest relative width of the intervals of values that are not numerically zero."""
    return float(np.max(relative_widths(lower, upper, zero), initial=0.0))

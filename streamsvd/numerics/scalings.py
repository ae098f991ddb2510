"""By what columns are divided: a scaling is a function of the mean and the deviation of each column, which the first pass sums anyway.

So none takes a pass of its own: the divisors become part of the change of variables once the sums are known. A new scaling is a line
of `SCALINGS`, and its name in `Scale`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Array = Any
Scale: TypeAlias = bool | Literal["std", "hwe"]
"""What `scale=` of a factorisation may be; True is ``"std"``."""

STANDARD = "std"
LEAST_SHARE = 1e-12
"""Least ``2 p (1 - p)`` of a column that is not monomorphic: far above the rounding of a mean, far below one allele in a million."""
SLACK = 1e-6
"""By how much an entry may lie outside its limits: the rounding of float32, and more."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """A way to scale columns.

    Attributes
    ----------
    divisor
        ``alpha`` times the divisor of each column, given mean and deviation of ``alpha A`` and ``alpha``: ``(n,)`` of arrays of any
        namespace. Where it is not positive the column is left out.
    limits
        Least and largest entry that have a meaning; None for all.
    meaning
        What entries are, as errors say it.
    """

    divisor: Callable[[Array, Array, float], Array]
    limits: tuple[float, float] | None = None
    meaning: str = ""


def _of_deviation(mean: Array, deviation: Array, alpha: float) -> Array:
    """The standard deviation."""
    del mean, alpha
    return deviation


def _of_alleles(mean: Array, deviation: Array, alpha: float) -> Array:
    """``sqrt(2 p (1 - p))``, ``p`` half the mean: the deviation of a count of alleles in Hardy-Weinberg equilibrium."""
    from array_api_compat import array_namespace  # the command line asks for names without it

    del deviation
    xp = array_namespace(mean)
    square = mean * (alpha - mean / 2)
    alive = square > LEAST_SHARE * alpha * alpha
    return xp.sqrt(xp.where(alive, square, xp.zeros_like(square)))


SCALINGS: dict[str, Scaling] = {
    STANDARD: Scaling(_of_deviation),
    # Patterson, Price, Reich, PLoS Genetics 2 (2006), equations 1 to 3
    "hwe": Scaling(_of_alleles, (0.0, 2.0), "counts of an allele, 0 to 2"),
}
"""Every scaling, by its name."""


def scaling_of(scale: Any) -> Scaling | None:
    """The scaling that an option names; None for none."""
    if not scale:
        return None
    return SCALINGS[STANDARD if scale is True else scale]


def plain_scale(scale: Any) -> Any:
    """The option as it is recorded: ``"std"`` as True, which it has always been, and what is no name as it came."""
    return True if isinstance(scale, str) and scale == STANDARD else scale

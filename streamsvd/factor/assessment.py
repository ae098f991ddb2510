"""From what a pass has added to intervals, a rank, and what is proved of the factors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.factor.options import SVDOptions
from streamsvd.factor.problem import Statistics
from streamsvd.numerics.bracket import Bracket, BracketEnds, bracket_ends, bracket_with_vectors
from streamsvd.numerics.certificate import Certificate, EigenvalueBounds, Kind, certify
from streamsvd.numerics.intervals import worst_width
from streamsvd.numerics.kyfan import largest_sum, sum_by_slope
from streamsvd.numerics.probes import Probes, rounding_bounds
from streamsvd.numerics.ritz import Ritz, residual
from streamsvd.numerics.sides import UNIT_ROUNDOFF, Sides, sides
from streamsvd.numerics.tail import (
    TailBounds,
    polynomial_share,
    polynomial_tail,
    power_share,
    tail_norm,
)
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Assessment:
    """What is known after a pass: the rank, the intervals and vectors, and whether the rank holds what was asked.

    Attributes
    ----------
    rank
        Triplets wanted, or found to be enough.
    bracket
        Vectors, and guesses of the values within the intervals of all looks together.
    certificate
        What is proved of them.
    enough
        Whether the energy asked for is proved to be held; True if none was asked.
    smallest
        Whether no smaller rank is proved to hold it; True if none was asked.
    """

    rank: int
    bracket: Bracket
    certificate: Certificate
    enough: bool
    smallest: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class PastBounds:
    """What earlier looks leave for the next.

    Attributes
    ----------
    bounds
        Their statements together; None before the first.
    best
        The bracket whose vectors hold most energy.
    beta
        A bound of ``||P B P||`` for every space that contains the present one.
    sides
        The matrices around ``B`` of the last look.
    """

    bounds: EigenvalueBounds | None = None
    best: Bracket | None = None
    beta: float = float("inf")
    sides: Sides | None = None


def rounding_floor(stats: Statistics, terms: int) -> float:
    """Rounding of float64 sums of ``terms`` products in the norm of ``B``, ``8 u sqrt(n) E`` (Higham, Mary 2019)."""
    return 8 * UNIT_ROUNDOFF * float(np.sqrt(terms)) * stats.gross


def column_noise(
    ritz: Ritz, probes: Probes | None, stats: Statistics, count: int, delta: float
) -> Real:
    """Bound of the rounding of each column of the products, ``(L,)``; it fails with probability ``delta``."""
    size = ritz.theta.size
    if probes is None:
        return np.full(size, 4 * ritz.skew + rounding_floor(stats, ritz.V.shape[0]))
    return rounding_bounds(ritz, probes, delta=delta, needed=min(count, size) - 1)


def assess_krylov(
    ritz: Ritz,
    probes: Probes | None,
    stats: Statistics,
    options: SVDOptions,
    number: int,
    past: PastBounds | None = None,
    *,
    count: int,
) -> tuple[Assessment, PastBounds]:
    """Look number ``number`` at a Krylov space for at most so many triplets; without probes its upper ends are estimates.

    Notes
    -----
    Cost: a bracket; where values are left unresolved, another one, the polynomials of the powers, and the bounds of
    the sum of the largest eigenvalues.
    """
    past = past or PastBounds()
    floor = rounding_floor(stats, ritz.V.shape[0])
    size = ritz.theta.size
    each = power_share(options.delta, number)
    noise = column_noise(ritz, probes, stats, count, each)
    # The trace of P B P bounds its norm without any probe.
    trace = max(stats.energy - float(np.sum(ritz.theta)), 0.0) + float(np.sum(noise)) + floor
    whole = size >= stats.frame.dimension
    if whole:
        beta = 0.0
    elif probes is not None:
        beta = min(trace, past.beta, tail_norm(ritz.V, probes, delta=each))
    else:
        beta = min(trace, max(float(ritz.theta[-1]), 0.0))
    known = residual(ritz)
    first = bracket_ends(sides(ritz, known.F, beta=beta, noise=noise), count=count)
    if probes is None:
        found = _extrapolate_upper(
            bracket_with_vectors(first, ritz, known, noise=noise),
            ritz,
            noise,
            1.5 if number == 1 else 4.0,
        )
        return _assess(found, PastBounds(), stats, options, noise, beta=beta, floor=floor)
    proved, rank = _combine_bounds(first, past), _rank(first, past, options, stats)
    moments: TailBounds | None = None
    if not whole and number > 1 and _worst_width(proved, rank, stats) > options.width_tol:
        moments = polynomial_tail(
            ritz.V,
            probes,
            delta=polynomial_share(options.delta, number),
            edges=_edges(ritz.theta, count),
            rank=min(count, size),
        )
        if moments.norm < 0.999 * beta:
            beta = moments.norm
            first = bracket_ends(sides(ritz, known.F, beta=beta, noise=noise), count=count)
            proved, rank = _combine_bounds(first, past), _rank(first, past, options, stats)
    if _worst_width(proved, rank, stats) > options.width_tol:
        most = largest_sum(first.sides, rank, upper=proved.upper, trace=trace)
        if moments is not None and rank <= size:
            most = min(most, _sum_by_moments(first.sides, moments, rank))
        if past.bounds is not None:
            most = min(most, past.bounds.sum_of(rank))
        proved = replace(proved, rank=rank, largest_sum=most)
    found = bracket_with_vectors(first, ritz, known, noise=noise)
    del known
    past = replace(past, bounds=proved, beta=beta, sides=found.sides)
    return _assess(found, past, stats, options, noise, beta=beta, floor=floor)


def _edges(theta: Real, rank: int) -> tuple[float, float]:
    """Largest and smallest guess of the norm outside the space, from Ritz values alone."""
    high = 1.1 * max(float(theta[min(rank, theta.size - 1)]), 0.0)
    return high, max(0.5 * max(float(theta[-1]), 0.0), high / 32)


def _sum_by_moments(both: Sides, tail: TailBounds, rank: int) -> float:
    """The best bound of the sum of the largest eigenvalues from moments of the tail."""
    best = float("inf")
    for x in (rank / 8, rank / 2):
        # Whatever the scale, what it proves is proved: the one with the least slope is taken.
        pairs = [moment.tangent(x) for moment in tail.moments]
        if pairs:
            slope, constant = min(pairs, key=lambda pair: pair[0] * x + pair[1])
            best = min(best, sum_by_slope(both, rank, slope, constant))
    return best


def _combine_bounds(found: BracketEnds, past: PastBounds) -> EigenvalueBounds:
    own = EigenvalueBounds(found.lower, found.upper, found.next_lower)
    return own if past.bounds is None else own.intersect(past.bounds)


def _best_bracket(found: Bracket, past: PastBounds) -> Bracket:
    """The bracket whose vectors are proved to hold most energy: not the last, where a basis was compressed."""
    return (
        past.best if past.best is not None and _holds_more(past.best.lower, found.lower) else found
    )


def _holds_more(lower: Real, other: Real) -> bool:
    return float(np.sum(lower)) > float(np.sum(other))


def _rank(found: BracketEnds, past: PastBounds, options: SVDOptions, stats: Statistics) -> int:
    """Triplets wanted, or as many of the best vectors as hold the energy asked for."""
    lower = found.lower
    if past.best is not None and _holds_more(past.best.lower, lower):
        lower = past.best.lower
    return _enough(lower, options, stats)[0]


def _enough(lower: Real, options: SVDOptions, stats: Statistics) -> tuple[int, bool]:
    """Triplets, and whether their vectors are proved to hold what was asked."""
    if options.energy_share is None:
        return lower.size, True
    if stats.vanishes:
        return 1, True
    return _smallest_rank(lower, options.energy_share, stats.energy)


def _worst_width(proved: EigenvalueBounds, rank: int, stats: Statistics) -> float:
    """Largest relative width of the leading intervals."""
    lower, upper = np.sqrt(proved.lower[:rank]), np.sqrt(proved.upper[:rank])
    return worst_width(lower, upper, stats.zero)


def _extrapolate_upper(found: Bracket, ritz: Ritz, noise: Real, safety: float) -> Bracket:
    """Upper ends by estimate: what Nyström gained on the Ritz values, summed as a geometric series.

    Half an iteration divides the error of the i-th value by about ``theta_i / theta_L``; ``safety`` times
    what remains of the series is taken, more after a Krylov pass, where the ratio is a guess. (The bound with the last Ritz value for ``beta`` is far too small after a Krylov
    pass: what is outside the space is larger than the smallest value inside.)
    """
    count = min(found.lower.size, ritz.theta.size)
    theta, values = ritz.theta[:count], found.values[:count]
    ratio = np.full(count, 0.9)
    np.divide(max(float(ritz.theta[-1]), 0.0), values, out=ratio, where=values > 0)
    ratio = np.minimum(ratio, 0.9)
    gained = np.maximum(values - theta, 0.0)
    upper = found.upper.copy()
    upper[:count] = values + safety * gained * ratio / (1 - ratio) + noise[:count]
    return replace(found, upper=upper)


def assess_gram(
    theta: Real, V: Matrix, stats: Statistics, options: SVDOptions, floor: float
) -> Assessment:
    """Look at the leading eigenpairs of the whole Gram matrix: one more value than vectors wanted.

    The intervals are as wide as the rounding of its sums; nothing is random.
    """
    count = theta.size - 1
    found = Bracket(
        lower=np.maximum(theta[:count] - floor, 0.0),
        upper=np.maximum(theta + floor, 0.0),
        vectors=V[:, :count],
        values=np.maximum(theta[:count], 0.0),
        deficit=floor,
        next_lower=max(float(theta[count]) - floor, 0.0),
    )
    noise = np.full(count, floor)
    return _assess(found, PastBounds(), stats, options, noise, beta=0.0, floor=floor, random=False)[
        0
    ]


def _assess(
    found: Bracket,
    past: PastBounds,
    stats: Statistics,
    options: SVDOptions,
    noise: Real,
    *,
    beta: float,
    floor: float,
    random: bool = True,
) -> tuple[Assessment, PastBounds]:
    """The certificate of the best vectors so far, and what the next look is told."""
    proved = past.bounds or EigenvalueBounds(found.lower, found.upper, found.next_lower)
    best = _best_bracket(found, past)
    ends = proved.lower, np.maximum(proved.upper[:-1], proved.lower)
    guesses = np.sort(np.clip(best.values, *ends))[::-1]
    rank, enough = _enough(best.lower, options, stats)
    kind, failure = (Kind.BOUNDS, options.delta) if options.wants_bounds else (Kind.ESTIMATE, 1.0)
    certificate = certify(
        best,
        rank=rank,
        energy=stats.energy,
        energy_slack=floor,
        nu=float(noise[min(rank, noise.size) - 1]),
        beta=beta,
        failure_probability=failure if random else 0.0,
        kind=kind,
        proved=proved,
        tol=options.width_tol,
        zero=stats.zero,
        moved=stats.moved,
    )
    kept = replace(best, values=guesses)
    smallest = True
    if options.energy_share is not None and rank > 1:
        smallest = float(np.sum(proved.upper[: rank - 1])) < options.energy_share * stats.energy
    return Assessment(rank, kept, certificate, enough, smallest), replace(past, best=best)


def _smallest_rank(lower: Real, share: float, energy: float) -> tuple[int, bool]:
    """Smallest rank whose proved energy is that share; else all that is proved, and False.

    A share of 1 is all that sums of squares can tell from it; any other is meant to the last digit.
    """
    enough = np.cumsum(lower) >= (share if share < 1 else 1 - 1e-12) * energy
    if enough.any():
        return int(np.argmax(enough)) + 1, True
    return max(1, int(np.count_nonzero(lower > 0))), False

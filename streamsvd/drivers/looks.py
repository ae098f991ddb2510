"""From what a pass has added to intervals, a rank and the decision to stop."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.certificate import UNIT_ROUNDOFF, Bracket, Certificate, bracket, certify
from streamsvd.drivers.problem import Statistics
from streamsvd.drivers.session import Settings
from streamsvd.probes import Probes, rounding, share, tail_norm
from streamsvd.ritz import Ritz
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known after a pass: the rank, the intervals and vectors, and whether that is enough."""

    rank: int
    found: Bracket
    certificate: Certificate
    done: bool


def model_floor(stats: Statistics, terms: int) -> float:
    """Rounding of float64 sums of ``terms`` products in the norm of ``B``, ``8 u sqrt(n) E`` (Higham, Mary 2019)."""
    return 8 * UNIT_ROUNDOFF * float(np.sqrt(terms)) * stats.gross


def krylov_look(
    ritz: Ritz, probes: Probes | None, stats: Statistics, settings: Settings, number: int
) -> Look:
    """Look number ``number`` at a Krylov space; without probes its upper ends are estimates."""
    dimension = stats.frame.dimension
    count = settings.rank  # values beyond the columns left are zero
    floor = model_floor(stats, ritz.V.shape[0])
    size = ritz.theta.size
    if probes is not None:
        each = share(settings.delta, number)
        noise = rounding(ritz, probes, delta=each, needed=min(count, size) - 1)
    else:
        noise = np.full(size, 4 * ritz.skew + floor)
    # The trace of P B P bounds its norm without any probe.
    beta = max(stats.energy - float(np.sum(ritz.theta)), 0.0) + float(np.sum(noise)) + floor
    if size >= dimension:
        beta = 0.0
    elif probes is not None:
        beta = min(beta, tail_norm(ritz.V, probes, delta=each))
    else:
        beta = min(beta, max(float(ritz.theta[-1]), 0.0))
    found = bracket(ritz, beta=beta, noise=noise, count=count)
    if probes is None:
        found = _extrapolated(found, ritz, noise, 1.5 if number == 1 else 4.0)
    failure = settings.delta if probes is not None else 1.0
    return _judged(found, stats, settings, noise, beta=beta, floor=floor, failure=failure)


def _extrapolated(found: Bracket, ritz: Ritz, noise: Real, safety: float) -> Bracket:
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


def gram_look(theta: Real, V: Matrix, stats: Statistics, settings: Settings, floor: float) -> Look:
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
    )
    noise = np.full(count, floor)
    return _judged(found, stats, settings, noise, beta=0.0, floor=floor, failure=0.0)


def _judged(
    found: Bracket,
    stats: Statistics,
    settings: Settings,
    noise: Real,
    *,
    beta: float,
    floor: float,
    failure: float,
) -> Look:
    rank, enough = found.lower.size, True
    if settings.energy is not None:
        rank, enough = _smallest_rank(found, settings.energy, stats.energy)
    certificate = certify(
        found,
        rank=rank,
        energy=stats.energy,
        energy_slack=floor,
        nu=float(noise[min(rank, noise.size) - 1]),
        beta=beta,
        failure_probability=failure,
        kind=settings.kind,
    )
    return Look(rank, found, certificate, enough and certificate.relative_width <= settings.tol)


def _smallest_rank(found: Bracket, share: float, energy: float) -> tuple[int, bool]:
    """Smallest rank whose proved energy is that share; else all that is proved, and False.

    A share of 1 is all that sums of squares can tell from it; any other is meant to the last digit.
    """
    enough = np.cumsum(found.lower) >= (share if share < 1 else 1 - 1e-12) * energy
    if enough.any():
        return int(np.argmax(enough)) + 1, True
    return max(1, int(np.count_nonzero(found.lower > 0))), False

"""When a run is done: what is asked, what can still be reached, and which way is shorter.

After look j, with ``edge`` the Ritz value behind the first block, ``g_i = theta_i / edge - 1`` and ``w_i`` the width of the
i-th interval, a Krylov pass divides ``w_i`` by ``r^2 = exp(2 arccosh(1 + 2 g_i))`` (Saad 2011), once the bound of the tail is
below ``theta_i``: the polynomial of degree q brings it there when ``q >= arccosh(kappa) / arccosh(1 + 2 g_i)``, ``kappa``
what Gaussian probes lose on a flat tail of ``n_eff`` directions (`streamsvd.numerics.tail`). The larger of the two is the prediction.
It decides what is done next, never what is proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from streamsvd.factor.assessment import Assessment
from streamsvd.factor.options import SVDOptions
from streamsvd.numerics.certificate import Certificate, Kind
from streamsvd.numerics.probes import chi_lower
from streamsvd.numerics.tail import polynomial_share
from streamsvd.typing import Real


class NextStep(Enum):
    """What follows a look."""

    VALUES = "values"
    ERROR = "error"
    GRAM = "gram"
    PASS = "pass"


CHEAP_SECONDS = 0.5
"""A Gram matrix that takes no longer is made rather than done without."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the Ritz values say of the passes to come.

    Attributes
    ----------
    all
        Passes until every value is resolved; ``inf`` where none will do.
    first
        Passes until one more value is resolved.
    """

    all: float
    first: float


@dataclass(frozen=True, slots=True)
class WaysLeft:
    """What can still be done.

    Attributes
    ----------
    passes
        Passes that the loop may still make.
    nothing_to_learn
        Whether another pass of the loop would teach nothing.
    gram
        Cost of a Gram pass in passes of the loop; None where its memory does not fit, its rounding would leave the
        values unresolved, or it was not allowed.
    gram_seconds
        What it takes, by the plan.
    """

    passes: int
    nothing_to_learn: bool
    gram: float | None
    gram_seconds: float = float("inf")

    @property
    def gram_is_cheap(self) -> bool:
        """Whether exact values cost so little that an error near the best is no saving."""
        return self.gram is not None and (self.gram <= 2 or self.gram_seconds <= CHEAP_SECONDS)


def forecast_passes(
    theta: Real,
    widths: Real,
    *,
    block: int,
    probes: int,
    tail_energy: float,
    dimension: int,
    options: SVDOptions,
    number: int,
) -> Forecast:
    """Passes until the values that are not resolved yet will be.

    Parameters
    ----------
    theta
        Ritz values.
    widths
        Relative widths of the intervals asked for.
    block, probes
        Columns of the start block and of the probes.
    tail_energy
        Energy outside the space.
    dimension
        Of the whole space.
    options
        What was asked.
    number
        Looks so far; 0 for Ritz values of a sample.
    """
    open_ = np.flatnonzero(widths > options.width_tol)
    if open_.size == 0:
        return Forecast(0.0, 0.0)
    edge = float(theta[min(block, theta.size - 1)])
    if not edge > 0:
        return Forecast(1.0, 1.0)
    rest = min(dimension - theta.size, tail_energy / edge)
    kappa = 1.0
    if probes:
        quantile = chi_lower(probes, polynomial_share(options.delta, number + 2))
        kappa = (np.sqrt(max(rest, 0.0)) + np.sqrt(probes)) / quantile
    gap = theta[np.minimum(open_, theta.size - 1)] / edge - 1
    with np.errstate(divide="ignore"):
        rate = np.where(gap < 1e-9, 0.0, np.arccosh(1 + 2 * np.maximum(gap, 0.0)))
        narrowing = np.log(np.minimum(widths[open_], 1.0) / options.width_tol) / (2 * rate)
        reaching = np.arccosh(max(float(kappa), 1.0)) / rate - number
    passes = np.maximum(1.0, np.maximum(np.ceil(narrowing), np.ceil(reaching)))
    return Forecast(float(passes.max()), float(passes.min()))


def choose_next_step(
    look: Assessment,
    options: SVDOptions,
    ahead: Forecast,
    means: WaysLeft,
    history: list[Certificate],
    before: Forecast | None = None,
) -> NextStep | None:
    """What to do after a look; None where nothing that was asked can be reached any more.

    ``history`` holds the certificates before this one, oldest first, and ``before`` is what the last of these expected.
    """
    c, target = look.certificate, options.target
    # Where the rank is searched, an error that vanishes says nothing of whether a smaller one would do.
    vanishes = c.error_vanishes and options.energy_share is None
    excess_met = look.enough and (c.excess <= options.excess_tol or vanishes)
    if target != "error" and look.enough and c.relative_width <= options.width_tol:
        return NextStep.VALUES
    if target == "error" and excess_met:
        return NextStep.ERROR
    on = means.passes > 0 and not means.nothing_to_learn
    settled = target == "auto" and excess_met and look.smallest
    gram = means.gram if means.passes > 0 else None
    if not history and on and means.passes > 1:
        return NextStep.PASS  # what the first look says of the rate is not worth much
    far, near = _expected_passes(look, ahead, history, before)
    if gram is not None and target != "error" and means.gram_is_cheap and far > min(gram, 2):
        return NextStep.GRAM
    same = len(history) > 2 and c.resolved_count == history[-1].resolved_count
    if settled and (not on or (far > 3 and (near > 2 or same))):
        return NextStep.ERROR
    if gram is not None:
        # Passes in vain cost as much as others: where the values are out of reach, only the error counts.
        expected = far if far <= means.passes and target != "error" else np.inf
        if target != "values" and look.enough:
            expected = min(expected, _passes_to(options.excess_tol, look, history))
        if not on or expected > min(gram, means.passes):
            return NextStep.GRAM
    if on:
        return NextStep.PASS
    return NextStep.ERROR if settled else None


def _expected_passes(
    look: Assessment, ahead: Forecast, history: list[Certificate], before: Forecast | None
) -> tuple[float, float]:
    """Passes expected until all values, and one more, are resolved: endless where what was expected has not come nearer.

    So they are where the energy asked for is not held yet: how many values that takes is not known.
    """
    far, near = ahead.all, ahead.first
    if not look.enough or is_stalled(look.certificate, history):
        return np.inf, np.inf
    if len(history) < 2 or before is None:
        return far, near
    now, then = look.certificate, history[-1]
    if now.resolved_count == then.resolved_count:
        far = (
            far if far < before.all or _is_narrower(now.widths.max(), then.widths.max()) else np.inf
        )
        nearest = [c.widths[c.widths > c.tol].min(initial=1.0) for c in (now, then)]
        near = near if near < before.first or _is_narrower(*nearest) else np.inf
    return far, near


def _is_narrower(width: float, before: float) -> bool:
    """Whether a width fell by so much that what was expected of it is only late."""
    return width < 0.25 * before


def is_stalled(c: Certificate, history: list[Certificate]) -> bool:
    """Whether the widest interval fell by less than a tenth in two looks, once it was one."""
    if len(history) < 2 or c.kind is not Kind.BOUNDS:
        return False
    before = history[-2].relative_width
    return before < 0.9 and c.relative_width > 0.9 * before


def _passes_to(excess_tol: float, look: Assessment, history: list[Certificate]) -> float:
    """Passes until the excess is small enough, if it goes on as it has."""
    now = look.certificate.excess
    if now <= excess_tol:
        return 1.0
    if not history or not np.isfinite(history[-1].excess):
        return 2.0 if len(history) < 3 else np.inf
    ratio = now / history[-1].excess
    if not 0 < ratio < 0.9 or excess_tol <= 0:
        return np.inf
    return float(np.ceil(np.log(now / excess_tol) / -np.log(ratio)))

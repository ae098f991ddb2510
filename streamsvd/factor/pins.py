"""Which vectors deflate the probes: they stay in every later basis, so that all powers are those of one operator."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.factor.assessment import PastBounds
from streamsvd.factor.plan import Plan
from streamsvd.numerics.eigen import leading_eigenpairs
from streamsvd.numerics.probes import Probes
from streamsvd.numerics.ritz import Ritz
from streamsvd.numerics.tail import power_share

LEAK = 1.5
"""How much larger than the next Ritz value the norm outside the pinned vectors may be before they are renewed."""

SINGLE_LEAK = 3.0
"""The same where products are in single precision, whatever the basis."""


@dataclass(frozen=True, slots=True)
class PinContext:
    """What decides whether pins are renewed.

    Attributes
    ----------
    looks
        Looks so far.
    single
        Whether products are in single precision.
    whole
        Whether the basis may grow to the whole space.
    """

    looks: int
    single: bool
    whole: bool


def pin_vectors(
    ritz: Ritz, probes: Probes, past: PastBounds, plan: Plan, delta: float, need: PinContext
) -> Probes:
    """The probes with the leading vectors of the first look pinned, and the least bound known of ``||P_0 B||``.

    Once, after the second look, the vectors are renewed where they were so rough that they leave out too little, if the
    basis is soon compressed: until then the space itself makes up for them. So they are where float32 products
    would lose the later powers in the rounding of what was left in. Ritz values alone decide.
    """
    rough = False
    if probes.basis is not None and need.looks == 2 and not need.whole:
        soon = ritz.theta.size + 2 * plan.block > plan.basis + plan.pins
        leak = _leak(ritz, probes)
        rough = leak > LEAK and (soon or (need.single and leak > SINGLE_LEAK))
    if probes.basis is None or rough:
        each = power_share(delta, need.looks + 1)
        probes = probes.pin_basis(ritz.V[:, : plan.pins].copy(order="K"), delta=each)
    if past.sides is None or probes.basis is None:
        return probes
    reach = past.sides.reach(ritz.V.conj().T @ probes.basis)
    return replace(probes, reach=min(probes.reach, reach))


def _leak(ritz: Ritz, probes: Probes) -> float:
    """``||P_0 B P_0||``, at least, over the Ritz value behind the pinned vectors: near 1 where these are good."""
    assert probes.basis is not None
    inside = ritz.V.conj().T @ probes.basis
    compressed = np.diag(ritz.theta).astype(inside.dtype)
    for _ in range(2):
        compressed = (compressed - inside @ (inside.conj().T @ compressed)).conj().T
    edge = float(ritz.theta[min(probes.basis.shape[1], ritz.theta.size - 1)])
    return float(leading_eigenpairs(compressed, 1)[0][0]) / edge if edge > 0 else 0.0

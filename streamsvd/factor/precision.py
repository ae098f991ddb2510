"""Whether products in single precision leave the tolerance: Ritz values, shapes and moments decide, never the probes."""

from __future__ import annotations

import numpy as np

from streamsvd.engine.layout import Layout
from streamsvd.factor.session import Session
from streamsvd.factor.terms import Terms
from streamsvd.typing import Real

FLOAT32_ROUNDOFF = 2.0**-24
"""Unit roundoff of float32."""

SINGLE_NOISE = 5e-8
"""Rounding of float32 products in the norm of ``B``, relative to its largest eigenvalue, as certified: at least."""

SPARSE_NOISE = 3e-7
"""The same of sparse rows, whose products are added one after another."""

LEADING_NOISE = 75 * FLOAT32_ROUNDOFF
"""The same of a leading value, relative to itself: intervals of float32 products are no narrower, as measured at most."""


def rounding_exceeds_tol(theta: Real, terms: Terms, session: Session) -> bool:
    """Whether float32 rounding would widen an interval that is asked for beyond the tolerance.

    It looks at Ritz values only: a decision that saw the probes would spoil their independence.
    """
    tol, share = session.options.width_tol, session.options.energy_share
    if tol < LEADING_NOISE:
        return True
    last = float(theta[min(session.plan.rank, theta.size) - 1])
    if share is not None and terms.stats is not None:
        enough = np.cumsum(theta) >= share * terms.stats.energy
        last = float(theta[int(np.argmax(enough))]) if enough.any() else float(theta[-1])
    noise = single_noise(session.plan.layout, offset=_offset(terms, centred=session.matrix.center))
    return 3 * noise * float(theta[0]) > tol * max(last, 0.0)


def single_noise(layout: Layout, *, offset: bool) -> float:
    """Rounding of float32 products in the norm of ``B``, relative to its largest eigenvalue, as it is certified.

    Rounding errors of b blocks are added at random, those of w columns too, unless an offset makes them alike. Small
    matrices, and those that are mostly the means of their columns, exceed `SINGLE_NOISE`; none is said to have less.
    """
    if layout.stored is not None:
        return SPARSE_NOISE
    blocks = -(-layout.length // layout.unit)
    alike = 20 * FLOAT32_ROUNDOFF / np.sqrt(blocks)
    if offset:
        return float(max(alike, SINGLE_NOISE))
    return float(
        max(min(alike, 64 * FLOAT32_ROUNDOFF / np.sqrt(blocks * layout.width)), SINGLE_NOISE)
    )


def _offset(terms: Terms, *, centred: bool) -> bool:
    """Whether the matrix is mostly the means of its columns: then all rows round alike."""
    stats = terms.stats
    if stats is None or centred:
        return False
    return bool(np.sum(np.abs(stats.mean) ** 2) > np.sum(stats.deviation**2))

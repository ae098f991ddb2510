"""As many triplets as the shapes promise: directions in which the rows have nothing follow those in which they have.

A state keeps no direction of value zero. Users of an estimator count on a number of components that depends
on shapes, not on values; so orthonormal rows of value zero are added. By Weyl, with ``d`` of the ledger
(`streamsvd.models.mathematics.incremental`), the true values that belong to them are at most ``sqrt(d)``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import linalg

from streamsvd.models.mathematics.incremental import IncrementalResult
from streamsvd.numerics import sketches as sketch
from streamsvd.numerics.ledger import Factor
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.signs import phases


def complete_triplets(found: IncrementalResult, state: Factor, count: int) -> IncrementalResult:
    """The same with ``count`` triplets, if it has fewer; what was proved stays proved.

    Parameters
    ----------
    found, state
        What `IncrementalSVD.finalize` made of the state.
    count
        At most n.
    """
    have, n = found.Vh.shape
    missing = count - have
    if missing <= 0:
        return found
    known = found.Vh.conj().T
    fill = sketch.gaussian(
        n, missing, seed=0, purpose="start", complex_=bool(np.iscomplexobj(known))
    )
    Q = linalg.qr(np.concatenate([known, fill], axis=1), mode="economic", check_finite=False)[0]
    new = Q[:, have:]
    Vh = np.concatenate([found.Vh, (new * phases(new)).conj().T])
    nothing = np.zeros(missing)
    ledger, c = state.ledger, found.certificate
    upper = np.sqrt(ledger.above) + ledger.slack
    certificate = replace(
        c,
        sigma_lower=np.concatenate([c.sigma_lower, nothing]),
        sigma_upper=np.concatenate([c.sigma_upper, nothing + upper]),
        subspace_angle_bound=float("inf"),  # no gap between nothing and nothing
        resolved_angle_bound=float("inf"),  # values that are zero count as resolved
        # More vectors lower the best error of their number, and what was proved was of fewer.
        excess=0.0 if c.excess == 0 else float("inf"),
        next_lower=0.0,
        orthogonality=spectral_norm(Vh.conj() @ Vh.T - np.eye(count)),
    )
    return replace(found, s=np.concatenate([found.s, nothing]), Vh=Vh, certificate=certificate)

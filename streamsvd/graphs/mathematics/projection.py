"""A very sparse random projection R of the nodes, weighted by their degrees: ``L R`` a run of rows at a time, never stored.

Each entry of R is ``+sqrt(s)`` or ``-sqrt(s)`` with chance ``1 / (2 s)`` and 0 otherwise (Li, Hastie, Church 2006), by a hash of
the seed, its row and its column: any columns of any rows can be made alone, to the same bits.
"""

from __future__ import annotations

import numpy as np

from streamsvd.numerics.uniforms import uniforms
from streamsvd.typing import Matrix, Real


def degree_factors(degrees: Real, beta: float) -> Real:
    """Diagonal of ``L``: ``(d_j / sum d)^beta`` of each node, 0 of one without edges.

    Parameters
    ----------
    degrees
        Sums of the rows, ``(n,)``.
    beta
        Not above 0: how much less the nodes of many edges count.
    """
    total = float(np.sum(degrees))
    found = np.zeros_like(degrees)
    there = degrees > 0
    found[there] = (degrees[there] / total) ** beta
    return found


def projected_rows(
    factors: Real, first: int, columns: slice, *, seed: int, sparsity: float
) -> Matrix:
    """Some rows and columns of ``L R``, ``(p, w)``.

    Parameters
    ----------
    factors
        Of these rows, ``(p,)``.
    first
        Number of the first of them.
    columns
        Which columns.
    seed, sparsity
        Of R; ``s``, at least 1.
    """
    ids = np.arange(first, first + factors.size, dtype=np.int64)
    u = uniforms(seed, ids, columns.stop - columns.start, columns.start)
    share = 0.5 / sparsity
    signs = (u < share).astype(np.float64) - (u > 1 - share)
    return np.asarray(signs * (np.sqrt(sparsity) * factors)[:, None])

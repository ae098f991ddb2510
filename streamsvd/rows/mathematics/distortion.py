r"""How far a weighted sample of rows is from all of them, for every x at once: proved, not expected.

In the coordinates ``x = W y`` of `streamsvd.rows.mathematics.space`, ``||A x|| = ||y||`` and ``||S A x||^2 = y* M y`` with
``M = (S A W)* (S A W)``; so the extreme eigenvalues of M are the extreme ratios ``||S A x||^2 / ||A x||^2`` over the row space.

Rounding: the exact ``||A W y||`` is within ``1 -+ delta`` of ``||y||`` (`RowSpace.distortion`), and the rows of ``S A W`` as computed
are within ``zeta = 8 u sqrt(n) ||S A D^{-1}||_F ||D W||`` of the exact ones, so every singular value is.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.rows.mathematics.space import RowSpace
from streamsvd.typing import Matrix, Real


def distortion_bounds(
    space: RowSpace, rows: Matrix, weights: Real, gamma: float
) -> tuple[float, float]:
    """``lower, upper`` such that ``(1 - lower) q(x) <= q_S(x) <= (1 + upper) q(x)`` for every x of the row space.

    ``q(x) = ||A x||^2 + gamma ||x||^2`` and ``q_S`` is the same of the sample; the space is that of ``[A; sqrt(gamma) I]``. Either
    may be negative, where the weights are all too large or too small.
    """
    if space.rank == 0:
        return 0.0, 0.0
    scaled = np.sqrt(weights)[:, None] * rows
    Z = np.concatenate([space(scaled), np.sqrt(gamma) * space.W]) if gamma else space(scaled)
    with np.errstate(over="ignore"):
        norm = float(
            np.hypot(
                np.linalg.norm(scaled / space.scale), np.linalg.norm(np.sqrt(gamma) / space.scale)
            )
        )
    values = linalg.svdvals(Z, check_finite=False) if Z.size else np.zeros(0)
    top = float(values[0]) if values.size else 0.0
    bottom = float(values[-1]) if values.size == space.rank else 0.0
    zeta = 8 * UNIT_ROUNDOFF * np.sqrt(space.W.shape[0]) * (norm * space.stretch + top)
    delta = space.distortion
    lower = 1 - max(bottom - zeta, 0.0) ** 2 / (1 + delta) ** 2
    upper = (top + zeta) ** 2 / (1 - delta) ** 2 - 1 if delta < 1 else float("inf")
    return float(lower), float(upper)

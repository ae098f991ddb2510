"""How a subspace fits new rows, and how far it has turned."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from streamsvd.numerics.ledger import Factor, energy_of
from streamsvd.numerics.range_sketch import panels
from streamsvd.typing import Matrix, Real


def captured_share(state: Factor, block: Matrix, rank: int) -> float:
    """Share of a block's energy, about the state's mean, that the leading ``rank`` directions hold."""
    narrow = np.result_type(block.dtype, np.complex64 if state.Vh.dtype.kind == "c" else np.float32)
    V = state.Vh[:rank].conj().T.astype(narrow)  # a share needs no more digits than the data have
    kept = total = 0.0
    for part in panels(*block.shape):
        rows = block[part]
        if state.mean is not None:
            rows = rows - state.mean
        rows = rows.astype(narrow, copy=False)
        total += energy_of(rows)
        kept += energy_of(rows @ V)
    return min(kept / total, 1.0) if total > 0 else 1.0


def principal_angles(a: Matrix, b: Matrix) -> Real:
    """Angles in radians, ascending, between the row spaces of two orthonormal ``(k, n)`` factors."""
    if min(a.shape[0], b.shape[0]) == 0:
        return np.zeros(0)
    if a.shape[0] < b.shape[0]:
        a, b = b, a
    product = a.conj() @ b.T
    cosine = linalg.svd(product, compute_uv=False, check_finite=False)
    residual = b.T - a.T @ product  # small angles from their sines (Björck, Golub 1973)
    sine = linalg.svd(residual, compute_uv=False, check_finite=False)[::-1][: cosine.size]
    return np.where(cosine > 0.7, np.arcsin(np.minimum(sine, 1)), np.arccos(np.minimum(cosine, 1)))

"""Whether a matrix equals its transpose, from one number that its entries add up to in any order.

To every entry off the diagonal belongs a hash of its value and of its two places, the smaller first, counted positive above the
diagonal and negative below. The hashes of a symmetric matrix cancel, modulo 2^64; those of another one do with chance 2^-64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.numerics.uniforms import mix_bits

MODULUS = 1 << 64


def asymmetry_hash(rows: Any, first: int) -> int:
    """What rows of a matrix, a ``csr_array`` that begins with row ``first``, add to the hash of it all, modulo 2^64."""
    values = rows.data.astype(np.float64)
    i = first + np.repeat(np.arange(rows.shape[0], dtype=np.int64), np.diff(rows.indptr))
    j = rows.indices.astype(np.int64)
    counts = (i != j) & (values != 0)
    i, j, bits = i[counts], j[counts], values[counts].view(np.uint64)
    low, high = np.minimum(i, j).astype(np.uint64), np.maximum(i, j).astype(np.uint64)
    with np.errstate(over="ignore"):
        found = mix_bits(mix_bits(mix_bits(low) ^ high) ^ bits)
        above = np.add.reduce(found[i < j])
        below = np.add.reduce(found[i > j])
    return (int(above) - int(below)) % MODULUS

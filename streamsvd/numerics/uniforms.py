"""Random numbers of rows: each depends on a seed and the number of the row alone, so no state is kept and order is nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Matrix

Integers = npt.NDArray[np.int64]


def uniforms(seed: int, ids: Integers, copies: int, first: int = 0) -> Matrix:
    """Numbers in (0, 1) that depend on the seed, the row and the copy alone, ``(m, copies)`` (splitmix64).

    Parameters
    ----------
    seed, ids
        The seed, and the numbers of the rows.
    copies, first
        How many copies of each row, and the number of the first.
    """
    with np.errstate(over="ignore"):
        x = ids.astype(np.uint64)[:, None] * np.uint64(0xD1342543DE82EF95)
        x = x + np.arange(first, first + copies, dtype=np.uint64)[None, :] * np.uint64(
            0x9E3779B97F4A7C15
        )
        x = x + mix_bits(np.array([seed], dtype=np.uint64))
        return np.asarray(((mix_bits(x) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def mix_bits(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64, a bijection of 64 bits in which every bit depends on all."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))

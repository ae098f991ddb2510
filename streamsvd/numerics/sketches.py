"""Random blocks that depend on a seed and a purpose alone, drawn on the host."""

from __future__ import annotations

import numpy as np

from streamsvd.typing import Matrix

_PURPOSES = ("start", "probes", "sample", "block", "residual")
_LATER = {"fill": 1}
"""Purposes that came later: counted from elsewhere, so that the numbers of the others stay what they were."""


def generator(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """Counter-based generator; streams of different purposes, and of different indices, are independent."""
    later = _LATER.get(purpose, 0)
    number = 0 if later else _PURPOSES.index(purpose)
    key = np.array(
        [seed, number + len(_PURPOSES) * index], dtype=np.uint64
    )  # a list would pass through float64
    counter = np.array([0, 0, 0, later], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def gaussian(n: int, k: int, *, seed: int, purpose: str, complex_: bool, index: int = 0) -> Matrix:
    """Standard normal ``(n, k)`` block; real and imaginary parts each standard where complex."""
    rng = generator(seed, purpose, index)
    if not complex_:
        return rng.standard_normal((n, k))
    return rng.standard_normal((n, k)) + 1j * rng.standard_normal((n, k))

from __future__ import annotations

import numpy as np
import pytest


def with_spectrum(s, m, seed=0, offset=0.0):
    """Gaussian rows whose covariance has the roots ``s``, in a random basis, away from zero."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(s), len(s))))[0]
    return (rng.standard_normal((m, len(s))) * s) @ Q + offset * rng.standard_normal(len(s))


@pytest.fixture
def steep():
    """300 x 20, falling fast: a buffer holds all that counts."""
    return with_spectrum(0.5 ** np.arange(20), 300, offset=3.0)


@pytest.fixture
def crowded():
    """2000 x 40: four strong directions that are nearly alike, and noise a third of them."""
    return with_spectrum(np.r_[3, 2.9, 2.8, 2.7, np.ones(36)], 2000)

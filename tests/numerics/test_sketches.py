from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics import sketches as sketch

PURPOSES = ("start", "probes", "sample", "fill")


@pytest.mark.parametrize("complex_", [False, True])
def test_a_block_depends_on_seed_and_purpose_alone(complex_):
    def draw(seed, purpose):
        return sketch.gaussian(50, 4, seed=seed, purpose=purpose, complex_=complex_)

    np.testing.assert_array_equal(draw(3, "probes"), draw(3, "probes"))
    seen = [draw(seed, purpose) for seed in (0, 1, 2**64 - 1) for purpose in PURPOSES]
    for i, X in enumerate(seen):
        assert not any(np.array_equal(X, Y) for Y in seen[:i])


def test_streams_of_different_purposes_and_seeds_are_not_correlated():
    n = 20_000
    draws = [
        sketch.gaussian(n, 1, seed=seed, purpose=purpose, complex_=False)[:, 0]
        for seed in (0, 1)
        for purpose in PURPOSES
    ]
    C = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(C).max() < 5 / np.sqrt(n)


@pytest.mark.parametrize("seed", [2**63, 2**63 + 1, 2**64 - 1])
def test_large_seeds_are_exact(seed):
    """Not rounded to the nearest float64, where neighbours would be the same seed."""
    other = sketch.generator(seed - 1, "start").random(4)
    assert not np.array_equal(sketch.generator(seed, "start").random(4), other)


@pytest.mark.parametrize("complex_", [False, True])
def test_entries_are_standard_normal_in_each_part(complex_):
    X = sketch.gaussian(400, 100, seed=0, purpose="start", complex_=complex_)
    for part in (X.real, X.imag) if complex_ else (X,):
        assert abs(part.mean()) < 0.03
        assert abs(part.std() - 1) < 0.02

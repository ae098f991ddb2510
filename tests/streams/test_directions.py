"""Frequent Directions: what it loses is bounded, in any order, cut and merge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.errors import ShapeError
from streamsvd.streams.mathematics import FrequentDirections
from tests.streams.streams import scaled


def sketched(A, size, block=50):
    fd = FrequentDirections(size, A.shape[1])
    for at in range(0, len(A), block):
        fd.update(A[at : at + block])
    return fd


def bound(A, size):
    """min over j < size of ||A - A_j||_F^2 / (size - j)."""
    s = np.linalg.svd(A, compute_uv=False) ** 2
    s = np.pad(s, (0, max(0, size - s.size)))
    tails = s.sum() - np.concatenate([[0], np.cumsum(s)])
    return min(max(tails[j], 0) / (size - j) for j in range(size))


def assert_law(A, fd):
    G, B = A.T @ A, fd.used_rows
    s1 = np.linalg.norm(G, 2)
    w = np.linalg.eigvalsh(G - B.T @ B)
    assert w.min() >= -1e-9 * s1
    assert w.max() <= fd.shrunk + 1e-9 * s1
    assert w.max() <= fd.shrunk + fd.slack(np.linalg.norm(A) ** 2)
    assert fd.shrunk <= bound(A, fd.size) + 1e-9 * s1
    assert fd.count <= 2 * fd.size
    assert not fd.rows[fd.count :].any()


def rows(seed, n=400, d=40):
    rng = np.random.default_rng(seed)
    j = np.arange(1, d + 1.0)
    A = [
        lambda: rng.standard_normal((n, d)),
        lambda: scaled(rng, 1 / j, n),
        lambda: scaled(rng, 0.7**j, n),
        lambda: rng.standard_normal((n, 3)) @ rng.standard_normal((3, d)),
        lambda: rng.standard_t(2.5, (n, d)),
        lambda: np.repeat(np.eye(d), n // d, axis=0) * j,
    ][seed % 6]()
    return A[np.argsort(np.linalg.norm(A, axis=1))] if seed % 4 == 1 else A


@pytest.mark.parametrize("seed", range(60))
def test_the_loss_is_semidefinite_and_at_most_what_was_shrunk(seed):
    A = rows(seed)
    assert_law(A, sketched(A, [5, 10, 20][seed % 3]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.lists(st.integers(0, 90), max_size=8))
def test_bits_do_not_depend_on_the_cut(seed, size, cuts):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((int(rng.integers(0, 90)), 9))
    whole, cut = FrequentDirections(size, 9), FrequentDirections(size, 9)
    whole.update(A)
    for part in np.split(A, sorted(min(c, len(A)) for c in cuts)):
        cut.update(part)
    assert np.array_equal(whole.rows, cut.rows)
    assert (whole.count, whole.shrunk, whole.shrinks) == (cut.count, cut.shrunk, cut.shrinks)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_merging_keeps_the_law(seed, parts):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((parts * int(rng.integers(1, 60)), 15)) * rng.exponential(size=15)
    sketches = [sketched(p, 4) for p in np.split(A, parts)]
    merged = sketches[0]
    total = sum(s.shrunk for s in sketches)
    for other in sketches[1:]:
        kept = other.rows.copy()
        merged.merge(other)
        assert np.array_equal(other.rows, kept)  # the other sketch lives on
    assert merged.shrunk >= total * (1 - 1e-12)
    assert_law(A, merged)


def test_sketches_of_other_widths_do_not_merge():
    with pytest.raises(ShapeError, match="5 and 6"):
        FrequentDirections(3, 5).merge(FrequentDirections(3, 6))


def test_what_fits_is_kept_as_it_is():
    A = np.random.default_rng(0).standard_normal((8, 20))
    fd = sketched(A, 4, block=3)
    assert np.array_equal(fd.used_rows, A)
    assert fd.shrunk == fd.shrinks == 0


def test_rank_below_the_size_loses_nothing():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 30))
    fd = sketched(A, 8)
    s1 = np.linalg.norm(A, 2) ** 2
    assert fd.shrunk <= 1e-12 * s1
    assert np.linalg.norm(A.T @ A - fd.used_rows.T @ fd.used_rows, 2) <= 1e-12 * s1


def test_zero_rows_are_sketched_by_zeros():
    fd = sketched(np.zeros((100, 7)), 3)
    assert fd.shrunk == 0
    assert not fd.rows.any()

"""The published methods, mended: no block lost, none counted twice, the error met by every cluster of several blocks.

Weaknesses W1 to W7 of the page on concatenated matrices.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.collections.blocks import (
    best_error,
    d1,
    d3,
    d6,
    d7,
    found,
    groups,
    name_blocks,
    own_error,
    stacked,
)

METHODS = ["maxnorm", "residual", "incremental"]


@pytest.mark.parametrize("order", ["norm", "residual"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [d1, d3, d6, d7])
def test_every_block_once_and_every_cluster_within_the_error(data, method, order):
    blocks = data()
    clusters = found(blocks, 0.05, rank=10, method=method, order=order)
    assert sorted(k for c in clusters for k in c.keys) == list(name_blocks(blocks))
    for c in clusters:
        own = own_error(c, blocks)
        assert c.error_lower <= best_error(stacked(c, blocks), c.rank) + 1e-13
        assert own <= c.error_upper
        if len(c.keys) > 1:
            assert own <= 0.05
            assert c.within_error


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e8, 1e-8])
def test_w1_w2_neither_scale_nor_precision_changes_the_clusters(single, scale):
    blocks = [1e-8 * A for A in d6()]
    other = [(scale * A).astype(np.float32 if single else np.float64) for A in blocks]
    base = found(blocks, 0.05, rank=10, method="incremental")
    moved = found(other, 0.05, rank=10, method="incremental")
    assert groups(moved) == groups(base)
    for c in moved:
        assert own_error(c, [A.astype(np.float64) for A in other]) <= 0.05


@pytest.mark.parametrize("method", METHODS)
def test_w3_seeds_that_gain_nothing_are_not_lost(method):
    """Unrelated narrow blocks: the seed takes in none of them."""
    blocks = [np.eye(12)[:, 3 * i : 3 * i + 3] for i in range(4)]
    clusters = found(blocks, 0.05, rank=4, method=method)
    assert groups(clusters) == {(0,), (1,), (2,), (3,)}


def test_w5_blocks_behind_many_misses_are_merged():
    rng = np.random.default_rng(1)
    big = [10 * rng.standard_normal((60, 4)) for _ in range(12)]
    B = rng.standard_normal((60, 4))
    blocks = big + [B @ rng.standard_normal((4, 4)) for _ in range(30)]
    assert len(found(blocks, 0.05, rank=4, method="incremental")) == 13
    gives_up = found(blocks, 0.05, rank=4, method="incremental", patience=10)
    assert len(gives_up) == 42


@pytest.mark.parametrize("method", METHODS)
def test_w7_one_block_copies_and_nothing(method):
    A = np.random.default_rng(0).standard_normal((9, 2))
    assert groups(found([A], 0.05, rank=2, method=method)) == {(0,)}
    (nothing,) = found([np.zeros((9, 2)), np.zeros((9, 1))], 0.05, rank=2, method=method)
    assert nothing.rank == 0
    copies = found([A, A, np.zeros((9, 3))], 0.05, rank=2, method=method)
    assert sum(len(c.keys) for c in copies) == 3
    if method == "incremental":  # the bounds of the others are blind to copies
        assert len(copies) == 1


@pytest.mark.parametrize("method", ["maxnorm", "residual"])
def test_a_block_wider_than_the_rank_is_not_counted_whole(method):
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((60, 40))]
    blocks += [0.05 * rng.standard_normal((60, 40)) for _ in range(5)]
    for c in found(blocks, 0.2, rank=10, method=method):
        assert len(c.keys) == 1
        assert c.raw
        assert not c.within_error


def test_bounds_that_see_norms_merge_what_is_small_beside_a_block():
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((40, 5))]
    blocks += [1e-3 * rng.standard_normal((40, 5)) for _ in range(6)]
    for method in METHODS:
        assert len(found(blocks, 0.05, rank=5, method=method)) == 1

"""The dendrogram: a forest over the blocks of each cluster, its heights the errors of what was joined."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd.collections.criteria import ClusterCriteria
from streamsvd.collections.mathematics import MergeStep, certify, number_merges
from streamsvd.collections.mathematics.cluster import ClusterState, MergeTree
from streamsvd.collections.mathematics.coarser import coarser
from streamsvd.collections.mathematics.dendrogram import merges
from streamsvd.numerics.ledger import Ledger
from tests.collections.blocks import best_error, d1, d2, d7, found, name_blocks, sketches, subspaces


def below(cluster):
    """Blocks below each merge; every part is used once, and after it was made."""
    used, out = set(), []
    for number, merge in enumerate(cluster.merges):
        assert len(merge.parts) >= 2
        assert not used & set(merge.parts)
        assert all(p < number for p in merge.parts if isinstance(p, int))
        used |= set(merge.parts)
        out.append([k for p in merge.parts for k in (out[p] if isinstance(p, int) else [p])])
    return out


@pytest.mark.parametrize("mode", ["cluster", "global", "block"])
@pytest.mark.parametrize("rank", [None, 8])
@pytest.mark.parametrize(("blocks", "error"), [(d1(), 0.05), (d2(), 0.05), (d7(), 0.2)])
def test_the_last_merge_of_a_cluster_holds_all_its_blocks(blocks, error, rank, mode):
    clusters = found(blocks, error, rank=rank, mode=mode)
    assert any(c.merges for c in clusters)
    for c in clusters:
        if len(c.keys) == 1:
            assert c.merges == ()
        else:
            assert sorted(below(c)[-1]) == list(c.keys)


@pytest.mark.parametrize(
    ("method", "rank"), [("certified", None), ("certified", 4), ("maxnorm", 4), ("incremental", 4)]
)
def test_heights_are_the_best_errors_of_what_was_joined_and_what_truncation_spent(method, rank):
    blocks, error, share = d7(), 0.1, 0.1
    by_key = name_blocks(blocks)
    for c in found(blocks, error, rank=rank, method=method):
        least = []
        for merge, keys in zip(c.merges, below(c), strict=True):
            below_it = (least[p] for p in merge.parts if isinstance(p, int))
            own = best_error(np.concatenate([by_key[k] for k in keys], axis=1), c.rank)
            least.append(max([own, *below_it]))
            spent = share * error if method != "incremental" else merge.height
            assert least[-1] <= merge.height <= np.hypot(least[-1], spent) + 1e-12


def test_the_height_of_a_pair_is_the_certified_error_of_its_cluster():
    blocks = subspaces(3, m=40, count=1, dim=3, blocks=2, width=8, noise=0.05)
    (c,) = found(blocks, 0.2)
    assert c.merges == (MergeStep(("00000", "00001"), c.error_upper),)


def test_heights_never_fall_on_the_way_up():
    """A large block that fits well makes the error of all smaller than that of the small ones before."""
    rng = np.random.default_rng(0)
    B = np.linalg.qr(rng.standard_normal((30, 2)))[0]
    blocks = [
        B @ rng.standard_normal((2, 5)) + 0.1 * rng.standard_normal((30, 5)) for _ in range(3)
    ]
    blocks.append(1e3 * B @ rng.standard_normal((2, 5)))
    states = [ClusterState((i,), A, np.sum(A * A, 0), 5, Ledger()) for i, A in enumerate(blocks)]
    small = MergeTree((0, 1), np.array([1.0, 0.5, 0.25]), Ledger(energy=1.75))
    whole = MergeTree((small, 3), np.array([100.0, 0.5, 0.25]), Ledger(energy=100.75))
    state = ClusterState((0, 1, 3), states[0].L, whole.squares, 15, whole.ledger, tree=whole)
    low, high = merges(state, 2, {0: "a", 1: "b", 3: "d"})
    assert low.parts == ("a", "b")
    assert high.parts == (0, "d")
    assert low.height == pytest.approx(np.sqrt(0.25 / 1.75), rel=1e-9)
    assert high.height == low.height > np.sqrt(0.25 / 100.75)


def test_blocks_of_zeros_are_in_no_merge():
    blocks = [*d7()[:13], np.zeros((80, 10))]
    clusters = found(blocks, 0.05)
    assert {k for c in clusters for keys in below(c) for k in keys} == {"00000", "00012"}


def test_a_tree_as_deep_as_there_are_blocks_needs_no_recursion():
    tree: int | MergeTree = 0
    for i in range(1, 20_000):
        tree = MergeTree((tree, i), np.ones(1), Ledger(energy=1.0))
    state = ClusterState(
        tuple(range(20_000)), np.ones((1, 1)), np.ones(1), 1, Ledger(energy=1.0), tree=tree
    )
    made = merges(state, 1, {i: str(i) for i in range(20_000)})
    assert len(made) == 19_999
    assert made[0].parts == ("0", "1")
    assert made[-1].parts == (19_997, "19999")


def test_certified_proposals_have_merges_too():
    blocks = d7()[::12]
    (c,) = certify(sketches(blocks, 0.05, share=0.4), ClusterCriteria(error=0.05, share=0.4))
    assert sorted(below(c)[-1]) == list(c.keys)


def test_numbers_are_counted_on_from_cluster_to_cluster():
    a = (MergeStep(("a", "b"), 0.1), MergeStep((0, "c"), 0.2))
    b = (MergeStep(("d", "e"), 0.3), MergeStep(("f", 0), 0.4))
    assert number_merges([a, (), b]) == (*a, MergeStep(("d", "e"), 0.3), MergeStep(("f", 2), 0.4))


@pytest.mark.parametrize("error", [0.02, 0.1, 0.5])
def test_a_coarser_sketch_is_the_sketch_for_the_larger_error(error):
    blocks = [*d7()[:6], np.zeros((80, 3)), np.random.default_rng(0).standard_normal((80, 30))]
    for fine, whole in zip(sketches(blocks, 0.01), sketches(blocks, error), strict=True):
        cut = coarser(fine, error=error)
        np.testing.assert_array_equal(cut.L, whole.L)
        np.testing.assert_array_equal(cut.Vh, whole.Vh)
        assert cut.energy == whole.energy
        assert cut.tail == pytest.approx(whole.tail, rel=1e-12, abs=1e-300)
        assert cut.tail_norm == whole.tail_norm
        assert cut.ledger.slack == whole.ledger.slack

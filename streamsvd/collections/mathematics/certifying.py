"""The second read: clusters that were proposed on projections, certified on the blocks themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from streamsvd.collections.criteria import ClusterCriteria
from streamsvd.collections.mathematics.cluster import ClusterState
from streamsvd.collections.mathematics.clustering import (
    bands,
    cluster_sketches,
    rule_of,
    sort_sketches,
)
from streamsvd.collections.mathematics.factors import ClusterForm, FactoredCluster, factors, nothing
from streamsvd.collections.mathematics.modes import Rule
from streamsvd.collections.mathematics.sketches import BlockSketch
from streamsvd.typing import Real

PORTION = 16
"""Of so many members one is dropped at a time; those of the last time that fit after all are taken back."""


def certify(
    sketches: Sequence[BlockSketch], options: ClusterCriteria
) -> tuple[FactoredCluster, ...]:
    """The clusters that a proposed one is: itself where it meets the error, else without its worst members.

    Parameters
    ----------
    sketches
        By `sketch`, of the blocks of one cluster that was found on `proposed` sketches; the second read.
    options
        What is asked; the error holds for every cluster, in mode ``"global"`` too.

    Returns
    -------
    clusters
        One, if the proposal holds; those that were dropped are clustered among themselves.

    Raises
    ------
    ShapeError, SpecError
        As `cluster_sketches`.
    """
    ordered = sort_sketches(sketches)
    one = replace(options, mode="cluster") if options.mode == "global" else options
    dropped: list[BlockSketch] = []
    last: list[BlockSketch] = []
    found = None
    while len(ordered) > 1:
        found = _as_one(ordered, one)
        if found is not None:
            break
        places = _worst_places(ordered, one)
        last = [ordered[i] for i in places]
        dropped += last
        ordered = [s for i, s in enumerate(ordered) if i not in set(places)]
    if found is None:
        return cluster_sketches([*ordered, *dropped], options)
    if len(last) > 1:
        found, back = _taken_back(ordered, last, found, one)
        dropped = [s for s in dropped if s.key not in back]
    rest = cluster_sketches(dropped, options) if dropped else ()
    return tuple(sorted([found, *rest], key=lambda c: c.keys))


def _taken_back(
    ordered: Sequence[BlockSketch],
    last: Sequence[BlockSketch],
    found: FactoredCluster,
    options: ClusterCriteria,
) -> tuple[FactoredCluster, set[str]]:
    """The cluster with the most of those dropped last, the best of them first, that it holds; found by bisection."""
    few, many = 0, len(last)  # with so many it holds, and does not
    while many - few > 1:
        middle = (few + many) // 2
        more = _as_one(sort_sketches([*ordered, *last[len(last) - middle :]]), options)
        if more is None:
            many = middle
        else:
            few, found = middle, more
    return found, {s.key for s in last[len(last) - few :]} if few else set()


def _as_one(ordered: Sequence[BlockSketch], options: ClusterCriteria) -> FactoredCluster | None:
    """All blocks as one cluster, if it is certified and worth it."""
    full = [s for s in ordered if s.energy > 0]
    empty = [s for s in ordered if s.energy == 0]
    if not full:
        return nothing(empty)
    if len(bands(ordered)) > 1:
        return None
    rule, exponent = rule_of(full, options)
    state = rule.join_states(rule.blocks, options.rank or 0)
    r = rule.rank_of(state) if options.rank is None else min(options.rank, state.squares.size)
    if r is None or not rule.accepts(state, r):
        return None
    if options.rank is None and _saves_by_dropping(rule, state):
        return None
    return factors(state, ClusterForm(r, False, True), full, exponent, empty)


def _saves_by_dropping(rule: Rule, state: ClusterState) -> bool:
    """Whether the worst member is stored cheaper by itself."""
    if len(rule.blocks) < 2:
        return False
    worst = _worst(rule, state, None)
    rest = rule.join_states([b for i, b in enumerate(rule.blocks) if i != worst])
    return rule.cost_of(rest) + rule.cost_of(rule.blocks[worst]) < rule.cost_of(state)


def _worst(rule: Rule, state: ClusterState, rank: int | None) -> int:
    """Place of the block of which the basis of all leaves the largest share."""
    return int(np.argmax(_shares(rule, state, rank)))


def _shares(rule: Rule, state: ClusterState, rank: int | None) -> Real:
    """Share of each block that the basis of all leaves; without a rank, half of the basis."""
    r = (rule.rank_of(state) or 0) // 2 if rank is None else rank
    U = state.basis(r)
    return np.array(
        [
            (np.linalg.norm(b.L - U @ (U.T @ b.L)) ** 2 + b.ledger.discarded) / b.energy
            for b in rule.blocks
        ]
    )


def _worst_places(ordered: Sequence[BlockSketch], options: ClusterCriteria) -> list[int]:
    """Places of the blocks that fit least, worst first, one of `PORTION`; blocks without energy never."""
    full = [i for i, s in enumerate(ordered) if s.energy > 0]
    top = bands(ordered)
    if len(top) > 1:  # sizes that cannot be added: the smallest goes
        return [min(full, key=lambda i: (ordered[i].exponent, ordered[i].key))]
    rule, _ = rule_of([ordered[i] for i in full], options)
    state = rule.join_states(rule.blocks, options.rank or 0)
    shares = _shares(rule, state, options.rank)
    worst = np.argsort(-shares, kind="stable")[: max(1, len(full) // PORTION)]
    return [full[int(i)] for i in worst]

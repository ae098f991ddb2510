"""From sketches to clusters: which blocks share a basis.

Reference for the problem: Shamrai (2026), arXiv 2601.11626. The clustering is ours: blocks are read once, pairs are
judged by eigenvalues of products of sketches, and every cluster carries its ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from streamsvd.collections.criteria import ClusterCriteria
from streamsvd.collections.mathematics.baselines import baseline_clusters
from streamsvd.collections.mathematics.cluster import (
    ClusterState,
    error_bracket,
    single,
    singles,
    slack,
)
from streamsvd.collections.mathematics.factors import ClusterForm, FactoredCluster, factors, nothing
from streamsvd.collections.mathematics.growth import of_rank
from streamsvd.collections.mathematics.modes import Rule, pooled_ranks
from streamsvd.collections.mathematics.sketches import BlockSketch
from streamsvd.collections.mathematics.storage import cheapest
from streamsvd.errors import ShapeError, SpecError

BAND = 200
"""Binary orders of magnitude within which energies of blocks can be added."""


def cluster_sketches(
    sketches: Sequence[BlockSketch], options: ClusterCriteria
) -> tuple[FactoredCluster, ...]:
    """Clusters of the blocks, in the order of their first keys; every block is in one.

    Parameters
    ----------
    sketches
        One of each block, made for an error no larger than that of the options, in any order.
    options
        What is asked.

    Returns
    -------
    clusters
        The same for every order of the sketches, and for blocks multiplied by a power of two.

    Raises
    ------
    ShapeError
        If there are no blocks, or rows differ.
    SpecError
        If a key is there twice.

    Notes
    -----
    Cost: no reads. Of N blocks in few clusters of one rank about ``4 N`` eigenvalue problems of twice the size of a
    sketch, for least storage some more for each start; keys of all pairs up to 1500 clusters, ``9 * 1500**2`` bytes.
    """
    ordered = sort_sketches(sketches)
    out: list[FactoredCluster] = []
    for band in bands(ordered):
        out += _band_clusters(band, options)
    return tuple(sorted(out, key=lambda c: c.keys))


def sort_sketches(sketches: Sequence[BlockSketch]) -> list[BlockSketch]:
    """Sketches by key."""
    if not sketches:
        raise ShapeError("no blocks to cluster. Pass one or more.")
    ordered = sorted(sketches, key=lambda s: s.key)
    for a, b in pairwise(ordered):
        if a.key == b.key:
            raise SpecError(f"block {a.key!r} is there twice. Give every block a key of its own.")
        if (a.rows, a.L.shape[0]) != (b.rows, b.L.shape[0]):
            raise ShapeError(
                f"block {b.key!r} has {b.rows} rows, {a.key!r} has {a.rows}. "
                "Blocks of a collection have equal rows, and one kind of sketch."
            )
    return ordered


def bands(ordered: Sequence[BlockSketch]) -> list[list[BlockSketch]]:
    """Blocks of comparable size; those without energy are with the largest."""
    top = max((s.exponent for s in ordered if s.energy > 0), default=0)
    out: dict[int, list[BlockSketch]] = {}
    for s in ordered:
        band = (top - s.exponent) // BAND if s.energy > 0 else 0
        out.setdefault(band, []).append(s)
    return [out[band] for band in sorted(out)]


def _band_clusters(band: Sequence[BlockSketch], options: ClusterCriteria) -> list[FactoredCluster]:
    """Clusters of blocks of comparable size."""
    full = [s for s in band if s.energy > 0]
    empty = [s for s in band if s.energy == 0]
    if not full:
        return [nothing(empty)]
    rule, exponent = rule_of(full, options)
    states = sorted(_states(rule, options), key=lambda s: s.members)
    kept = kept_as(states, rule, options)
    out = []
    for at, (state, how) in enumerate(zip(states, kept, strict=True)):
        with_zeros = empty if at == 0 else []
        members = [full[i] for i in state.members]
        out.append(factors(state, how, members, exponent, with_zeros))
    return out


def rule_of(full: Sequence[BlockSketch], options: ClusterCriteria) -> tuple[Rule, int]:
    """The rule with all blocks to one scale, and the exponent taken out."""
    blocks, top = singles(full)
    if options.mode == "block":
        blocks = [single(i, s, 1 / float(np.sqrt(s.energy))) for i, s in enumerate(full)]
    return Rule(float(options.error), options.share, options.mode, full[0].rows, blocks), top


def _states(rule: Rule, options: ClusterCriteria) -> list[ClusterState]:
    if options.method != "certified":
        return baseline_clusters(rule, options)
    if options.rank is None:
        return cheapest(rule, max_fail=options.max_fail)
    return of_rank(rule, int(options.rank), max_fail=options.max_fail)


def kept_as(
    states: Sequence[ClusterState], rule: Rule, options: ClusterCriteria
) -> list[ClusterForm]:
    """How each cluster is kept."""
    if options.rank is not None:
        fixed = [min(int(options.rank), s.squares.size) for s in states]
        missed = _find_misses(states, fixed, rule)
        return [ClusterForm(r, miss, not miss) for r, miss in zip(fixed, missed, strict=True)]
    common = rule.mode == "global"
    ranks = pooled_ranks(states, rule) if common else [rule.rank_of(s) for s in states]
    return [
        ClusterForm(s.squares.size if r is None else r, r is None, r is not None or common)
        for s, r in zip(states, ranks, strict=True)
    ]


def _find_misses(states: Sequence[ClusterState], fixed: Sequence[int], rule: Rule) -> list[bool]:
    """Which clusters of a fixed rank do not meet the error; of a common error the dearest, until it is met."""
    if rule.mode != "global":
        return [not rule.accepts(s, r) for s, r in zip(states, fixed, strict=True)]
    errors = [error_bracket(s, r).upper ** 2 for s, r in zip(states, fixed, strict=True)]
    lost = sum((2 * slack(s.ledger)) ** 2 for s in states)
    budget = max(rule.limit(sum(s.energy for s in states)), lost)
    out = [False] * len(states)
    for i in np.argsort(-np.array(errors), kind="stable"):
        if sum(errors) <= budget:
            break
        out[i], errors[i] = True, 0.0
    return out

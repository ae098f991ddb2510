"""Clusters and ranks that store a collection in the fewest numbers: merging by what it saves, from several starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from streamsvd.collections.mathematics.cluster import ClusterState
from streamsvd.collections.mathematics.growth import dissolve_small, grow_clusters
from streamsvd.collections.mathematics.merging import MOST, Fewest, Storage, merge_states
from streamsvd.collections.mathematics.modes import Rule, pooled_ranks

SAMPLE = 400
"""Blocks on which ranks are tried where all are too many."""


def cheapest(rule: Rule, *, max_fail: int) -> list[ClusterState]:
    """The cheapest of all clusterings tried: merged from single blocks, from clusters grown at each of many ranks, and all.

    Of more than 1500 blocks the rank that is best for a sample is the only one tried.
    """
    if len(rule.blocks) <= MOST:
        return best_of(rule, max_fail=max_fail)[1]
    r, _ = best_of(_sample(rule), max_fail=max_fail, singles=False)
    alone = list(rule.blocks)
    if r is None:
        return merge_states(alone, Storage(rule))
    found = merge_states(starting_clusters(rule, r, max_fail=max_fail), Storage(rule))
    return min(found, alone, key=lambda states: total_cost(states, rule))


def best_of(
    rule: Rule, *, max_fail: int, singles: bool = True
) -> tuple[int | None, list[ClusterState]]:
    """The cheapest clustering and the rank at which it was grown; None for single blocks."""
    tried = {tuple(s.members for s in rule.blocks)}
    rank, best = None, list(rule.blocks)
    if singles:
        best = merge_states(best, Storage(rule))
    least = total_cost(best, rule)
    for r in ranks(rule):
        states = starting_clusters(rule, r, max_fail=max_fail)
        one = len(states) == 1
        partition = tuple(sorted(s.members for s in states))
        if partition not in tried:
            tried.add(partition)
            states = merge_states(states, Storage(rule))
            cost = total_cost(states, rule)
            if cost < least:
                rank, best, least = r, states, cost
        if one:  # larger ranks would grow the same cluster
            return rank, best
    whole = [rule.join_states(rule.blocks)]
    return (rank, best) if total_cost(whole, rule) >= least else (rule.rows, whole)


def starting_clusters(rule: Rule, r: int, *, max_fail: int) -> list[ClusterState]:
    """Clusters of one rank."""
    states = grow_clusters(rule, r, max_fail=max_fail)
    if 1 < len(states) < min(len(rule.blocks), MOST):
        states = dissolve_small(merge_states(states, Fewest(rule, r)), rule, r)
    return states


def _sample(rule: Rule) -> Rule:
    """The rule with few of its blocks, evenly from all."""
    step = -(-len(rule.blocks) // SAMPLE)
    few = rule.blocks[::step]
    return replace(rule, blocks=[replace(b, members=(i,)) for i, b in enumerate(few)])


def ranks(rule: Rule) -> Iterator[int]:
    """2, 3, 4, 6, 8, 12, ... while factors of that rank can be smaller than all blocks."""
    width = sum(b.width for b in rule.blocks)
    r, step = 2, 1
    while r * (rule.rows + width) < rule.rows * width:
        yield r
        r, step = r + step, step * 2 if (r + step) & (r + step - 1) == 0 else step


def total_cost(states: Sequence[ClusterState], rule: Rule) -> int:
    """Numbers stored for all clusters."""
    if rule.mode != "global":
        return sum(rule.cost_of(s) for s in states)
    found = pooled_ranks(states, rule)
    return sum(rule.cost(r, s.width) for r, s in zip(found, states, strict=True))

"""Clusters and ranks that store a collection in the fewest numbers: merging by what it saves, from several starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamsvd.concat.cluster import State
from streamsvd.concat.growth import grown, polished
from streamsvd.concat.merging import MOST, Fewest, Storage, merged
from streamsvd.concat.modes import Rule, pooled_ranks


def cheapest(rule: Rule, *, max_fail: int) -> list[State]:
    """The cheapest of all clusterings tried: merged from single blocks, and from clusters grown at each of many ranks."""
    tried: set[tuple[tuple[int, ...], ...]] = set()
    best, least = list(rule.blocks), total_cost(rule.blocks, rule)
    for states in starts(rule, max_fail=max_fail):
        partition = tuple(sorted(s.members for s in states))
        if partition in tried:
            continue
        tried.add(partition)
        states = merged(states, Storage(rule))
        cost = total_cost(states, rule)
        if cost < least:
            best, least = states, cost
    return best


def starts(rule: Rule, *, max_fail: int) -> Iterator[list[State]]:
    """Single blocks, then clusters of each rank until all blocks are one."""
    yield list(rule.blocks)
    for r in ranks(rule):
        states = grown(rule, r, max_fail=max_fail)
        one = len(states) == 1
        if 1 < len(states) < min(len(rule.blocks), MOST):
            states = polished(merged(states, Fewest(rule, r)), rule, r)
        yield states
        if one:  # larger ranks would grow the same cluster
            return


def ranks(rule: Rule) -> Iterator[int]:
    """2, 3, 4, 6, 8, 12, ... while factors of that rank can be smaller than all blocks."""
    width = sum(b.width for b in rule.blocks)
    r, step = 2, 1
    while r * (rule.rows + width) < rule.rows * width:
        yield r
        r, step = r + step, step * 2 if (r + step) & (r + step - 1) == 0 else step


def total_cost(states: Sequence[State], rule: Rule) -> int:
    """Numbers stored for all clusters."""
    if rule.mode != "global":
        return sum(rule.cost_of(s) for s in states)
    found = pooled_ranks(states, rule)
    return sum(rule.cost(r, s.width) for r, s in zip(found, states, strict=True))

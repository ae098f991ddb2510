"""Clusters of one rank: grown from the largest block, merged, and the smallest dissolved.

A cluster takes the blocks that its basis leaves least of, many at once while a fixed basis proves the error, then one by
one by eigenvalues. Whatever is accepted is certified once more as joined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamsvd.concat import bounds
from streamsvd.concat.cluster import State, certified, left_over, pair_errors, pair_floors
from streamsvd.concat.merging import MOST, Fewest, Together, merged
from streamsvd.concat.modes import Rule
from streamsvd.typing import Real

PREFIX = 32
"""Most blocks that are taken at once."""
BATCH = 8
"""Candidates whose eigenvalues are computed together."""
SMALL = 300
"""Blocks of which all pairs are tried where one error is common to all clusters."""


def grown(rule: Rule, r: int, *, max_fail: int) -> list[State]:
    """Clusters grown one after the other, the largest block left first."""
    left = sorted(rule.blocks, key=lambda b: (-b.energy, b.members))
    out = []
    while left:
        cluster, left = left[0], left[1:]
        while left:
            taken, left = _taken(rule, cluster, left, r, max_fail)
            if taken is cluster:
                break
            cluster = taken
        out.append(cluster)
    return out


def _taken(
    rule: Rule, cluster: State, left: list[State], r: int, max_fail: int
) -> tuple[State, list[State]]:
    """The cluster with some blocks more, and the others; the same cluster if there is none to add."""
    scores = left_over(cluster.basis(r), left)
    order = [int(i) for i in np.argsort(scores, kind="stable")]  # left: by energy and place
    count = 0 if rule.exact else _prefix(rule, cluster, [left[i] for i in order[:PREFIX]], r)
    while count:
        both = rule.joined([cluster, *(left[i] for i in order[:count])], r)
        if rule.accepts(both, r):
            taken = set(order[:count])
            return both, [b for i, b in enumerate(left) if i not in taken]
        count //= 2
    for at in range(0, min(len(left), max_fail), BATCH):
        batch = order[at : min(at + BATCH, max_fail)]
        errors = relative_errors(cluster, [left[i] for i in batch], r, rule)
        for i, error in zip(batch, errors, strict=True):
            both_or_none = _joined(rule, cluster, left[i], r, float(error))
            if both_or_none is not None:
                return both_or_none, left[:i] + left[i + 1 :]
    return cluster, left


def _prefix(rule: Rule, cluster: State, ordered: Sequence[State], r: int) -> int:
    """How many of the candidates, in their order, a fixed basis proves to fit."""
    W = cluster.basis(r)
    energies = np.cumsum([b.energy for b in ordered])
    errors = certified(cluster, r).upper ** 2 + np.cumsum(left_over(W, ordered))
    errors += bounds.rounding(W.shape[1], 1.0) * energies
    fits = np.flatnonzero(errors <= rule.limit(1.0) * (cluster.energy + energies))
    return int(fits[-1]) + 1 if fits.size else 0


def relative_errors(a: State, others: Sequence[State], r: int, rule: Rule) -> Real:
    """Squared relative error of ``a`` with each of the others at rank r; infinite where a bound says it is too large."""
    order = sorted(range(len(others)), key=lambda i: others[i].squares.size)
    out = np.full(len(others), np.inf)
    if not rule.exact:
        floors = pair_floors(a, [others[i] for i in order])
        small = [_at(f, r) <= rule.limit(a.energy + others[i].energy)
                 for i, f in zip(order, floors, strict=True)]  # fmt: skip
        order = [i for i, fits in zip(order, small, strict=True) if fits]
    found = pair_errors(a, [others[i] for i in order], exact=rule.exact)
    for i, errors in zip(order, found, strict=True):
        out[i] = _at(errors, r) / (a.energy + others[i].energy)
    return out


def _at(errors: Real, r: int) -> float:
    return float(errors[min(r, errors.size - 1)])


def _joined(rule: Rule, a: State, b: State, r: int, error: float) -> State | None:
    """Both as one where their relative error promises that it is accepted, and it is."""
    if error > rule.promising(1.0):
        return None
    both = rule.joined([a, b], r)
    return both if rule.accepts(both, r) else None


def polished(states: Sequence[State], rule: Rule, r: int) -> list[State]:
    """Clusters less those all of whose blocks fit into others, the smallest tried first."""
    states = list(states)
    again = True
    while again:
        again = False
        for small in sorted(states, key=lambda s: (len(s.members), s.members)):
            placed = _dissolved(small, [s for s in states if s is not small], rule, r)
            if placed is not None:
                states, again = placed, True
                break
    return states


def _dissolved(small: State, others: list[State], rule: Rule, r: int) -> list[State] | None:
    """The other clusters with all blocks of one, each where the error is least; None if one fits nowhere."""
    for block in (rule.blocks[i] for i in small.members):
        errors = relative_errors(block, others, r, rule)
        for i in np.argsort(errors, kind="stable"):
            if not errors[i] <= rule.promising(1.0):
                return None
            both = _joined(rule, others[i], block, r, float(errors[i]))
            if both is not None:
                others = [*others[:i], both, *others[i + 1 :]]
                break
        else:
            return None
    return others


def of_rank(rule: Rule, r: int, *, max_fail: int) -> list[State]:
    """Few clusters of rank r that meet the error, each or, in mode ``"global"``, together."""
    states = grown(rule, r, max_fail=max_fail)
    if rule.mode == "global":
        found = [_together(states, rule, r)]
        if len(rule.blocks) <= SMALL:
            found.append(_together(rule.blocks, rule, r))
        return min(found, key=len)
    states = merged(states, Fewest(rule, r))
    return polished(states, rule, r) if len(states) <= MOST else states


def _together(states: Sequence[State], rule: Rule, r: int) -> list[State]:
    """Merged under a common budget; those that exceed it alone, dearest first, are left as they are."""
    budget = rule.limit(sum(b.energy for b in rule.blocks))
    goal = Together(rule, r, budget)
    dear = sorted(states, key=lambda s: (goal.value(s), s.members))
    aside = []
    while (
        sum(goal.value(s) for s in dear) > budget
        and dear
        and goal.value(dear[-1]) > rule.limit(dear[-1].energy)
    ):
        aside.append(dear.pop())
    return [*merged(dear, goal), *aside]

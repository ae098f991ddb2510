"""Clusters of one rank: grown from the largest block, merged, and the smallest dissolved.

A cluster takes the blocks that its basis leaves least of, many at once while a fixed basis proves the error, then one by
one by eigenvalues. Whatever is accepted is certified once more as joined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamsvd.concat import bounds
from streamsvd.concat.cluster import Pool, State, certified, left_over, pair_errors, pair_floors
from streamsvd.concat.merging import MOST, Fewest, Together, merged
from streamsvd.concat.modes import Rule
from streamsvd.typing import Matrix, Real

PREFIX = 32
"""Most blocks that are taken at once."""
BATCH = 8
"""Candidates whose eigenvalues are computed together."""
SMALL = 300
"""Blocks of which all pairs are tried where one error is common to all clusters."""


def grown(rule: Rule, r: int, *, max_fail: int) -> list[State]:
    """Clusters grown one after the other, the largest block left first."""
    ordered = sorted(rule.blocks, key=lambda b: (-b.energy, b.members))
    pool, alive = Pool.of(ordered), np.ones(len(ordered), dtype=np.bool_)
    out = []
    while alive.any():
        first = int(np.argmax(alive))
        cluster = pool.states[first]
        alive[first] = False
        while alive.any():
            taken = _taken(rule, cluster, pool, alive, r, max_fail)
            if taken is None:
                break
            cluster, places = taken
            alive[places] = False
        out.append(cluster)
        if 0 < 2 * np.count_nonzero(alive) < alive.size:  # those taken are no longer scored
            pool = Pool.of([s for s, on in zip(pool.states, alive, strict=True) if on])
            alive = np.ones(len(pool.states), dtype=np.bool_)
    return out


def _taken(
    rule: Rule, cluster: State, pool: Pool, alive: npt.NDArray[np.bool_], r: int, max_fail: int
) -> tuple[State, list[int]] | None:
    """The cluster with some blocks more, and their places; None if there is none to add."""
    scores = np.where(alive, pool.left_over(cluster.basis(r)), np.inf)
    most = min(max(PREFIX, max_fail), int(np.count_nonzero(alive)))
    order = [int(i) for i in np.argsort(scores, kind="stable")[:most]]
    near = [pool.states[i] for i in order]
    count = 0 if rule.exact else _prefix(rule, cluster, near[:PREFIX], r)
    while count:
        both = rule.joined([cluster, *near[:count]], r)
        if rule.accepts(both, r):
            return both, order[:count]
        count //= 2
    for at in range(0, min(most, max_fail), BATCH):
        batch = near[at : min(at + BATCH, max_fail)]
        errors = relative_errors(cluster, batch, r, rule)
        for i, (block, error) in enumerate(zip(batch, errors, strict=True)):
            one_more = _joined(rule, cluster, block, r, float(error))
            if one_more is not None:
                return one_more, [order[at + i]]
    return None


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
    energies = np.array([b.energy for b in others]) + a.energy
    places, out = np.arange(len(others)), np.full(len(others), np.inf)
    if not rule.exact:
        places = np.flatnonzero(_at(pair_floors(a, others), r) <= rule.limit(1.0) * energies)
    if places.size:
        errors = pair_errors(a, [others[int(i)] for i in places], exact=rule.exact)
        out[places] = _at(errors, r) / energies[places]
    return out


def _at(errors: Matrix, r: int) -> Real:
    return np.asarray(errors[:, min(r, errors.shape[1] - 1)])


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

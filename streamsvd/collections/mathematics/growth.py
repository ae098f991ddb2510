"""Clusters of one rank: grown from the largest block, merged, and the smallest dissolved.

A cluster takes the blocks that its basis leaves least of, many at once while a fixed basis proves the error, then one by
one by eigenvalues. Whatever is accepted is certified once more as joined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics import bounds
from streamsvd.collections.mathematics.cluster import ClusterState, Pool, error_bracket
from streamsvd.collections.mathematics.merging import MOST, Fewest, Together, merge_states
from streamsvd.collections.mathematics.modes import Rule
from streamsvd.collections.mathematics.pairs import pair_errors, pair_floors
from streamsvd.typing import Matrix, Real

PREFIX = 32
"""Most blocks that are taken at once."""
BATCH = 8
"""Candidates whose eigenvalues are computed together."""
WIDE_FAIL = 8
"""Candidates refused in a row before a wide cluster, whose eigenvalues are dear, stops growing."""
SMALL = 300
"""Blocks of which all pairs are tried where one error is common to all clusters."""


def grow_clusters(rule: Rule, r: int, *, max_fail: int) -> list[ClusterState]:
    """Clusters grown one after the other, the largest block left first; those that can be in none are left alone."""
    possible = [rule.possible(b, r) for b in rule.blocks]
    if not any(possible):
        return list(rule.blocks)
    if rule.mode == "block":  # in every basis of this rank such a block misses the error
        out = [b for b, on in zip(rule.blocks, possible, strict=True) if not on]
    else:
        out, possible = [], [True] * len(possible)
    ordered = [b for b, on in zip(rule.blocks, possible, strict=True) if on]
    ordered.sort(key=lambda b: (-b.energy, b.members))
    pool, alive = Pool.of(ordered), np.ones(len(ordered), dtype=np.bool_)
    while alive.any():
        out.append(_grown_once(rule, pool, alive, r, max_fail))
        if 0 < 2 * np.count_nonzero(alive) < alive.size:  # those taken are no longer scored
            pool = Pool.of([s for s, on in zip(pool.states, alive, strict=True) if on])
            alive = np.ones(len(pool.states), dtype=np.bool_)
    return out


def _grown_once(
    rule: Rule, pool: Pool, alive: npt.NDArray[np.bool_], r: int, max_fail: int
) -> ClusterState:
    """The cluster of the first block that is left, and of those that it takes away."""
    first = int(np.argmax(alive))
    cluster = pool.states[first]
    alive[first] = False
    free = alive.copy()
    while free.any():
        taken, refused = _take_blocks(rule, cluster, pool, free, r, max_fail)
        if taken is None:
            break
        cluster, places = taken
        alive[places] = free[places] = False
        if rule.mode == "block":  # a basis for more blocks leaves no less of those two
            free[refused] = False
    return cluster


def _take_blocks(
    rule: Rule,
    cluster: ClusterState,
    pool: Pool,
    free: npt.NDArray[np.bool_],
    r: int,
    max_fail: int,
) -> tuple[tuple[ClusterState, list[int]] | None, list[int]]:
    """The cluster with some blocks more, and their places, or None; and the places of those refused."""
    scores = np.where(free, pool.left_over(cluster.basis(r)), np.inf)
    most = min(max(PREFIX, max_fail), int(np.count_nonzero(free)))
    order = [int(i) for i in np.argsort(scores, kind="stable")[:most]]
    near = [pool.states[i] for i in order]
    count = 0 if rule.exact else _prefix(rule, cluster, near[:PREFIX], scores[order[:PREFIX]], r)
    while count:
        both = rule.join_states([cluster, *near[:count]], r)
        if rule.accepts(both, r):
            return (both, order[:count]), []
        count //= 2
    step, last = (BATCH, max_fail) if cluster.G is None else (1, min(max_fail, WIDE_FAIL))
    for at in range(0, min(most, last), step):
        batch = near[at : min(at + step, last)]
        errors = relative_errors(cluster, batch, r, rule)
        for i, (block, error) in enumerate(zip(batch, errors, strict=True)):
            one_more = _join_if_accepted(rule, cluster, block, r, float(error))
            if one_more is not None:
                return (one_more, [order[at + i]]), order[: at + i]
    return None, order


def _prefix(
    rule: Rule, cluster: ClusterState, ordered: Sequence[ClusterState], left: Real, r: int
) -> int:
    """How many of the candidates, in their order, fit for what a fixed basis leaves of them."""
    energies = np.cumsum([b.energy for b in ordered])
    errors = error_bracket(cluster, r).upper ** 2 + np.cumsum(left)
    errors += bounds.rounding(r, 1.0) * energies
    fits = np.flatnonzero(errors <= rule.limit(1.0) * (cluster.energy + energies))
    return int(fits[-1]) + 1 if fits.size else 0


def relative_errors(a: ClusterState, others: Sequence[ClusterState], r: int, rule: Rule) -> Real:
    """Squared relative error of ``a`` with each of the others at rank r; infinite where a bound says it is too large."""
    energies = np.array([b.energy for b in others]) + a.energy
    places, out = np.arange(len(others)), np.full(len(others), np.inf)
    if not rule.exact:
        places = np.flatnonzero(_at(pair_floors(a, others), r) <= rule.limit(1.0) * energies)
    if places.size:
        near = [others[int(i)] for i in places]
        errors = pair_errors(a, near, exact=rule.exact, known=rule.pair_cache)
        out[places] = _at(errors, r) / energies[places]
    return out


def _at(errors: Matrix, r: int) -> Real:
    return np.asarray(errors[:, min(r, errors.shape[1] - 1)])


def _join_if_accepted(
    rule: Rule, a: ClusterState, b: ClusterState, r: int, error: float
) -> ClusterState | None:
    """Both as one where their relative error promises that it is accepted, and it is."""
    if error > rule.promising(1.0):
        return None
    both = rule.join_states([a, b], r)
    return both if rule.accepts(both, r) else None


def dissolve_small(states: Sequence[ClusterState], rule: Rule, r: int) -> list[ClusterState]:
    """Merged clusters less those all of whose blocks fit into others, the smallest tried first."""
    states, before = list(states), set(states)
    again = True
    while again:
        again = False
        for small in sorted(states, key=lambda s: (len(s.members), s.members)):
            # Merging has tried wide pairs, whose eigenvalues are dear: of those a single block only tries what is new.
            tried = before if small.G is not None and len(small.members) == 1 else set()
            kept = [s for s in states if s is not small and s in tried]
            others = [s for s in states if s is not small and s not in tried]
            placed = _dissolve(small, others, rule, r) if others else None
            if placed is not None:
                states, again = [*kept, *placed], True
                break
    return states


def _dissolve(
    small: ClusterState, others: list[ClusterState], rule: Rule, r: int
) -> list[ClusterState] | None:
    """The other clusters with all blocks of one, each where the error is least; None if one fits nowhere."""
    for block in (rule.blocks[i] for i in small.members):
        errors = relative_errors(block, others, r, rule)
        for i in np.argsort(errors, kind="stable"):
            if not errors[i] <= rule.promising(1.0):
                return None
            both = _join_if_accepted(rule, others[i], block, r, float(errors[i]))
            if both is not None:
                others = [*others[:i], both, *others[i + 1 :]]
                break
        else:
            return None
    return others


def of_rank(rule: Rule, r: int, *, max_fail: int) -> list[ClusterState]:
    """Few clusters of rank r that meet the error, each or, in mode ``"global"``, together."""
    states = grow_clusters(rule, r, max_fail=max_fail)
    if rule.mode == "global":
        found = [_together(states, rule, r)]
        if len(rule.blocks) <= SMALL:
            found.append(_together(rule.blocks, rule, r))
        return min(found, key=len)
    states = merge_states(states, Fewest(rule, r))
    return dissolve_small(states, rule, r) if len(states) <= MOST else states


def _together(states: Sequence[ClusterState], rule: Rule, r: int) -> list[ClusterState]:
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
    return [*merge_states(dear, goal), *aside]

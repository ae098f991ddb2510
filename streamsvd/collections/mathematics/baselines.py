"""The three published clusterings, for comparison, with their defects mended.

Blocks are known by key, none is lost, a seed is one block, tolerances are relative, blocks wider than the rank count as
much as the rank keeps of them, and sketches are read where the originals read the blocks again. Growth stops at the first
block that does not fit; that is what they are.

Reference: Shamrai (2026), arXiv 2601.11626.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamsvd.collections.criteria import ClusterCriteria
from streamsvd.collections.mathematics import bounds
from streamsvd.collections.mathematics.cluster import (
    ClusterState,
    allowance,
    error_bracket,
    join,
    left_over,
)
from streamsvd.collections.mathematics.modes import Rule

BUFFER = 5
"""Directions that the incremental estimate keeps beyond the rank."""


def baseline_clusters(rule: Rule, options: ClusterCriteria) -> list[ClusterState]:
    """Clusters by one of the published methods; each of several blocks meets the error."""
    assert options.rank is not None
    r = options.rank
    left = sorted(rule.blocks, key=lambda b: (-b.energy, b.members))
    out: list[ClusterState] = []
    misses = 0
    while left:
        if options.patience is not None and misses >= options.patience:
            return out + left
        seed, left = left[0], left[1:]
        ordered = _order_candidates(seed, left, r, options)
        count, state = _grow_cluster(seed, ordered, rule, r, options)
        misses = 0 if count else misses + 1
        taken = {b.members for b in ordered[:count]}
        left = [b for b in left if b.members not in taken]
        out.append(state)
    return out


def _order_candidates(
    seed: ClusterState, left: Sequence[ClusterState], r: int, options: ClusterCriteria
) -> list[ClusterState]:
    """Candidates by ascending energy, or by what the seed's basis leaves of them."""
    if options.order == "norm":
        return sorted(left, key=lambda b: (b.energy, b.members))
    scores = left_over(seed.basis(r), left)
    return [
        b for _, b in sorted(zip(scores, left, strict=True), key=lambda p: (p[0], p[1].members))
    ]


def _grow_cluster(
    seed: ClusterState,
    ordered: Sequence[ClusterState],
    rule: Rule,
    r: int,
    options: ClusterCriteria,
) -> tuple[int, ClusterState]:
    """How many candidates were taken before the first that did not fit, and the cluster."""
    if options.method == "incremental":
        return _incremental(seed, ordered, rule, r)
    predicted = {"maxnorm": _max_norm, "residual": _residual}[options.method]
    count = 0
    while count < len(ordered):
        blocks = [seed, *ordered[: count + 1]]
        energy = sum(b.energy for b in blocks)
        if predicted(blocks, r) > rule.limit(energy):
            break
        count += 1
    return count, rule.join_states([seed, *ordered[:count]], r)


def _max_norm(blocks: Sequence[ClusterState], r: int) -> float:
    return bounds.max_norm([b.energy for b in blocks], [b.squares for b in blocks], r)


def _residual(blocks: Sequence[ClusterState], r: int) -> float:
    return bounds.residual([b.energy for b in blocks], [b.L for b in blocks], r)


def _incremental(
    seed: ClusterState, ordered: Sequence[ClusterState], rule: Rule, r: int
) -> tuple[int, ClusterState]:
    """The estimate is the state itself, truncated to the rank and a few more after every block."""
    state = seed
    for count, block in enumerate(ordered):
        both = estimate([state, block], r)
        if error_bracket(both, r).upper ** 2 > allowance(both, rule.error):
            return count, state
        state = both
    return len(ordered), state


def estimate(states: Sequence[ClusterState], r: int, *, buffer: int = BUFFER) -> ClusterState:
    """Blocks absorbed one after the other, at most ``r + buffer`` directions kept: a certified upper bound."""
    state = states[0]
    for block in states[1:]:
        state = join([state, block], least=r + buffer, budget=1.0)
    return state

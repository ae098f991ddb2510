"""The three meanings of an error, and the cost of storing a cluster under one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from streamsvd.collections.criteria import Mode
from streamsvd.collections.mathematics import bounds
from streamsvd.collections.mathematics.cluster import (
    EXACT_BELOW,
    ClusterState,
    allowance,
    error_bracket,
    join,
    left_over,
    slack,
    uppers,
)
from streamsvd.collections.mathematics.pairs import PairCache
from streamsvd.typing import Real

COARSE = 1e-2
"""Errors from which blocks may be joined by products, whose rounding is then no part of the error."""
NEGLIGIBLE = 1e-11
"""Relative errors below it may be rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What a cluster must meet, and what it costs.

    Attributes
    ----------
    error, share, mode
        As in `ClusterCriteria`; in mode ``"global"`` the error of a cluster is that of all.
    rows
        Rows of the blocks.
    blocks
        State of every block alone, by place.
    pair_cache
        What was computed of pairs.
    """

    error: float
    share: float
    mode: Mode
    rows: int
    blocks: Sequence[ClusterState]
    pair_cache: PairCache = field(default_factory=PairCache)

    @property
    def exact(self) -> bool:
        """Whether errors are too small for eigenvalues."""
        return self.error < EXACT_BELOW

    def join_states(self, states: Sequence[ClusterState], least: int = 0) -> ClusterState:
        """Several states as one, truncated by what the error allows."""
        budget, coarse = (self.share * self.error) ** 2, self.error >= COARSE
        return join(states, least=least, budget=budget, by_products=coarse)

    def limit(self, energy: float) -> float:
        """Largest squared error of a cluster of this energy, rounding aside."""
        return self.error * self.error * energy

    def promising(self, energy: float) -> float:
        """Largest squared error, as known before joining, that joining may prove to be within the limit."""
        return max(self.limit(energy), NEGLIGIBLE * NEGLIGIBLE * energy if self.exact else 0.0)

    def possible(self, block: ClusterState, r: int) -> bool:
        """Whether one block may meet the error at rank r: where none does, by superadditivity no cluster does."""
        return self.exact or error_bracket(block, r).lower ** 2 <= self.limit(block.energy)

    def accepts(self, state: ClusterState, r: int) -> bool:
        """Whether rank r of a cluster is certified to meet the error."""
        r = min(r, state.squares.size)
        if uppers(state)[r] > allowance(state, self.error):
            return False
        return self.mode != "block" or self._fits_members(state, r)

    def rank_of(self, state: ClusterState) -> int | None:
        """The smallest rank that meets the error; None if what was discarded forbids it."""
        met = uppers(state) <= allowance(state, self.error)
        if not met[-1]:
            return None
        r = int(np.argmax(met))
        if self.mode == "block" and len(state.members) > 1:
            r = self._least_for_members(state, r)
        return r if r <= state.squares.size else None

    def cost(self, r: int | None, width: int) -> int:
        """Numbers stored: two factors, or the blocks as they are."""
        raw = self.rows * width
        return raw if r is None else min(r * (self.rows + width), raw)

    def cost_of(self, state: ClusterState) -> int:
        """Numbers stored for a cluster at the smallest rank."""
        return self.cost(self.rank_of(state), state.width)

    def _fits_members(self, state: ClusterState, r: int) -> bool:
        """Whether every block meets the error by itself in r columns."""
        found = [self.blocks[i] for i in state.members]
        left, energies = left_over(state.basis(r), found), np.array([c.energy for c in found])
        lost = bounds.rounding(r, 1.0) * energies
        return bool(np.all(left + lost <= np.maximum(self.limit(1.0) * energies, 2 * lost)))

    def _least_for_members(self, state: ClusterState, least: int) -> int:
        """Smallest rank from ``least`` at which every block meets the error by itself, beyond all if none does."""
        few, enough = least - 1, state.squares.size + 1
        while enough - few > 1:  # what a basis leaves of a block falls with every column
            r = (few + enough) // 2
            if r <= state.squares.size and self._fits_members(state, r):
                enough = r
            else:
                few = r
        return enough


def pooled_ranks(states: Sequence[ClusterState], rule: Rule) -> list[int | None]:
    """Ranks of all clusters under one common error: squares go in the order of what a number stored buys.

    None stands for a cluster kept as it is, which costs no error.
    """
    errors = [uppers(s) for s in states]
    budget = rule.limit(sum(s.energy for s in states))
    spent = sum(float(e[-1]) for e in errors)
    ranks = [s.squares.size for s in states]
    prices = np.concatenate([s.squares / (rule.rows + s.width) for s in states])
    owners = np.repeat(np.arange(len(states)), ranks)
    for i in owners[np.lexsort((owners, prices))]:  # of each cluster the last direction first
        r = ranks[i]
        spent += float(errors[i][r - 1] - errors[i][r])
        if spent > budget:
            break
        ranks[i] = r - 1
    return _raw_where_cheaper(states, ranks, errors, rule)


def _raw_where_cheaper(
    states: Sequence[ClusterState], ranks: Sequence[int], errors: Sequence[Real], rule: Rule
) -> list[int | None]:
    """Clusters whose factors are larger than themselves stay as they are, and the dearest until the error is met."""
    out: list[int | None] = [
        r if r * (rule.rows + s.width) < rule.rows * s.width else None
        for s, r in zip(states, ranks, strict=True)
    ]
    lost = [0.0 if r is None else float(e[r]) for r, e in zip(out, errors, strict=True)]
    rounding = sum((2 * slack(s.ledger)) ** 2 for s in states)
    budget = max(rule.limit(sum(s.energy for s in states)), rounding)
    for i in np.argsort(-np.array(lost), kind="stable"):
        if sum(lost) <= budget:
            break
        out[i], lost[i] = None, 0.0
    return out

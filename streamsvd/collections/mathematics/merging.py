"""Greedy merging of pairs: always the best pair there is, found with few eigenvalue problems.

Every pair has a key, the smaller the better, of which a lower bound costs no eigenvalues. The pair of least key is
merged once that key is exact; keys of pairs whose bound is never reached are never computed, and the result is that of
computing all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics.cluster import ClusterState, slack, uppers
from streamsvd.collections.mathematics.modes import Rule
from streamsvd.collections.mathematics.pairs import pair_errors, pair_floors
from streamsvd.typing import Matrix, Real

MOST = 1500
"""Clusters that are merged together; more go in groups."""
ALL_PAIRS, NEAREST = 300, 32
"""Clusters of which all pairs are looked at; of more, those nearest to each."""
WIDE_PAIRS = 64
"""The same of wide states, whose eigenvalues are dear."""
AT_ONCE = 16
"""Pairs of one row that are made exact together; of wide ones there is nothing to share."""


class Goal(Protocol):
    """What merging is for."""

    @property
    def rule(self) -> Rule:
        """What clusters must meet."""
        ...

    @property
    def least(self) -> int:
        """Directions kept of what is merged."""
        ...

    def value(self, state: ClusterState) -> float:
        """What a cluster costs."""
        ...

    def keys(self, energies: Real, widths: Real, errors: Matrix, values: Real) -> Real:
        """How good pairs are, from their errors at every rank and the sum of what both cost; infinite if never."""
        ...

    def room(self, values: Real, lost: float) -> float:
        """Largest key that is still worth merging, where one up to ``lost`` is rounding."""
        ...

    def part(self, group: Sequence[ClusterState], states: Sequence[ClusterState]) -> Goal:
        """The same for a group of the states."""
        ...

    def accepts(self, state: ClusterState, values: float) -> bool:
        """Whether the merged cluster is what its key promised."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """Fewer numbers stored, each cluster at the smallest rank that meets the error."""

    rule: Rule
    least: int = 0

    def value(self, state: ClusterState) -> float:
        return float(self.rule.cost_of(state))

    def keys(self, energies: Real, widths: Real, errors: Matrix, values: Real) -> Real:
        met = errors <= self.rule.promising(1.0) * energies[:, None]
        met[:, -1] = True
        ranks, rows = np.argmax(met, axis=1), self.rule.rows
        saved = values - np.minimum(ranks * (rows + widths), rows * widths)
        return np.where(saved > 0, -saved, np.inf)

    def room(self, values: Real, lost: float) -> float:
        del values, lost
        return 0.0

    def part(self, group: Sequence[ClusterState], states: Sequence[ClusterState]) -> Storage:
        del group, states
        return self

    def accepts(self, state: ClusterState, values: float) -> bool:
        most = ceil(values / (self.rule.rows + state.width)) - 1  # the largest rank that saves
        return most >= 0 and self.rule.accepts(state, most)


@dataclass(frozen=True, slots=True, eq=False)
class Fewest:
    """Fewer clusters of one rank, each of which meets the error; least error first."""

    rule: Rule
    least: int

    def value(self, state: ClusterState) -> float:
        return float(uppers(state)[min(self.least, state.squares.size)])

    def keys(self, energies: Real, widths: Real, errors: Matrix, values: Real) -> Real:
        del widths
        at = errors[:, min(self.least, errors.shape[1] - 1)]
        return np.where(at <= self.rule.promising(1.0) * energies, at - values, np.inf)

    def room(self, values: Real, lost: float) -> float:
        del values, lost
        return np.finfo(float).max

    def part(self, group: Sequence[ClusterState], states: Sequence[ClusterState]) -> Fewest:
        del group, states
        return self

    def accepts(self, state: ClusterState, values: float) -> bool:
        del values
        return self.rule.accepts(state, self.least)


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """Fewer clusters of one rank that meet the error all together; least error first."""

    rule: Rule
    least: int
    budget: float

    def value(self, state: ClusterState) -> float:
        return float(uppers(state)[min(self.least, state.squares.size)])

    def keys(self, energies: Real, widths: Real, errors: Matrix, values: Real) -> Real:
        del energies, widths
        return np.asarray(errors[:, min(self.least, errors.shape[1] - 1)] - values)

    def room(self, values: Real, lost: float) -> float:
        return max(self.budget - float(np.sum(values)), lost)

    def part(self, group: Sequence[ClusterState], states: Sequence[ClusterState]) -> Together:
        own, whole = (sum(self.value(s) for s in some) for some in (group, states))
        share = len(group) / len(states)
        return replace(self, budget=own + share * (self.budget - whole))

    def accepts(self, state: ClusterState, values: float) -> bool:
        lost = (2 * slack(state.ledger)) ** 2
        return self.value(state) - values <= max(self.budget, lost)


def merge_states(states: Sequence[ClusterState], goal: Goal) -> list[ClusterState]:
    """Pairs merged until none is worth it, in groups of like clusters where there are too many for all pairs."""
    states = sorted(states, key=lambda s: s.members[0])
    while len(states) > MOST:
        before = len(states)
        states = [
            s
            for group in _alike(states)
            for s in _Merging.of(group, goal.part(group, states)).run()
        ]
        states.sort(key=lambda s: s.members[0])
        if len(states) > 0.9 * before:
            return states
    return _Merging.of(states, goal).run()


@dataclass(slots=True, eq=False)
class _Merging:
    """Keys of all pairs, exact or bounds of them, and the least of each row."""

    goal: Goal
    states: list[ClusterState]
    values: Real
    keys: Matrix
    is_exact: npt.NDArray[np.bool_]
    least: Real
    features: Matrix | None
    """Of each state where pairs are too many, to find those near."""

    @classmethod
    def of(cls, states: Sequence[ClusterState], goal: Goal) -> _Merging:
        """With bounds of all keys."""
        n = len(states)
        values = np.array([goal.value(s) for s in states])
        keys, settled = np.full((n, n), np.inf), np.zeros((n, n), dtype=np.bool_)
        few = WIDE_PAIRS if all(s.G is not None for s in states) else ALL_PAIRS
        features = np.array([_feature(s) for s in states]) if n > few else None
        out = cls(goal, list(states), values, keys, settled, np.full(n, np.inf), features)
        for i in range(n - 1):
            others = np.arange(n)
            others = out._near(i, others[others != i] if features is not None else others[i + 1 :])
            keys[i, others] = keys[others, i] = out._keys(i, others, exact=False)
        out.least = keys.min(axis=1, initial=np.inf)
        return out

    def run(self) -> list[ClusterState]:
        """The states that are left."""
        alive = np.ones(len(self.states), dtype=np.bool_)
        while alive.size:
            i = int(np.argmin(self.least))
            j = int(np.argmin(self.keys[i]))
            lost = (slack(self.states[i].ledger) + slack(self.states[j].ledger)) ** 2
            if not self.keys[i, j] <= self.goal.room(self.values[alive], lost):
                break
            if not self.is_exact[i, j]:
                self._settle(i)
                continue
            both = self.goal.rule.join_states([self.states[i], self.states[j]], self.goal.least)
            if not self.goal.accepts(both, float(self.values[i] + self.values[j])):
                self._write(i, np.array([j]), np.array([np.inf]))
                continue
            i, j = min(i, j), max(i, j)
            alive[j] = False
            self._write(j, np.arange(alive.size), np.full(alive.size, np.inf))
            self._replace(i, both, np.flatnonzero(alive & (np.arange(alive.size) != i)))
        return [s for s, on in zip(self.states, alive, strict=True) if on]

    def _replace(self, i: int, state: ClusterState, others: npt.NDArray[np.intp]) -> None:
        """Puts a merged state into a place, with bounds of its keys."""
        self.states[i], self.values[i] = state, self.goal.value(state)
        self.is_exact[i] = self.is_exact[:, i] = False
        keys = np.full(others.size, np.inf)
        if self.features is None:
            keys = self._keys(i, others, exact=False)
        else:
            self.features[i] = _feature(state)
            near = np.isin(others, self._near(i, others))
            keys[near] = self._keys(i, others[near], exact=False)
        self._write(i, others, keys)

    def _near(self, i: int, others: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Those of the others that may share most with a state, ascending; all where they are few."""
        if self.features is None or others.size <= NEAREST:
            return others
        alike = self.features[others] @ self.features[i]
        return np.sort(others[np.argsort(-alike, kind="stable")[:NEAREST]])

    def _settle(self, i: int) -> None:
        """Makes the best bounds of a row exact."""
        row = np.where(self.is_exact[i], np.inf, self.keys[i])
        count = 1 if self.states[i].G is not None else AT_ONCE
        best = np.argsort(row, kind="stable")[:count]
        best = best[np.isfinite(row[best])]
        self.is_exact[i, best] = self.is_exact[best, i] = True
        self._write(i, best, self._keys(i, best, exact=True))

    def _keys(self, i: int, others: npt.NDArray[np.intp], *, exact: bool) -> Real:
        a, batch, rule = self.states[i], [self.states[j] for j in others], self.goal.rule
        found = (
            pair_errors(a, batch, exact=rule.exact, known=rule.pair_cache)
            if exact
            else pair_floors(a, batch)
        )
        energies = np.array([b.energy for b in batch]) + a.energy
        widths = np.array([b.width for b in batch], dtype=np.float64) + a.width
        return self.goal.keys(energies, widths, found, self.values[others] + self.values[i])

    def _write(self, i: int, others: npt.NDArray[np.intp], keys: Real) -> None:
        """Sets keys of one row and column, and keeps the least of each row."""
        before = self.keys[others, i]
        self.keys[i, others] = self.keys[others, i] = keys
        stale = others[before <= self.least[others]]
        self.least[others] = np.minimum(self.least[others], keys)
        self.least[stale] = self.keys[stale].min(axis=1)
        self.least[i] = self.keys[i].min()


def _alike(states: Sequence[ClusterState]) -> list[list[ClusterState]]:
    """Groups of at most `MOST`, halved again and again along the direction in which Gram matrices vary most."""
    if len(states) <= MOST:
        return [list(states)]
    features = np.array([_feature(s) for s in states])
    features -= features.mean(axis=0)
    direction = np.linalg.eigh(features.T @ features)[1][:, -1]
    along = features @ (direction * np.sign(direction[np.argmax(np.abs(direction))]))
    order = np.argsort(along, kind="stable")
    half = len(states) // 2
    parts = (sorted(order[:half]), sorted(order[half:]))
    return [group for part in parts for group in _alike([states[i] for i in part])]


def _feature(state: ClusterState) -> Real:
    """A projected Gram matrix of norm 1: near for states that share directions."""
    rng = np.random.Generator(np.random.Philox(key=0))
    Y = rng.standard_normal((16, state.L.shape[0])) @ state.L
    G = (Y @ Y.T)[np.tril_indices(16)]
    return np.asarray(G / max(float(np.linalg.norm(G)), np.finfo(float).tiny))

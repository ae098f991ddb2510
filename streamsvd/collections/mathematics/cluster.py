r"""What is known of blocks side by side, and the three steps of which every clustering is made.

A state is ``A A* = L L* + D`` with ``D >= 0`` of trace t and norm at most w: blocks add, and dropping trailing columns of L
adds their squares to t. So with ``E = ||A||_F^2`` and any rank r, ``up = t + sum_{i>r} s_i^2`` is the exact error of the
state's own rank-r factors, and ``up - min(t, r w) <= err_r^2(A) <= up`` brackets the best there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.collections.mathematics import bounds
from streamsvd.collections.mathematics.sketches import BlockSketch, count_kept, thin_svd
from streamsvd.numerics.ledger import Ledger
from streamsvd.typing import Matrix, Real

EXACT_BELOW = 1e-6
"""Errors below it are judged by singular values, not by eigenvalues of products."""
ROUNDING = 8.0
"""Times the slack of a ledger, which allows a product of factors 16 units of rounding and ``sqrt(rows + columns)``:
small matrices with one dominant direction were seen 36 off, from every driver of LAPACK."""
WIDE = 128
"""Rows from which states of more than half as many columns hold their Gram matrix."""
FAN_IN = 40
"""States that are stacked at once; more are joined as a tree."""


class BlockSummary(Protocol):
    """What bounds of errors are made of."""

    @property
    def squares(self) -> Real:
        """Squared norms of the directions kept."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Energy, and what was discarded."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MergeTree:
    """How a state came about, and what bounds its errors; no columns, so that many can be kept.

    Attributes
    ----------
    parts
        Places of single blocks, and what was joined before.
    squares, ledger
        As of the state.
    """

    parts: tuple[int | MergeTree, ...]
    squares: Real
    ledger: Ledger


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ClusterState:
    """Some blocks side by side.

    Attributes
    ----------
    members
        Places of the blocks in the collection, ascending.
    L, squares
        Orthogonal columns ``(m, k)`` of descending norm, and their squared norms.
    width
        Columns of all blocks.
    ledger
        Energy, and what is in none of L.
    G
        ``L L*`` where L is wide enough that pairs are judged by it, else None.
    tree
        How it was joined; None for a single block.
    """

    members: tuple[int, ...]
    L: Matrix
    squares: Real
    width: int
    ledger: Ledger
    G: Matrix | None = None
    tree: MergeTree | None = None

    @property
    def energy(self) -> float:
        """Squared Frobenius norm of the blocks."""
        return self.ledger.energy

    def basis(self, r: int) -> Matrix:
        """Orthonormal ``(m, min(r, k))``: the leading left vectors."""
        return np.asarray(self.L[:, :r] / np.sqrt(self.squares[:r]))


def slack(ledger: Ledger) -> float:
    """Rounding of every singular value and of the error, in the norm of the blocks."""
    return ROUNDING * ledger.slack


@dataclass(frozen=True, slots=True)
class ErrorBracket:
    """``lower <= err_r <= upper``, norms; ``upper`` also bounds the error of the state's own factors."""

    lower: float
    upper: float


def single(place: int, found: BlockSketch, scale: float = 1.0) -> ClusterState:
    """The state of one block, times ``scale``."""
    L = found.L * scale
    squares, ledger = found.squares * (scale * scale), found.ledger.fade_by(scale)
    return ClusterState((place,), L, squares, found.width, ledger, _gram(L))


def _gram(L: Matrix) -> Matrix | None:
    """``L L*`` of many columns."""
    rows, columns = L.shape
    return np.asarray(L @ L.T) if rows >= WIDE and 2 * columns > rows else None


def singles(sketches: Sequence[BlockSketch]) -> tuple[list[ClusterState], int]:
    """The states of blocks, each alone, and the exponent of the power of two that was taken out of all."""
    top = max((s.exponent for s in sketches if s.energy > 0), default=0)
    scales = [2.0 ** (s.exponent - top) if s.energy > 0 else 1.0 for s in sketches]
    return [single(i, s, x) for i, (s, x) in enumerate(zip(sketches, scales, strict=True))], top


def join(
    states: Sequence[ClusterState], *, least: int, budget: float, by_products: bool = False
) -> ClusterState:
    """All blocks of some states, of which directions go while the whole loss is at most ``budget`` times the energy.

    Parameters
    ----------
    states
        One or more, of different blocks.
    least
        Directions that stay in any case, but for those that are rounding.
    budget
        Share of the energy that may have been discarded in all.
    by_products
        Decompose the sum of Gram matrices where all have one. What eigenvalues lose is the ledger's deficit.

    Notes
    -----
    Cost: ``2 m K^2`` flops for K columns stacked, ``9 m^3`` by products. Blocks stand side by side, so their rounding errors add in squares:
    the ledger counts levels of joining, not joins.
    """
    while len(states) > FAN_IN:
        parts = (states[at : at + FAN_IN] for at in range(0, len(states), FAN_IN))
        states = [join(part, least=least, budget=budget, by_products=by_products) for part in parts]
    ledger = reduce(add, (s.ledger for s in states))
    columns = sum(s.squares.size for s in states)
    grams = [s.G for s in states if s.G is not None]
    if by_products and len(grams) == len(states):
        U, values = _from_products(grams)
        lost = bounds.rounding(columns, ledger.energy)
        ledger = replace(ledger, deficit=ledger.deficit + lost)
    else:
        U, values, _ = thin_svd(np.concatenate([s.L for s in states], axis=1))
    squares = values * values
    keep = count_kept(squares, budget * ledger.energy, least=least, spent=ledger.discarded)
    ledger = replace(
        ledger,
        truncations=max(s.ledger.truncations for s in states),
        height=max(ledger.height, columns + U.shape[0]),
    )
    squares, dropped = squares[:keep], squares[keep:]
    L, ledger = U[:, :keep] * values[:keep], ledger.after_truncation(dropped, rounding=True)
    tree = states[0].tree
    if len(states) > 1:
        tree = MergeTree(tuple(s.tree or s.members[0] for s in states), squares, ledger)
    return ClusterState(
        tuple(sorted(i for s in states for i in s.members)),
        L,
        squares,
        sum(s.width for s in states),
        ledger,
        _gram(L),
        tree,
    )


def _from_products(grams: Sequence[Matrix]) -> tuple[Matrix, Real]:
    """Left vectors and singular values of factors whose Gram matrices are these."""
    values, U = np.linalg.eigh(reduce(add, grams))
    return U[:, ::-1], np.sqrt(np.maximum(values[::-1], 0.0))


def error_bracket(state: BlockSummary, r: int) -> ErrorBracket:
    """Bounds of the best rank-r error that hold in floating point too."""
    ledger = state.ledger
    if ledger.energy == 0:
        return ErrorBracket(0.0, 0.0)
    low, high = bounds.bracket(state.squares, ledger.discarded, ledger.discarded_norm, r)
    beyond = max(r, 1) * ledger.deficit
    norm = float(np.sqrt(ledger.energy))
    upper = float(np.sqrt(high + beyond)) + slack(ledger)
    lower = float(np.sqrt(max(low - beyond, 0.0))) - slack(ledger)
    return ErrorBracket(max(lower, 0.0), min(upper, norm))  # no basis loses more than all


def uppers(state: ClusterState) -> Real:
    """``certified(state, r).upper`` for r = 0 to k, squared: ``(k + 1,)``."""
    ledger = state.ledger
    tails = np.concatenate([np.cumsum(state.squares[::-1])[::-1], [0.0]]) + ledger.discarded
    beyond = np.maximum(np.arange(tails.size), 1) * ledger.deficit
    found = (np.sqrt(tails + beyond) + slack(ledger)) ** 2
    return np.asarray(np.minimum(found, ledger.energy))


def allowance(state: ClusterState, error: float) -> float:
    """Largest squared error that meets ``error``; never below what rounding makes of none."""
    return float(max(error * error * state.energy, (2 * slack(state.ledger)) ** 2))


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Single blocks side by side, to be scored at once; columns are those of blocks that are not wide."""

    states: tuple[ClusterState, ...]
    narrow: npt.NDArray[np.intp]
    columns: Matrix
    edges: npt.NDArray[np.intp]
    energies: Real

    @classmethod
    def of(cls, states: Sequence[ClusterState]) -> Pool:
        """Of one block or more."""
        narrow = [i for i, s in enumerate(states) if s.G is None]
        few = [states[i] for i in narrow]
        columns = np.concatenate([s.L[:, :0] for s in states[:1]] + [s.L for s in few], axis=1)
        edges = np.cumsum([0] + [s.squares.size for s in few[:-1]])
        energies = np.array([s.energy for s in states])
        return cls(tuple(states), np.array(narrow, dtype=np.intp), columns, edges, energies)

    def left_over(self, W: Matrix) -> Real:
        """``||A_c - W W* A_c||_F^2`` of each, for an orthonormal basis: no eigenproblem."""
        left = self.energies.copy()
        if self.narrow.size:
            squares = np.sum((W.T @ self.columns) ** 2, axis=0)
            left[self.narrow] -= np.add.reduceat(squares, self.edges)
        if self.narrow.size < left.size:
            P = W @ W.T
            left -= [0.0 if s.G is None else float(np.vdot(P, s.G)) for s in self.states]
        return np.asarray(np.maximum(left, 0.0))


def left_over(W: Matrix, factors: Sequence[ClusterState]) -> Real:
    """What a basis leaves of each of some blocks, or of none."""
    return Pool.of(factors).left_over(W) if factors else np.zeros(0)

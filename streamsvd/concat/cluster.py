r"""What is known of blocks side by side, and the three steps of which every clustering is made.

A state is ``A A* = L L* + D`` with ``D >= 0`` of trace t and norm at most w: blocks add, and dropping trailing columns of L
adds their squares to t. So with ``E = ||A||_F^2`` and any rank r, ``up = t + sum_{i>r} s_i^2`` is the exact error of the
state's own rank-r factors, and ``up - min(t, r w) <= err_r^2(A) <= up`` brackets the best there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.concat import bounds
from streamsvd.concat.sketches import Sketch, kept, thin_svd
from streamsvd.ledger import Ledger
from streamsvd.typing import Matrix, Real

EXACT_BELOW = 1e-6
"""Errors below it are judged by singular values, not by eigenvalues of products."""
ROUNDING = 8.0
"""Times the slack of a ledger, which allows a product of factors 16 units of rounding and ``sqrt(rows + columns)``:
small matrices with one dominant direction were seen 36 off, from every driver of LAPACK."""
FAN_IN = 40
"""States that are stacked at once; more are joined as a tree."""


class Known(Protocol):
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
class Joined:
    """How a state came about, and what bounds its errors; no columns, so that many can be kept.

    Attributes
    ----------
    parts
        Places of single blocks, and what was joined before.
    squares, ledger
        As of the state.
    """

    parts: tuple[int | Joined, ...]
    squares: Real
    ledger: Ledger


@dataclass(frozen=True, slots=True, eq=False)
class State:
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
    tree
        How it was joined; None for a single block.
    """

    members: tuple[int, ...]
    L: Matrix
    squares: Real
    width: int
    ledger: Ledger
    tree: Joined | None = None

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
class Bracket:
    """``lower <= err_r <= upper``, norms; ``upper`` also bounds the error of the state's own factors."""

    lower: float
    upper: float


def single(place: int, found: Sketch, scale: float = 1.0) -> State:
    """The state of one block, times ``scale``."""
    return State(
        (place,),
        found.L * scale,
        found.squares * (scale * scale),
        found.width,
        found.ledger.faded(scale),
    )


def singles(sketches: Sequence[Sketch]) -> tuple[list[State], int]:
    """The states of blocks, each alone, and the exponent of the power of two that was taken out of all."""
    top = max((s.exponent for s in sketches if s.energy > 0), default=0)
    scales = [2.0 ** (s.exponent - top) if s.energy > 0 else 1.0 for s in sketches]
    return [single(i, s, x) for i, (s, x) in enumerate(zip(sketches, scales, strict=True))], top


def join(states: Sequence[State], *, least: int, budget: float) -> State:
    """All blocks of some states, of which directions go while the whole loss is at most ``budget`` times the energy.

    Parameters
    ----------
    states
        One or more, of different blocks.
    least
        Directions that stay in any case, but for those that are rounding.
    budget
        Share of the energy that may have been discarded in all.

    Notes
    -----
    Cost: ``2 m K^2`` flops for K columns stacked. Blocks stand side by side, so their rounding errors add in squares:
    the ledger counts levels of joining, not joins.
    """
    while len(states) > FAN_IN:
        parts = (states[at : at + FAN_IN] for at in range(0, len(states), FAN_IN))
        states = [join(part, least=least, budget=budget) for part in parts]
    ledger = reduce(add, (s.ledger for s in states))
    W = np.concatenate([s.L for s in states], axis=1)
    U, values, _ = thin_svd(W)
    squares = values * values
    keep = kept(squares, budget * ledger.energy, least=least, spent=ledger.discarded)
    ledger = replace(
        ledger,
        truncations=max(s.ledger.truncations for s in states),
        height=max(ledger.height, sum(W.shape)),
    )
    squares, dropped = squares[:keep], squares[keep:]
    ledger = ledger.truncated(dropped, rounding=True)
    tree = states[0].tree
    if len(states) > 1:
        tree = Joined(tuple(s.tree or s.members[0] for s in states), squares, ledger)
    return State(
        tuple(sorted(i for s in states for i in s.members)),
        U[:, :keep] * values[:keep],
        squares,
        sum(s.width for s in states),
        ledger,
        tree,
    )


def certified(state: Known, r: int) -> Bracket:
    """Bounds of the best rank-r error that hold in floating point too."""
    ledger = state.ledger
    if ledger.energy == 0:
        return Bracket(0.0, 0.0)
    low, high = bounds.bracket(state.squares, ledger.discarded, ledger.discarded_norm, r)
    beyond = max(r, 1) * ledger.deficit
    norm = float(np.sqrt(ledger.energy))
    upper = float(np.sqrt(high + beyond)) + slack(ledger)
    lower = float(np.sqrt(max(low - beyond, 0.0))) - slack(ledger)
    return Bracket(max(lower, 0.0), min(upper, norm))  # no basis loses more than all


def uppers(state: State) -> Real:
    """``certified(state, r).upper`` for r = 0 to k, squared: ``(k + 1,)``."""
    ledger = state.ledger
    tails = np.concatenate([np.cumsum(state.squares[::-1])[::-1], [0.0]]) + ledger.discarded
    beyond = np.maximum(np.arange(tails.size), 1) * ledger.deficit
    found = (np.sqrt(tails + beyond) + slack(ledger)) ** 2
    return np.asarray(np.minimum(found, ledger.energy))


def allowance(state: State, error: float) -> float:
    """Largest squared error that meets ``error``; never below what rounding makes of none."""
    return float(max(error * error * state.energy, (2 * slack(state.ledger)) ** 2))


def pair_errors(a: State, others: Sequence[State], *, exact: bool = False) -> Matrix:
    """Squared error of ``a`` with each of the others for every rank from 0: no more than rounding below the certified.

    Parameters
    ----------
    a, others
        Of different blocks.
    exact
        By singular values: slower, and right to the last digit of small errors.

    Returns
    -------
    errors
        ``(len(others), ranks)``; larger ranks than a pair has repeat its last error.
    """

    def tails(batch: Sequence[State]) -> Matrix:
        ascending = _values(a, batch) if exact else np.maximum(_eigenvalues(a, batch), 0.0)
        return np.asarray(_pad(np.cumsum(ascending, axis=1))[:, ::-1])

    errors = _by_size(a, others, tails)
    ledgers = [b.ledger for b in others]
    discarded = np.array([x.discarded for x in ledgers]) + a.ledger.discarded
    deficit = np.array([x.deficit for x in ledgers]) + a.ledger.deficit
    energy = np.array([x.energy for x in ledgers]) + a.energy
    if not exact:
        discarded += bounds.rounding(errors.shape[1], 1.0) * energy
    errors += discarded[:, None]
    if np.any(deficit > 0):
        errors += np.maximum(np.arange(errors.shape[1]), 1) * deficit[:, None]
    return np.asarray(np.minimum(errors, energy[:, None]))


def pair_floors(a: State, others: Sequence[State]) -> Matrix:
    """Lower bounds of `pair_errors` without eigenvalues, in the same form.

    Errors are superadditive; ``Top_r`` of both is at most that of the squares pooled and ``sqrt(r) ||X||_F`` more, and
    at most ``sqrt(r) ||G||_F``.
    """

    def tails(batch: Sequence[State]) -> Matrix:
        cross = np.sum(products(a, batch) ** 2, axis=(1, 2))
        S = np.array([b.squares for b in batch])
        both = np.concatenate([np.broadcast_to(a.squares, (len(batch), a.squares.size)), S], 1)
        both = -np.sort(-both, axis=1)
        root = np.sqrt(np.arange(both.shape[1] + 1))
        pooled = _pad(np.cumsum(both, axis=1))
        whole = np.sqrt(np.sum(both * both, axis=1) + 2 * cross)
        top = np.minimum(pooled + root * np.sqrt(cross)[:, None], root * whole[:, None])
        alone = _tails(a.squares[None], root.size) + _tails(S, root.size)
        return np.asarray(np.maximum(pooled[:, -1:] - top, alone))

    discarded = np.array([b.ledger.discarded for b in others]) + a.ledger.discarded
    energy = np.array([b.energy for b in others]) + a.energy
    floors = _by_size(a, others, tails)
    discarded -= bounds.rounding(floors.shape[1], 1.0) * energy
    return np.asarray(np.clip(floors + discarded[:, None], 0.0, energy[:, None]))


def _by_size(
    a: State, others: Sequence[State], tails: Callable[[Sequence[State]], Matrix]
) -> Matrix:
    """Rows for all others, computed together for those of one size, wider ones setting the width."""
    sizes = np.array([b.squares.size for b in others], dtype=np.intp)
    out = np.zeros((sizes.size, a.squares.size + int(sizes.max(initial=0)) + 1))
    for size in np.unique(sizes):
        places = np.flatnonzero(sizes == size)
        rows = tails([others[int(i)] for i in places])
        out[places, : rows.shape[1]] = rows
        out[places, rows.shape[1] :] = rows[:, -1:]
    return out


def _pad(rows: Matrix) -> Matrix:
    return np.concatenate([np.zeros((rows.shape[0], 1)), rows], axis=1)


def _values(a: State, batch: Sequence[State]) -> Matrix:
    """Squared singular values of ``[L_a, L_b]``, ascending, with zeros where rows are fewer than columns."""
    out = np.zeros((len(batch), a.squares.size + batch[0].squares.size))
    for row, b in zip(out, batch, strict=True):
        stacked = np.concatenate([a.L, b.L], axis=1)
        values = linalg.svd(stacked, compute_uv=False, check_finite=False)
        row[row.size - values.size :] = values[::-1] ** 2
    return out


def _eigenvalues(a: State, batch: Sequence[State]) -> Matrix:
    """Eigenvalues of ``[[D_a, X], [X*, D_b]]`` for states b of one size, ascending: ``(len(batch), k_a + k_b)``."""
    p, q = a.squares.size, batch[0].squares.size
    H = np.zeros((len(batch), p + q, p + q))
    on = np.arange(p + q)
    H[:, on[:p], on[:p]] = a.squares
    H[:, on[p:], on[p:]] = [b.squares for b in batch]
    H[:, p:, :p] = products(a, batch).transpose(0, 2, 1)
    return np.asarray(np.linalg.eigvalsh(H))


def products(a: State, batch: Sequence[State]) -> Matrix:
    """``L_a* L_b`` for states b of one size, ``(len(batch), k_a, k_b)``."""
    stacked = a.L.T @ np.concatenate([b.L for b in batch], axis=1)
    return np.asarray(stacked.reshape(a.squares.size, len(batch), -1).transpose(1, 0, 2))


def _tails(squares: Matrix, length: int) -> Matrix:
    """Sums of what follows the first r squares of each row, r from 0 to ``length - 1``."""
    out = np.zeros((squares.shape[0], length))
    out[:, : squares.shape[1]] = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Single blocks side by side, to be scored at once."""

    states: tuple[State, ...]
    columns: Matrix
    edges: npt.NDArray[np.intp]
    energies: Real

    @classmethod
    def of(cls, states: Sequence[State]) -> Pool:
        """Of one block or more."""
        columns = np.concatenate([s.L for s in states], axis=1)
        edges = np.cumsum([0] + [s.squares.size for s in states[:-1]])
        return cls(tuple(states), columns, edges, np.array([s.energy for s in states]))

    def left_over(self, W: Matrix) -> Real:
        """``||A_c - W W* A_c||_F^2`` of each, for an orthonormal basis: no eigenproblem."""
        captured = np.add.reduceat(np.sum((W.T @ self.columns) ** 2, axis=0), self.edges)
        return np.asarray(np.maximum(self.energies - captured, 0.0))


def left_over(W: Matrix, factors: Sequence[State]) -> Real:
    """What a basis leaves of each of some blocks, or of none."""
    return Pool.of(factors).left_over(W) if factors else np.zeros(0)


def fixed(state: State, r: int, factors: Sequence[State]) -> float:
    """Squared error of rank r bounded after blocks were added to a cluster, its basis unchanged."""
    energy = sum(c.energy for c in factors)
    W = state.basis(r)
    lost = bounds.rounding(W.shape[1], energy)
    return certified(state, r).upper ** 2 + float(np.sum(left_over(W, factors))) + lost

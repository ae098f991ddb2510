r"""What is known of blocks side by side, and the three steps of which every clustering is made.

A state is ``A A* = L L* + D`` with ``D >= 0`` of trace t and norm at most w: blocks add, and dropping trailing columns of L
adds their squares to t. So with ``E = ||A||_F^2`` and any rank r, ``up = t + sum_{i>r} s_i^2`` is the exact error of the
state's own rank-r factors, and ``up - min(t, r w) <= err_r^2(A) <= up`` brackets the best there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from operator import add

import numpy as np
from scipy import linalg

from streamsvd.certificate import UNIT_ROUNDOFF
from streamsvd.concat import bounds
from streamsvd.concat.sketches import Sketch, kept, thin_svd
from streamsvd.ledger import Ledger
from streamsvd.typing import Matrix, Real

EXACT_BELOW = 1e-6
"""Errors below it are judged by singular values, not by eigenvalues of products."""


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
    """

    members: tuple[int, ...]
    L: Matrix
    squares: Real
    width: int
    ledger: Ledger

    @property
    def energy(self) -> float:
        """Squared Frobenius norm of the blocks."""
        return self.ledger.energy

    def basis(self, r: int) -> Matrix:
        """Orthonormal ``(m, min(r, k))``: the leading left vectors."""
        return np.asarray(self.L[:, :r] / np.sqrt(self.squares[:r]))


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
    return State(
        tuple(sorted(i for s in states for i in s.members)),
        U[:, :keep] * values[:keep],
        squares[:keep],
        sum(s.width for s in states),
        ledger.truncated(squares[keep:], rounding=True),
    )


def certified(state: State, r: int) -> Bracket:
    """Bounds of the best rank-r error that hold in floating point too."""
    ledger = state.ledger
    if ledger.energy == 0:
        return Bracket(0.0, 0.0)
    low, high = bounds.bracket(state.squares, ledger.discarded, ledger.discarded_norm, r)
    beyond = max(r, 1) * ledger.deficit
    norm = float(np.sqrt(ledger.energy))
    upper = float(np.sqrt(high + beyond)) + ledger.slack
    lower = float(np.sqrt(max(low - beyond, 0.0))) - ledger.slack
    return Bracket(max(lower, 0.0), min(upper, norm + ledger.slack))


def uppers(state: State) -> Real:
    """``certified(state, r).upper`` for r = 0 to k, squared: ``(k + 1,)``."""
    ledger = state.ledger
    tails = np.concatenate([np.cumsum(state.squares[::-1])[::-1], [0.0]]) + ledger.discarded
    beyond = np.maximum(np.arange(tails.size), 1) * ledger.deficit
    return np.asarray((np.sqrt(tails + beyond) + ledger.slack) ** 2)


def allowance(state: State, error: float) -> float:
    """Largest squared error that meets ``error``; never below what rounding makes of none."""
    return float(max(error * error * state.energy, (2 * state.ledger.slack) ** 2))


def pair_errors(a: State, others: Sequence[State], *, exact: bool = False) -> Iterator[Real]:
    """Squared error of ``a`` with each of the others for every rank from 0: no more than rounding below the certified.

    Parameters
    ----------
    a, others
        Of different blocks.
    exact
        By singular values: slower, and right to the last digit of small errors.
    """
    if exact:
        for b in others:
            stacked = np.concatenate([a.L, b.L], axis=1)
            values = linalg.svd(stacked, compute_uv=False, check_finite=False)
            yield _errors(values[::-1] ** 2, a.ledger + b.ledger, 0.0)
        return
    for _, group in groupby(others, key=lambda b: b.squares.size):
        batch = list(group)
        for b, w in zip(batch, _eigenvalues(a, batch), strict=True):
            ledger = a.ledger + b.ledger
            lost = bounds.rounding(w.size, ledger.energy)
            yield _errors(np.maximum(w, 0.0), ledger, lost)


def _errors(ascending: Real, ledger: Ledger, lost: float) -> Real:
    tails = np.concatenate([[0.0], np.cumsum(ascending)])[::-1]
    beyond = np.maximum(np.arange(tails.size), 1) * ledger.deficit
    return np.asarray(tails + (ledger.discarded + lost) + beyond)


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


def pair_floors(a: State, others: Sequence[State]) -> Iterator[Real]:
    """Lower bounds of `pair_errors` without eigenvalues, for every rank from 0.

    Errors are superadditive; ``Top_r`` of both is at most that of the squares pooled and ``sqrt(r) ||X||_F`` more, and
    at most ``sqrt(r) ||G||_F``.
    """
    for _, group in groupby(others, key=lambda b: b.squares.size):
        batch = list(group)
        cross = np.sum(products(a, batch) ** 2, axis=(1, 2))
        S = np.array([b.squares for b in batch])
        pooled = np.concatenate([np.broadcast_to(a.squares, (len(batch), a.squares.size)), S], 1)
        pooled = -np.sort(-pooled, axis=1)
        root = np.sqrt(np.arange(pooled.shape[1] + 1))
        top = np.pad(np.cumsum(pooled, axis=1), ((0, 0), (1, 0))) + root * np.sqrt(cross)[:, None]
        whole = np.sqrt(np.sum(pooled**2, axis=1) + 2 * cross)[:, None]
        top = np.minimum(top, root * whole)
        alone = _tails(a.squares[None], top.shape[1]) + _tails(S, top.shape[1])
        floors = np.maximum(np.sum(pooled, axis=1)[:, None] - top, alone)
        for b, floor in zip(batch, floors, strict=True):
            yield floor + (a.ledger.discarded + b.ledger.discarded)


def _tails(squares: Matrix, length: int) -> Matrix:
    """Sums of what follows the first r squares of each row, r from 0 to ``length - 1``."""
    tails = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    return np.pad(tails, ((0, 0), (0, length - squares.shape[1])))


def left_over(W: Matrix, factors: Sequence[State]) -> Real:
    """``||A_c - W W* A_c||_F^2`` of single blocks, for an orthonormal basis: no eigenproblem."""
    if not factors:
        return np.zeros(0)
    stacked = np.concatenate([c.L for c in factors], axis=1)
    edges = np.cumsum([0] + [c.squares.size for c in factors[:-1]])
    captured = np.add.reduceat(np.sum((W.T @ stacked) ** 2, axis=0), edges)
    return np.asarray(np.maximum(np.array([c.energy for c in factors]) - captured, 0.0))


def fixed(state: State, r: int, factors: Sequence[State]) -> float:
    """Squared error of rank r bounded after blocks were added to a cluster, its basis unchanged."""
    energy = sum(c.energy for c in factors)
    W = state.basis(r)
    lost = bounds.rounding(W.shape[1], energy)
    return certified(state, r).upper ** 2 + float(np.sum(left_over(W, factors))) + lost

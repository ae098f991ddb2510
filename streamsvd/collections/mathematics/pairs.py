r"""Errors of two states side by side for every rank: by eigenvalues, and floors of them without.

``[L_a, L_b]`` has the squared singular values of ``[[D_a, X], [X*, D_b]]``, ``X = L_a* L_b``, and of ``G_a + G_b``. The
first is small where states have few columns, the second where they have more than half as many as rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
from scipy import linalg

from streamsvd.collections.mathematics import bounds
from streamsvd.collections.mathematics.cluster import ClusterState
from streamsvd.typing import Matrix, Real

MAX_CACHED_PAIRS = 2048
"""Pairs of which eigenvalues are remembered."""


@dataclass(slots=True, eq=False)
class PairCache:
    """Eigenvalues of pairs of wide states, remembered while both live: many ranks are tried on the same blocks."""

    of: WeakKeyDictionary[ClusterState, WeakKeyDictionary[ClusterState, Real]] = field(
        default_factory=WeakKeyDictionary
    )

    def spectrum(self, a: ClusterState, b: ClusterState) -> Real:
        """Eigenvalues of ``G_a + G_b``, ascending."""
        a, b = (a, b) if a.members < b.members else (b, a)
        row = self.of.setdefault(a, WeakKeyDictionary())
        found = row.get(b)
        if found is None:
            assert a.G is not None
            assert b.G is not None
            found = np.linalg.eigvalsh(a.G + b.G)
            if sum(len(row) for row in self.of.values()) < MAX_CACHED_PAIRS:
                row[b] = found
        return found


def pair_errors(
    a: ClusterState,
    others: Sequence[ClusterState],
    *,
    exact: bool = False,
    known: PairCache | None = None,
) -> Matrix:
    """Squared error of ``a`` with each of the others for every rank from 0: no more than rounding below the certified.

    Parameters
    ----------
    a, others
        Of different blocks.
    exact
        By singular values: slower, and right to the last digit of small errors.
    known
        What has been computed before.

    Returns
    -------
    errors
        ``(len(others), ranks)``; larger ranks than a pair has repeat its last error.
    """
    known = PairCache() if known is None else known

    def tails(batch: Sequence[ClusterState]) -> Matrix:
        if exact:
            ascending = _values(a, batch)
        elif a.G is None or batch[0].G is None:
            ascending = _eigenvalues(a, batch)
        else:
            ascending = np.array([known.spectrum(a, b) for b in batch])
        errors = np.cumsum(np.maximum(ascending, 0.0), axis=1)
        return np.asarray(_pad(errors)[:, ::-1])

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


def pair_floors(a: ClusterState, others: Sequence[ClusterState]) -> Matrix:
    """Lower bounds of `pair_errors` without eigenvalues, in the same form.

    Errors are superadditive; ``Top_r`` of both is at most that of the squares pooled and ``sqrt(r) ||X||_F`` more, and
    at most ``sqrt(r) ||G||_F``.
    """

    def tails(batch: Sequence[ClusterState]) -> Matrix:
        cross = _cross(a, batch)
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


def _cross(a: ClusterState, batch: Sequence[ClusterState]) -> Real:
    """``||L_a* L_b||_F^2`` of states b of one size; of wide states with what rounding may hide."""
    if a.G is None or batch[0].G is None:
        return np.asarray(np.sum(products(a, batch) ** 2, axis=(1, 2)))
    energies = np.array([float(np.sum(b.squares)) for b in batch]) * float(np.sum(a.squares))
    found = np.array([np.vdot(a.G, b.G) for b in batch if b.G is not None])
    return np.asarray(np.maximum(found, 0.0) + bounds.rounding(a.L.shape[0], 1.0) * energies)


def _by_size(
    a: ClusterState,
    others: Sequence[ClusterState],
    tails: Callable[[Sequence[ClusterState]], Matrix],
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


def _values(a: ClusterState, batch: Sequence[ClusterState]) -> Matrix:
    """Squared singular values of ``[L_a, L_b]``, ascending, with zeros where rows are fewer than columns."""
    out = np.zeros((len(batch), a.squares.size + batch[0].squares.size))
    for row, b in zip(out, batch, strict=True):
        stacked = np.concatenate([a.L, b.L], axis=1)
        values = linalg.svd(stacked, compute_uv=False, check_finite=False)
        row[row.size - values.size :] = values[::-1] ** 2
    return out


def _eigenvalues(a: ClusterState, batch: Sequence[ClusterState]) -> Matrix:
    """Eigenvalues of ``[[D_a, X], [X*, D_b]]`` for states b of one size, ascending: ``(len(batch), k_a + k_b)``."""
    p, q = a.squares.size, batch[0].squares.size
    H = np.zeros((len(batch), p + q, p + q))
    on = np.arange(p + q)
    H[:, on[:p], on[:p]] = a.squares
    H[:, on[p:], on[p:]] = [b.squares for b in batch]
    H[:, p:, :p] = products(a, batch).transpose(0, 2, 1)
    return np.asarray(np.linalg.eigvalsh(H))


def products(a: ClusterState, batch: Sequence[ClusterState]) -> Matrix:
    """``L_a* L_b`` for states b of one size, ``(len(batch), k_a, k_b)``."""
    stacked = a.L.T @ np.concatenate([b.L for b in batch], axis=1)
    return np.asarray(stacked.reshape(a.squares.size, len(batch), -1).transpose(1, 0, 2))


def _tails(squares: Matrix, length: int) -> Matrix:
    """Sums of what follows the first r squares of each row, r from 0 to ``length - 1``."""
    out = np.zeros((squares.shape[0], length))
    out[:, : squares.shape[1]] = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    return out

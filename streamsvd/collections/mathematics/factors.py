r"""What is handed out of a cluster: its factors, and what is certified of them.

``U``, the leading left vectors of what is known of the blocks, and ``C_i = (U* L_i) V_i*``: no second read of a block. As
``T_i V_i = 0``, the error of a block is ``||L_i - U U* L_i||_F^2 + t_i`` exactly. Where errors are weighted, ``U C_i`` is the
block with its rows weighted, and all errors are weighted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamsvd.collections.mathematics.cluster import ClusterState, error_bracket
from streamsvd.collections.mathematics.dendrogram import MergeStep, merges
from streamsvd.collections.mathematics.sketches import BlockSketch
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class FactoredCluster:
    """Blocks that share a basis.

    Attributes
    ----------
    keys
        Of its blocks, ascending.
    rank
        Columns of the basis.
    basis
        Orthonormal ``(m, rank)``; of coordinates where sketches are coordinates.
    coefficients
        ``(rank, n_i)`` of each block: ``basis @ coefficients * 2**exponent`` is the block, nearly.
    error_lower, error_upper
        Relative: no basis of this rank has an error below, this one has none above. In mode ``"block"`` each block
        counts as of norm 1.
    block_errors
        Relative error of each block.
    energies
        Squared norm of each block, times ``4**-exponent``.
    within_error
        Whether the factors meet the error that was asked.
    raw
        Whether the blocks are better kept as they are: factors would be no smaller, or miss the error.
    cost
        Numbers stored.
    exponent
        Of the power of two that was taken out.
    strains
        Of the sketch of each block.
    merges
        How it came about.
    """

    keys: tuple[str, ...]
    rank: int
    basis: Matrix
    coefficients: tuple[Matrix, ...]
    error_lower: float
    error_upper: float
    block_errors: Real
    energies: Real
    within_error: bool
    raw: bool
    cost: int
    exponent: int
    strains: Real
    merges: tuple[MergeStep, ...] = ()

    @property
    def width(self) -> int:
        """Columns of all blocks."""
        return sum(c.shape[1] for c in self.coefficients)


@dataclass(frozen=True, slots=True)
class ClusterForm:
    """How a cluster is kept: its rank, whether as it is whatever factors cost, whether factors meet the error."""

    rank: int
    raw: bool
    within_error: bool


def factors(
    state: ClusterState, how: ClusterForm, members: Sequence[BlockSketch], exponent: int, empty: Sequence[BlockSketch]
) -> FactoredCluster:  # fmt: skip
    """The factors of a cluster, with blocks of no energy beside its own."""
    r, rows, U = how.rank, members[0].rows, state.basis(how.rank)
    parts = []
    for s in members:
        scale = 2.0 ** (s.exponent - exponent)
        inner = U.T @ s.L
        left = float(np.linalg.norm(s.L - U @ inner))
        error = np.sqrt((left * left + s.tail) / s.energy)
        energy = scale * scale * s.energy
        parts.append((s.key, scale * (inner @ s.Vh), error, energy, s.strain))
    parts.extend((s.key, np.zeros((r, s.width)), 0.0, 0.0, 1.0) for s in empty)
    parts.sort(key=lambda p: p[0])
    found, norm = error_bracket(state, r), float(np.sqrt(state.energy))
    width = sum(p[1].shape[1] for p in parts)
    whole, two = rows * width, r * (rows + width)
    return FactoredCluster(
        tuple(p[0] for p in parts),
        r,
        U,
        tuple(p[1] for p in parts),
        found.lower / norm,
        found.upper / norm,
        np.array([p[2] for p in parts]),
        np.array([p[3] for p in parts]),
        how.within_error,
        how.raw or two >= whole,
        whole if how.raw else min(whole, two),
        exponent,
        np.array([p[4] for p in parts]),
        merges(state, r, {i: s.key for i, s in zip(state.members, members, strict=True)}),
    )


def nothing(empty: Sequence[BlockSketch]) -> FactoredCluster:
    """The cluster of blocks without energy: rank 0."""
    zeros, basis = np.zeros(len(empty)), np.zeros((empty[0].L.shape[0], 0))
    coefficients = tuple(np.zeros((0, s.width)) for s in empty)
    keys = tuple(s.key for s in empty)
    ones = np.ones(len(empty))
    return FactoredCluster(
        keys, 0, basis, coefficients, 0.0, 0.0, zeros, zeros, True, False, 0, 0, ones
    )


def left_factor(columns: Matrix, coefficients: Matrix) -> Matrix:
    """Best left factor for given coefficients: rows ``(p, n)`` of a cluster's blocks give ``(p, rank)``.

    Completes clusters of `from_gram`, whose basis is one of coordinates, in a second read by slabs of rows.
    """
    return np.asarray(columns @ np.linalg.pinv(coefficients))


def compression_ratio(clusters: Sequence[FactoredCluster], rows: int) -> float:
    """Numbers in the blocks over numbers stored; 1 for none of either."""
    whole, cost = rows * sum(c.width for c in clusters), sum(c.cost for c in clusters)
    return whole / cost if cost else (np.inf if whole else 1.0)

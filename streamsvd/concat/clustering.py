r"""From sketches to clusters: which blocks share a basis, their factors, and what is certified of them.

A cluster's factors are ``U``, the leading left vectors of what is known of its blocks, and ``C_i = (U* L_i) V_i*``: no
second read of a block. As ``T_i V_i = 0``, the error of a block is ``||L_i - U U* L_i||_F^2 + t_i`` exactly.

Reference for the problem: Shamrai (2026), arXiv 2601.11626. The clustering is ours: blocks are read once, pairs are
judged by eigenvalues of products of sketches, and every cluster carries its ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from streamsvd.concat.cluster import State, certified, single, singles
from streamsvd.concat.growth import of_rank
from streamsvd.concat.modes import Rule, pooled_ranks
from streamsvd.concat.options import ClusterOptions
from streamsvd.concat.published import published
from streamsvd.concat.sketches import Sketch
from streamsvd.concat.storage import cheapest
from streamsvd.errors import ShapeError, SpecError
from streamsvd.typing import Matrix, Real

BAND = 200
"""Binary orders of magnitude within which energies of blocks can be added."""


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
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
    met
        Whether the factors meet the error that was asked.
    raw
        Whether the blocks are better kept as they are: factors would be no smaller, or miss the error.
    cost
        Numbers stored.
    exponent
        Of the power of two that was taken out.
    """

    keys: tuple[str, ...]
    rank: int
    basis: Matrix
    coefficients: tuple[Matrix, ...]
    error_lower: float
    error_upper: float
    block_errors: Real
    energies: Real
    met: bool
    raw: bool
    cost: int
    exponent: int

    @property
    def width(self) -> int:
        """Columns of all blocks."""
        return sum(c.shape[1] for c in self.coefficients)


def clustered(sketches: Sequence[Sketch], options: ClusterOptions) -> tuple[Cluster, ...]:
    """Clusters of the blocks, in the order of their first keys; every block is in one.

    Parameters
    ----------
    sketches
        One of each block, made for an error no larger than that of the options, in any order.
    options
        What is asked.

    Returns
    -------
    clusters
        The same for every order of the sketches, and for blocks multiplied by a power of two.

    Raises
    ------
    ShapeError
        If there are no blocks, or rows differ.
    SpecError
        If a key is there twice.

    Notes
    -----
    Cost: no reads. Of N blocks in few clusters of one rank about ``4 N`` eigenvalue problems of twice the size of a
    sketch, for least storage some more for each start; keys of all pairs up to 1500 clusters, ``9 * 1500**2`` bytes.
    """
    ordered = _checked(sketches)
    out: list[Cluster] = []
    for band in _bands(ordered):
        out += _band_clusters(band, options)
    return tuple(sorted(out, key=lambda c: c.keys))


def certify(sketches: Sequence[Sketch], options: ClusterOptions) -> tuple[Cluster, ...]:
    """The clusters that a proposed one is: itself where it meets the error, else without its worst members.

    Parameters
    ----------
    sketches
        By `sketch`, of the blocks of one cluster that was found on `proposed` sketches; the second read.
    options
        What is asked; the error holds for every cluster, in mode ``"global"`` too.

    Returns
    -------
    clusters
        One, if the proposal holds; those that were dropped are clustered among themselves.

    Raises
    ------
    ShapeError, SpecError
        As `clustered`.
    """
    ordered = _checked(sketches)
    dropped: list[Sketch] = []
    while len(ordered) > 1:
        found = _as_one(ordered, options)
        if found is not None:
            break
        worst = _worst(ordered, options)
        dropped.append(ordered[worst])
        ordered = ordered[:worst] + ordered[worst + 1 :]
    else:
        return clustered([*ordered, *dropped], options)
    rest = clustered(dropped, options) if dropped else ()
    return tuple(sorted([found, *rest], key=lambda c: c.keys))


def left_factor(columns: Matrix, coefficients: Matrix) -> Matrix:
    """Best left factor for given coefficients: rows ``(p, n)`` of a cluster's blocks give ``(p, rank)``.

    Completes clusters of `from_gram`, whose basis is one of coordinates, in a second read by slabs of rows.
    """
    return np.asarray(columns @ np.linalg.pinv(coefficients))


def compression_ratio(clusters: Sequence[Cluster], rows: int) -> float:
    """Numbers in the blocks over numbers stored; 1 for none of either."""
    whole, cost = rows * sum(c.width for c in clusters), sum(c.cost for c in clusters)
    return whole / cost if cost else (np.inf if whole else 1.0)


def _checked(sketches: Sequence[Sketch]) -> list[Sketch]:
    """Sketches by key."""
    if not sketches:
        raise ShapeError("no blocks to cluster. Pass one or more.")
    ordered = sorted(sketches, key=lambda s: s.key)
    for a, b in pairwise(ordered):
        if a.key == b.key:
            raise SpecError(f"block {a.key!r} is there twice. Give every block a key of its own.")
        if (a.rows, a.L.shape[0]) != (b.rows, b.L.shape[0]):
            raise ShapeError(
                f"block {b.key!r} has {b.rows} rows, {a.key!r} has {a.rows}. "
                "Blocks of a collection have equal rows, and one kind of sketch."
            )
    return ordered


def _bands(ordered: Sequence[Sketch]) -> list[list[Sketch]]:
    """Blocks of comparable size; those without energy are with the largest."""
    top = max((s.exponent for s in ordered if s.energy > 0), default=0)
    bands: dict[int, list[Sketch]] = {}
    for s in ordered:
        band = (top - s.exponent) // BAND if s.energy > 0 else 0
        bands.setdefault(band, []).append(s)
    return [bands[band] for band in sorted(bands)]


def _band_clusters(band: Sequence[Sketch], options: ClusterOptions) -> list[Cluster]:
    """Clusters of blocks of comparable size."""
    full = [s for s in band if s.energy > 0]
    empty = [s for s in band if s.energy == 0]
    if not full:
        return [_nothing(empty)]
    rule, exponent = _rule(full, options)
    states = sorted(_states(rule, options), key=lambda s: s.members)
    ranks = _ranks(states, rule, options)
    out = []
    for at, (state, (r, raw)) in enumerate(zip(states, ranks, strict=True)):
        with_zeros = empty if at == 0 else []
        out.append(
            _emitted(state, r, raw, [full[i] for i in state.members], rule, exponent, with_zeros)
        )
    return out


def _rule(full: Sequence[Sketch], options: ClusterOptions) -> tuple[Rule, int]:
    """The rule with all blocks to one scale, and the exponent taken out."""
    blocks, top = singles(full)
    if options.mode == "block":
        blocks = [single(i, s, 1 / float(np.sqrt(s.energy))) for i, s in enumerate(full)]
    return Rule(float(options.error), options.share, options.mode, full[0].rows, blocks), top


def _states(rule: Rule, options: ClusterOptions) -> list[State]:
    if options.method != "certified":
        return published(rule, options)
    if options.rank is None:
        return cheapest(rule, max_fail=options.max_fail)
    return of_rank(rule, int(options.rank), max_fail=options.max_fail)


def _ranks(states: Sequence[State], rule: Rule, options: ClusterOptions) -> list[tuple[int, bool]]:
    """Rank of each cluster, and whether it is kept raw whatever factors cost."""
    if options.rank is not None:
        fixed = [min(int(options.rank), s.squares.size) for s in states]
        missed = _missed(states, fixed, rule)
        return list(zip(fixed, missed, strict=True))
    found = (
        pooled_ranks(states, rule) if rule.mode == "global" else [rule.rank_of(s) for s in states]
    )
    return [
        (s.squares.size if r is None else r, r is None) for s, r in zip(states, found, strict=True)
    ]


def _missed(states: Sequence[State], fixed: Sequence[int], rule: Rule) -> list[bool]:
    """Which clusters of a fixed rank do not meet the error; of a common error the dearest, until it is met."""
    if rule.mode != "global":
        return [not rule.accepts(s, r) for s, r in zip(states, fixed, strict=True)]
    errors = [certified(s, r).upper ** 2 for s, r in zip(states, fixed, strict=True)]
    lost = sum((2 * s.ledger.slack) ** 2 for s in states)
    budget = max(rule.limit(sum(s.energy for s in states)), lost)
    out = [False] * len(states)
    for i in np.argsort(-np.array(errors), kind="stable"):
        if sum(errors) <= budget:
            break
        out[i], errors[i] = True, 0.0
    return out


def _emitted(
    state: State, r: int, raw: bool, members: Sequence[Sketch], rule: Rule, exponent: int,
    empty: Sequence[Sketch],
) -> Cluster:  # fmt: skip
    """The factors of a cluster, with blocks of no energy beside its own."""
    U = state.basis(r)
    parts = []
    for s in members:
        scale = 2.0 ** (s.exponent - exponent)
        inner = U.T @ s.L
        left = float(np.linalg.norm(s.L - U @ inner))
        error = np.sqrt((left * left + s.tail) / s.energy)
        parts.append((s.key, scale * (inner @ s.Vh), error, scale * scale * s.energy))
    parts.extend((s.key, np.zeros((r, s.width)), 0.0, 0.0) for s in empty)
    parts.sort(key=lambda p: p[0])
    found, norm = certified(state, r), float(np.sqrt(state.energy))
    width = sum(p[1].shape[1] for p in parts)
    whole, factors = rule.rows * width, r * (rule.rows + width)
    return Cluster(
        tuple(p[0] for p in parts),
        r,
        U,
        tuple(p[1] for p in parts),
        found.lower / norm,
        found.upper / norm,
        np.array([p[2] for p in parts]),
        np.array([p[3] for p in parts]),
        not raw,
        raw or factors >= whole,
        whole if raw else min(whole, factors),
        exponent,
    )


def _nothing(empty: Sequence[Sketch]) -> Cluster:
    """The cluster of blocks without energy: rank 0."""
    zeros, basis = np.zeros(len(empty)), np.zeros((empty[0].L.shape[0], 0))
    coefficients = tuple(np.zeros((0, s.width)) for s in empty)
    keys = tuple(s.key for s in empty)
    return Cluster(keys, 0, basis, coefficients, 0.0, 0.0, zeros, zeros, True, False, 0, 0)


def _as_one(ordered: Sequence[Sketch], options: ClusterOptions) -> Cluster | None:
    """All blocks as one cluster, if it is certified."""
    options = replace(options, mode="cluster" if options.mode == "global" else options.mode)
    full = [s for s in ordered if s.energy > 0]
    empty = [s for s in ordered if s.energy == 0]
    if not full:
        return _nothing(empty)
    if len(_bands(ordered)) > 1:
        return None
    rule, exponent = _rule(full, options)
    state = rule.joined(rule.blocks, options.rank or 0)
    r = rule.rank_of(state) if options.rank is None else min(options.rank, state.squares.size)
    if r is None or not rule.accepts(state, r):
        return None
    if options.rank is None and rule.cost_of(state) > sum(rule.cost_of(b) for b in rule.blocks):
        return None
    return _emitted(state, r, False, full, rule, exponent, empty)


def _worst(ordered: Sequence[Sketch], options: ClusterOptions) -> int:
    """Place of the block of which a basis of all leaves most; blocks without energy never."""
    full = [s for s in ordered if s.energy > 0]
    rule, _ = _rule(full, options)
    state = rule.joined(rule.blocks, options.rank or 0)
    U = state.basis(options.rank if options.rank is not None else state.squares.size)
    left = [np.linalg.norm(b.L - U @ (U.T @ b.L)) ** 2 + b.ledger.discarded for b in rule.blocks]
    return ordered.index(full[int(np.argmax(left))])


__all__ = ["Cluster", "certify", "clustered", "compression_ratio", "left_factor"]

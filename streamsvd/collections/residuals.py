"""Blocks as a principal part, what they share, and a residual in whole numbers that meets the error by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.encoding import (
    EncodedCluster,
    EncodedResidual,
    StoredFactors,
    cast_block,
    margin,
    slack,
    whole_blocks,
    without_basis,
)
from streamsvd.collections.mathematics import BlockSketch, Metric, cluster_sketches, coarser
from streamsvd.collections.mathematics.residuals import bits, encode_residual
from streamsvd.collections.mathematics.sketches import apply_weights, scale_block
from streamsvd.collections.passes import MemberPass, values_of
from streamsvd.collections.readers import CollectionReader, MemberBlock
from streamsvd.collections.records import as_stored
from streamsvd.collections.run import ClusteringRun, FoundCluster
from streamsvd.collections.weights import Metrics
from streamsvd.store.collections import Member
from streamsvd.store.collections.archive import EditionSink, WrittenArray
from streamsvd.store.collections.codes import pack_codes
from streamsvd.typing import Matrix

Array = npt.NDArray[Any]
RUNGS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)
"""Errors of principal parts that are tried; 1 for none."""
METADATA = 700
"""Bytes that an array takes beside its numbers, about."""
SKETCH_SHARE = 0.7
"""Part of such an error that sketches may spend: residuals make up for it, and sketches are short."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A block in both ways: what its basis leaves in whole numbers, and the whole of it; and itself where neither will do.

    Attributes
    ----------
    name, size, exponent, zeros
        Of the block; ``size * 2**exponent`` is its norm, that of its error.
    beside, alone
        Codes beside the factors of its cluster, and without; None if there are none.
    values
        The array itself, or where a task has written it, where codes alone would be no smaller.
    """

    name: str
    size: float
    exponent: int
    zeros: int
    beside: EncodedResidual | None
    alone: EncodedResidual | None
    values: Array | WrittenArray | None

    def write_to(self, sink: EditionSink, member: Member) -> Split:
        """Write everything large; the same with what tells where it is."""
        values = self.values
        if isinstance(values, np.ndarray):
            values = sink.write(as_stored(values, member))
        beside, alone = (written_residual(piece, sink) for piece in (self.beside, self.alone))
        return replace(self, beside=beside, alone=alone, values=values)

    @property
    def norm(self) -> float:
        """Within float64, and not zero unless it is."""
        ends = np.finfo(np.float64)
        with np.errstate(over="ignore", under="ignore"):
            norm = float(np.ldexp(self.size, self.exponent))
        return min(max(norm, float(ends.smallest_subnormal)), float(ends.max)) if self.size else 0.0


def written_residual(piece: EncodedResidual | None, sink: EditionSink) -> EncodedResidual | None:
    """A residual whose whole numbers are written."""
    if piece is None or not isinstance(piece.code_bytes, np.ndarray) or not piece.code_bytes.size:
        return piece
    return replace(piece, code_bytes=sink.write(piece.code_bytes))


def split(block: MemberBlock, factors: StoredFactors | None, metric: Metric, error: float) -> Split:
    """A block coded beside factors and alone, each within the error."""
    member = block.member
    B, exponent = scale_block(member.name, block.matrix, metric)
    norm, lift = 0.0, 0
    if B.any():
        W, lift = apply_weights(member.name, B, metric)
        norm, metric = float(np.linalg.norm(W)), metric.in_unit(lift)
    hidden = slack(*member.shape) * metric.strain(B, norm) if norm else 0.0
    work = _BlockEncoder(member, B, exponent, metric, norm, hidden, error)
    alone = work.piece(np.zeros_like(B))
    beside = None if factors is None else work.piece(factors.product())
    if alone is not None and alone.nbytes >= member.nbytes:
        alone = None
    keep = values_of(block) if alone is None else None
    return Split(member.name, norm, exponent + lift, block.zeros, beside, alone, keep)


@dataclass(frozen=True, slots=True, eq=False)
class _BlockEncoder:
    """A block of size 1, and what is asked of it."""

    member: Member
    B: Matrix
    exponent: int
    metric: Metric
    norm: float
    rounding: float
    error: float

    def piece(self, principal: Matrix) -> EncodedResidual | None:
        """Codes beside a principal part; None if the error cannot be met."""
        if not np.isfinite(principal).all():
            return None
        P = np.ldexp(principal, -self.exponent)
        bare = self._error_norm(P, np.zeros(1))
        if bare + self.rounding * self.norm <= self.error * self.norm:
            return EncodedResidual(np.zeros(0, np.uint8), np.zeros(0), self._relative(bare))
        allowed = (self.error - self.rounding) * self.norm
        found = (
            encode_residual(self.B - P, self.metric, allowed, lambda X: self._error_norm(P, X))
            if allowed > 0
            else None
        )
        if found is None:
            return None
        with np.errstate(over="ignore"):
            steps = np.ldexp(found.steps, self.exponent)
        if not (np.isfinite(steps).all() and (steps >= np.finfo(np.float64).tiny).all()):
            return None
        return EncodedResidual(pack_codes(found.codes), steps, self._relative(found.error_norm))

    def _error_norm(self, P: Matrix, X: Matrix) -> float:
        """The norm of the error once what is read is rounded to the type of the block."""
        with np.errstate(over="ignore", invalid="ignore"):
            read = cast_block(np.ldexp(P + X, self.exponent), self.member)
            left = self.B - np.ldexp(read.astype(np.float64), -self.exponent)
            lost = float(np.linalg.norm(self.metric.of(left)))
        return lost if np.isfinite(lost) else np.inf

    def _relative(self, lost: float) -> float:
        return lost / self.norm + self.rounding if self.norm else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class SplitPass(MemberPass[Split]):
    """The blocks of a collection, each beside the basis of its cluster and alone.

    Attributes
    ----------
    places
        Cluster of each block, and its number in it.
    metrics, error
        How errors are measured, and what is asked.
    sink
        Where tasks write codes of both; the client keeps those that it takes. None to hand them back, for saves.
    """

    places: Mapping[str, tuple[EncodedCluster, int]]
    metrics: Metrics
    error: float
    sink: EditionSink | None = None

    def find(self, block: MemberBlock) -> Split:
        """Of one block."""
        name = block.member.name
        found = split(block, factors_of(*self.places[name]), self.metrics.of(name), self.error)
        return found if self.sink is None else found.write_to(self.sink, block.member)


def factors_of(shared: EncodedCluster, i: int) -> StoredFactors | None:
    """Those of the i-th block of a cluster; None if it has none."""
    if shared.raw or not shared.rank:
        return None
    return StoredFactors(shared.basis, shared.coefficients[i], shared.exponents[i])


@dataclass(frozen=True, slots=True, eq=False)
class PrincipalParts:
    """What blocks share: the error of it, the clusters, and reads that they rest on."""

    error: float
    clusters: Sequence[EncodedCluster]
    passes: int


def with_residuals(
    run: ClusteringRun, principal: PrincipalParts, sink: EditionSink | None
) -> Iterator[FoundCluster]:
    """Clusters as stored, with what their bases leave of each block in whole numbers: one more read.

    Tasks write the codes of their blocks to the sink; without one, the client is handed them.
    """
    target, mode = run.request.target, run.request.criteria.mode
    assert target is not None
    shared = principal.clusters
    names = [name for one in shared for name in one.names]
    places = {name: (one, i) for one in shared for i, name in enumerate(one.names)}
    reader = CollectionReader(run.take(names))
    pass_ = SplitPass(places, run.metrics, target, sink)
    each: list[Split] = run.run.once("residuals", pass_, reader=reader)
    by_name = {s.name: s for s in each}
    for one in shared:
        mine = [by_name[name] for name in one.names]
        for part, arrays in cheapest(one, mine, run.members, mode):
            zeros = {name: z for name in part.names if (z := by_name[name].zeros)}
            yield FoundCluster((part,), arrays, zeros, principal.passes + 1)


def principal_parts(run: ClusteringRun) -> PrincipalParts:
    """The clusters of the principal error that was asked, or of the one that seems to store least."""
    request, source, members = run.request, run.source, run.members
    target, criteria = request.target, request.criteria
    assert target is not None
    assert request.principal is not None
    if request.principal == "auto":
        rungs = [p for p in RUNGS if p > target]
    else:
        rungs = [float(request.principal)]
    if rungs == [1.0]:
        return PrincipalParts(1.0, [without_basis(sorted(members), members, source.rows)], 0)
    # No arrays are kept: they are read again.
    seen = run.run.once("sketches", run.sketching(criteria, keep=False))
    sketches = [s.sketch for s in seen]
    least, best = np.inf, (1.0, list[EncodedCluster]())
    for rung in rungs:
        if rung == 1.0:
            clusters = [without_basis(sorted(members), members, source.rows)]
        elif least <= least_estimated(sketches, members, rung, target):
            continue
        else:
            spare = margin(list({m.dtype for m in members.values()}), rung)
            inner = rung - spare
            short = [coarser(s, error=inner, share=SKETCH_SHARE) for s in sketches]
            found = cluster_sketches(short, replace(criteria, error=inner, share=SKETCH_SHARE))
            clusters = [part for one in found for part in run.encode(one, rung, spare)]
        size = estimate_bytes(clusters, members, target)
        if size < least:
            least, best = size, (rung, clusters)
    return PrincipalParts(*best, 1)


def estimate_bytes(
    clusters: Sequence[EncodedCluster], members: Mapping[str, Member], error: float
) -> float:
    """About how many bytes clusters and residuals take."""
    total = 0.0
    for shared in clusters:
        of = [members[name] for name in shared.names]
        sizes = np.array([m.shape[0] * m.shape[1] for m in of], dtype=np.float64)
        alone = float(
            np.sum(np.minimum(bits(np.ones(len(of)), error) / 8 * sizes, [m.nbytes for m in of]))
        )
        beside = np.inf
        if not shared.raw and shared.rank:
            left = bits(np.array(shared.block_errors), error)
            named = METADATA * (1 + len(of))
            beside = shared.nbytes(members) + named + float(np.sum(left / 8 * sizes))
        total += min(alone, beside)
    return total


def least_estimated(
    sketches: Sequence[BlockSketch], members: Mapping[str, Member], rung: float, error: float
) -> float:
    """What bases of an error take at least, about: coefficients of each block at the rank that it needs alone, and residuals."""
    total = 0.0
    for s in sketches:
        if s.energy == 0:
            continue
        member = members[s.key]
        tails = np.concatenate([np.cumsum(s.squares[::-1])[::-1] + s.tail, [s.tail]])
        r = int(np.argmax(np.append(tails[:-1] <= rung * rung * s.energy, True)))
        left = bits(np.sqrt(tails[r] / s.energy), error)
        m, n = member.shape
        total += r * n * member.dtype.itemsize + float(left) / 8 * m * n
    return total


def cheapest(
    shared: EncodedCluster, each: Sequence[Split], members: Mapping[str, Member], mode: str
) -> Iterator[tuple[EncodedCluster, dict[str, Array | WrittenArray]]]:
    """A cluster with residuals beside its basis, or without one; and those of its blocks that are kept as they are."""
    alone = sum(s.alone.nbytes if s.alone else members[s.name].nbytes for s in each)
    beside = [s.beside for s in each if s.beside is not None]
    if not shared.raw and shared.rank and len(beside) == len(each):
        both = replace(shared, codes=tuple(beside))
        if both.nbytes(members) < alone:
            yield _with_measured_errors(both, each, mode), {}
            return
    whole = [s for s in each if s.alone is not None]
    raw = [s for s in each if s.alone is None]
    rows = shared.basis.shape[0]
    if whole:
        pieces = tuple(s.alone for s in whole if s.alone is not None)
        one = without_basis([s.name for s in whole], members, rows)
        yield _with_measured_errors(replace(one, codes=pieces), whole, mode), {}
    if raw:
        kept_as = whole_blocks([s.name for s in raw], [s.norm for s in raw], rows)
        yield kept_as, {s.name: s.values for s in raw if s.values is not None}


def _with_measured_errors(
    shared: EncodedCluster, each: Sequence[Split], mode: str
) -> EncodedCluster:
    """With the errors of what will be read."""
    sizes, norms = np.array([s.size for s in each]), tuple(s.norm for s in each)
    errors = np.array([piece.error for piece in shared.codes])
    top = max((s.exponent for s in each if s.size), default=0)
    counts = (sizes > 0).astype(np.float64)
    if mode != "block":
        counts = np.ldexp(sizes, np.array([s.exponent - top for s in each]))
    total = float(np.linalg.norm(counts))
    upper = float(np.linalg.norm(errors * counts)) / total if total else 0.0
    return replace(
        shared, error_lower=0.0, error_upper=upper, block_errors=tuple(errors.tolist()), norms=norms
    )  # fmt: skip

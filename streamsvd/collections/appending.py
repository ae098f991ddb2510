"""Matrices added to a compressed collection: into bases that hold them already, or into clusters of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.collections.compressed import CompressedCollection, total_norm
from streamsvd.collections.encoding import (
    EncodedResidual,
    StoredFactors,
    decode_block,
    narrow_coefficients,
    slack,
    without_basis,
)
from streamsvd.collections.mathematics import (
    BlockSketch,
    Method,
    Metric,
    Mode,
    cluster_sketches,
    sketch,
)
from streamsvd.collections.options import CompressionOptions
from streamsvd.collections.passes import MemberPass, factors_pay, in_rows, values_of
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.readers import MemberBlock, take_collection
from streamsvd.collections.records import (
    check_storable,
    put,
    put_residual,
    record_of,
)
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.residuals import (
    PrincipalParts,
    split,
    with_residuals,
    written_residual,
)
from streamsvd.collections.result import CompressionReport, compression_report
from streamsvd.collections.run import ClusteringRun, FoundCluster, clustering_run
from streamsvd.collections.saves import open_collection_saves
from streamsvd.collections.weights import Metrics, Weights
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.saves import SAVE_SECONDS, try_saves
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import BudgetError, ShapeError, SpecError
from streamsvd.numerics.ledger import Ledger
from streamsvd.store.collections import Collection, Member
from streamsvd.store.collections.archive import (
    ClusterRecord,
    CompressedStore,
    Contents,
    EditionSink,
    MemberRecord,
    WrittenArray,
)
from streamsvd.store.writing.separation import check_apart
from streamsvd.store.writing.trial import try_objects
from streamsvd.typing import Matrix

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class StoredBasis:
    """A basis that is stored already: its cluster, itself, and its factors ``Q R``, rows weighted where errors are."""

    cluster: int
    basis: Array
    Q: Matrix
    R: Matrix

    @classmethod
    def of(cls, cluster: int, basis: Array, rows: Metric) -> StoredBasis:
        """With its factors."""
        weighted = rows.left(basis.astype(np.float64))
        Q, R = linalg.qr(weighted, mode="economic", check_finite=False)
        return cls(cluster, basis, Q, R)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A matrix in a basis that is there: its coefficients, and the error that was measured of what will be read."""

    cluster: int
    coefficients: Array | WrittenArray
    exponent: int
    error: float
    norm: float
    residual: EncodedResidual | None = None

    def write_to(self, sink: EditionSink) -> Fit:
        """Write everything large; the same with what tells where it is."""
        own = self.coefficients
        if isinstance(own, np.ndarray):
            own = sink.write(own)
        return replace(self, coefficients=own, residual=written_residual(self.residual, sink))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What a read of one new matrix leaves: where it fits, or its sketch and itself, where no factors or only residuals will do."""

    name: str
    fit: Fit | None
    sketch: BlockSketch | None
    values: Array | None
    zeros: int


@dataclass(frozen=True, slots=True, eq=False)
class PlacementPass(MemberPass[Placement]):
    """Places for the matrices of a collection."""

    stored_bases: Sequence[StoredBasis]
    error: float
    inner: float
    rank: int | None
    metrics: Metrics
    target: float | None
    sink: EditionSink | None = None

    def find(self, block: MemberBlock) -> Placement:
        """That of one matrix."""
        name = block.member.name
        metric = self.metrics.of(name)
        found = in_rows(sketch(name, block.matrix, error=self.inner, metric=metric))
        fit = self._fit(block.member, block.matrix, found)
        if fit is not None and self.target is not None:
            fit = self._add_residual(fit, block)
        if fit is not None:
            fit = fit if self.sink is None else fit.write_to(self.sink)
            return Placement(name, fit, None, None, block.zeros)
        keep = self.target is None and not factors_pay(found, self.inner, self.rank)
        return Placement(name, None, found, values_of(block) if keep else None, block.zeros)

    def _fit(self, member: Member, A: Array, found: BlockSketch) -> Fit | None:
        """The basis that leaves least, if the matrix meets the error in it and costs no more than alone."""
        if not self.stored_bases or found.energy == 0:
            return None
        left = [float(np.linalg.norm(found.L - k.Q @ (k.Q.T @ found.L))) for k in self.stored_bases]
        best = self.stored_bases[int(np.argmin(left))]
        if left[int(np.argmin(left))] ** 2 > self.error**2 * found.energy:
            return None
        m, n = member.shape
        if best.R.shape[1] * n >= alone(found, self.inner, m, n):
            return None
        metric = self.metrics.of(member.name)
        B = np.ldexp(metric.zero_ignored(A.astype(np.float64)), -found.exponent)
        C = linalg.solve_triangular(best.R, best.Q.T @ metric.left(B), check_finite=False)
        stored, exponent = narrow_coefficients(C, best.basis.dtype)
        exponent += found.exponent
        D = np.asarray(decode_block(best.basis, stored, exponent, member), dtype=np.float64)
        norm = float(np.linalg.norm(metric.of(B)))
        hidden = slack(m, n) * found.strain
        lost = metric.of(B - np.ldexp(D, -found.exponent))
        error = float(np.linalg.norm(lost)) / norm + hidden
        if not error <= max(self.error, 4 * hidden):
            return None
        return Fit(best.cluster, stored, exponent, error, finite(norm, found.exponent))

    def _add_residual(self, fit: Fit, block: MemberBlock) -> Fit | None:
        """With what the basis leaves in whole numbers, where that is less than the whole matrix so."""
        assert self.target is not None
        basis = next(k.basis for k in self.stored_bases if k.cluster == fit.cluster)
        assert isinstance(fit.coefficients, np.ndarray)
        factors = StoredFactors(basis, fit.coefficients, fit.exponent)
        member = block.member
        s = split(block, factors, self.metrics.of(member.name), self.target)
        alone = member.nbytes if s.alone is None else s.alone.nbytes
        if s.beside is None or s.beside.nbytes + fit.coefficients.nbytes > alone:
            return None
        return replace(fit, error=s.beside.error, residual=s.beside)


def finite(norm: float, exponent: int) -> float:
    """``norm 2^exponent``, or the nearest number that is neither zero nor infinite."""
    ends = np.finfo(float)
    with np.errstate(over="ignore", under="ignore"):
        return float(np.clip(np.ldexp(norm, exponent), ends.smallest_subnormal, ends.max))


def alone(found: BlockSketch, error: float, m: int, n: int) -> int:
    """Numbers that a matrix takes by itself."""
    tails = np.cumsum(found.squares[::-1])[::-1] + found.tail
    r = int(np.count_nonzero(tails > error * error * found.energy))
    return min(r * (m + n), m * n)


KINDS = (Placement, Fit, EncodedResidual, BlockSketch, Ledger)
"""Data classes that a checkpoint holds."""


def append(
    path: str | os.PathLike[str],
    collection: Any,
    *,
    memory: int | float | str | None = None,
    seed: int = 0,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> CompressionReport:
    """Matrices added to a compressed collection, as one version; see `compress`."""
    store = CompressedStore.from_address(path)
    held = store.newest()
    try_objects(store.versions.objects)
    source = take_collection(collection, nonfinite)
    check_apart(path, source, column_weights, inputs)
    members = {m.name: m for m in source.members}
    check_fits(store.name, held, source)
    check_storable(members)
    a = held.asked
    rows = store.array(held, held.row_weights) if held.row_weights else None
    weights = Weights.of(source, rows, column_weights, inputs, damping)
    options = CompressionOptions(
        error=a.error, rank=a.rank, mode=cast("Mode", a.mode), method=cast("Method", a.method), principal=a.principal,
        damping=damping, seed=seed,
    )  # fmt: skip
    request = ClusteringRequest.of(source, options, weights)
    saving = checkpoint is not None
    plan = _plan_additions(source, held, options, request, allowed_bytes(memory), saving=saving)
    try_saves(checkpoint, source, column_weights, inputs, path)
    saves = open_collection_saves(
        checkpoint, source, plan, weights, KINDS, save_seconds, out=store.name, version=held.version
    )
    with clustering_run(source, request, plan, callback, saves, keep=True) as run:
        writing = store.begin_after(held.version)
        writing.keep(held)
        try:
            sink, passes = None if saving else writing.sink(), 1
            placed: list[Placement] = []
            if request.principal != 1:
                placed = run.run.once("places", replace(_placing(store, held, run), sink=sink))
            zeros = {p.name: p.zeros for p in placed if p.zeros}
            clusters, records = list(held.clusters), dict(held.members)
            for i, p in enumerate(placed):
                if p.fit is not None:
                    short = f"a{i}"
                    folder = writing.add({short: p.fit.coefficients})[short]
                    residual = put_residual(writing, short, p.fit.residual)
                    records[p.name] = record_of(
                        members[p.name], p.fit.cluster, folder, exponent=p.fit.exponent,
                        error=p.fit.error, norm=p.fit.norm, zeros=p.zeros, weighted=not run.metrics.of(p.name).plain,
                        residual=residual,
                    )  # fmt: skip
            for number in {p.fit.cluster for p in placed if p.fit is not None}:
                fits = [p.fit for p in placed if p.fit is not None and p.fit.cluster == number]
                clusters[number] = extend_cluster(clusters[number], number, held, fits)
            for one in new_clusters(run, [p for p in placed if p.sketch is not None], sink):
                zeros |= one.zeros
                passes = max(passes, one.passes)
                for shared in one.parts:
                    number = len(clusters)
                    c, some = put(writing, number, shared, one.arrays, members, zeros, run.metrics)
                    clusters.append(c)
                    records |= some
            ordered = {n: records[n] for n in (*held.members, *members)}
            contents = writing.commit(a, held.rows, ordered, clusters, held.row_weights)
        except BaseException:
            writing.abandon()
            raise
        info = run.info(zeros, passes)
    callback(ResultWritten(store.name))
    return compression_report(
        CompressedCollection(store, contents), options, plan, info, reads=run.reads, zeros=zeros,
        input_bytes=weights.input_bytes,
    )  # fmt: skip


def new_clusters(
    run: ClusteringRun, placed: Sequence[Placement], sink: EditionSink | None
) -> Iterator[FoundCluster]:
    """Clusters of those that fit nowhere, and the arrays that are kept as they are; where they have residuals, one more read."""
    request, members = run.request, run.members
    if request.principal == 1:
        alone = without_basis(sorted(members), members, run.source.rows)
        yield from with_residuals(run, PrincipalParts(1.0, [alone], 0), sink)
        return
    sketches = [p.sketch for p in placed if p.sketch is not None]
    values = {p.name: p.values for p in placed if p.values is not None}
    if not sketches:
        return
    found = [
        part
        for one in cluster_sketches(sketches, request.criteria)
        for part in run.encode(one, request.error, request.spare)
    ]
    if request.target is not None:
        yield from with_residuals(run, PrincipalParts(request.error, found, 1), sink)
        return
    for shared in found:
        yield FoundCluster((shared,), run.raw_arrays(shared, values), {}, 1)


def check_fits(name: str, held: Contents, source: Collection) -> None:
    """Refuse matrices that cannot be added.

    Raises
    ------
    SpecError
        If a name is there already.
    ShapeError
        If rows differ.
    """
    there = [m.name for m in source.members if m.name in held.members]
    if there:
        more = f", and {len(there) - 1} others" if len(there) > 1 else ""
        raise SpecError(
            f"block {there[0]!r}{more} is in {name} already, and stays as it is. Give additions other names."
        )
    if source.rows != held.rows:
        raise ShapeError(
            f"block {source.members[0].name!r} has {source.rows:,} rows, those in {name} have {held.rows:,}. "
            "Transpose or reshape additions as the collection was."
        )


def _plan_additions(
    source: Collection,
    held: Contents,
    options: CompressionOptions,
    request: ClusteringRequest,
    budget: int,
    *,
    saving: bool,
) -> CollectionPlan:
    """Sketches in memory, beside the bases that are there."""
    ranks = sum(c.rank for c in held.clusters)
    try:
        return plan_collection(
            "append", source, options, "primal", budget, error=request.criteria.error, keep=True, weights=request.weights,
            saving=saving, beside=3 * 8 * held.rows * ranks,
        )  # fmt: skip
    except BudgetError as error:
        raise BudgetError(
            f"adding {len(source.members):,} blocks to {len(held.clusters):,} clusters",
            error.needs,
            budget,
            f"The smallest budget that works is memory={error.needs}, or add fewer blocks at a time.",
        ) from None


def _placing(store: CompressedStore, held: Contents, run: ClusteringRun) -> PlacementPass:
    request, rows = run.request, Metric(rows=run.metrics.rows)
    known = [
        StoredBasis.of(i, store.array(held, c.basis), rows)
        for i, c in enumerate(held.clusters)
        if c.rank > 0 and not c.raw
    ]
    return PlacementPass(
        known,
        request.error,
        request.criteria.error,
        request.criteria.rank,
        run.metrics,
        request.target,
    )


def extend_cluster(
    cluster: ClusterRecord, number: int, held: Contents, fits: Sequence[Fit]
) -> ClusterRecord:
    """A cluster with more members: errors add in squares, and no basis does better on more columns."""
    old = old_norms(held.members, number)
    new = np.array([f.norm for f in fits])
    if held.asked.mode == "block":  # every block counts as of norm 1
        old, new = (old > 0).astype(np.float64), np.ones_like(new)
    top = max(float(old.max(initial=0.0)), float(new.max(initial=0.0)), np.finfo(float).tiny)
    old, new = old / top, new / top  # sums of the largest numbers overflow
    before, after = total_norm(old), total_norm(np.concatenate([old, new]))
    errors = np.array([f.error for f in fits]) * (new / after)
    share = before / after
    upper = float(np.hypot(cluster.error_upper * share, np.linalg.norm(errors)))
    return ClusterRecord(
        cluster.rank, cluster.raw, cluster.error_lower * share, upper, cluster.basis
    )


def old_norms(members: Mapping[str, MemberRecord], number: int) -> npt.NDArray[np.float64]:
    """Norms of the members of a cluster."""
    return np.array([r.norm for r in members.values() if r.cluster == number])

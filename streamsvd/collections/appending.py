"""Matrices added to a compressed collection: into bases that hold them already, or into clusters of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.collections.compressed import CompressedCollection, total_norm
from streamsvd.collections.encoding import (
    EncodedCluster,
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
from streamsvd.collections.options import ClusteringRequest
from streamsvd.collections.passes import checked_matrices, factors_pay
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.records import (
    check_storable,
    put,
    put_residual,
    record_of,
)
from streamsvd.collections.residuals import (
    cheapest,
    factors_of,
    split,
)
from streamsvd.collections.result import CompressionReport, compression
from streamsvd.collections.run import ClusteringRun
from streamsvd.collections.weights import Metrics, Weights
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.meter import mark_memory
from streamsvd.engine.runs import allowed_bytes
from streamsvd.engine.tree import Run
from streamsvd.errors import BudgetError, ShapeError, SpecError
from streamsvd.store.collections import Collection, Member, as_collection
from streamsvd.store.collections.archive import (
    ClusterRecord,
    CompressedStore,
    Contents,
    MemberRecord,
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
    coefficients: Array
    exponent: int
    error: float
    norm: float
    residual: EncodedResidual | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """What a read of one new matrix leaves: where it fits, or its sketch and itself, where no factors or only residuals will do."""

    name: str
    fit: Fit | None
    sketch: BlockSketch | None
    values: Array | None
    zeros: int


@dataclass(frozen=True, slots=True, eq=False)
class PlacementPass:
    """Places for the matrices of a collection."""

    collection: Collection
    stored_bases: Sequence[StoredBasis]
    error: float
    inner: float
    rank: int | None
    metrics: Metrics
    target: float | None

    def leaf(self, rows: Run) -> list[Placement]:
        """Those of some parts."""
        return [
            self._place(member, A, zeros)
            for number in range(*rows)
            for member, A, zeros in checked_matrices(self.collection, number)
        ]

    def join(self, left: list[Placement], right: list[Placement]) -> list[Placement]:
        """One after the other."""
        return left + right

    def _place(self, member: Member, A: Array, zeros: int) -> Placement:
        found = sketch(member.name, A, error=self.inner, metric=self.metrics.of(member.name))
        fit = self._fit(member, A, found)
        if fit is not None and self.target is not None:
            fit = self._add_residual(fit, member, A, zeros)
        if fit is not None:
            return Placement(member.name, fit, None, None, zeros)
        keep = self.target is not None or not factors_pay(found, self.inner, self.rank)
        values = member.layout.array(A.copy()) if keep else None
        return Placement(member.name, None, found, values, zeros)

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

    def _add_residual(self, fit: Fit, member: Member, A: Array, zeros: int) -> Fit | None:
        """With what the basis leaves in whole numbers, where that is less than the whole matrix so."""
        assert self.target is not None
        basis = next(k.basis for k in self.stored_bases if k.cluster == fit.cluster)
        factors = StoredFactors(basis, fit.coefficients, fit.exponent)
        metric = self.metrics.of(member.name)
        s = split(member, A, factors, metric, self.target, zeros)
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


def append(
    path: str | os.PathLike[str],
    collection: Any,
    *,
    memory: int | float | str | None = None,
    seed: int = 0,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    callback: Callback = ignore_event,
) -> CompressionReport:
    """Matrices added to a compressed collection, as one version; see `compress`."""
    store = CompressedStore.from_address(path)
    held = store.newest()
    try_objects(store.versions.objects)
    source = as_collection(collection)
    check_apart(path, source, column_weights, inputs)
    members = {m.name: m for m in source.members}
    check_fits(store.name, held, source)
    check_storable(members)
    a = held.asked
    rows = store.array(held, held.row_weights) if held.row_weights else None
    weights = Weights.of(source, rows, column_weights, inputs, damping)
    asked = ClusteringRequest.of(
        source,
        error=a.error,
        rank=a.rank,
        mode=cast("Mode", a.mode),
        method=cast("Method", a.method),
        seed=seed,
        weights=weights,
        principal=a.principal,
    )
    budget = allowed_bytes(memory)
    plan = _plan_additions(source, held, budget, asked)
    began, start = time.perf_counter(), mark_memory()
    metrics = weights.read(budget, callback)
    with held_memory(), dense_threads(1):
        run = ClusteringRun(
            source, asked, plan, callback, True, metrics, warnings=list(weights.warnings()), began=began, memory=start,
        )  # fmt: skip
        placed: list[Placement] = run.read(source, _placing(store, held, run), "places")
        run.zeros |= {p.name: p.zeros for p in placed if p.zeros}
        writing = store.begin_after(held.version)
        writing.keep(held)
        try:
            clusters, records = list(held.clusters), dict(held.members)
            for i, p in enumerate(placed):
                if p.fit is not None:
                    short = f"a{i}"
                    folder = writing.add({short: p.fit.coefficients})[short]
                    residual = put_residual(writing, short, p.fit.residual)
                    records[p.name] = record_of(
                        members[p.name], p.fit.cluster, folder, exponent=p.fit.exponent,
                        error=p.fit.error, norm=p.fit.norm, zeros=p.zeros, weighted=not metrics.of(p.name).plain,
                        residual=residual,
                    )  # fmt: skip
            for number in {p.fit.cluster for p in placed if p.fit is not None}:
                fits = [p.fit for p in placed if p.fit is not None and p.fit.cluster == number]
                clusters[number] = extend_cluster(clusters[number], number, held, fits)
            rest = [p.sketch for p in placed if p.sketch is not None]
            values = {p.name: p.values for p in placed if p.values is not None}
            for shared, own in new_clusters(run, rest, values):
                c, some = put(writing, len(clusters), shared, own, members, run.zeros, metrics)
                clusters.append(c)
                records |= some
            ordered = {n: records[n] for n in (*held.members, *members)}
            contents = writing.commit(a, held.rows, ordered, clusters, held.row_weights)
        except BaseException:
            writing.abandon()
            raise
        info = run.info()
    callback(ResultWritten(store.name))
    return compression(CompressedCollection(store, contents), run.reads, info)


def new_clusters(
    run: ClusteringRun, sketches: Sequence[BlockSketch], values: Mapping[str, Array]
) -> Iterator[tuple[EncodedCluster, dict[str, Array]]]:
    """Clusters of those that fit nowhere, and the arrays that are kept as they are."""
    if not sketches:
        return
    asked, metrics, members = run.request, run.metrics, run.members
    mode, target = asked.options.mode, asked.target
    if asked.principal == 1:
        found = [without_basis(sorted(s.key for s in sketches), members, run.source.rows)]
    else:
        found = [
            part
            for one in cluster_sketches(sketches, asked.options)
            for part in run.encode(one, asked.error, asked.spare)
        ]
    for shared in found:
        if target is None:
            yield shared, run.raw_arrays(shared, dict(values))
            continue
        each = [
            split(
                members[name],
                members[name].layout.matrix(values[name]),
                factors_of(shared, i),
                metrics.of(name),
                target,
                0,
            )
            for i, name in enumerate(shared.names)
        ]
        yield from cheapest(shared, each, members, mode)


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
    source: Collection, held: Contents, budget: int, asked: ClusteringRequest
) -> CollectionPlan:
    """Sketches in memory, beside the bases that are there."""
    ranks = sum(c.rank for c in held.clusters)
    bases = 3 * 8 * held.rows * ranks
    try:
        plan = plan_collection(
            source,
            "primal",
            budget - bases,
            error=asked.options.error,
            keep=True,
            weights=asked.weights,
        )
    except BudgetError as error:
        least = error.needs + bases
        raise BudgetError(
            f"adding {len(source.members):,} blocks to {len(held.clusters):,} clusters",
            least,
            budget,
            f"The smallest budget that works is memory={least}, or add fewer blocks at a time.",
        ) from None
    return replace(plan, projected_bytes=plan.projected_bytes + bases, budget_bytes=budget)


def _placing(store: CompressedStore, held: Contents, run: ClusteringRun) -> PlacementPass:
    asked, rows = run.request, Metric(rows=run.metrics.rows)
    known = (
        []
        if asked.principal == 1
        else [
            StoredBasis.of(i, store.array(held, c.basis), rows)
            for i, c in enumerate(held.clusters)
            if c.rank > 0 and not c.raw
        ]
    )
    return PlacementPass(
        run.source,
        known,
        asked.error,
        asked.options.error,
        asked.options.rank,
        run.metrics,
        asked.target,
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

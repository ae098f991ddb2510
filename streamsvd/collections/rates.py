"""The verb ``rates``: what a collection takes at each of several errors, from one read of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.collections.compressed import StoredCluster
from streamsvd.collections.encoding import EncodedCluster, ladder
from streamsvd.collections.mathematics import (
    BlockSketch,
    MergeStep,
    Method,
    Mode,
    cluster_sketches,
    coarser,
    number_merges,
)
from streamsvd.collections.mathematics.cluster import EXACT_BELOW
from streamsvd.collections.mathematics.options import check_error
from streamsvd.collections.options import ClusteringRequest
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.result import ClusteringInfo
from streamsvd.collections.run import ClusteringRun
from streamsvd.collections.weights import Weights
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.meter import mark_memory
from streamsvd.engine.runs import allowed_bytes
from streamsvd.errors import BudgetError, SpecError
from streamsvd.store.collections import Collection, Member, as_collection

ERRORS = (0.02, 0.05, 0.1, 0.2, 0.5)
RECORD = 600
"""Bytes that the result holds of one matrix at one error."""


@dataclass(frozen=True, slots=True)
class RatePoint:
    """A collection at one error.

    Attributes
    ----------
    error
        What was asked.
    clusters
        As `compress` would store them.
    bytes_after
        Of factors, and of matrices kept as they are; without metadata, about 700 bytes a matrix.
    compression_ratio
        Bytes of the matrices over those.
    bytes_alone
        Of an SVD of each matrix by itself at this error, or of the matrix where that is less.
    block_error
        Upper bound of the largest relative error of a matrix.
    merges
        Who joined whom: the dendrogram. Matrices of zeros are in none, and are in a cluster all the same.
    seconds
        Of the clustering, without the read that all errors share.
    """

    error: float
    clusters: tuple[StoredCluster, ...]
    bytes_after: int
    compression_ratio: float
    bytes_alone: int
    block_error: float
    merges: tuple[MergeStep, ...]
    seconds: float

    @property
    def raw(self) -> int:
        """Matrices kept as they are."""
        return sum(len(c.members) for c in self.clusters if c.raw)


@dataclass(frozen=True, slots=True)
class RateCurve:
    """A collection at several errors.

    Attributes
    ----------
    rates
        One for each error, ascending.
    mode, rank
        What was asked besides.
    bytes_before
        Of the matrices, uncompressed.
    reads, info
        As of `Clustering`; of all errors together.
    """

    rates: tuple[RatePoint, ...]
    mode: str
    rank: int | None
    bytes_before: int
    reads: float
    info: ClusteringInfo

    def at(self, error: float) -> RatePoint:
        """That of one error.

        Raises
        ------
        SpecError
            If it was not asked for.
        """
        for rate in self.rates:
            if rate.error == error:
                return rate
        known = ", ".join(f"{rate.error:g}" for rate in self.rates)
        raise SpecError(f"error={error} was not asked for. Pass one of {known}.")


def rate_curve(
    collection: Any,
    errors: Iterable[float] = ERRORS,
    mode: Mode = "cluster",
    rank: int | None = None,
    *,
    method: Method = "certified",
    memory: int | float | str | None = None,
    row_weights: Any = None,
    column_weights: Any = None,
    inputs: Any = None,
    damping: float = 0.0,
    callback: Callback = ignore_event,
) -> RateCurve:
    """What a collection of matrices takes at each of several errors, before one is chosen.

    Parameters
    ----------
    collection, mode, rank, method, row_weights, column_weights, inputs, damping
        As of `cluster`.
    errors
        Relative Frobenius errors, in [0, 1), in any order.
    memory
        Bytes this process may use above its imports; half of what is free if left out. Sketches of all matrices for the
        smallest error are held.
    callback
        Receives events.

    Returns
    -------
    found
        Clusters and bytes at each error are those of `cluster` at that error, but for rounding.

    Raises
    ------
    SpecError
        If an option cannot be meant, there are no errors, a name is there twice, or a block is not of real numbers.
    ShapeError
        If there are no blocks, or rows differ.
    NonFiniteError
        At the first NaN or Inf; it names the block and the place.
    BudgetError
        If the sketches do not fit in the memory, before anything is read; it names the smallest that works.

    Notes
    -----
    Cost: one read, of inputs too, and a clustering for each error. Sketches are made for the smallest error and cut for
    the others; the factors of one error are gone before the next.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> basis = rng.standard_normal((60, 3))
    >>> blocks = {f"w{i}": basis @ rng.standard_normal((3, 20)) for i in range(6)}
    >>> found = rates(blocks, errors=(0.01, 0.5))
    >>> found.bytes_before, [(rate.bytes_after, rate.bytes_alone) for rate in found.rates]
    (57600, [(4320, 11520), (2880, 7680)])
    """
    source = as_collection(collection)
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    several = [
        ClusteringRequest.of(
            source, error=e, rank=rank, mode=mode, method=method, seed=0, weights=weights
        )
        for e in ascending(errors)
    ]
    budget = allowed_bytes(memory)
    plan = _plan_rates(source, several, budget)
    began, start = time.perf_counter(), mark_memory()
    metrics = weights.read(budget, callback)
    with held_memory(), dense_threads(1):
        run = ClusteringRun(
            source, several[0], plan, callback, False, metrics, warnings=list(weights.warnings()), began=began, memory=start,
        )  # fmt: skip
        if several[0].error < EXACT_BELOW:
            run.warnings.append(
                f"error={several[0].error:g} is near rounding: singular values decide, which is slower."
            )
        sketches = [s.sketch for s in run.sketch_blocks(source, "sketches", several[0].options)]
        found = tuple(_rate(sketches, run, asked) for asked in several)
        info = run.info()
    return RateCurve(found, mode, several[0].options.rank, source.nbytes, run.reads, info)


def ascending(errors: Iterable[float]) -> list[float]:
    """Errors once each, the smallest first.

    Raises
    ------
    SpecError
        If there are none, or one is no relative error.
    """
    if not isinstance(errors, Iterable):
        raise SpecError(f"errors={errors!r} are no errors. Pass several, such as (0.05, 0.1).")
    found = list(errors)
    if not found:
        raise SpecError("errors=() asks for nothing. Pass several, such as (0.05, 0.1).")
    for error in found:
        check_error(error)
    return sorted({float(error) for error in found})


def _plan_rates(
    source: Collection, several: Sequence[ClusteringRequest], budget: int
) -> CollectionPlan:
    """Sketches in memory, beside what the result holds."""
    records = RECORD * len(several) * len(source.members)
    a = several[0]
    try:
        plan = plan_collection(
            source, "primal", budget - records, error=a.options.error, keep=False, weights=a.weights
        )
    except BudgetError as refused:
        least = refused.needs + records
        raise BudgetError(
            f"clustering the {len(source.members):,} blocks of {source.name} at several errors",
            least,
            budget,
            f"Sketches of all are held. The smallest budget that works is memory={least}; "
            "at one error compress works with less.",
        ) from None
    return replace(plan, projected_bytes=plan.projected_bytes + records, budget_bytes=budget)


def _rate(
    sketches: Sequence[BlockSketch], run: ClusteringRun, asked: ClusteringRequest
) -> RatePoint:
    """One error."""
    began, o, members = time.perf_counter(), asked.options, run.members
    few = [coarser(s, error=o.error, share=o.share) for s in sketches]
    stored: list[tuple[StoredCluster, int, float]] = []
    merges: list[tuple[MergeStep, ...]] = []
    for one in cluster_sketches(few, o):
        merges.append(one.merges)
        stored += [_describe_cluster(s, members) for s in run.encode(one, asked.error, asked.spare)]
    after, before = sum(size for _, size, _ in stored), sum(m.nbytes for m in members.values())
    return RatePoint(
        asked.error,
        tuple(sorted((c for c, _, _ in stored), key=lambda c: c.members)),
        after,
        before / after if after else (float("inf") if before else 1.0),
        sum(bytes_alone(s, members[s.key], o.error) for s in few),
        max(worst for _, _, worst in stored),
        number_merges(merges),
        time.perf_counter() - began,
    )


def _describe_cluster(
    shared: EncodedCluster, members: dict[str, Member]
) -> tuple[StoredCluster, int, float]:
    """A cluster without its factors, their bytes, and the largest error of a matrix."""
    cluster = StoredCluster(
        shared.names, shared.rank, shared.error_lower, shared.error_upper, shared.raw, 0
    )
    return cluster, shared.nbytes(members), max(shared.block_errors)


def bytes_alone(found: BlockSketch, member: Member, error: float) -> int:
    """Bytes of the factors of a matrix by itself, in the narrowest type that may do; of the matrix where that is less."""
    tails = np.cumsum(found.squares[::-1])[::-1] + found.tail
    r = int(np.count_nonzero(tails > error * error * found.energy))
    return min(r * sum(member.shape) * ladder([member])[0].itemsize, member.nbytes)

"""The verb ``rates``: what a collection takes at each of several errors, from one read of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.collections.cluster import KINDS
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
from streamsvd.collections.options import ERRORS, RateOptions
from streamsvd.collections.planning import CollectionPlan, plan_collection
from streamsvd.collections.readers import take_collection
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.run import ClusteringRun, clustering_run
from streamsvd.collections.saves import open_collection_saves
from streamsvd.collections.weights import Weights
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, try_saves
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import BudgetError, SpecError
from streamsvd.info import Info
from streamsvd.store.collections import Collection, Member
from streamsvd.store.results.saving import Result

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
class RateCurve(Result):
    """A collection at several errors.

    Attributes
    ----------
    rates
        One for each error, ascending.
    bytes_before
        Of the matrices, uncompressed.
    reads, zeros, input_bytes, plan, info
        As of `ClusterResult`; of all errors together.
    options
        What was asked.
    """

    rates: tuple[RatePoint, ...]
    bytes_before: int
    reads: float
    zeros: dict[str, int]
    input_bytes: int
    options: RateOptions
    plan: CollectionPlan
    info: Info

    def __repr__(self) -> str:
        errors = ", ".join(f"{rate.error:g}" for rate in self.rates)
        return f"<RateCurve: errors {errors}, {self.info.cost}>"

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
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> RateCurve:
    """What a collection of matrices takes at each of several errors, before one is chosen.

    Parameters
    ----------
    collection, mode, rank, method, row_weights, column_weights, inputs, damping, nonfinite, checkpoint, save_seconds
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
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> basis = rng.standard_normal((60, 3))
    >>> blocks = {f"w{i}": basis @ rng.standard_normal((3, 20)) for i in range(6)}
    >>> found = streamsvd.rate_curve(blocks, errors=(0.01, 0.5))
    >>> found.bytes_before, [(rate.bytes_after, rate.bytes_alone) for rate in found.rates]
    (57600, [(4320, 11520), (2880, 7680)])
    """
    source = take_collection(collection, nonfinite)
    options = RateOptions(errors=errors, mode=mode, rank=rank, method=method, damping=damping)  # type: ignore[arg-type]
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    several = [ClusteringRequest.of(source, options.at(e), weights) for e in options.errors]
    plan = _plan_rates(
        source, options, several[0], allowed_bytes(memory), saving=checkpoint is not None
    )
    try_saves(checkpoint, source, row_weights, column_weights, inputs)
    saves = open_collection_saves(checkpoint, source, plan, weights, KINDS, save_seconds)
    with clustering_run(source, several[0], plan, callback, saves, keep=False) as run:
        seen = run.run.once("sketches", run.sketching(several[0].criteria, keep=False))
        zeros = {s.sketch.key: s.zeros for s in seen if s.zeros}
        found = tuple(_rate([s.sketch for s in seen], run, asked) for asked in several)
        info = run.info(zeros, 1)
    return RateCurve(
        found, source.nbytes, run.reads, zeros, weights.input_bytes, options, plan, info
    )


def plan_rate_curve(
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
    nonfinite: str = "raise",
    checkpoint: str | os.PathLike[str] | None = None,
) -> CollectionPlan:
    """What `rate_curve` will read and need, from shapes alone.

    Parameters
    ----------
    collection, errors, mode, rank, method, memory, row_weights, column_weights, inputs, damping
        As of `rate_curve`.
    nonfinite, checkpoint
        As of `rate_curve`; nothing is written.

    Raises
    ------
    SpecError, ShapeError, BudgetError
        As `rate_curve`, before anything is read.
    """
    source = take_collection(collection, nonfinite)
    options = RateOptions(errors=errors, mode=mode, rank=rank, method=method, damping=damping)  # type: ignore[arg-type]
    weights = Weights.of(source, row_weights, column_weights, inputs, damping)
    least = ClusteringRequest.of(source, options.at(options.errors[0]), weights)
    check_saves(checkpoint, source, row_weights, column_weights, inputs)
    return _plan_rates(source, options, least, allowed_bytes(memory), saving=checkpoint is not None)


def _plan_rates(
    source: Collection,
    options: RateOptions,
    least: ClusteringRequest,
    budget: int,
    *,
    saving: bool = False,
) -> CollectionPlan:
    """Sketches in memory for the least error, beside what the result holds."""
    try:
        return plan_collection(
            "rate_curve", source, options, "primal", budget, error=least.criteria.error, keep=False, weights=least.weights,
            saving=saving, beside=RECORD * len(options.errors) * len(source.members),
        )  # fmt: skip
    except BudgetError as refused:
        raise BudgetError(
            f"clustering the {len(source.members):,} blocks of {source.name} at several errors",
            refused.needs,
            budget,
            f"Sketches of all are held. The smallest budget that works is memory={refused.needs}; "
            "at one error compress works with less.",
        ) from None


def _rate(
    sketches: Sequence[BlockSketch], run: ClusteringRun, asked: ClusteringRequest
) -> RatePoint:
    """One error."""
    began, o, members = time.perf_counter(), asked.criteria, run.members
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
    shared: EncodedCluster, members: Mapping[str, Member]
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

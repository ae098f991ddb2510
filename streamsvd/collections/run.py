"""One run of a clustering: what it reads, what it finds, and what it counts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.collections.encoding import EncodedCluster, encode_cluster, split_off_zeros
from streamsvd.collections.gram import by_gram
from streamsvd.collections.mathematics import (
    ClusterOptions,
    FactoredCluster,
    MergeStep,
    certify,
    cluster_sketches,
    projection,
)
from streamsvd.collections.mathematics.cluster import EXACT_BELOW
from streamsvd.collections.options import ClusteringRequest
from streamsvd.collections.passes import BlockReading, BlockSketchPass
from streamsvd.collections.planning import (
    PROJECTION_ROWS,
    Backend,
    CollectionPlan,
    certified_bytes,
    plan_collection,
    runs_of,
)
from streamsvd.collections.result import ClusteringInfo
from streamsvd.collections.weights import Metrics
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, send_remarks
from streamsvd.engine.meter import MemoryMark, mark_memory, peak_since
from streamsvd.engine.runs import allowed_bytes
from streamsvd.engine.tree import Job, Run, reduce_runs
from streamsvd.store.collections import Collection, Member

Array = npt.NDArray[Any]
PROPOSAL_SHARE = 0.9
"""Part of the error for which clusters are proposed on projections."""
CERTIFY_SHARE = 0.4
"""Part of it that sketches may spend when those are certified: in squares less than proposals have left."""


@dataclass(eq=False)  # no slots: what is cached needs a place
class ClusteringRun:
    """One run: its plan, and its counters.

    Attributes
    ----------
    source, request, plan, notify
        What is read, what is asked, how, and who is told.
    keep
        Whether matrices that are kept as they are are handed out.
    metrics
        How errors are measured.
    principal
        Error of what blocks share, as it was chosen.
    merges
        How each cluster that was found came about.
    """

    source: Collection
    request: ClusteringRequest
    plan: CollectionPlan
    notify: Callback
    keep: bool
    metrics: Metrics
    principal: float | None = None
    passes: int = 0
    bytes_read: int = 0
    zeros: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    merges: list[tuple[MergeStep, ...]] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    memory: MemoryMark = field(default_factory=mark_memory)

    def __post_init__(self) -> None:
        send_remarks(self.source, self.notify)

    @cached_property
    def members(self) -> dict[str, Member]:
        """By name."""
        return {m.name: m for m in self.source.members}

    @property
    def reads(self) -> float:
        """Bytes decoded over those of the collection."""
        return self.bytes_read / self.source.whole_bytes if self.source.whole_bytes else 1.0

    def find_clusters(self) -> Iterator[tuple[EncodedCluster, dict[str, Array]]]:
        """Clusters as stored, one after another, and the arrays that are kept as they are."""
        if self.request.error < EXACT_BELOW:
            self.warnings.append(
                f"error={self.request.error:g} is near rounding: singular values decide, which is slower."
            )
        found: Iterator[tuple[FactoredCluster, dict[str, Array]]]
        if self.plan.backend == "gram":
            yield from by_gram(self)
            return
        found = self._primal() if self.plan.backend == "primal" else self._from_proposals()
        a = self.request
        for one, held in found:
            self.merges.append(one.merges)
            for shared in self.encode(one, a.error, a.spare):
                yield shared, self.raw_arrays(shared, held)

    def encode(self, one: FactoredCluster, error: float, spare: float) -> list[EncodedCluster]:
        """A cluster that was found for an error less by ``spare``, as it is stored."""
        members = {name: self.members[name] for name in one.keys}
        mode = self.request.options.mode
        whole = encode_cluster(
            one, members, error=error, spare=spare, mode=mode, metrics=self.metrics
        )
        return split_off_zeros(whole, members)

    def raw_arrays(self, shared: EncodedCluster, at_hand: dict[str, Array]) -> dict[str, Array]:
        """The arrays that a cluster keeps as they are; those not at hand are read once more."""
        if not (self.keep and shared.raw):
            return {}
        here = {name: at_hand[name] for name in shared.names if name in at_hand}
        return here | self.again([name for name in shared.names if name not in here])

    def again(self, names: Sequence[str]) -> dict[str, Array]:
        """Arrays read once more."""
        if not names:
            return {}
        few = self.some(names)
        self.bytes_read += few.pass_bytes
        out = {}
        for part in few.parts:
            for member, A in few.matrices(part):
                A = (
                    np.where(np.isnan(A), 0, A).astype(A.dtype)
                    if self.source.zeros and A.dtype.kind == "f"
                    else A
                )
                out[member.name] = member.layout.array(A)
        return out

    def some(self, names: Sequence[str]) -> Collection:
        """Members by name."""
        wanted = set(names)
        return self.source.take_members(
            [i for i, m in enumerate(self.source.members) if m.name in wanted]
        )

    def read(
        self, collection: Collection, job: Job[Any], purpose: str, runs: tuple[Run, ...] = ()
    ) -> Any:
        """What a job finds in all parts of a collection, or in the runs of rows given."""
        self.passes += 1
        number, began = self.passes, time.perf_counter()
        self.notify(PassStarted(number, purpose, collection.pass_bytes))
        value = reduce_runs(
            job,
            runs or runs_of(collection),
            workers=self.plan.workers,
            leaf_done=lambda done, runs: self.notify(SpanDone(number, done, runs)),
            what=purpose,
            needs=self.plan.projected_bytes - self.plan.room,
        )
        self.bytes_read += collection.pass_bytes
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))
        return value

    def sketch_blocks(
        self, collection: Collection, purpose: str, o: ClusterOptions
    ) -> list[BlockReading]:
        """Sketches of all blocks of a collection."""
        job = BlockSketchPass(
            collection, o.error, o.rank, self.keep, share=o.share, metrics=self.metrics
        )
        seen: list[BlockReading] = self.read(collection, job, purpose)
        self.zeros |= {s.sketch.key: s.zeros for s in seen if s.zeros}
        return seen

    def _primal(self) -> Iterator[tuple[FactoredCluster, dict[str, Array]]]:
        seen = self.sketch_blocks(self.source, "sketches", self.request.options)
        held = {s.sketch.key: s.values for s in seen if s.values is not None}
        sketches = [s.sketch for s in seen]
        seen.clear()
        for one in cluster_sketches(sketches, self.request.options):
            yield one, held

    def _from_proposals(self) -> Iterator[tuple[FactoredCluster, dict[str, Array]]]:
        """Clusters proposed on projections, each certified on the matrices themselves."""
        o = self.request.options
        wide = replace(o, error=PROPOSAL_SHARE * o.error)
        rows = min(PROJECTION_ROWS, self.source.rows)
        omega = projection(self.source.rows, columns=rows, seed=self.request.seed)
        job = BlockSketchPass(self.source, wide.error, None, False, omega, metrics=self.metrics)
        seen: list[BlockReading] = self.read(self.source, job, "projections")
        groups = [c.keys for c in cluster_sketches([s.sketch for s in seen], wide)]
        del seen
        o = replace(o, share=CERTIFY_SHARE)
        for names in batches(groups, {m.name: m for m in self.source.members}, self.plan.room):
            few = self.some([name for group in names for name in group])
            found = self.sketch_blocks(few, "certificates", o)
            by_name = {s.sketch.key: s for s in found}
            held = {s.sketch.key: s.values for s in found if s.values is not None}
            for group in names:
                for one in certify([by_name[name].sketch for name in group], o):
                    yield one, held
        self.passes = 2

    def info(self) -> ClusteringInfo:
        """The record of the run."""
        if self.zeros:
            self.warnings.append(
                f"{sum(self.zeros.values()):,} missing values of {len(self.zeros)} blocks count as zero."
            )
        members = self.source.members
        return ClusteringInfo(
            n_blocks=len(members), rows=self.source.rows, columns=sum(m.shape[1] for m in members),
            backend=self.plan.backend, passes=self.passes, bytes_read=self.bytes_read,
            elapsed_s=time.perf_counter() - self.began, peak_bytes=peak_since(self.memory),
            projected_bytes=self.plan.projected_bytes, budget_bytes=self.plan.budget_bytes,
            zeros=dict(self.zeros), seed=self.request.seed, input_bytes=self.request.weights.input_bytes,
            warnings=tuple(self.warnings),
        )  # fmt: skip


def batches(
    groups: Sequence[Sequence[str]], members: dict[str, Member], room: int
) -> Iterator[list[Sequence[str]]]:
    """Groups that are certified together: what their sketches may take fits; one that is too large is cut."""
    batch: list[Sequence[str]] = []
    held = 0
    for group in groups:
        for piece in _pieces(group, members, room):
            size = sum(certified_bytes(members[name]) for name in piece)
            if batch and held + size > room:
                yield batch
                batch, held = [], 0
            batch.append(piece)
            held += size
    if batch:
        yield batch


def _pieces(group: Sequence[str], members: dict[str, Member], room: int) -> Iterator[list[str]]:
    piece: list[str] = []
    held = 0
    for name in group:
        size = certified_bytes(members[name])
        if piece and held + size > room:
            yield piece
            piece, held = [], 0
        piece.append(name)
        held += size
    yield piece


@contextmanager
def run_of(
    source: Collection,
    asked: ClusteringRequest,
    backend: Backend,
    memory: int | float | str | None,
    notify: Callback,
    *,
    keep: bool,
) -> Iterator[ClusteringRun]:
    """A run within the memory, planned before anything is read."""
    weights, budget = asked.weights, allowed_bytes(memory)
    o = asked.options
    plan = plan_collection(
        source, backend, budget, error=o.error, keep=keep, rank=o.rank, weights=weights
    )
    began, start = time.perf_counter(), mark_memory()
    metrics = weights.read(budget, notify)
    with held_memory(), dense_threads(1):
        yield ClusteringRun(
            source, asked, plan, notify, keep, metrics, warnings=list(weights.warnings()), began=began, memory=start,
        )  # fmt: skip

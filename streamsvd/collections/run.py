"""One run of a clustering: what it reads and is asked, and a cluster as its strategies hand it out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from streamsvd.collections.encoding import EncodedCluster, encode_cluster, split_off_zeros
from streamsvd.collections.mathematics import ClusterCriteria, FactoredCluster, MergeStep
from streamsvd.collections.mathematics.cluster import EXACT_BELOW
from streamsvd.collections.passes import BlockReading, BlockSketchPass
from streamsvd.collections.planning import CollectionPlan
from streamsvd.collections.readers import CollectionReader, member_blocks
from streamsvd.collections.request import ClusteringRequest
from streamsvd.collections.weights import Metrics
from streamsvd.engine.events import Callback
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.saves import Saves
from streamsvd.info import Info, Status
from streamsvd.store.collections import Collection, Member
from streamsvd.store.collections.archive import WrittenArray

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class FoundCluster:
    """A cluster that a strategy found, as it is stored.

    Attributes
    ----------
    parts
        The cluster; and its blocks of zeros, where they are stored apart.
    arrays
        Blocks at hand, or written by tasks, of those that are kept as they are.
    zeros
        NaN that count as zero, by name, of blocks that have any.
    passes
        Reads that it rests on.
    merges
        How it came about.
    """

    parts: tuple[EncodedCluster, ...]
    arrays: Mapping[str, Array | WrittenArray]
    zeros: Mapping[str, int]
    passes: int
    merges: tuple[MergeStep, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ClusteringRun:
    """A run over a collection.

    Attributes
    ----------
    run
        Of the engine: it makes passes, and counts.
    source, members
        What is read; its members by name.
    request, plan
        What is asked, and how.
    metrics
        How errors are measured.
    keep
        Whether matrices that are kept as they are are handed out.
    """

    run: Run
    source: Collection
    members: Mapping[str, Member]
    request: ClusteringRequest
    plan: CollectionPlan
    metrics: Metrics
    keep: bool

    @property
    def reads(self) -> float:
        """Bytes decoded by this run over those of the collection."""
        whole = self.source.whole_bytes
        return self.run.bytes_read / whole if whole else 1.0

    def encode(
        self, one: FactoredCluster, error: float, spare: float
    ) -> tuple[EncodedCluster, ...]:
        """A cluster that was found for an error less by ``spare``, as it is stored."""
        members = {name: self.members[name] for name in one.keys}
        mode = self.request.criteria.mode
        whole = encode_cluster(
            one, members, error=error, spare=spare, mode=mode, metrics=self.metrics
        )
        return tuple(split_off_zeros(whole, members))

    def hand_out(
        self, one: FactoredCluster, seen: Mapping[str, BlockReading], passes: int
    ) -> FoundCluster:
        """A cluster with what a read has left of its blocks."""
        a = self.request
        mine = {name: seen[name] for name in one.keys}
        return FoundCluster(
            self.encode(one, a.error, a.spare),
            {name: r.values for name, r in mine.items() if r.values is not None},
            {name: r.zeros for name, r in mine.items() if r.zeros},
            passes,
            one.merges,
        )

    def raw_arrays(
        self, shared: EncodedCluster, at_hand: Mapping[str, Array | WrittenArray]
    ) -> dict[str, Array | WrittenArray]:
        """The arrays that a cluster keeps as they are; those not at hand are read once more."""
        if not (self.keep and shared.raw):
            return {}
        here = {name: at_hand[name] for name in shared.names if name in at_hand}
        return here | self._read_again([name for name in shared.names if name not in here])

    def _read_again(self, names: Sequence[str]) -> dict[str, Array]:
        if not names:
            return {}
        few = self.take(names)
        self.run.bytes_read += few.pass_bytes
        return {
            block.member.name: block.member.layout.array(block.matrix)
            for number in range(len(few.parts))
            for block in member_blocks(few, number)
        }

    def take(self, names: Sequence[str]) -> Collection:
        """Members by name, as a collection."""
        wanted = set(names)
        return self.source.take_members(
            [i for i, m in enumerate(self.source.members) if m.name in wanted]
        )

    def sketching(self, criteria: ClusterCriteria, *, keep: bool) -> BlockSketchPass:
        """The pass that sketches blocks."""
        return BlockSketchPass(
            criteria.error, criteria.rank, keep, share=criteria.share, metrics=self.metrics
        )

    def info(self, zeros: Mapping[str, int], passes: int) -> Info:
        """The record of the run."""
        missing = sum(zeros.values())
        if missing:
            self.run.warnings.append(
                f"{missing:,} missing values of {len(zeros)} blocks count as zero."
            )
        return self.run.info(
            Status.DONE, passes=float(passes), n_rows=self.source.rows, route=self.plan.backend, missing=missing
        )  # fmt: skip


@contextmanager
def clustering_run(
    source: Collection,
    request: ClusteringRequest,
    plan: CollectionPlan,
    notify: Callback,
    saves: Saves | None,
    *,
    keep: bool,
) -> Iterator[ClusteringRun]:
    """A run while it lasts; inputs are read at its beginning."""
    run = Run(
        CollectionReader(source), plan.workers, "cpu", plan.projected_bytes, plan.projected_bytes - plan.room, notify, saves,
        request.seed, warnings=list(request.weights.warnings()),
    )  # fmt: skip
    if request.error < EXACT_BELOW:
        run.warnings.append(
            f"error={request.error:g} is near rounding: singular values decide, which is slower."
        )
    metrics = request.weights.read(plan.budget_bytes, notify, saves)
    members = {m.name: m for m in source.members}
    with in_run(run):
        yield ClusteringRun(run, source, members, request, plan, metrics, keep)

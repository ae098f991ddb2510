"""How clusters are found within the memory: from sketches of all matrices, from proposals, or from a Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from streamsvd.collections.gram import by_gram
from streamsvd.collections.mathematics import certify, cluster_sketches, projection
from streamsvd.collections.passes import BlockReading, BlockSketchPass
from streamsvd.collections.planning import PROJECTION_ROWS, certified_bytes
from streamsvd.collections.readers import CollectionReader
from streamsvd.collections.run import ClusteringRun, FoundCluster
from streamsvd.store.collections import Member

PROPOSAL_SHARE = 0.9
"""Part of the error for which clusters are proposed on projections."""
CERTIFY_SHARE = 0.4
"""Part of it that sketches may spend when those are certified: in squares less than proposals have left."""


def find_clusters(run: ClusteringRun) -> Iterator[FoundCluster]:
    """Clusters, one after another, by the backend of the plan."""
    return _STRATEGIES[run.plan.backend](run)


def by_sketches(run: ClusteringRun) -> Iterator[FoundCluster]:
    """From sketches of all matrices in memory: one read."""
    criteria = run.request.criteria
    seen = by_name(run.run.once("sketches", run.sketching(criteria, keep=run.keep)))
    for one in cluster_sketches([r.sketch for r in seen.values()], criteria):
        yield run.hand_out(one, seen, 1)


def by_proposals(run: ClusteringRun) -> Iterator[FoundCluster]:
    """Proposed on projections, each certified on the matrices themselves: two reads."""
    criteria = replace(run.request.criteria, share=CERTIFY_SHARE)
    for number, groups in enumerate(batches(_proposals(run), run.members, run.plan.room)):
        few = run.take([name for group in groups for name in group])
        # Each of another name: what was saved of one batch is nothing of the next.
        purpose = "certificates" if number == 0 else f"certificates, part {number + 1}"
        pass_ = run.sketching(criteria, keep=run.keep)
        seen = by_name(run.run(pass_, purpose, reader=CollectionReader(few)))
        for group in groups:
            for one in certify([seen[name].sketch for name in group], criteria):
                yield run.hand_out(one, seen, 2)


def _proposals(run: ClusteringRun) -> Sequence[Sequence[str]]:
    """Names of those that seem to share a basis."""
    saved: list[list[str]] = run.run.saved_value("proposals", [])
    if saved:
        return saved
    criteria = run.request.criteria
    wide = replace(criteria, error=PROPOSAL_SHARE * criteria.error)
    rows = min(PROJECTION_ROWS, run.source.rows)
    omega = projection(run.source.rows, columns=rows, seed=run.request.seed)
    pass_ = BlockSketchPass(wide.error, None, False, omega, metrics=run.metrics)
    seen: list[BlockReading] = run.run(pass_, "projections")
    groups = [c.keys for c in cluster_sketches([r.sketch for r in seen], wide)]
    run.run.keep("proposals", groups)
    return groups


def by_name(seen: list[BlockReading]) -> dict[str, BlockReading]:
    """What a read has left, by the name of the matrix."""
    return {r.sketch.key: r for r in seen}


def batches(
    groups: Sequence[Sequence[str]], members: Mapping[str, Member], room: int
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


def _pieces(group: Sequence[str], members: Mapping[str, Member], room: int) -> Iterator[list[str]]:
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


_STRATEGIES: dict[str, Callable[[ClusteringRun], Iterator[FoundCluster]]] = {
    "primal": by_sketches,
    "gram": by_gram,
    "propose": by_proposals,
}

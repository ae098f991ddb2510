"""Which blocks and clusters became one, in which order, and at which error: the dendrogram of a clustering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from streamsvd.collections.mathematics.cluster import ClusterState, MergeTree, error_bracket


@dataclass(frozen=True, slots=True)
class MergeStep:
    """Blocks and clusters that became one cluster.

    Attributes
    ----------
    parts
        Names of single blocks, and numbers of earlier merges in the tuple that this one is in.
    height
        Relative error, certified, of rank r of all blocks below, r being the rank of the cluster that they end in; no less
        than that of any merge below. Before factors are rounded to the type of the blocks.
    """

    parts: tuple[str | int, ...]
    height: float


def merges(state: ClusterState, r: int, keys: Mapping[int, str]) -> tuple[MergeStep, ...]:
    """The merges that made a cluster, parts before what was made of them; none for a single block.

    Parameters
    ----------
    state
        A cluster as it was found.
    r
        Its rank.
    keys
        Names of its blocks, by place.
    """
    numbers: dict[int, int] = {}
    out: list[MergeStep] = []
    for node in _upwards(state.tree):
        numbers[id(node)] = len(out)
        parts = tuple(keys[p] if isinstance(p, int) else numbers[id(p)] for p in node.parts)
        own = error_bracket(node, r).upper / float(np.sqrt(node.ledger.energy))
        below = (out[p].height for p in parts if isinstance(p, int))
        # A large block that fits well lowers the share that those before it lose.
        out.append(MergeStep(parts, min(max([own, *below]), 1.0)))
    return tuple(out)


def _upwards(tree: MergeTree | None) -> list[MergeTree]:
    """Every merge after its parts; without recursion, as blocks taken one by one make a deep tree."""
    found: list[MergeTree] = []
    ahead = [] if tree is None else [tree]
    while ahead:
        node = ahead.pop()
        found.append(node)
        ahead.extend(p for p in node.parts if isinstance(p, MergeTree))
    return found[::-1]


def number_merges(groups: Iterable[tuple[MergeStep, ...]]) -> tuple[MergeStep, ...]:
    """The merges of several clusters as one tuple, numbers counted on."""
    out: list[MergeStep] = []
    for group in groups:
        first = len(out)
        out += (
            replace(m, parts=tuple(p + first if isinstance(p, int) else p for p in m.parts))
            for m in group
        )
    return tuple(out)

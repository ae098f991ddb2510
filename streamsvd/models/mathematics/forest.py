"""Factors of consecutive blocks in dyadic nodes, so that the oldest block can leave exactly.

Node ``(level, index)`` is the factor of blocks ``index << level`` up to, not including,
``(index + 1) << level``: merged from its two halves, always in the same order. The blocks that are held are
covered by ``O(log)`` such nodes. A block that leaves takes the nodes that hold it with it; nothing is ever
subtracted, and what is known is a function of the blocks held alone (signs that users see are chosen afterwards).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.numerics.ledger import Factor

NodeKey = tuple[int, int]
"""Level and index of a node."""
FactorLoader = Callable[[], Factor]
"""How a factor is had: most of them are stored, and few are needed at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Nodes over the blocks ``first <= block < stop``.

    Attributes
    ----------
    first, stop
        The blocks that are held.
    nodes
        How their factors are had; every node that lies within the range is there.
    """

    first: int = 0
    stop: int = 0
    nodes: Mapping[NodeKey, FactorLoader] = field(default_factory=dict)

    def with_block(self, method: IncrementalSVD, leaf: Factor) -> Forest:
        """The forest with the factor of one more block, and all nodes that it completes."""
        nodes = dict(self.nodes)
        level, index = 0, self.stop
        newest = leaf
        nodes[0, index] = _as_loader(leaf)
        while index % 2 and (level, index - 1) in nodes:
            older = nodes[level, index - 1]().as_part(method.forget ** (1 << level))
            level, index = level + 1, index // 2
            newest = method.join_parts([older, newest.as_part()], share=node_share(level))[0]
            nodes[level, index] = _as_loader(newest)
        return replace(self, stop=self.stop + 1, nodes=nodes)

    def from_block(self, first: int) -> Forest:
        """The forest without the blocks before ``first``."""
        held = {key: f for key, f in self.nodes.items() if key[1] << key[0] >= first}
        return replace(self, first=max(first, self.first), nodes=held)

    def cover(self) -> tuple[NodeKey, ...]:
        """The fewest nodes that hold every block once, in order."""
        keys, at = [], self.first
        while at < self.stop:
            level = 0
            while (at >> (level + 1)) << (level + 1) == at and (
                level + 1,
                at >> (level + 1),
            ) in self.nodes:
                level += 1
            keys.append((level, at >> level))
            at += 1 << level
        return tuple(keys)

    def factor(self, method: IncrementalSVD) -> Factor:
        """The factor of all blocks held."""

        def beside(known: Factor, key: NodeKey) -> Factor:
            parts = [known.as_part(method.forget ** (1 << key[0])), self.nodes[key]().as_part()]
            return method.join_parts(parts)[0]

        first, *rest = self.cover()
        return reduce(beside, rest, self.nodes[first]())


def _as_loader(factor: Factor) -> FactorLoader:
    return lambda: factor


def node_share(level: int) -> float:
    """Share of the truncation budget that a node may have spent: a half, three quarters, ... of it."""
    return 1.0 - 0.5 ** (level + 1)

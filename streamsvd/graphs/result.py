"""Embeddings of nodes, as they are handed back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from streamsvd.graphs.options import EmbedOptions
from streamsvd.info import Info
from streamsvd.store.results.saving import Result
from streamsvd.store.results.values import IN_CHUNKS


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Result):
    """Numbers of the nodes of a graph, near for nodes that steps along the edges lead to alike.

    Attributes
    ----------
    vectors
        ``(n, dim)``, a row for each node, zeros of one without edges: an array, or a zarr array that is read where it is used.
    isolated
        Nodes without edges.
    slabs
        Runs of columns that were made one after another.
    options, info
        What was asked, with the sparsity that was chosen where none was given; and how it came about. No error is proved: a
        random projection keeps distances in probability alone.
    """

    vectors: Any = field(metadata=IN_CHUNKS)
    isolated: int
    slabs: int
    options: EmbedOptions
    info: Info

    def __repr__(self) -> str:
        n, d = self.vectors.shape
        return f"<Embedding: {n:,} nodes in {d} dimensions, {self.info.cost}>"

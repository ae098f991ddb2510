"""Embeddings of nodes, and eigenvectors of graphs, as they are handed back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.graphs.options import EmbedOptions, GraphEigenvectorsOptions
from streamsvd.info import Info
from streamsvd.labels import NO_LABELS, Labels
from streamsvd.numerics.certificate import Certificate
from streamsvd.store.results.saving import LabelledResult
from streamsvd.store.results.values import IN_CHUNKS
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(LabelledResult):
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
    labels
        What the graph says of its columns, which are the nodes: their names, and coordinates.
    """

    vectors: Any = field(metadata=IN_CHUNKS)
    isolated: int
    slabs: int
    options: EmbedOptions
    info: Info
    labels: Labels = NO_LABELS

    def __repr__(self) -> str:
        n, d = self.vectors.shape
        return f"<Embedding: {n:,} nodes in {d} dimensions, {self.info.cost}>"


@dataclass(frozen=True, slots=True, eq=False)
class GraphEigenvectors(LabelledResult):
    """Leading eigenvectors of the normalised adjacency ``N = D^-1/2 A D^-1/2`` of a graph, and what is proved of them.

    Attributes
    ----------
    values
        Eigenvalues in [-1, 1], descending, ``(k,)``; ``1 - values`` are those of the normalised Laplacian, ascending.
    vectors
        Orthonormal, a column each, ``(n, k)``; the largest entry of each is positive.
    lower, upper
        Interval of each of the k largest eigenvalues, ``(k,)``; no larger one is missed.
    isolated
        Nodes without edges; each is an eigenvector of 0.
    certificate
        What is proved of the singular values of ``(I + N) / 2``, which the intervals are made of.
    options, info
        What was asked; and how it came about.
    labels
        What the graph says of its columns, which are the nodes: their names, and coordinates.
    """

    values: Real
    vectors: Matrix
    lower: Real
    upper: Real
    isolated: int
    certificate: Certificate
    options: GraphEigenvectorsOptions
    info: Info
    labels: Labels = NO_LABELS

    @property
    def is_resolved(self) -> npt.NDArray[np.bool_]:
        """Which intervals are as narrow as was asked, ``(k,)``."""
        return np.asarray(self.upper - self.lower <= self.options.tol)

    def __repr__(self) -> str:
        n, k = self.vectors.shape
        return f"<GraphEigenvectors: {k} of {n:,} nodes, {int(self.is_resolved.sum())} within {self.options.tol:g}, {self.info.cost}>"

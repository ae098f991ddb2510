"""A graph as the positive matrix ``(I + D^-1/2 A D^-1/2) / 2``, whose singular values are its eigenvalues.

Of a symmetric adjacency A without negative weights, ``N = D^-1/2 A D^-1/2`` has its eigenvalues in [-1, 1]; so those of
``(I + N) / 2`` are in [0, 1], in the same order. Of a sparse graph it is as sparse, with the diagonal beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from streamsvd.protocols import Source, is_sparse
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.view import SourceView
from streamsvd.typing import Real

BYTES_AT_ONCE = 1 << 20
"""Bytes of dense rows that are weighted at once, about."""


@dataclass(frozen=True, eq=False)
class NormalizedGraph(SourceView):
    """Half the identity and half the normalised adjacency of a graph, in double precision.

    Attributes
    ----------
    whole
        The adjacency, square.
    roots
        ``d^-1/2`` of each node, 0 of one without edges, ``(n,)``.
    """

    __repr__ = matrix_text

    roots: Real

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float64)

    @property
    def _height(self) -> int:
        """Dense rows that are weighted at once: whole chunks."""
        chunk, row = self.chunks[0], 8 * self.shape[1]
        found: int = min(self.shape[0], chunk * max(1, BYTES_AT_ONCE // (chunk * row)))
        return found

    @property
    def read_bytes(self) -> int:
        stored: int = self._height * self.shape[1] * self.whole.dtype.itemsize
        return self.whole.read_bytes + stored

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        start, height = rows.start, self._height
        while start < rows.stop:
            stop = min(rows.stop, (start // height + 1) * height)
            stored = np.empty((stop - start, out.shape[1]), self.whole.dtype)
            self.whole.read(slice(start, stop), columns, stored)
            place = out[start - rows.start : stop - rows.start]
            np.multiply(stored, (0.5 * self.roots[start:stop])[:, None], out=place)
            place *= self.roots[columns]
            there = np.arange(max(start, columns.start), min(stop, columns.stop))
            place[there - start, there - columns.start] += 0.5
            start = stop


@dataclass(frozen=True, eq=False)
class SparseNormalizedGraph(NormalizedGraph):
    """The same of a graph that is compressed along its rows.

    Attributes
    ----------
    whole, roots
        As of `NormalizedGraph`.
    """

    __repr__ = matrix_text

    @property
    def _stored(self) -> Any:
        return self.whole

    @property
    def entries(self) -> int:
        return int(self._stored.entries) + self.shape[0]

    @property
    def sparse_axis(self) -> Literal["rows", "columns"]:
        return "rows"

    @property
    def stored_bytes(self) -> int:
        stored = self._stored
        index = int(stored.stored_bytes // max(1, stored.entries)) - int(stored.dtype.itemsize)
        return self.entries * (8 + max(4, index))

    def most_entries(self, length: int, /) -> int:
        return int(self._stored.most_entries(length)) + min(length, self.shape[0])

    def sparse_bytes(self, entries: int, /) -> int:
        """What is stored, its weights and those of the other ends, halves of the diagonal, and their sum."""
        return int(self._stored.sparse_bytes(entries)) + entries * (3 * 8 + 2 * 16)

    def read_sparse(self, run: slice, /) -> Any:
        stored, n = self._stored.read_sparse(run), self.shape[1]
        count = stored.shape[0]
        values = stored.data * np.repeat(0.5 * self.roots[run], np.diff(stored.indptr))
        values *= self.roots[stored.indices]
        halves = sparse.csr_array((values, stored.indices, stored.indptr), shape=(count, n))
        kind = stored.indices.dtype
        places = np.arange(run.start, run.start + count, dtype=kind)
        offsets = np.arange(count + 1, dtype=stored.indptr.dtype)
        found = halves + sparse.csr_array((np.full(count, 0.5), places, offsets), shape=(count, n))
        found.has_sorted_indices = found.has_canonical_format = True
        return found


def normalized_graph(graph: Source, roots: Real) -> NormalizedGraph:
    """The view, sparse where the graph is."""
    kind = SparseNormalizedGraph if is_sparse(graph) else NormalizedGraph
    return kind(graph, roots)

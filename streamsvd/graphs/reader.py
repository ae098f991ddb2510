"""Rows of a graph as they are stored, a run at a time, read ahead: what passes over a graph see.

Whatever is added up of a row depends on that row alone, so that runs and spans may be cut by the memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from streamsvd.engine.device import Device
from streamsvd.engine.passes import P, Pass, S, Span, Task
from streamsvd.engine.reader import read_ahead
from streamsvd.protocols import Source, is_sparse


@dataclass(frozen=True, slots=True, eq=False)
class NodeBlock:
    """Consecutive rows of a graph.

    Attributes
    ----------
    source
        The graph.
    first
        Number of the first row.
    rows
        ``(p, n)``, a ``csr_array``; not to be written into.
    """

    source: Source
    first: int
    rows: Any


@dataclass(frozen=True, slots=True, eq=False)
class GraphReader:
    """How a pass reads a graph.

    Attributes
    ----------
    source
        The graph: compressed rows, or a dense matrix.
    spans
        First and last row (exclusive) of each task.
    height
        Rows read at once.
    prefetch
        Whether the next rows are read while these are multiplied.
    """

    source: Source
    spans: Sequence[Span]
    height: int
    prefetch: bool = True

    def cost(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """Decoded bytes of a pass over these spans, a share of what is stored by their rows."""
        del pass_
        rows = sum(stop - start for start, stop in spans)
        return graph_bytes(self.source) * rows // self.source.shape[0]

    def cached_bytes(self, spans: Sequence[Span], pass_: Pass[Any, Any] | None) -> int:
        """None: a graph is read anew by each pass."""
        del spans, pass_
        return 0

    def run(self, pass_: Pass[S, P], span: Span, device: Device, task: Task) -> P:
        """Fold the rows of a span, from none."""
        state = pass_.init(device)
        for block in self._blocks(span, task):
            task.check()
            state = pass_.update(state, block)
        return pass_.close(state)

    def _blocks(self, span: Span, task: Task) -> Iterator[NodeBlock]:
        runs = [(a, min(a + self.height, span[1])) for a in range(*span, self.height)]

        def load(slot: int, start: int, stop: int) -> Any:
            del slot
            task.check()
            return read_rows(self.source, start, stop)

        slots = 2 if self.prefetch and len(runs) > 1 else 1
        with closing(read_ahead(runs, load, slots)) as panels:
            for start, rows in panels:
                yield NodeBlock(self.source, start, rows)


def graph_bytes(source: Any) -> int:
    """Decoded bytes of one read of a graph."""
    return int(source.stored_bytes if is_sparse(source) else source.nbytes)


def read_rows(source: Any, start: int, stop: int) -> Any:
    """Rows of a graph as a ``csr_array``."""
    if is_sparse(source):
        return source.read_sparse(slice(start, stop))
    out = np.empty((stop - start, source.shape[1]), source.dtype)
    source.read(slice(start, stop), slice(0, source.shape[1]), out)
    return sparse.csr_array(out)

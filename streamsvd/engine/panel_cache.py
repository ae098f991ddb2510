"""Panels of a matrix that stay in memory once they were read: later passes of the run read and decode nothing."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import PanelBuffer
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.passes import Span
from streamsvd.engine.submit import active_client
from streamsvd.protocols import Source
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.store.sources.views.filled import FilledColumns
from streamsvd.store.sources.views.kept_columns import KeptColumns

Panel = tuple[npt.NDArray[Any], float | None]
"""Entries as read, and the largest modulus of them; None where nobody looked."""

SHARED_BYTES = 4 << 20
"""Panels of less than a fourth of it lie together in pieces of this size: of the system a process gets some 65,000 pieces, and
each takes whole pages."""

EDGE_BYTES = 64
"""Where panels in a piece begin."""

PANEL_OVERHEAD = 1 << 10
"""What a panel takes beside its entries: its array, its place among the others, and the edge that it begins at."""


@dataclass(slots=True, eq=False)
class PanelCache:
    """Panels by their first and last row (exclusive), for one cut of a matrix: no two of them overlap.

    It lives in one process, for one run. Tasks of a pass read panels of their own, so that none waits for another.
    """

    _panels: dict[Span, Panel] = field(default_factory=dict)
    _shared: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def room(self, n_bytes: int, make: Callable[[int], PanelBuffer] = PanelBuffer) -> PanelBuffer:
        """Memory for a panel that is to stay, of its own where it is large."""
        if n_bytes >= SHARED_BYTES // 4:
            return make(n_bytes)
        taken = -(-max(n_bytes, 1) // EDGE_BYTES) * EDGE_BYTES
        with self._lock:
            if self._shared.size < taken:
                self._shared = make(SHARED_BYTES).array((1, SHARED_BYTES), np.dtype(np.uint8))[0]
            part, self._shared = self._shared[: max(n_bytes, 1)], self._shared[taken:]
        return PanelBuffer(n_bytes, part)

    def get(self, run: Span) -> Panel | None:
        """A panel; None if it was not read yet."""
        return self._panels.get(run)

    def put(self, run: Span, panel: Panel) -> None:
        """Keep a panel, which nobody writes into any more."""
        self._panels[run] = panel

    def rows(self, spans: Sequence[Span]) -> int:
        """How many rows of these spans are here."""
        spans = sorted(spans)
        starts = [start for start, _ in spans]
        count = 0
        for start, stop in list(self._panels):
            at = bisect_right(starts, start) - 1
            if at >= 0 and stop <= spans[at][1]:
                count += stop - start
        return count

    def clear(self) -> None:
        """Give the memory back."""
        self._panels.clear()
        self._shared = np.empty(0, np.uint8)

    def __reduce__(self) -> Any:
        raise TypeError("panels in memory stay in their process")  # a plan for a cluster has none


def may_be_cached(source: Source) -> bool:
    """Whether a second read of the matrix costs more than a look into memory: not if it lies there, nor on a cluster."""
    while isinstance(source, KeptColumns | FilledColumns):
        source = source.whole
    return not isinstance(source, ArraySource) and not is_on_cluster()


def new_cache(is_wanted: bool) -> PanelCache | None:
    """An empty one where the plan has room for it, and the run is in this process."""
    return PanelCache() if is_wanted and active_client() is None else None

"""Panels of a matrix that stay in memory once they were read: later passes of the run read and decode nothing."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from streamsvd.engine.passes import Span
from streamsvd.engine.submit import active_client
from streamsvd.protocols import Source
from streamsvd.store.sources.arrays import ArraySource

Panel = tuple[npt.NDArray[Any], float | None]
"""Entries as read, and the largest modulus of them; None where nobody looked."""


@dataclass(slots=True, eq=False)
class PanelCache:
    """Panels by their first and last row (exclusive), for one cut of a matrix: no two of them overlap.

    It lives in one process, for one run. Tasks of a pass read panels of their own, so that none waits for another.
    """

    _panels: dict[Span, Panel] = field(default_factory=dict)

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

    def __reduce__(self) -> Any:
        raise TypeError("panels in memory stay in their process")  # a plan for a cluster has none


def may_be_cached(source: Source) -> bool:
    """Whether a second read of the matrix costs more than a look into memory: not if it lies there, nor on a cluster."""
    return not isinstance(source, ArraySource) and active_client() is None


def new_cache(is_wanted: bool) -> PanelCache | None:
    """An empty one where the plan has room for it, and the run is in this process."""
    return PanelCache() if is_wanted and active_client() is None else None

"""Which runs of a matrix the tasks of a conversion read: those of which something is still to be written."""

from __future__ import annotations

from collections.abc import Sequence

from streamsvd.conversion.planning import ConversionPlan
from streamsvd.engine.passes import Span

SPANS = 64
"""Tasks of a pass, about: what is half done of one is done again after a kill."""


def row_spans(plan: ConversionPlan, missing: Sequence[bool]) -> list[Span]:
    """Runs of rows that are still to be written: groups of which a chunk is missing, in about so many tasks."""
    m, group = plan.source.shape[0], plan.group
    per = group // plan.height if group % plan.height == 0 else len(missing)
    groups = -(-m // group)
    wanted = [any(missing[g * per : (g + 1) * per]) for g in range(groups)]
    step = max(1, -(-sum(wanted) // SPANS))
    found: list[Span] = []
    g = 0
    while g < groups:
        if not wanted[g]:
            g += 1
            continue
        end = g
        while end < min(groups, g + step) and wanted[end]:
            end += 1
        found.append((g * group, min(m, end * group)))
        g = end
    return found


def tile_spans(plan: ConversionPlan) -> list[Span]:
    """Runs of the streamed axis of the tiles, whole panels, in about so many tasks."""
    assert plan.tiles is not None
    layout = plan.tiles.layout
    count = -(-layout.length // layout.panel)
    step = layout.panel * max(1, -(-count // SPANS))
    return [(a, min(a + step, layout.length)) for a in range(0, layout.length, step)]

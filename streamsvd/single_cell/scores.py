"""The last pass: left vectors of the cells, as they are written or in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.engine.events import Callback
from streamsvd.engine.run import Run, in_run
from streamsvd.factor.projection import RowProjection, part_view
from streamsvd.factor.result import PCA
from streamsvd.factor.row_pass import RowPass
from streamsvd.factor.row_schedule import schedule_row_pass
from streamsvd.protocols import Source
from streamsvd.single_cell.planning import score_work

if TYPE_CHECKING:
    from streamsvd.store.results.writer import ResultWriter

PURPOSE = "scores of the cells"


def left_vectors(
    found: PCA, stepped: Source, budget: int, writer: ResultWriter | None, notify: Callback
) -> tuple[Any, Run]:
    """``U = (A - 1 mean) Vh* / s``, one row a cell, and the run that made it; None where a writer has it.

    Columns of singular values that are numerically zero are zero.

    Raises
    ------
    BudgetError
        If it does not fit in the memory.
    """
    way = RowProjection.of(found, stepped, rank=None, nonfinite=None, single=True)
    inverse = np.divide(1.0, found.s, out=np.zeros_like(found.s), where=_nonzero_mask(found))
    view, m, k = part_view(way.map_, stepped), stepped.shape[0], found.rank
    item = np.dtype(way.dtype).itemsize
    work = score_work(k, item=item, entry=way.entry_bytes, written=writer is not None)
    row_schedule = schedule_row_pass(view.source, work, budget)
    schedule = row_schedule.schedule
    reader = replace(schedule.reader, checks_entries=False)
    pass_ = RowPass(
        way.prep, way.map_.forward * inverse, None if way.shift is None else way.shift * inverse,
        1 if writer is None else row_schedule.chunks[0], m, way.dtype,
    )  # fmt: skip
    run = Run(
        reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, notify
    )
    sink = None if writer is None else writer.sink(m, k, reader, way.prep)
    with view.naming(), in_run(run):
        sums = run(pass_, PURPOSE, sink=sink)
    return (None if writer is not None else sums.rows(k, np.dtype(way.dtype))), run


def _nonzero_mask(found: PCA) -> Any:
    """Which singular values are no rounding of 0."""
    floor = np.finfo(np.float64).eps * max(found.info.n_rows, found.Vh.shape[1])
    return found.s > floor * (found.s[0] if found.s.size else 0.0)

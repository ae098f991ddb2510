"""Where rows that are made of rows go: into an array, or to a new zarr array that is there whole or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamsvd.checks.paths import place_of
from streamsvd.engine.columns import View
from streamsvd.engine.dask_source import DaskSource, uniform_rows
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import ScaleError, SpecError
from streamsvd.factor.row_pass import RowPass, RowSums
from streamsvd.factor.row_schedule import RowSchedule, RowWork, schedule_row_pass

if TYPE_CHECKING:
    from streamsvd.store.writing.array_labels import ArrayLabels

OUT_REMEDY = ", or out= to write the rows to a zarr array instead of keeping them"


@dataclass(frozen=True, slots=True, eq=False)
class RowOutput:
    """Where rows go, and what they may take.

    Attributes
    ----------
    out, overwrite
        Place of a new zarr array, and whether it may replace one; None to hand back an array.
    memory, callback
        As of every verb.
    """

    out: str | os.PathLike[str] | None = None
    overwrite: bool = False
    memory: int | float | str | None = None
    callback: Callback = ignore_event


def make_rows(
    view: View,
    pass_: RowPass,
    work: RowWork,
    to: RowOutput,
    *,
    purpose: str,
    read: tuple[Any, ...] = (),
    labels: ArrayLabels | None = None,
) -> Any:
    """Run a pass that makes rows: a new zarr array of them, whole or not there at all, or an array.

    Parameters
    ----------
    view, pass_, work
        What is read, and what is made of it; bands are settled here.
    to
        Where rows go.
    purpose
        In events.
    read
        What is read beside the matrix: the place of what is written is apart from it.
    labels
        What rows are written with.

    Raises
    ------
    BudgetError, StoreError, SpecError
        Before anything is read.
    """
    source, dtype = view.source, np.dtype(pass_.dtype)
    m = source.shape[0]
    if to.out is None:
        schedule = schedule_row_pass(source, work, allowed_bytes(to.memory))
        sums = _run(schedule, view, replace(pass_, band=1, m=m), to, purpose, None)
        return sums.rows(work.width, dtype)
    from streamsvd.store.results.lazy import lazy_array  # these import zarr
    from streamsvd.store.writing.rows import RowsWriter
    from streamsvd.store.writing.separation import check_apart

    place = place_of(to.out, "out")
    check_apart(place, view.whole, *read)
    if isinstance(source, DaskSource):
        source = uniform_rows(source)
    schedule = schedule_row_pass(source, work, allowed_bytes(to.memory))
    writer = RowsWriter(
        place, (m, work.width), schedule.chunks, dtype, overwrite=to.overwrite, has_checksums=True,
        labels=labels,
    )  # fmt: skip
    try:
        pass_ = replace(pass_, band=schedule.chunks[0], m=m)
        writer.count(_run(schedule, view, pass_, to, purpose, writer.sink()).n_written)
        path = writer.commit()
    except BaseException:
        writer.discard()
        raise
    to.callback(ResultWritten(str(path)))
    found = path / writer.inside
    return lazy_array(found.parent, found.name)


def _run(
    found: RowSchedule, view: View, pass_: RowPass, to: RowOutput, purpose: str, sink: Any
) -> RowSums:
    """The pass itself; its own products look for what is not finite."""
    schedule = found.schedule
    reader = replace(schedule.reader, checks_entries=False)
    run = Run(
        reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, to.callback
    )
    try:
        with view.naming(), in_run(run):
            return run(pass_, purpose, sink=sink)
    except ScaleError as error:
        raise SpecError(
            f"products of an entry of size {error.size:g} of {view.whole.name} leave the range of {pass_.prep.narrow}. Divide the rows, and "
            "the matrix that was factorised, by a power of two."
        ) from None

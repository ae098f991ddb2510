"""The verb `update`: new rows into the model at a path, which is made if there is none; and its plan."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamsvd.engine.columns import LOOK_NOTE
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.run_plan import RunPlan
from streamsvd.errors import StoreError
from streamsvd.models.absorption import UpdateReport
from streamsvd.models.model import Model
from streamsvd.models.new_rows import expect_new_rows
from streamsvd.models.options import check_names, check_same_options
from streamsvd.models.settings import is_vacant, new_settings
from streamsvd.protocols import Source
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import ModelStore

DEFAULT_RANK = 50


@dataclass(frozen=True, slots=True)
class UpdatePlan(RunPlan):
    """What an update will read and need; its spans are the pieces that it absorbs one after another.

    Attributes
    ----------
    n_new
        Rows (or columns) that may be new: fewer are, where those at the end are not written yet.
    """

    n_new: int = 0

    def explain(self) -> str:
        """The plan in a few lines."""
        pieces = f"{self.spans:,} piece{'' if self.spans == 1 else 's'}"
        return "\n".join(
            [
                f"update from {self.source}: {show_bytes(self.pass_bytes)} to read, in {pieces} one after another",
                f"memory {show_bytes(self.projected_bytes)} of {show_bytes(self.budget_bytes)} allowed",
                *self.notes,
                *self.cluster_lines,
            ]
        )


def update(
    path: str | os.PathLike[str],
    block: Any,
    block_id: str | None = None,
    *,
    memory: int | float | str | None = None,
    nonfinite: str = "raise",
    mask: Any = None,
    column_names: Sequence[Any] | None = None,
    column_weights: Any = None,
    callback: Callback = ignore_event,
    **options: Any,
) -> UpdateReport:
    """Absorb new rows into the model at a path, which is created if there is none.

    Parameters
    ----------
    path
        Of the model, or of a result that `svd` or `pca` kept.
    block, block_id, memory, nonfinite, mask, column_names, column_weights, callback
        As in `Model.update`.
    **options
        As in `Model.create`; an existing model must have been made with the same.

    Returns
    -------
    update
        What was absorbed.

    Notes
    -----
    Cost: one read of the new rows; see `IncrementalSVD`. Threads, or the workers of a cluster, read rows and make parts of them; this
    process stacks the parts in their order, and alone commits. An update needs no checkpoint: the model is one, and of a growing
    array it commits what it has after every 32 reads of whole chunks, each of up to 256 MiB in double precision. On a cluster the
    rows of a named block come here too, to be hashed; those of an array that grows do not.
    """
    check_names(options)
    source = as_source(block)
    model = _model_at(path, source, options, column_weights)
    return model._absorb(
        block,
        source,
        block_id,
        memory=memory,
        nonfinite=nonfinite,
        mask=mask,
        column_names=column_names,
        column_weights=column_weights,
        callback=callback,
    )


def plan_update(
    model: Model | str | os.PathLike[str],
    block: Any,
    block_id: str | None = None,
    *,
    memory: int | float | str | None = None,
    nonfinite: str = "raise",
    mask: Any = None,
    column_names: Sequence[Any] | None = None,
    column_weights: Any = None,
    **options: Any,
) -> UpdatePlan:
    """What an update of this model would read and need; nothing of the block is read, and nothing is written.

    Parameters
    ----------
    model
        The model, or its path, where there may be none yet.
    block, block_id, memory, nonfinite, mask, column_names, column_weights
        As in `Model.update`.
    **options
        As in `Model.create`; an existing model must have been made with the same.

    Returns
    -------
    plan
        The rows that may be new, the pieces they are absorbed in, and an upper bound of the memory.

    Raises
    ------
    ShapeError, SpecError
        As `Model.update`, as far as it can be known without reading.
    BudgetError
        If not one row fits in the memory.

    Notes
    -----
    Cost: that of opening the model.
    """
    check_names(options)
    source = as_source(block)
    if isinstance(model, Model):
        check_same_options(options, model.spec, model._held.settings.keep)
    else:
        model = _model_at(model, source, options, column_weights, dry=True)
    request = model._request(
        block,
        source,
        block_id,
        memory=memory,
        nonfinite=nonfinite,
        mask=mask,
        column_names=column_names,
        column_weights=column_weights,
    )
    rows = expect_new_rows(model._held, request)
    reader, what = rows.reader, rows.spec.axis
    n_new = 0 if rows.is_known else max(reader.stop - reader.start, 0)
    notes = [f"{n_new:,} {what} are new, {model.n_rows:,} are in the model"]
    if rows.is_known:
        notes = [f"block {block_id!r} is in the model: it is read to compare, and not absorbed"]
    elif request.grows and n_new:
        notes.append(f"{what} at the end that are zero throughout are left for later")
    if rows.looks:
        notes.append(LOOK_NOTE)
    cut, is_read = reader.cut, n_new > 0 or rows.is_known
    is_home = rows.is_known or cut.tasks == 0  # what is compared, or made here, is read here
    home = 0 if not is_read else reader.nbytes if is_home else len(reader.runs()) * cut.found_bytes
    return UpdatePlan(
        verb="update",
        source=source.name,
        options=request.options,
        passes=1 if is_read else 0,
        pass_bytes=reader.nbytes if is_read else 0,
        workers=max(cut.threads, cut.tasks),
        spans=reader.count,
        projected_bytes=cut.projected_bytes,
        budget_bytes=request.budget,
        notes=tuple(notes),
        task_bytes=cut.worker_bytes,
        home_bytes=home,
        spans_are_tasks=True,
        n_new=n_new,
    )


def _model_at(
    path: str | os.PathLike[str],
    source: Source,
    options: dict[str, Any],
    column_weights: Any,
    *,
    dry: bool = False,
) -> Model:
    """The model at a path, whose options must be those; a new one, not written yet, if nothing is there."""
    vacant = is_vacant(path)  # before it is opened: whatever others make meanwhile is found
    try:
        model = Model.open(path)
    except StoreError:
        if not vacant:
            raise
        wanted = dict(options)
        if options.get("rank") is None and options.get("tol") is None:
            fixed = source.shape[0 if options.get("axis") == "columns" else 1]
            wanted["rank"] = min(DEFAULT_RANK, fixed)
        # Made by its first version: a first update that fails leaves nothing.
        model = Model(
            ModelStore(objects_at(path)), new_settings(column_weights=column_weights, **wanted)
        )
        model._asked = options
        model._free_rank = "rank" in wanted and options.get("rank") is None
    else:
        model._agree(options, dry=dry)
    return model

"""Marks of rows that a model has absorbed: by them a run sees that the source was rewritten, and no longer is what the model is of.

The model itself knows the last row that it has absorbed. Here digests of some others are kept, in the state, which cost a chunk each to
compare; a row that was rewritten between them is found by `verify`, which reads all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.sources import open_input
from streamsvd.protocols import Source
from streamsvd.store.explanations import explain_errors
from streamsvd.store.objects import objects_at
from streamsvd.store.sources.views.adjusted import stored_rows
from streamsvd.store.versions import ModelStore

FOLDER = "marks"
PLACES = 4
"""Rows that are marked: the first, and as many at equal distances."""


class RowMarks(msgspec.Struct, frozen=True, kw_only=True):
    """Digests of rows of a source.

    Attributes
    ----------
    model
        The version of the model that had absorbed them, by a name that no other has.
    rows
        Numbers of the rows.
    digests
        Of their values, in the same order.
    """

    model: str
    rows: list[int]
    digests: list[str]


def check_marks(pipeline: Pipeline, step: Step, model: str, source: Any) -> None:
    """Refuse a source of which rows that the model has absorbed are no longer what they were.

    Parameters
    ----------
    pipeline, step
        An update.
    model, source
        Where its model is, and its source.

    Raises
    ------
    StoreError
        It names the first row that differs.
    """
    marks, source = _read_marks(pipeline, step), stored_rows(source)
    if marks is None or not _has_marks(step, source) or not _is_of(model, marks.model):
        return
    absorbed = _rows_of(model)
    for row, digest in zip(marks.rows, marks.digests, strict=True):
        if row < min(absorbed, source.shape[0]) and _row_digest(source, row) != digest:
            raise StoreError(
                f"row {row:,} of {source.name} is not the one that {model} has absorbed: it was written anew. Restore it; or, if "
                "what is there now is right, take the model away, and it is made again from all rows."
            )


def keep_marks(pipeline: Pipeline, step: Step, version: str) -> None:
    """Keep digests of some of the rows that a model has absorbed by now; of other verbs, and of what is kept already, nothing.

    Parameters
    ----------
    pipeline, step
        The step.
    version
        The newest version of its model, by a name that no other has.
    """
    if step.verb != "update":
        return
    marks = _read_marks(pipeline, step)
    if marks is not None and marks.model == version:
        return
    source = stored_rows(open_input(pipeline, step, step.source))
    if not _has_marks(step, source):
        return
    absorbed = _rows_of(pipeline.address(step.inputs["path"]))
    rows = sorted({place * absorbed // PLACES for place in range(PLACES)})
    marks = RowMarks(model=version, rows=rows, digests=[_row_digest(source, row) for row in rows])
    objects = objects_at(pipeline.state)
    with explain_errors(objects.name, "the model has the new rows."):
        objects.replace(_key(step), msgspec.json.encode(marks))


def _read_marks(pipeline: Pipeline, step: Step) -> RowMarks | None:
    """What is kept of a step; None where nothing is, or it is damaged: then nothing is compared."""
    try:
        found: Any = objects_at(pipeline.state).read(_key(step))
        return msgspec.json.decode(found, type=RowMarks)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def marks_of(pipeline: Pipeline, name: str) -> Path:
    """Where the marks of a step are."""
    return pipeline.state / FOLDER / f"{name}.json"


def _has_marks(step: Step, source: Any) -> bool:
    """Whether the model takes the rows of a matrix as they come: no block by its name, and no columns."""
    grows = "block_id" not in step.options and step.options.get("axis", "rows") == "rows"
    return grows and isinstance(source, Source)


def _is_of(model: str, version: str) -> bool:
    """Whether a model has a version by this name, and is not another that was made in its place."""
    store = ModelStore(objects_at(model))
    number = int(version[1:].partition("-")[0])
    return store.exists(number) and store.entry(number).folder.endswith(version.partition("-")[2])


def _rows_of(model: str) -> int:
    """How many rows the newest version of a model has ever absorbed."""
    store = ModelStore(objects_at(model))
    return store.entry(store.newest()).summary.n_rows


def _row_digest(source: Source, row: int) -> str:
    out = np.empty((1, source.shape[1]), dtype=source.dtype)
    source.read(slice(row, row + 1), slice(0, source.shape[1]), out)
    return hashlib.blake2b(out.tobytes(), digest_size=8).hexdigest()


def _key(step: Step) -> str:
    return f"{FOLDER}/{step.name}.json"

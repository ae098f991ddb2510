"""Transforms of the sources of a pipeline: means that are found once, kept in the state, and subtracted as a matrix is read.

The means of a source that an `update` step reads are found once and for all: rows that a model has absorbed must stay what they were.
Those of others are found again when the source has changed.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from streamsvd.engine.columns import PIECE_BYTES
from streamsvd.engine.events import Callback
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.row_fits import schedule_fit
from streamsvd.engine.row_labels import LabelledRows, RowTransform, label_rows
from streamsvd.engine.saves import array_digest
from streamsvd.engine.steps import (
    count_note,
    finish_counts,
    steps_of,
    wait_for_counts,
    with_known_counts,
)
from streamsvd.engine.transforms import (
    Climatology,
    fit_climatology,
    fit_request,
    subtract_climatology,
)
from streamsvd.errors import SpecError, StoreError
from streamsvd.models import Model
from streamsvd.models.block_reader import BlockReader
from streamsvd.models.cut import BlockCut
from streamsvd.numerics.row_fits import RowFit
from streamsvd.numerics.step_records import RowStepRecord
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.digests import digest_of, model_version
from streamsvd.pipelines.source_description import SourceDescription
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.protocols import Source
from streamsvd.store.explanations import path_exists
from streamsvd.store.objects import objects_at
from streamsvd.store.results.loading import load
from streamsvd.store.sources.cell_weights import column_factors
from streamsvd.store.sources.views.adjusted import AdjustedRows, stored_rows
from streamsvd.store.versions import is_model
from streamsvd.store.writing.files import write_npz

WEIGHING = ("svd", "pca")
"""Verbs that are given the weights as ``column_weights``, so that results keep them; others read columns times their factors."""


def climatologies_of(pipeline: Pipeline, name: str) -> Path:
    """Folder of the means of a source."""
    return pipeline.state / "climatologies" / name


def transform_source(pipeline: Pipeline, step: Step, name: str, source: Source) -> Source:
    """A matrix as its table transforms it; with means that are in the state, else it is not to be read before `fit_inputs`.

    What its steps count is counted there too.

    Raises
    ------
    SpecError
        If the source has no such labels, or a row is of a group that is not fitted.
    """
    described = pipeline.sources[name]
    if described.transform is None:
        return source
    asked, weights = described.transform.of_rows, described.transform.weights
    if described.transform.row_steps:
        source = wait_for_counts(source, described.transform.row_steps)
    factors = None
    if weights is not None and not _keeps_weights(pipeline, step):
        factors = column_factors(source, weights)
    if asked is None:
        return source if factors is None else AdjustedRows(source, None, None, factors)
    rows = label_rows(source, asked)
    place = _place(pipeline, name, source)
    climatology = Climatology.unread(rows)
    if path_exists(place):
        climatology = replace(_load(place, source), asked=asked)
    return replace(subtract_climatology(source, rows, climatology), factors=factors)


def weight_options(pipeline: Pipeline, step: Step, inputs: Sequence[Any]) -> dict[str, Any]:
    """Weights of columns that a verb is given as an option, from the table of its source."""
    if step.verb not in WEIGHING:
        return {}
    for name, opened in _matrices(step, inputs):
        described = pipeline.sources[name].transform
        if described is not None and described.weights is not None:
            return {"column_weights": column_factors(opened, described.weights)}
    return {}


def fit_inputs(
    pipeline: Pipeline, step: Step, inputs: Sequence[Any], callback: Callback
) -> list[Any]:
    """The inputs of a step with all counts and means known: means that are not in the state take one pass, and are kept there.

    What steps of rows count takes one pass, unless a model or a result among the inputs knows it.

    Raises
    ------
    SpecError
        If a model has rows whose means are lost.
    BudgetError, NonFiniteError, StoreError
        As that pass.
    """
    memory = step.options.get("memory")
    inputs = [finish_counts(each, memory, callback) for each in _with_kept_counts(step, inputs)]
    fits = {id(opened): name for name, opened in _matrices(step, inputs) if _is_unread(opened)}
    return [
        _fit_input(pipeline, fits[id(opened)], opened, memory, callback)
        if id(opened) in fits
        else opened
        for opened in inputs
    ]


def _with_kept_counts(step: Step, inputs: Sequence[Any]) -> list[Any]:
    """The same, matrices with what steps of rows have counted for the model that takes them, or the result that is verified."""
    if not any(steps_of(opened) for _, opened in _matrices(step, inputs)):
        return list(inputs)
    words = [INPUTS[step.verb][argument] for argument in step.inputs]
    records: tuple[RowStepRecord, ...] = ()
    for word, place in zip(words, inputs, strict=True):
        if word in ("model", "result"):
            if is_model(objects_at(place)):
                records = Model.open(place).row_steps
            elif word == "result":
                records = getattr(load(place), "row_steps", ())
    if not records:
        return list(inputs)
    known = {
        id(opened): with_known_counts(opened, records) for _, opened in _matrices(step, inputs)
    }
    return [known.get(id(opened), opened) for opened in inputs]


def _fit_input(
    pipeline: Pipeline, name: str, opened: AdjustedRows, memory: Any, callback: Callback
) -> AdjustedRows:
    """One of them."""
    source, asked = opened.whole, _row_transform(pipeline.sources[name])
    rows, place = label_rows(source, asked), _place(pipeline, name, source)
    if _is_for_models(pipeline, name):
        _refuse_lost(pipeline, name, asked)
        rows = _without_unwritten(source, rows)
    climatology = fit_climatology(source, rows, memory, callback)
    place.parent.mkdir(parents=True, exist_ok=True)
    _save(place, climatology)
    for other in place.parent.glob("rows-*.npz"):  # of rows that are not these any more
        if other != place:
            other.unlink(missing_ok=True)
    return replace(subtract_climatology(source, rows, climatology), factors=opened.factors)


def fit_note(pipeline: Pipeline, step: Step, inputs: Sequence[Any]) -> str:
    """What is to be read before a step for means that are not known yet; empty where they are.

    Raises
    ------
    BudgetError
        If they do not fit in the memory.
    """
    notes = []
    for name, opened in _matrices(step, _with_kept_counts(step, inputs)):
        if note := count_note(opened, step.options.get("memory")):
            notes.append(f"{note} of {name}")
        if not _is_unread(opened):
            continue
        request = fit_request(
            opened.whole, label_rows(opened.whole, _row_transform(pipeline.sources[name]))
        )
        schedule = schedule_fit(request, step.options.get("memory"))
        notes.append(
            f"before it one pass over {show_bytes(schedule.pass_bytes)} of {name}, in {show_bytes(schedule.projected_bytes)}, for means "
            f"of {request.n_groups:,} groups of rows; kept in the state"
        )
    return "; ".join(notes)


def source_identity(described: SourceDescription, opened: Any) -> list[Any]:
    """What is done to a source as it is opened, for the key of a step; empty where nothing is."""
    found: list[Any] = [described.collection_options] if described.collection_options else []
    if described.transform is None:
        return found
    plain = msgspec.to_builtins(described.transform)
    if plain["steps"] is None:
        del plain["steps"]  # as before there were any
    found.append(plain)
    if isinstance(opened, AdjustedRows):
        labels = (
            () if opened.row_labels is None else (opened.row_labels.groups, opened.row_labels.times)
        )
        found += [array_digest(each) for each in (*labels, opened.factors) if each is not None]
    return found


def _matrices(step: Step, inputs: Sequence[Any]) -> list[tuple[str, Any]]:
    """The sources among the inputs of a step, by name."""
    pairs = zip(step.inputs.items(), inputs, strict=True)
    return [
        (name, opened)
        for (argument, name), opened in pairs
        if INPUTS[step.verb][argument] == "source"
    ]


def _is_unread(opened: Any) -> bool:
    return isinstance(opened, AdjustedRows) and opened.row_labels is not None and opened.fit is None


def _row_transform(described: SourceDescription) -> RowTransform:
    assert described.transform is not None
    asked = described.transform.of_rows
    assert asked is not None
    return asked


def _keeps_weights(pipeline: Pipeline, step: Step) -> bool:
    """Whether a step has its weights from elsewhere: a verb as an option, a verification from the result."""
    if step.verb != "verify":
        return step.verb in WEIGHING
    verbs = {s.name: s.verb for s in pipeline.steps}
    result = step.inputs["path"]
    if result in verbs:
        return verbs[result] in WEIGHING
    return not is_model(objects_at(pipeline.address(result)))


def _models_of(pipeline: Pipeline, name: str) -> list[str]:
    """Where the models are that take rows of a source."""
    return [
        pipeline.address(step.inputs["path"])
        for step in pipeline.steps
        if step.verb == "update" and step.inputs["block"] == name
    ]


def _is_for_models(pipeline: Pipeline, name: str) -> bool:
    return bool(_models_of(pipeline, name))


def _refuse_lost(pipeline: Pipeline, name: str, asked: RowTransform) -> None:
    """Refuse new means where a model has rows without others; those of a reference are the same again."""
    if asked.reference is not None:
        return
    for model in _models_of(pipeline, name):
        if model_version(model):
            raise SpecError(
                f"{model} has rows of source {name} without means that {climatologies_of(pipeline, name)} does not have for what is "
                "asked now. Ask as before, restore that folder, write a reference, or begin another model."
            )


def _without_unwritten(source: Source, rows: LabelledRows) -> LabelledRows:
    """The same without the rows at the end that are still to be written, which a model waits for too."""
    height = max(1, PIECE_BYTES // max(1, source.shape[1] * source.dtype.itemsize))
    stop = BlockReader(
        source, "rows", 0, source.shape[0], BlockCut(height, height, False, 0)
    ).find_written_end(0)
    known = rows.reference & (np.arange(source.shape[0]) < stop)
    return replace(rows, reference=known) if known.any() else rows


def _place(pipeline: Pipeline, name: str, source: Source) -> Path:
    """Where the means of a source are, for what is asked of them, and of which rows."""
    described = pipeline.sources[name]
    asked = [
        described.variable, described.rows, msgspec.to_builtins(_row_transform(described)), source.shape[1], source.dtype.str,
        *described.numbers,
    ]  # fmt: skip
    if described.transform is not None and described.transform.steps:
        asked.append(described.transform.steps)
    kind = "model"
    if not _is_for_models(pipeline, name):
        kind = "rows"
        asked.append(digest_of(pipeline.address(described.path), stored_rows(source)))
    text = msgspec.json.encode(asked, order="deterministic")
    return (
        climatologies_of(pipeline, name)
        / f"{kind}-{hashlib.blake2b(text, digest_size=8).hexdigest()}.npz"
    )


def _save(place: Path, climatology: Climatology) -> None:
    fit = climatology.fit
    assert fit is not None
    slope = {} if fit.slope is None else {"slope": fit.slope}
    write_npz(
        place,
        {
            "keys": climatology.keys,
            "times": np.array([climatology.origin, climatology.scale]),
            "level": fit.level,
            **slope,
        },
    )


def _load(place: Path, source: Source) -> Climatology:
    """The means that were kept.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as found:
            fit = RowFit(found["level"], found.get("slope"))
            origin, scale = (float(x) for x in found["times"])
            keys = found["keys"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(
            f"{place} cannot be read: {error}. Restore it from a copy; if no model has rows of {source.name}, remove it."
        ) from error
    if fit.level.shape != (keys.size, source.shape[1]):
        raise StoreError(
            f"{place} is damaged: its means have shape {fit.level.shape}. Restore it from a copy."
        )
    return Climatology(keys, origin, scale, fit)

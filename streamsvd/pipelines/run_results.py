"""Results of the steps of a run on its page."""

from __future__ import annotations

from pathlib import Path

from streamsvd.checks.paths import is_url, local_path
from streamsvd.engine.opening import open as open_matrix
from streamsvd.errors import StreamSVDError
from streamsvd.pipelines.arguments import is_waiting
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.records import PipelineRecord, StepRecord
from streamsvd.pipelines.sources import address
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.report.parts import Section
from streamsvd.report.results.components import Grid
from streamsvd.report.results.kinds import PAGES, plain_page
from streamsvd.report.results.models import history_sections, model_history
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.store.results.loading import load
from streamsvd.store.sources.labels import source_labels

MOST_STEPS = 6
LEFT_OUT = ("Cost", "How to make it again")
"""Sections of a result that the page of a run has for all steps together."""


def results_sections(
    record: PipelineRecord, state: Path, pipeline: Pipeline | None
) -> list[Section]:
    """A section for the result of each step that has one."""
    steps = [s for s in record.steps if s.place]
    if not steps:
        return []
    few = steps[:MOST_STEPS]
    by_name = {} if pipeline is None else {s.name: s for s in pipeline.steps}
    found = [
        _result_section(s, state, pipeline, by_name.get(s.name), 4 if len(few) <= 3 else 2)
        for s in few
    ]
    texts = (
        [f"The results of the first {MOST_STEPS} of {len(steps)} steps are shown."]
        if len(few) < len(steps)
        else []
    )
    return [Section("Results", texts, parts=found)]


def _result_section(
    step: StepRecord, state: Path, pipeline: Pipeline | None, asked: Step | None, most: int
) -> Section:
    """What a step found; a sentence where it cannot be read any more."""
    title = f"Step {step.name}: {step.verb}"
    place = state / "results" / step.name / step.key
    if not step.key or not place.exists():
        place = local_path(step.place)
    if not place.exists():
        return Section(
            title, ["Its result was taken away since: the pipeline keeps the newest ones."]
        )
    try:
        result = load(place)
        page = PAGES.get(type(result), plain_page)(
            result, ResultOrigin(str(place), grid=_grid_of(pipeline, asked), most=most)
        )
        parts = [part for part in page.sections if part.title not in LEFT_OUT]
        if (
            pipeline is not None
            and asked is not None
            and step.verb == "update"
            and not is_url(asked.inputs["path"])
        ):
            parts = [*history_sections(model_history(pipeline.place(asked.inputs["path"]))), *parts]
    except (StreamSVDError, OSError, KeyError) as error:
        return Section(title, [f"Its result cannot be read: {error}"])
    return Section(title, [page.verdict], [("where", str(place))], parts=parts)


def _grid_of(pipeline: Pipeline | None, step: Step | None) -> Grid | None:
    """The dimensions of the columns of a step's source; None where nobody knows, or it would have to be asked over a network."""
    if pipeline is None or step is None or "collection" in INPUTS[step.verb]:
        return None
    described = pipeline.sources[step.source]
    where = address(pipeline, described)
    if is_url(where) or is_waiting(pipeline, step):
        return None
    try:
        opened = open_matrix(where, **described.matrix_options)
    except (StreamSVDError, OSError):
        return None
    return Grid.of(source_labels(opened))

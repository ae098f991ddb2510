"""What checks are held against: results of steps, what is published now, and the sources of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamsvd.errors import StreamSVDError
from streamsvd.info import Status
from streamsvd.models.verify import Verification
from streamsvd.pipelines.arguments import is_waiting
from streamsvd.pipelines.checks import check_schema
from streamsvd.pipelines.description import Pipeline, Step
from streamsvd.pipelines.publishing import link_target
from streamsvd.pipelines.quantities import Finding, directions
from streamsvd.pipelines.records import CheckRecord
from streamsvd.pipelines.sources import address, newest_time, open_input, option_value
from streamsvd.pipelines.vocabulary import COMPARISONS
from streamsvd.store.results.loading import load


def finding_of(pipeline: Pipeline, step: Step, result: Any, place: Path, seconds: float) -> Finding:
    """What checks ask for of a result.

    Raises
    ------
    StreamSVDError
        If the result is none that others may read: it did not converge, or is a verification that found a contradiction.
    """
    require_sound(result, place)
    asked = {c.quantity for c in pipeline.checks if c.step == step.name}
    previous = _published_place(pipeline, step.name) if asked & COMPARISONS else None
    targets = None
    if step.verb == "lstsq" and "residual" in asked:
        targets = option_value(pipeline, "b", step.inputs["b"])
    return Finding(
        result,
        None if previous is None else load(previous),
        seconds,
        newest_time(address(pipeline, pipeline.sources[step.source])),
        targets,
    )


def schema_checks(pipeline: Pipeline) -> list[CheckRecord]:
    """The checks that ask how a source is, which is known before any of it is read; steps that wait are left out."""
    steps = {step.name: step for step in pipeline.steps}
    found = []
    for asked in pipeline.checks:
        step = steps[asked.step]
        if asked.quantity != "schema" or is_waiting(pipeline, step):
            continue
        columns = None
        if asked.columns == "published":
            place = _published_place(pipeline, step.name)
            columns = None if place is None else _columns(load(place))
        found.append(check_schema(asked, open_input(pipeline, step, step.source), columns))
    return found


def require_sound(result: Any, place: Path) -> None:
    """Refuse a result that others must not read.

    Raises
    ------
    StreamSVDError
        With what is wrong with it.
    """
    if isinstance(result, Verification) and not result.agrees:
        raise StreamSVDError(
            f"the result does not agree with its source: {' '.join(result.findings)}"
        )
    if getattr(getattr(result, "info", None), "status", None) is Status.NOT_CONVERGED:
        raise StreamSVDError(
            f"it did not converge; what was found so far is in {place}, and is not published. Ask for less, such as a larger "
            "tol, or allow more, such as max_passes."
        )


def _published_place(pipeline: Pipeline, name: str) -> Path | None:
    """Where the first link of a step leads; None where it leads nowhere."""
    links = [p.to for p in pipeline.publications if p.step == name]
    return link_target(pipeline.place(links[0])) if links else None


def _columns(result: Any) -> int:
    """How many columns the matrix had that a result was made of."""
    rows = directions(result)
    return int((result.rows if rows is None else rows).shape[1])

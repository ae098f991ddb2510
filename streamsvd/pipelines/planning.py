"""What every step of a pipeline would read and need, known before anything is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamsvd.errors import BudgetError, DescriptionError, ShapeError, SpecError, StoreError
from streamsvd.pipelines.arguments import (
    accepts,
    is_waiting,
    results_of,
    saves_of,
    step_inputs,
    step_options,
)
from streamsvd.pipelines.description import Pipeline, Step, before
from streamsvd.pipelines.publishing import check_link
from streamsvd.pipelines.sharing import SharingPlan, may_share, plan_sharing
from streamsvd.pipelines.step_work import StepWork
from streamsvd.pipelines.transforms import fit_note
from streamsvd.verbs import plan

WAITING = "its source is not there yet"
MADE_BEFORE = "what it verifies is made by a step before it"


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """What a step would do: the plan of its verb; None where its input is made by a step before it, or is not there yet.

    Attributes
    ----------
    step, plan
        The step, and what its verb would read and need.
    note
        Why there is no plan, or what comes before it.
    """

    step: Step
    plan: Any
    note: str = ""


def plan_pipeline(pipeline: Pipeline) -> list[StepPlan]:
    """What every step would read and need, before anything is read or written.

    Raises
    ------
    DescriptionError, BudgetError, StoreError
        If an option cannot be meant, the memory does not do, or a source is not there; it names the step.
    """
    for publication in pipeline.publications:
        check_link(pipeline.place(publication.to), pipeline.state)
    return [_plan_step(pipeline, step) for step in pipeline.steps]


def plan_reads(pipeline: Pipeline, plans: Sequence[StepPlan]) -> list[SharingPlan]:
    """Which steps would share a read, were all of them to be made."""
    left, found = [planned.step for planned in plans], list[SharingPlan]()
    planned_steps = {planned.step.name for planned in plans if planned.plan is not None}
    while left:
        names = {step.name for step in left}
        ready = [step for step in left if not names.intersection(before(step, names))]
        same = [
            step for step in ready if step.source == ready[0].source and step.name in planned_steps
        ]
        works = [_work(pipeline, step) for step in same]
        shared = plan_sharing(pipeline, [work for work in works if may_share(pipeline, work)])
        over = ready[:1] if shared is None else [work.step for work in shared.works]
        found += [] if shared is None else [shared]
        left = [step for step in left if step not in over]
    return found


def _work(pipeline: Pipeline, step: Step) -> StepWork:
    inputs = step_inputs(pipeline, step, {})
    options = step_options(pipeline, step, inputs)
    return StepWork(pipeline, step, inputs, options, "", saves_of(pipeline, step))


def _plan_step(pipeline: Pipeline, step: Step) -> StepPlan:
    with _naming(step):
        if is_waiting(pipeline, step):
            return StepPlan(step, None, WAITING)
        if step.verb == "verify" and step.inputs["path"] in {s.name for s in pipeline.steps}:
            return StepPlan(step, None, MADE_BEFORE)  # what is there now may be of other data
        inputs = step_inputs(pipeline, step, {})
        options, note = step_options(pipeline, step, inputs), fit_note(pipeline, step, inputs)
        if accepts(step, "checkpoint", "plan"):
            options["checkpoint"] = saves_of(pipeline, step)  # what is saved takes memory
        if accepts(step, "out", "plan"):
            options["out"] = results_of(pipeline, step) / PLAN_KEY  # what is written is not kept
        return StepPlan(step, plan(step.verb, *inputs, **options), note)


PLAN_KEY = "planned"
"""In the place of the key of a result that is not made yet."""


@contextmanager
def _naming(step: Step) -> Iterator[None]:
    """Errors of planning name their step."""
    try:
        yield
    except (SpecError, ShapeError) as error:
        raise DescriptionError(f"step {step.name}: {error}") from error
    except BudgetError as error:
        where = f"step {step.name}: {error.step}"
        raise BudgetError(where, error.needs, error.allowed, error.remedy) from error
    except StoreError as error:
        raise StoreError(f"step {step.name}: {error}") from error

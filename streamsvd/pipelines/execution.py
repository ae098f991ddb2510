"""A run of a pipeline: all steps planned first, each made once, checked, and published only if every check passes."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamsvd
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.errors import (
    DescriptionError,
    NotConverged,
    ShapeError,
    SpecError,
    StreamSVDError,
)
from streamsvd.models import Model
from streamsvd.models.verify import Verification
from streamsvd.pipelines.checks import Finding, check
from streamsvd.pipelines.description import INPUTS, Pipeline, Step, before
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.notices import send_notices
from streamsvd.pipelines.publishing import check_link, publish, published, remove_old
from streamsvd.pipelines.records import CheckRecord, RunLog, RunRecord, Status, StepRecord
from streamsvd.pipelines.sources import (
    address,
    array_option,
    digest_of,
    is_there,
    newest_time,
    open_input,
)
from streamsvd.store.results.loading import load
from streamsvd.verbs import VERBS, plan

SKIPPED = "its source is not there yet"


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """What a step would do: the plan of its verb; None where its input is made by a step before it, or is not there yet.

    Attributes
    ----------
    step, plan
        The step, and what its verb would read and need.
    note
        Why there is no plan.
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


def _plan_step(pipeline: Pipeline, step: Step) -> StepPlan:
    with _naming(step):
        if _is_waiting(pipeline, step):
            return StepPlan(step, None, SKIPPED)
        inputs = _inputs(pipeline, step)
        if step.verb == "verify" and not Path(inputs[0]).exists():
            return StepPlan(step, None, "what it verifies is made by a step before it")
        if step.verb == "update":
            inputs[0] = Path(inputs[0])
        return StepPlan(step, plan(step.verb, *inputs, **_options(pipeline, step)))


def run_pipeline(pipeline: Pipeline, *, callback: Callback = ignore_event) -> RunRecord:
    """Make every step whose result is not there, check them, and publish.

    Parameters
    ----------
    pipeline
        As `streamsvd.pipelines.description.read_pipeline` read it.
    callback
        Receives the events of the verbs.

    Returns
    -------
    record
        What was done; it is kept in the state. A run that is made again does what is left: a result that is there for the same
        options, inputs and steps before it is not made again, and a step that was killed goes on from its saves.

    Raises
    ------
    ConflictError
        If a run of it is going on.
    DescriptionError, BudgetError, StoreError
        If a step cannot be planned; then nothing was read or written.
    """
    with run_lock(pipeline.state):
        log, started = RunLog(pipeline.state), _now()
        number = log.begin(pipeline.name, started, streamsvd.__version__)
        run = PipelineRun(pipeline, callback)
        try:
            plan_pipeline(pipeline)
            status, error = run.make()
        except BaseException as fault:
            stopped = not isinstance(fault, Exception)
            record = _ended(
                run, number, started, "interrupted" if stopped else "failed", str(fault)
            )
            log.end(record)
            if not stopped:
                send_notices(pipeline, record)
            raise
        record = _ended(run, number, started, status, error)
        log.end(record)
    send_notices(pipeline, record)
    return record


def _ended(run: PipelineRun, number: int, started: str, status: Status, error: str) -> RunRecord:
    """The record of a run that has come to its end."""
    return RunRecord(
        pipeline=run.pipeline.name, number=number, status=status, started=started, ended=_now(),
        streamsvd=streamsvd.__version__, steps=tuple(run.steps), checks=tuple(run.checks),
        published=tuple(run.published), error=error,
    )  # fmt: skip


@dataclass(slots=True, eq=False)
class PipelineRun:
    """One run while it lasts.

    Attributes
    ----------
    pipeline, callback
        What is run, and who watches.
    steps, checks, published
        What was done so far.
    """

    pipeline: Pipeline
    callback: Callback
    steps: list[StepRecord] = field(default_factory=list)
    checks: list[CheckRecord] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    _findings: dict[str, Finding] = field(default_factory=dict)

    def make(self) -> tuple[Status, str]:
        """All steps, their checks, and what is published; how it ended, and why."""
        for step in self.pipeline.steps:
            try:
                record = self._make_step(step)
            except StreamSVDError as error:
                failed = StepRecord(
                    name=step.name, verb=step.verb, status="failed", error=str(error)
                )
                self.steps.append(failed)
                return "failed", f"step {step.name}: {error}"
            self.steps.append(record)
        for asked in self.pipeline.checks:
            if asked.step in self._findings:
                self.checks.append(check(asked, self._findings[asked.step]))
        wrong = [c for c in self.checks if not c.passed]
        if wrong:
            found = "; ".join(
                f"{c.quantity} of {c.step} is {'not known' if c.value is None else format(c.value, '.6g')}, {c.asked} was asked"
                for c in wrong
            )
            return "refused", f"{found}. What was published before stays."
        self._publish()
        changed = any(record.status == "done" for record in self.steps)
        return ("done" if changed or self.published else "unchanged"), ""

    def _make_step(self, step: Step) -> StepRecord:
        """One step, unless its result is there."""
        pipeline = self.pipeline
        if _is_waiting(pipeline, step):
            return StepRecord(name=step.name, verb=step.verb, status="unchanged", error=SKIPPED)
        inputs, options = _inputs(pipeline, step), _options(pipeline, step)
        key = self._key(step, inputs)
        if step.verb == "update":
            return self._update(step, inputs, options, key)
        place = results_of(pipeline, step) / key
        if place.exists():
            result = load(place)
            _require_agreement(result)
            self._find(step, result, 0.0)
            return StepRecord(
                name=step.name, verb=step.verb, status="unchanged", key=key, place=str(place)
            )
        arguments = _accepted(step.verb)
        if "checkpoint" in arguments and options.get("method") != "online":
            options["checkpoint"] = pipeline.state / "saves" / step.name / key
        place.parent.mkdir(parents=True, exist_ok=True)
        if "out" in arguments:
            options["out"] = place
        began = time.perf_counter()
        try:
            result = VERBS[step.verb].resolve("function")(
                *inputs, **options, callback=self.callback
            )
        except NotConverged as error:
            raise StreamSVDError(f"{error} Nothing of it is kept.") from error
        if not place.exists():
            result.save(place)
        seconds = time.perf_counter() - began
        _require_agreement(result)
        self._find(step, result, seconds)
        return _record(step, "done", key, place, seconds, result.info)

    def _update(
        self, step: Step, inputs: list[Any], options: dict[str, Any], key: str
    ) -> StepRecord:
        """New rows into a model, which knows what it has; its newest version becomes a result."""
        began = time.perf_counter()
        report = VERBS["update"].resolve("function")(*inputs, **options, callback=self.callback)
        place = results_of(self.pipeline, step) / f"v{report.version:06d}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            Model.open(inputs[0]).as_svd().save(place)
        seconds = time.perf_counter() - began
        self._find(step, load(place), seconds)
        status: Status = "done" if report.n_absorbed else "unchanged"
        return _record(step, status, key, place, seconds, report.info)

    def _key(self, step: Step, inputs: list[Any]) -> str:
        """Digest of what is asked, of what is read, and of the steps before it."""
        pipeline = self.pipeline
        read: list[str] = []
        for argument, value in zip(INPUTS[step.verb], inputs, strict=True):
            word = INPUTS[step.verb][argument]
            if word == "source":
                read.append(
                    digest_of(address(pipeline, pipeline.sources[step.inputs[argument]]), value)
                )
            elif word != "model" and step.inputs[argument] not in {s.name for s in pipeline.steps}:
                place = str(pipeline.place(step.inputs[argument]))
                read.append(digest_of(place, None))
        for name, value in step.options.items():
            if array_option(pipeline, name, value) is not value:
                read.append(digest_of(str(pipeline.place(value)), None))
        earlier = {record.name: record.key for record in self.steps}
        names = {s.name for s in pipeline.steps}
        asked = {
            "verb": step.verb, "options": {k: v for k, v in sorted(step.options.items()) if k != "memory"},
            "read": read, "needs": [earlier.get(name, "") for name in before(step, names)],
        }  # fmt: skip
        return hashlib.blake2b(
            json.dumps(asked, sort_keys=True).encode(), digest_size=8
        ).hexdigest()

    def _find(self, step: Step, result: Any, seconds: float) -> None:
        """Keep what checks ask for."""
        links = [p.to for p in self.pipeline.publications if p.step == step.name]
        previous = published(self.pipeline.place(links[0])) if links else None
        sources = [v for a, v in step.inputs.items() if INPUTS[step.verb][a] == "source"]
        times = [
            newest_time(address(self.pipeline, self.pipeline.sources[name])) for name in sources
        ]
        self._findings[step.name] = Finding(
            result,
            None if previous is None else load(previous),
            seconds,
            times[0] if times else None,
        )

    def _publish(self) -> None:
        """Links to the new results, and old results away."""
        pipeline, places = self.pipeline, {r.name: Path(r.place) for r in self.steps if r.place}
        for publication in pipeline.publications:
            link, place = pipeline.place(publication.to), places.get(publication.step)
            check_link(link, pipeline.state)
            if place is not None and publish(link, place):
                self.published.append(str(link))
        needed = [*places.values()]
        needed += [p for p in (published(pipeline.place(x.to)) for x in pipeline.publications) if p]
        for step in pipeline.steps:
            remove_old(results_of(pipeline, step), pipeline.keep, needed)


def results_of(pipeline: Pipeline, step: Step) -> Path:
    """Folder of the results of a step."""
    return pipeline.state / "results" / step.name


def _is_waiting(pipeline: Pipeline, step: Step) -> bool:
    """Whether a source of the step may be absent, and is; or that of a step whose result it needs."""
    by_name = {s.name: s for s in pipeline.steps}
    for argument, value in step.inputs.items():
        if INPUTS[step.verb][argument] == "source":
            described = pipeline.sources[value]
            if described.absent == "skip" and not is_there(pipeline, described):
                return True
    return any(_is_waiting(pipeline, by_name[name]) for name in before(step, by_name))


def _inputs(pipeline: Pipeline, step: Step) -> list[Any]:
    """What the verb is given first, in its order."""
    found: list[Any] = []
    by_name = {s.name: s for s in pipeline.steps}
    for argument, value in step.inputs.items():
        word = INPUTS[step.verb][argument]
        if word == "source":
            found.append(open_input(pipeline, pipeline.sources[value], step.verb))
        elif word == "result" and value in by_name:
            found.append(_result_place(pipeline, by_name[value]))
        elif word in ("model", "result"):
            found.append(pipeline.place(value))
        else:
            found.append(array_option(pipeline, word, value))
    return found


def _require_agreement(result: Any) -> None:
    """A verification that found a contradiction is a step that failed.

    Raises
    ------
    StreamSVDError
        With what it found.
    """
    if isinstance(result, Verification) and not result.agrees:
        raise StreamSVDError(
            f"the result does not agree with its source: {' '.join(result.findings)}"
        )


def _result_place(pipeline: Pipeline, step: Step) -> Path:
    """What `verify` reads of a step: its model, or its newest result."""
    if step.verb == "update":
        return pipeline.place(step.inputs["path"])
    folder = results_of(pipeline, step)
    results = [p for p in folder.iterdir() if not p.name.startswith(".")] if folder.is_dir() else []
    return max(results, key=lambda p: p.stat().st_mtime_ns, default=folder / "none")


def _options(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    """The options, with the arrays that files hold."""
    return {name: array_option(pipeline, name, value) for name, value in step.options.items()}


def _accepted(verb: str) -> set[str]:
    """Arguments that a verb takes."""
    return set(inspect.signature(VERBS[verb].resolve("function")).parameters)


def _record(
    step: Step, status: Status, key: str, place: Path, seconds: float, info: Any
) -> StepRecord:
    return StepRecord(
        name=step.name, verb=step.verb, status=status, key=key, place=str(place), seconds=seconds, passes=float(info.passes),
        bytes_read=info.bytes_read, peak_bytes=info.peak_bytes, projected_bytes=info.projected_bytes, n_rows=info.n_rows,
        warnings=tuple(info.warnings),
    )  # fmt: skip


@contextmanager
def _naming(step: Step) -> Iterator[None]:
    """Errors of planning name their step."""
    try:
        yield
    except (SpecError, ShapeError) as error:
        raise DescriptionError(f"step {step.name}: {error}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

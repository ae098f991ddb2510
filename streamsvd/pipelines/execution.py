"""A run of a pipeline: all steps planned first, each made once, checked, and published only if every check passes."""

from __future__ import annotations

import shutil
import time
import uuid
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamsvd
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.errors import (
    NotConverged,
    SpecError,
    StreamSVDError,
)
from streamsvd.info import Status as RunStatus
from streamsvd.models import Model
from streamsvd.models.verify import Verification
from streamsvd.pipelines.arguments import (
    accepts,
    is_waiting,
    results_of,
    saves_of,
    step_inputs,
    step_key,
    step_options,
)
from streamsvd.pipelines.checks import Finding, check
from streamsvd.pipelines.claim import Claim
from streamsvd.pipelines.description import Pipeline, Step, before
from streamsvd.pipelines.journal import Journal, end_entries, ignore_entry, start_entry, step_entry
from streamsvd.pipelines.lineage import lineage_of
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.notices import send_notices
from streamsvd.pipelines.planning import WAITING, plan_pipeline
from streamsvd.pipelines.publishing import check_link, link_target, publish, remove_old
from streamsvd.pipelines.records import CheckRecord, PipelineRecord, RunLog, Status, StepRecord
from streamsvd.pipelines.sources import address, model_version, newest_time
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.store.collections.archive import CompressedStore
from streamsvd.store.results.loading import load
from streamsvd.store.results.reader import is_result
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.verbs import VERBS

EMPTY = "its model has absorbed nothing yet"


def run_pipeline(
    pipeline: Pipeline,
    *,
    callback: Callback = ignore_event,
    journal: Journal = ignore_entry,
    claim: Claim | None = None,
) -> PipelineRecord:
    """Make every step whose result is not there, check them, and publish.

    Parameters
    ----------
    pipeline
        As `streamsvd.pipelines.description.read_pipeline` read it.
    callback
        Receives the events of the verbs.
    journal
        Receives those of the run.
    claim
        On the time that is run, where a schedule has one: without the right to publish nothing is published.

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
        If a step cannot be planned; then no matrix was read and no result written, and the record says why.
    """
    with run_lock(pipeline.state), nullcontext() if claim is None else claim.alive():
        record, fault = _recorded_run(PipelineRun(pipeline, callback, journal, claim))
        if claim is not None:
            claim.status = record.status
    if record.status != "interrupted":
        send_notices(pipeline, record)
    if fault is not None:
        raise fault
    return record


def _recorded_run(run: PipelineRun) -> tuple[PipelineRecord, BaseException | None]:
    """The record of a run, which is kept however it ends, and what it was stopped by."""
    log, started = RunLog(run.pipeline.state), _now()
    number = run.number = log.begin(run.pipeline.name, started, streamsvd.__version__)
    tick, claimed = (run.claim.tick, run.claim.record.number) if run.claim else ("", 0)
    status: Status
    fault: BaseException | None = None
    try:
        run.journal(start_entry(run.pipeline.name, number, tick))
        plan_pipeline(run.pipeline)
        status, error = run.make()
    except BaseException as stop:
        status = "failed" if isinstance(stop, Exception) else "interrupted"
        fault, error = stop, _sentence(stop)
    record = PipelineRecord(
        pipeline=run.pipeline.name, number=number, status=status, started=started, ended=_now(),
        streamsvd=streamsvd.__version__, steps=tuple(run.steps), checks=tuple(run.checks),
        published=tuple(run.published), error=error, tick=tick, claim=claimed,
        lineage=lineage_of(run.pipeline, str(uuid.uuid4()), run.steps, run.published, run.digests),
    )  # fmt: skip
    with defer_interrupts():
        log.end(record)
    for entry in end_entries(record):
        run.journal(entry)
    return record, fault


@dataclass(slots=True, eq=False)
class PipelineRun:
    """One run while it lasts.

    Attributes
    ----------
    pipeline, callback, journal, claim
        What is run, who watches, and by what right.
    number, steps, checks, published
        Of the run, and what was done so far.
    digests
        Of sources that were read, by their names.
    """

    pipeline: Pipeline
    callback: Callback
    journal: Journal = ignore_entry
    claim: Claim | None = None
    number: int = 0
    digests: dict[str, str] = field(default_factory=dict)
    steps: list[StepRecord] = field(default_factory=list)
    checks: list[CheckRecord] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    _findings: dict[str, Finding] = field(default_factory=dict)

    def make(self) -> tuple[Status, str]:
        """All steps, their checks, and what is published; how it ended, and why."""
        for step in self.pipeline.steps:
            try:
                self.steps.append(self._make_step(step))
            except BaseException as error:
                status: Status = "failed" if isinstance(error, Exception) else "interrupted"
                self.steps.append(
                    StepRecord(
                        name=step.name, verb=step.verb, status=status, error=_sentence(error)
                    )
                )
                self._tell_step()
                if not isinstance(error, StreamSVDError):
                    raise
                return "failed", f"step {step.name}: {error}"
            self._tell_step()
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

    def _tell_step(self) -> None:
        self.journal(step_entry(self.pipeline.name, self.number, self.steps[-1]))

    def _make_step(self, step: Step) -> StepRecord:
        """One step, unless its result is there."""
        pipeline = self.pipeline
        if is_waiting(pipeline, step) or self._is_behind_nothing(step):
            return StepRecord(name=step.name, verb=step.verb, status="unchanged", error=WAITING)
        inputs = step_inputs(pipeline, step, self._places())
        options = step_options(pipeline, step)
        if step.verb == "update":
            return self._update(step, inputs, options)
        keys = {record.name: record.key for record in self.steps}
        key = step_key(pipeline, step, inputs, keys, self.digests)
        place = results_of(pipeline, step) / key
        if _is_whole(place):
            self._keep_finding(step, load(place), place, 0.0)
            return StepRecord(
                name=step.name, verb=step.verb, status="unchanged", key=key, place=str(place)
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        if accepts(step, "out"):
            options["out"] = place
        saves = saves_of(pipeline, step) / key
        if accepts(step, "checkpoint"):
            options["checkpoint"] = saves
        began = time.perf_counter()
        result, shortfall = self._call(step, inputs, options, saves)
        if not _is_whole(place):
            result.save(place)
        if shortfall:
            raise StreamSVDError(
                f"{shortfall} What was found so far is in {place}, and is not published."
            )
        seconds = time.perf_counter() - began
        self._keep_finding(step, result, place, seconds)
        return _record(step, "done", key, place, seconds, result.info)

    def _call(
        self, step: Step, inputs: list[Any], options: dict[str, Any], saves: Path
    ) -> tuple[Any, str]:
        """What the verb finds; and where it does not converge, what it has found so far, and what it says of that.

        Saves are of a run that was cut in the same way. Where other memory cuts it otherwise, they are of no use.
        """
        function = VERBS[step.verb].resolve("function")
        try:
            try:
                return function(*inputs, **options, callback=self.callback), ""
            except SpecError:
                if not saves.is_dir():
                    raise
                shutil.rmtree(saves)
                return function(*inputs, **options, callback=self.callback), ""
        except NotConverged as error:
            return error.result, error.message.partition(" The result so far")[0]

    def _update(self, step: Step, inputs: list[Any], options: dict[str, Any]) -> StepRecord:
        """New rows into a model, which knows what it has; its newest version becomes a result."""
        began = time.perf_counter()
        report = VERBS["update"].resolve("function")(*inputs, **options, callback=self.callback)
        status: Status = "done" if report.n_absorbed else "unchanged"
        key = model_version(inputs[0])
        if not key:
            return StepRecord(name=step.name, verb=step.verb, status=status, error=EMPTY)
        place = results_of(self.pipeline, step) / key
        if not _is_whole(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            Model.open(inputs[0], int(key[1:].partition("-")[0])).as_svd().save(place)
        seconds = time.perf_counter() - began
        self._keep_finding(step, load(place), place, seconds)
        return _record(step, status, key, place, seconds, report.info)

    def _is_behind_nothing(self, step: Step) -> bool:
        """Whether a step before it has no result."""
        names = before(step, {s.name for s in self.pipeline.steps})
        return any(not record.place for record in self.steps if record.name in names)

    def _places(self) -> dict[str, str]:
        """What a verification of a step reads: its result, or its model."""
        models = {
            s.name: self.pipeline.address(s.inputs["path"])
            for s in self.pipeline.steps
            if s.verb == "update"
        }
        return {record.name: models.get(record.name, record.place) for record in self.steps}

    def _keep_finding(self, step: Step, result: Any, place: Path, seconds: float) -> None:
        """Keep what checks ask for.

        Raises
        ------
        StreamSVDError
            If the result is none that others may read: it did not converge, or is a verification that found a contradiction.
        """
        _require_sound(result, place)
        links = [p.to for p in self.pipeline.publications if p.step == step.name]
        asked = {c.quantity for c in self.pipeline.checks if c.step == step.name}
        previous = (
            link_target(self.pipeline.place(links[0])) if links and "drift" in asked else None
        )
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
        if self.claim is not None:
            self.claim.check_right()
        pipeline, places = self.pipeline, {r.name: Path(r.place) for r in self.steps if r.place}
        for publication in pipeline.publications:
            link, place = pipeline.place(publication.to), places.get(publication.step)
            check_link(link, pipeline.state)
            if place is not None and publish(link, place):
                self.published.append(str(link))
        needed = [*places.values()]
        needed += [
            p for p in (link_target(pipeline.place(x.to)) for x in pipeline.publications) if p
        ]
        for step in pipeline.steps:
            remove_old(results_of(pipeline, step), pipeline.keep, needed)
            if (
                step.name in places
            ):  # it is made: what it saved on the way, or for other options, is of no use
                shutil.rmtree(saves_of(pipeline, step), ignore_errors=True)


def _is_whole(place: Path) -> bool:
    """Whether a result is there; a collection is only once it has a version."""
    store = CompressedStore.from_address(place)
    return store.versions.newest() > 0 if store.is_there() else is_result(place)


def _require_sound(result: Any, place: Path) -> None:
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
    if getattr(getattr(result, "info", None), "status", None) is RunStatus.NOT_CONVERGED:
        raise StreamSVDError(
            f"it did not converge; what was found so far is in {place}, and is not published. Ask for less, such as a larger "
            "tol, or allow more, such as max_passes."
        )


def _record(
    step: Step, status: Status, key: str, place: Path, seconds: float, info: Any
) -> StepRecord:
    """What a step did that has a result."""
    return StepRecord(
        name=step.name, verb=step.verb, status=status, key=key, place=str(place), seconds=seconds, passes=float(info.passes),
        bytes_read=info.bytes_read, peak_bytes=info.peak_bytes, projected_bytes=info.projected_bytes, n_rows=info.n_rows,
        warnings=tuple(info.warnings),
    )  # fmt: skip


def _sentence(error: BaseException) -> str:
    """What was said; of an error that is not ours also of which kind it is."""
    text = " ".join(str(error).split())
    if isinstance(error, StreamSVDError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

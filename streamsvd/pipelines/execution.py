"""A run of a pipeline: all steps planned first, each made once, checked, and published only if every check passes."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamsvd
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.errors import StreamSVDError
from streamsvd.info import Status as RunStatus
from streamsvd.models.verify import Verification
from streamsvd.pipelines.arguments import (
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
from streamsvd.pipelines.journal import (
    Journal,
    JournalEntry,
    end_entries,
    ignore_entry,
    start_entry,
    step_entry,
)
from streamsvd.pipelines.lineage import lineage_of
from streamsvd.pipelines.lock import run_lock
from streamsvd.pipelines.notices import send_notices
from streamsvd.pipelines.planning import WAITING, plan_pipeline
from streamsvd.pipelines.publishing import check_link, link_target, publish, remove_old
from streamsvd.pipelines.records import (
    CheckRecord,
    PipelineRecord,
    RunLog,
    SharedReadRecord,
    Status,
    StepRecord,
)
from streamsvd.pipelines.sharing import SharingPlan, make_together, may_share, plan_sharing
from streamsvd.pipelines.sources import address, newest_time
from streamsvd.pipelines.step_work import StepOutcome, StepWork, is_whole
from streamsvd.store.results.loading import load
from streamsvd.store.writing.shield import defer_interrupts


class _StepFailed(StreamSVDError):
    """A step could not be made; its record says why."""


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
        run.tell(start_entry(run.pipeline.name, number, tick))
        plan_pipeline(run.pipeline)
        status, error = run.make()
    except BaseException as stop:
        status = "failed" if isinstance(stop, Exception) else "interrupted"
        fault, error = stop, _sentence(stop)
    record = PipelineRecord(
        pipeline=run.pipeline.name, number=number, status=status, started=started, ended=_now(),
        streamsvd=streamsvd.__version__, steps=tuple(run.steps), checks=tuple(run.checks),
        published=tuple(run.published), reads=tuple(run.reads), error=error,
        tick=tick, claim=claimed,
        lineage=lineage_of(run.pipeline, str(uuid.uuid4()), run.steps, run.published, run.digests),
    )  # fmt: skip
    with defer_interrupts():
        log.end(record)
    for entry in end_entries(record):
        run.tell(entry)
    return record, fault


@dataclass(slots=True, eq=False)
class PipelineRun:
    """One run while it lasts.

    Attributes
    ----------
    pipeline, callback, journal, claim
        What is run, who watches, and by what right.
    number, steps, checks, published, reads
        Of the run, what was done so far, and reads that several steps shared.
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
    reads: list[SharedReadRecord] = field(default_factory=list)
    _findings: dict[str, Finding] = field(default_factory=dict)

    def make(self) -> tuple[Status, str]:
        """All steps, their checks, and what is published; how it ended, and why."""
        try:
            self._make_steps()
        except _StepFailed as failure:
            return "failed", str(failure)
        finally:
            order = {step.name: number for number, step in enumerate(self.pipeline.steps)}
            self.steps.sort(key=lambda record: order[record.name])
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

    def _make_steps(self) -> None:
        """Every step after those that it needs; those that read one source at once, where that is of use.

        Raises
        ------
        _StepFailed
            If one cannot be made; others that were read with it are.
        """
        while left := self._steps_left():
            names = {step.name for step in left}
            ready = [step for step in left if not names.intersection(before(step, names))]
            work = self._prepare(ready[0])
            if work is None:
                continue
            shared = self._sharing(work, ready[1:])
            if shared is None:
                with self._recording(work.step):
                    self._take(work.step, work.make(self.callback))
            else:
                self._make_together(shared)

    def _steps_left(self) -> list[Step]:
        """Steps without a record."""
        over = {record.name for record in self.steps}
        return [step for step in self.pipeline.steps if step.name not in over]

    def _prepare(self, step: Step) -> StepWork | None:
        """What is to be done for a step; None where nothing is: then its record is there."""
        pipeline = self.pipeline
        with self._recording(step):
            if is_waiting(pipeline, step) or self._is_behind_nothing(step):
                self._keep(
                    StepRecord(name=step.name, verb=step.verb, status="unchanged", error=WAITING)
                )
                return None
            inputs, options = step_inputs(pipeline, step, self._places()), step_options(pipeline, step)  # fmt: skip
            key = ""
            if step.verb != "update":
                keys = {record.name: record.key for record in self.steps}
                key = step_key(pipeline, step, inputs, keys, self.digests)
                place = results_of(pipeline, step) / key
                if is_whole(place):
                    record = StepRecord(
                        name=step.name, verb=step.verb, status="unchanged", key=key, place=str(place)
                    )  # fmt: skip
                    self._take(step, StepOutcome(record, load(place)))
                    return None
            return StepWork(pipeline, step, inputs, options, key, saves_of(pipeline, step) / key)

    def _sharing(self, work: StepWork, others: Sequence[Step]) -> SharingPlan | None:
        """How a step shares the read of its source with those of the others that are to be made; None where it does not."""
        if not may_share(self.pipeline, work):
            return None
        name = work.step.source
        works = [work, *(w for s in others if s.source == name and (w := self._prepare(s)))]
        return plan_sharing(self.pipeline, [w for w in works if may_share(self.pipeline, w)])

    def _make_together(self, shared: SharingPlan) -> None:
        """Steps that share a read."""
        outcomes, cost = make_together(shared, self.callback)
        self.reads.append(cost)
        faults: list[BaseException] = []
        for work, outcome in zip(shared.works, outcomes, strict=True):
            try:
                with self._recording(work.step):
                    if isinstance(outcome, BaseException):
                        raise outcome
                    self._take(work.step, outcome)
            except BaseException as fault:
                faults.append(fault)
        faults.sort(key=lambda fault: isinstance(fault, Exception))  # an interrupt comes first
        if faults:
            raise faults[0]

    def _take(self, step: Step, outcome: StepOutcome) -> None:
        """Keep what came of a step."""
        record = outcome.record
        if outcome.result is not None:
            self._keep_finding(step, outcome.result, Path(record.place), record.seconds)
        self._keep(record)

    def _keep(self, record: StepRecord) -> None:
        """Keep the record of a step, and tell of it."""
        self.steps.append(record)
        self.tell(step_entry(self.pipeline.name, self.number, record))

    def tell(self, entry: JournalEntry) -> None:
        """Tell what happens; a reader that went away ends no run."""
        with suppress(OSError):
            self.journal(entry)

    @contextmanager
    def _recording(self, step: Step) -> Iterator[None]:
        """A step that fails, or is interrupted, has a record that says so."""
        try:
            yield
        except BaseException as error:
            status: Status = "failed" if isinstance(error, Exception) else "interrupted"
            self._keep(
                StepRecord(name=step.name, verb=step.verb, status=status, error=_sentence(error))
            )
            if isinstance(error, StreamSVDError):
                raise _StepFailed(f"step {step.name}: {error}") from error
            raise

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
        described = self.pipeline.sources[step.source]
        self._findings[step.name] = Finding(
            result,
            None if previous is None else load(previous),
            seconds,
            newest_time(address(self.pipeline, described)),
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


def _sentence(error: BaseException) -> str:
    """What was said; of an error that is not ours also of which kind it is."""
    text = " ".join(str(error).split())
    if isinstance(error, StreamSVDError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

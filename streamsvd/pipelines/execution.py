"""A run of a pipeline: all steps planned first, each made once, checked, and published only if every check passes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import streamsvd
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.errors import StreamSVDError
from streamsvd.pipelines.arguments import (
    is_waiting,
    results_of,
    saves_of,
    step_inputs,
    step_key,
    step_options,
)
from streamsvd.pipelines.checks import check, refusal
from streamsvd.pipelines.claim import Claim
from streamsvd.pipelines.description import Pipeline, Step, before
from streamsvd.pipelines.findings import finding_of, schema_checks
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
from streamsvd.pipelines.planned import plan_records
from streamsvd.pipelines.planning import WAITING, plan_pipeline
from streamsvd.pipelines.publishing import publish_results
from streamsvd.pipelines.quantities import Finding
from streamsvd.pipelines.records import (
    CheckRecord,
    PipelineRecord,
    PlanRecord,
    RunLog,
    SharedReadRecord,
    Status,
    StepRecord,
)
from streamsvd.pipelines.reporting import write_run_report
from streamsvd.pipelines.retention import remove_old_results
from streamsvd.pipelines.row_marks import check_marks, keep_marks
from streamsvd.pipelines.sharing import SharingPlan, make_together, may_share, plan_sharing
from streamsvd.pipelines.step_work import StepOutcome, StepWork, is_whole
from streamsvd.pipelines.transforms import fit_inputs
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
        write_run_report(pipeline, record)
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
        run.plans = plan_records(plan_pipeline(run.pipeline))
        status, error = run.make()
    except BaseException as stop:
        status = "failed" if isinstance(stop, Exception) else "interrupted"
        fault, error = stop, _sentence(stop)
    record = PipelineRecord(
        pipeline=run.pipeline.name, number=number, status=status, started=started, ended=_now(),
        streamsvd=streamsvd.__version__, steps=tuple(run.steps), checks=tuple(run.checks),
        published=tuple(run.published), reads=tuple(run.reads), error=error, notes=tuple(run.notes),
        plans=run.plans, tick=tick, claim=claimed,
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
    number, steps, checks, published, reads, notes, plans
        What was done so far, reads that several steps shared, what is to be said of it, and what was planned.
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
    notes: list[str] = field(default_factory=list)
    plans: tuple[PlanRecord, ...] = ()
    _findings: dict[str, Finding] = field(default_factory=dict)

    def make(self) -> tuple[Status, str]:
        """All steps, their checks, and what is published; how it ended, and why."""
        self.checks += schema_checks(self.pipeline)
        if refusal(self.checks):
            return "refused", refusal(self.checks)
        try:
            self._make_steps()
        except _StepFailed as failure:
            return "failed", str(failure)
        finally:
            order = {step.name: number for number, step in enumerate(self.pipeline.steps)}
            self.steps.sort(key=lambda record: order[record.name])
        for asked in self.pipeline.checks:
            if asked.step in self._findings and asked.quantity != "schema":
                self.checks.append(check(asked, self._findings[asked.step]))
        if refusal(self.checks):
            return "refused", refusal(self.checks)
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
                waiting = StepRecord(name=step.name, verb=step.verb, status="unchanged", error=WAITING)  # fmt: skip
                self._record(waiting)
                return None
            inputs = step_inputs(pipeline, step, self._places())
            options = step_options(pipeline, step, inputs)
            key = ""
            if step.verb == "update":
                check_marks(pipeline, step, *inputs)
            else:
                keys = {record.name: record.key for record in self.steps}
                key = step_key(pipeline, step, inputs, keys, self.digests)
                place = results_of(pipeline, step) / key
                if is_whole(place):
                    record = StepRecord(
                        name=step.name, verb=step.verb, status="unchanged", key=key, place=str(place)
                    )  # fmt: skip
                    self._take(step, StepOutcome(record, load(place)))
                    return None
            inputs = fit_inputs(pipeline, step, inputs, self.callback)
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
            place = Path(record.place)
            found = finding_of(self.pipeline, step, outcome.result, place, record.seconds)
            self._findings[step.name] = found
            keep_marks(self.pipeline, step, record.key)
        self._record(record)

    def _record(self, record: StepRecord) -> None:
        """Write down how a step ended."""
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
            failed = StepRecord(name=step.name, verb=step.verb, status=status, error=_sentence(error))  # fmt: skip
            self._record(failed)
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

    def _publish(self) -> None:
        """Links to the new results, and old results away."""
        if self.claim is not None:
            self.claim.check_right()
        places = {r.name: Path(r.place) for r in self.steps if r.place}
        self.notes += publish_results(self.pipeline, places, self.published)
        remove_old_results(self.pipeline, places)


def _sentence(error: BaseException) -> str:
    """What was said; of an error that is not ours also of which kind it is."""
    text = " ".join(str(error).split())
    if isinstance(error, StreamSVDError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

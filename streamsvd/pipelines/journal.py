"""What a run tells while it goes on: one entry an event, for people and for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streamsvd.engine.memory import show_bytes
from streamsvd.pipelines.records import CheckRecord, PipelineRecord, StepRecord

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One event.

    Attributes
    ----------
    event
        What kind of event it is, in a word.
    pipeline
        The name of the pipeline; empty where it is of none.
    text
        A sentence for people.
    facts
        The same as values.
    level
        Whether anybody should look.
    """

    event: str
    pipeline: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    level: Level = "info"


Journal: TypeAlias = Callable[[JournalEntry], None]


def ignore_entry(entry: JournalEntry) -> None:
    """The journal of those who keep none."""
    del entry


def start_entry(pipeline: str, number: int, tick: str) -> JournalEntry:
    """A run begins."""
    of = f", of {tick}" if tick else ""
    return JournalEntry(
        "start", pipeline, f"run {number} begins{of}", {"run": number, "tick": tick}
    )


def step_entry(pipeline: str, number: int, step: StepRecord) -> JournalEntry:
    """A step has ended."""
    text = f"step {step.name} ({step.verb}): {step.status}"
    if step.status == "done":
        text += f" in {step.seconds:.3g} s, {show_bytes(step.bytes_read)} read"
    if step.error:
        text += f": {step.error}"
    facts = {
        "run": number, "step": step.name, "verb": step.verb, "status": step.status, "seconds": step.seconds,
        "bytes_read": step.bytes_read, "peak_bytes": step.peak_bytes, "projected_bytes": step.projected_bytes,
        "rows": step.n_rows, "error": step.error, "warnings": list(step.warnings),
    }  # fmt: skip
    return JournalEntry("step", pipeline, text, facts, _level(step.status))


def end_entries(record: PipelineRecord) -> Iterator[JournalEntry]:
    """What checks found, what was published, and how the run ended."""
    for check in record.checks:
        yield _check_entry(record, check)
    for place in record.published:
        facts = {"run": record.number, "place": place}
        yield JournalEntry("published", record.pipeline, f"published: {place}", facts)
    text = f"run {record.number} has ended: {record.status}"
    facts = {"run": record.number, "status": record.status, "error": record.error}
    said = f"{text}. {record.error}" if record.error else text
    yield JournalEntry("end", record.pipeline, said, facts, _level(record.status))


def _check_entry(record: PipelineRecord, check: CheckRecord) -> JournalEntry:
    outcome = "passed" if check.passed else "NOT PASSED"
    facts = {
        "run": record.number, "step": check.step, "name": check.name, "quantity": check.quantity, "value": check.value, "asked": check.asked,
        "passed": check.passed,
    }  # fmt: skip
    text = f"check {check.step}: {check.quantity} {check.words}, {check.asked}: {outcome}"
    return JournalEntry("check", record.pipeline, text, facts, "info" if check.passed else "error")


def _level(status: str) -> Level:
    if status in ("done", "unchanged"):
        return "info"
    return "warning" if status == "interrupted" else "error"

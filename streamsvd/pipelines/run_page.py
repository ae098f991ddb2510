"""The page of a run of a pipeline: how it ended and why, its steps against their plans, checks, past runs, and what it made."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamsvd.engine.memory import show_bytes
from streamsvd.errors import SpecError, StoreError
from streamsvd.pipelines.description import Pipeline, read_pipeline
from streamsvd.pipelines.lock import lock_holder
from streamsvd.pipelines.records import CheckRecord, PipelineRecord, RunLog, StepRecord
from streamsvd.pipelines.run_history import check_charts, duration_of, past_section, took_text
from streamsvd.pipelines.run_results import results_sections
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.report.drawing.charts import bars
from streamsvd.report.parts import Cell, Page, Section, Table, Tone, number, whole
from streamsvd.report.results.costs import seconds_text, throughput
from streamsvd.report.results.reproducing import show_option

PAST = 60
"""Runs before this one that the page tells of."""
TONES: dict[str, Tone] = {
    "done": "good", "unchanged": "good", "refused": "bad", "failed": "bad", "interrupted": "caution", "killed": "bad", "running": "plain",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RunStory:
    """A run, with those before it.

    Attributes
    ----------
    record, past
        The run, and it with those before it, the oldest first.
    total
        Runs that there are.
    state
        Folder of the records.
    pipeline
        What the file says now; None where only the state is known.
    """

    record: PipelineRecord
    past: Sequence[PipelineRecord]
    state: Path
    pipeline: Pipeline | None


def pipeline_page(place: Path, *, run: int | None = None, settings: Sequence[str] = ()) -> Page:
    """The page of a run.

    Parameters
    ----------
    place
        The file of a pipeline, or the folder of its state.
    run
        Its number; the newest if None.
    settings
        Of the file.

    Raises
    ------
    StoreError
        If there is no run, or a record is damaged.
    SpecError
        If there is no run of this number.
    """
    pipeline = None if place.is_dir() else read_pipeline(place, settings)
    if pipeline is None and settings:
        raise SpecError(
            f"settings={list(settings)} are of the file of a pipeline; {place} is its state. Pass the file."
        )
    state = place if pipeline is None else pipeline.state
    records = RunLog(state).records(PAST if run is None else None)
    if not records:
        raise StoreError(f"{place} has no run yet. Run it first: streamsvd run {place}.")
    if lock_holder(state) and records[-1].status == "killed":
        records[-1] = msgspec.structs.replace(records[-1], status="running")
    last = (
        next((i for i, r in enumerate(records) if r.number == run), None)
        if run is not None
        else len(records) - 1
    )
    if last is None:
        raise SpecError(
            f"run={run} is none of {place}: there are {records[0].number} to {records[-1].number}. Pass one of them."
        )
    return story_page(
        RunStory(records[last], records[max(0, last + 1 - PAST) : last + 1], state, pipeline)
    )


def current_page(pipeline: Pipeline, record: PipelineRecord) -> Page:
    """The page of a run that has just ended, with those before it."""
    past = RunLog(pipeline.state).records(PAST)
    return story_page(RunStory(record, past, pipeline.state, pipeline))


def story_page(story: RunStory) -> Page:
    """The page of a run with those before it."""
    record, pipeline = story.record, story.pipeline
    cautions = [f"Step {s.name}: {text}" for s in record.steps for text in s.warnings]
    cautions += record.notes
    sections = [
        _ending_section(story),
        *([_steps_section(record)] if record.steps else []),
        *([_plans_section(record)] if record.plans else []),
        *([_reads_section(record)] if record.reads else []),
        _checks_section(story),
        _publications_section(story),
        past_section(story.past),
        *results_sections(record, story.state, pipeline),
        _again_section(story),
    ]
    title = f"{record.pipeline}, run {record.number}"
    return Page(
        title,
        "run of a pipeline",
        run_verdict(record),
        TONES.get(record.status, "plain"),
        cautions,
        sections,
    )


def run_verdict(record: PipelineRecord) -> str:
    """How a run ended, and why, in a sentence."""
    status, why = record.status, record.error
    if status == "refused":
        return f"Refused, and nothing was published: {why}"
    if status == "failed":
        return f"Failed: {why}"
    if status == "interrupted":
        return f"Interrupted{f': {why}' if why else ''}. What was saved stays, and the next run goes on from there."
    if status == "killed":
        return (
            "Killed: the run has a beginning and no end. The next one goes on from what was saved."
        )
    if status == "running":
        return "The run is going on."
    if record.command == "publish":
        return f"Published again: {_list_text('link', record.published)} led to a result that was kept."
    made = [s.name for s in record.steps if s.status == "done"]
    passed = sum(c.passed for c in record.checks)
    if status == "unchanged":
        said = "Nothing was to be done: every result was there"
    else:
        said = f"Done: {_list_text('step', made)} made" if made else "Done: no step was made anew"
    if record.checks:
        said += f", {passed} of {len(record.checks)} check{'s' * (len(record.checks) != 1)} passed"
    if record.published:
        said += f", {_list_text('link', record.published)} published"
    return f"{said}."


def _list_text(what: str, names: Sequence[str]) -> str:
    return f"{what} {names[0]} was" if len(names) == 1 else f"{len(names)} {what}s were"


def _ending_section(story: RunStory) -> Section:
    record = story.record
    took = duration_of(record)
    read = sum(s.bytes_read for s in record.steps)
    facts = [
        ("status", record.status), ("began", record.started), ("ended", record.ended or "it has no end"),
        ("took", took_text(took)), ("read", show_bytes(read)),
        ("throughput of the steps", throughput(read, sum(s.seconds for s in record.steps))),
        ("most memory measured", show_bytes(max((s.peak_bytes for s in record.steps), default=0))),
    ]  # fmt: skip
    texts = [f"Step {s.name}: {s.error}" for s in record.steps if s.error]
    return Section("How it ended", texts, facts)


def _status(status: str) -> Cell:
    return Cell(status, tone=TONES.get(status, "plain"))


def _steps_section(record: PipelineRecord) -> Section:
    """What every step did, and what it cost."""
    rows = [
        [
            Cell(s.name), Cell(s.verb), _status(s.status), Cell(seconds_text(s.seconds), s.seconds), number(s.passes, 3),
            Cell(show_bytes(s.bytes_read), s.bytes_read), Cell(throughput(s.bytes_read, s.seconds), s.bytes_read / s.seconds if s.seconds else 0.0), whole(s.n_rows),
        ]
        for s in record.steps
    ]  # fmt: skip
    heads = ["step", "verb", "status", "time", "passes", "read", "throughput", "rows"]
    drawings = []
    if any(s.seconds for s in record.steps):
        slowest = max(record.steps, key=lambda s: s.seconds)
        told = f"The longest is {slowest.name}, {seconds_text(slowest.seconds)}."
        drawings.append(
            bars(
                "Time of the steps",
                told,
                [(s.name, [(s.seconds, seconds_text(s.seconds))]) for s in record.steps],
            )
        )
    return Section(
        "Steps", (), (), drawings, [Table("Steps, in the order in which they ran", heads, rows)]
    )


def _plans_section(record: PipelineRecord) -> Section:
    """The plan of every step against what it took."""
    by_name = {s.name: s for s in record.steps}
    rows, memory = [], []
    for p in record.plans:
        s = by_name.get(p.name)
        rows.append([Cell(p.name), number(p.passes, 3), _actual(s, "passes"), _bytes(p.bytes_read), _actual(s, "bytes_read"), _bytes(p.projected_bytes), _actual(s, "peak_bytes"), number(p.seconds, 3), _actual(s, "seconds"), Cell(p.note or "–")])  # fmt: skip
        if s is not None and s.peak_bytes and s.projected_bytes:
            memory.append((p.name, [(float(s.peak_bytes), f"{show_bytes(s.peak_bytes)} measured"), (float(s.projected_bytes), f"{show_bytes(s.projected_bytes)} projected")]))  # fmt: skip
    heads = [
        "step",
        "passes planned",
        "passes",
        "read planned",
        "read",
        "memory planned",
        "memory",
        "seconds expected",
        "seconds",
        "note",
    ]
    told = "; ".join(f"{name}: {values[0][1]}, {values[1][1]}" for name, values in memory)
    drawings = (
        [bars("Memory, measured and projected", told, memory, names=("measured", "projected"))]
        if memory
        else []
    )
    text = "What is planned is known before anything is read. A step whose result was there read nothing."
    return Section(
        "Plan and run", [text], (), drawings, [Table("Planned, and what it took", heads, rows)]
    )


def _reads_section(record: PipelineRecord) -> Section:
    """Reads that several steps shared: what the store was asked, what the steps asked, and memory."""
    rows = [
        [
            Cell(r.source), Cell(", ".join(r.steps)), _bytes(r.bytes_read), _bytes(r.asked_bytes), _bytes(r.peak_bytes),
            _bytes(r.projected_bytes),
        ]
        for r in record.reads
    ]  # fmt: skip
    heads = ["source", "steps", "of the store", "asked by the steps", "memory", "memory planned"]
    text = "Each chunk was read once for all of these steps. Their memory is that of all together."
    return Section("One read for several steps", [text], (), (), [Table("Shared reads", heads, rows)])  # fmt: skip


def _bytes(count: int | None) -> Cell:
    return Cell("–", -1.0) if count is None else Cell(show_bytes(count), float(count))


def _actual(step: StepRecord | None, name: str) -> Cell:
    """What a step took; nothing where it was not made."""
    if step is None or step.status == "unchanged":
        return Cell("–", -1.0)
    value = getattr(step, name)
    return number(value, 3) if name in ("passes", "seconds") else _bytes(value)


def _checks_section(story: RunStory) -> Section:
    """What was asked of the results, what was found, and how that went in past runs."""
    record = story.record
    if not record.checks:
        text = (
            "The run ended before checks were looked at."
            if record.status in ("failed", "interrupted", "killed", "running")
            else "There are none, or their steps wait for a source."
        )
        return Section("Checks", [text])
    rows = [[Cell(c.step), Cell(c.quantity), _value(c), Cell(c.asked), Cell("passed", tone="good") if c.passed else Cell("NOT PASSED", tone="bad")] for c in record.checks]  # fmt: skip
    return Section("Checks", (), (), check_charts(story.past, record.checks, story.pipeline), [Table("Checks", ["step", "quantity", "found", "asked", "verdict"], rows)])  # fmt: skip


def _value(c: CheckRecord) -> Cell:
    if c.value is None:
        return Cell(c.words, tone="plain" if c.passed else "bad")
    return number(c.value, 6)


def _publications_section(story: RunStory) -> Section:
    """Which links lead to new results, and which stayed."""
    record, pipeline = story.record, story.pipeline
    facts: list[tuple[str, str]] = [(place, "leads to a new result") for place in record.published]
    if pipeline is not None:
        for p in pipeline.publications:
            place = str(pipeline.place(p.to))
            if place not in record.published:
                facts.append((place, f"stayed as it was (step {p.step})"))
    return Section("Published", [] if facts else ["Nothing was published."], facts)


def _again_section(story: RunStory) -> Section:
    """The command, and what the file asks of every step."""
    record, pipeline = story.record, story.pipeline
    facts = [("release that ran it", record.streamsvd or "not known"), ("state", str(story.state))]
    if pipeline is None:
        text = "The file of the pipeline is not known: write it in the place of FILE."
        return Section("How to make it again", [text], facts, code=["streamsvd run FILE"])
    rows: list[list[Cell]] = []
    for step in pipeline.steps:
        words = INPUTS[step.verb]
        given: dict[str, Any] = {words[name]: value for name, value in step.inputs.items()}
        given |= step.options
        rows += [
            [Cell(step.name), Cell(step.verb), Cell(name), Cell(show_option(value))]
            for name, value in given.items()
        ]
    facts.append(("file", str(pipeline.path)))
    text = "Options are those that the file has now. A result that is there for the same options and data is not made again."
    table = Table("What the file asks", ["step", "verb", "option", "value"], rows)
    return Section(
        "How to make it again",
        [text],
        facts,
        (),
        [table],
        [shlex.join(["streamsvd", "run", str(pipeline.path)])],
    )

"""Past runs on a page: how long they took, how they ended, and what their checks found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from streamsvd.engine.memory import show_bytes
from streamsvd.pipelines.description import Pipeline
from streamsvd.pipelines.records import CheckRecord, PipelineRecord
from streamsvd.report.drawing.charts import Chart
from streamsvd.report.drawing.scales import Scale
from streamsvd.report.parts import Cell, Drawing, Section, Table, Tone, whole
from streamsvd.report.results.costs import seconds_text

MOST_CHARTS = 8
STYLES = {"done": (0, "done"), "unchanged": (2, "unchanged"), "refused": (1, "refused")}
"""Marks of runs; every other ending has a cross."""
OTHERS = (3, "failed or stopped")


def duration_of(record: PipelineRecord) -> float | None:
    """Wall seconds of a run; None where it has no end."""
    try:
        ends = [datetime.fromisoformat(text) for text in (record.started, record.ended)]
    except ValueError:
        return None
    return (ends[1] - ends[0]).total_seconds()


def took_text(seconds: float | None) -> str:
    """A duration that is known to a second; a dash where a run has no end."""
    return "–" if seconds is None else seconds_text(seconds) if seconds >= 1 else "under 1 s"


def past_section(past: Sequence[PipelineRecord]) -> Section:
    """Durations and endings of the runs up to this one."""
    rows = []
    tones: dict[str, Tone] = {
        "done": "good",
        "unchanged": "good",
        "interrupted": "caution",
        "running": "plain",
    }
    for r in reversed(past):
        took = duration_of(r)
        rows.append([
            whole(r.number), Cell(r.started), Cell(r.status, tone=tones.get(r.status, "bad")),
            Cell(took_text(took), took),
            Cell(show_bytes(sum(s.bytes_read for s in r.steps)), float(sum(s.bytes_read for s in r.steps))),
            Cell(", ".join(s.name for s in r.steps if s.status == "done") or "–"), Cell(r.error or "–"),
        ])  # fmt: skip
    heads = ["run", "began", "status", "took", "read", "made", "why"]
    table = Table("Runs up to this one, the newest first", heads, rows)
    return Section("Past runs", (), (), durations_chart(past), [table])


def durations_chart(past: Sequence[PipelineRecord]) -> list[Drawing]:
    """Seconds of every run, marked by how it ended; nothing of one run alone."""
    known = [(r, took) for r in past if (took := duration_of(r)) is not None]
    if len(known) < 2:
        return []
    seconds = [took for _, took in known]
    told = f"Between {seconds_text(min(seconds))} and {seconds_text(max(seconds))} over {len(known)} runs; the newest took {seconds_text(seconds[-1])}."
    note = f"The newest {len(past)} runs." if past[0].number > 1 else ""
    chart = Chart(
        "Durations of past runs", told, Scale.of([r.number for r, _ in known], is_integer=True), Scale.of(seconds, from_zero=True, show=lambda x: f"{x:g} s"),
        x_label="run", y_label="wall seconds", note=note,
    )  # fmt: skip
    by_style: dict[tuple[int, str], list[tuple[PipelineRecord, float]]] = {}
    for r, took in known:
        by_style.setdefault(STYLES.get(r.status, OTHERS), []).append((r, took))
    for (style, name), those in sorted(by_style.items()):
        tips = [f"run {r.number}: {r.status}, {seconds_text(took)}" for r, took in those]
        chart.points(
            [float(r.number) for r, _ in those], [took for _, took in those], name, style, tips
        )
    return [chart.finish()]


def check_charts(
    past: Sequence[PipelineRecord], checks: Sequence[CheckRecord], pipeline: Pipeline | None
) -> list[Drawing]:
    """What each check found in run after run, and what was asked; nothing where there was one run."""
    drawings = []
    for c in checks[:MOST_CHARTS]:
        found = [(r.number, _value_in(r, c)) for r in past]
        values = np.array([math.nan if v is None else v for _, v in found])
        known = values[np.isfinite(values)]
        if known.size < 2:
            continue
        bounds = [] if pipeline is None else [
            (word, bound)
            for asked in pipeline.checks
            if (asked.step, asked.quantity) == (c.step, c.quantity)
            for word, bound in (("at least", asked.at_least), ("at most", asked.at_most))
            if bound is not None
        ]  # fmt: skip
        told = f"Between {known.min():.4g} and {known.max():.4g}; the newest {known[-1]:.4g}, {c.asked}."
        chart = Chart(
            f"{c.quantity.capitalize()} of {c.step}", told, Scale.of([n for n, _ in found], is_integer=True),
            Scale.of([*known, *(b for _, b in bounds)]), x_label="run", y_label=c.quantity,
        )  # fmt: skip
        chart.line([float(n) for n, _ in found], values)
        for word, bound in bounds:
            chart.rule(bound, f"{word} {bound:g}")
        drawings.append(chart.finish())
    return drawings


def _value_in(record: PipelineRecord, asked: CheckRecord) -> float | None:
    """The value that the same check had in a run."""
    return next(
        (c.value for c in record.checks if (c.step, c.quantity) == (asked.step, asked.quantity)),
        None,
    )

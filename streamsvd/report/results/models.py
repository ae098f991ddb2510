"""The page of a model: what its newest version says, and the story of all of them."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamsvd.info import Status
from streamsvd.models.model import Model
from streamsvd.report.drawing.charts import Chart
from streamsvd.report.drawing.scales import Numbers, Scale
from streamsvd.report.parts import Cell, Drawing, Page, Section, Table, number, whole
from streamsvd.report.results.factorisations import svd_verdict, vector_sections
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import NO_RELEASE, step_words, steps_text
from streamsvd.report.results.spectra import certificate_facts, values_section
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import LogEntry, ModelStore

MOST_VERSIONS = 150
"""Versions of which the log is read: the newest half of them, and others evenly before these."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelHistory:
    """The log of a model, or a part of it.

    Attributes
    ----------
    entries
        Versions, the oldest first.
    total
        How many there are.
    """

    entries: Sequence[LogEntry]
    total: int

    @property
    def note(self) -> str:
        """What was left out."""
        if len(self.entries) == self.total:
            return ""
        return (
            f"{len(self.entries)} of {self.total:,} versions: the newest, and some of those before."
        )

    def column(self, name: str) -> Numbers:
        """One number of every version; NaN where it has none."""
        found = [getattr(entry.summary, name) for entry in self.entries]
        return np.array([math.nan if value is None else float(value) for value in found])


def model_history(path: str | os.PathLike[str]) -> ModelHistory:
    """The log of a model; of many versions a part of it."""
    store = ModelStore(objects_at(path))
    numbers = list(store.log_versions())
    total = len(numbers)
    if total > MOST_VERSIONS:
        half = MOST_VERSIONS // 2
        picked = np.linspace(0, total - half - 1, half).round().astype(int)
        numbers = [numbers[i] for i in sorted(set(picked.tolist()))] + numbers[-half:]
    return ModelHistory([store.entry(v) for v in numbers], total)


def history_sections(history: ModelHistory) -> list[Section]:
    """The error ledger over the versions, how far they turned, and a table of them."""
    if not history.entries:
        return []
    drawings = [ledger_chart(history)]
    angles = drift_chart(history)
    texts = [] if angles else ["One version alone tells nothing of drift."]
    return [
        Section("Error ledger over the versions", (), (), drawings),
        Section("Drift between versions", texts, (), angles),
        Section("Versions", (), (), (), [versions_table(history)]),
    ]


def _versions(history: ModelHistory) -> Numbers:
    return np.array([float(entry.version) for entry in history.entries])


def ledger_chart(history: ModelHistory) -> Drawing:
    """Upper bound of the error, and what no factors of the rank are below."""
    x, upper, lower = _versions(history), history.column("error"), history.column("error_lower")
    told = f"At version {x[-1]:.0f} the relative error is at most {upper[-1]:.3g}; the best of its rank is at least {lower[-1]:.3g}."
    known = np.concatenate([upper, lower])
    is_log = bool((upper[np.isfinite(upper)] > 0).any()) and bool(
        upper[upper > 0].min(initial=np.inf) * 30 < upper.max(initial=0.0)
    )
    chart = Chart(
        "Relative error, by version", told, Scale.of(x, is_integer=True), Scale.of(known, is_log=is_log, from_zero=not is_log),
        x_label="version", y_label="relative Frobenius error", note=history.note,
    )  # fmt: skip
    return chart.line(x, upper, "at most", 0).line(x, lower, "the best, at least", 1).finish()


def drift_chart(history: ModelHistory) -> list[Drawing]:
    """Largest angle to the version before, and the share of the new energy that was held before; nothing of one version."""
    x = _versions(history)
    turned = [e for e in history.entries if e.summary.captured is not None]
    if not turned:
        return []
    angles = np.array([
        math.nan if e.summary.captured is None else math.degrees(max(e.summary.angles, default=0.0)) for e in history.entries
    ])  # fmt: skip
    held = 100 * history.column("captured")
    largest = int(np.nanargmax(angles))
    last = angles[np.isfinite(angles)][-1]
    told = f"The newest turned by {last:.3g}°; the largest angle is {angles[largest]:.3g}°, at version {x[largest]:.0f}."
    scale = Scale.of(x, is_integer=True)
    drift = Chart(
        "Largest angle to the version before", told, scale, Scale.of([*angles, 0.0], from_zero=True, show=lambda v: f"{v:g}°"),
        x_label="version", y_label="degrees", note=history.note,
    )  # fmt: skip
    told = f"Of the energy of the newest rows {held[np.isfinite(held)][-1]:.4g} % lay in directions that were held before."
    known = Chart(
        "New energy that was held before", told, scale, Scale.of([*held, 100.0], show=lambda v: f"{v:g} %"),
        x_label="version", y_label="share of the new energy", note=history.note,
    )  # fmt: skip
    return [drift.line(x, angles).finish(), known.line(x, held).finish()]


def versions_table(history: ModelHistory) -> Table:
    """The log, the newest first."""
    rows = []
    for entry in reversed(history.entries):
        s = entry.summary
        is_known = s.captured is not None
        rows.append([
            whole(entry.version), Cell(entry.time), Cell(entry.kind if entry.folder else "lost", tone="plain" if entry.folder else "bad"),
            whole(s.rows), whole(s.n_rows), whole(s.rank), number(s.error, 3), number(s.error_lower, 3),
            Cell(f"{100 * s.captured:.4g} %", s.captured) if s.captured is not None else Cell("–"),
            number(math.degrees(max(s.angles, default=0.0)) if is_known else None, 3),
            Cell("met", tone="good") if s.tolerance_met else Cell("not met", tone="caution"),
        ])  # fmt: skip
    heads = ["version", "time", "kind", "new", "in all", "rank", "error at most", "best at least", "held before", "turned, degrees", "tolerance"]  # fmt: skip
    return Table("Versions, the newest first", heads, rows, history.note)


def model_page(path: str | os.PathLike[str], origin: ResultOrigin) -> Page:
    """The page of a model."""
    model = Model.open(path)
    spec, history = model.spec, model_history(path)
    again = Section(
        "How to make it again",
        ["A model is made of the blocks that it has absorbed, in their order; each enters it once. The seed and the options are those it began with."],
        [NO_RELEASE, ("seed", str(spec.seed)), ("blocks", f"{len(model.blocks):,}"), ("kept versions", f"from {model.kept_from}")],
        code=[f"streamsvd update {shlex.quote(origin.title)} SOURCE{_words(model)}{_step_words(model)}"], tables=_spec_table(model),
    )  # fmt: skip
    if not model.version:
        return Page(origin.title, "model", "Nothing was absorbed yet.", "caution", (), [again])
    s, c, ledger = model.s, model.certificate, model.ledger
    status = Status.CONVERGED if model.summary.tolerance_met else Status.NOT_CONVERGED
    said, tone = svd_verdict(c, status)
    if model.advice:
        said, tone = f"{said} {model.advice}", "caution"
    facts = [
        ("version", str(model.version)), (spec.axis, f"{model.n_rows_held:,} held, {model.n_rows:,} ever absorbed"), ("rank", str(s.size)),
        ("energy seen", f"{ledger.energy:.6g}"), ("energy discarded", f"{ledger.discarded:.6g} in {ledger.truncations:,} steps"),
        ("columns left out", f"{len(model.dropped_columns):,}"),
        *([("steps of rows", steps_text(model.row_steps))] if model.row_steps else []),
        ("advice", model.advice or "none: nothing says that it should be made again"),
    ]  # fmt: skip
    has_right = (
        spec.axis == "rows" or spec.u
    )  # of columns that arrive, vectors are kept where that was asked
    sections = [
        Section("The model", (), facts),
        *history_sections(history),
        Section("What is proved", (), certificate_facts(c)),
        values_section(s, c),
        *vector_sections(s, c, model.Vh if has_right else None, model.U, origin),
        again,
    ]
    return Page(origin.title, f"model, version {model.version}", said, tone, (), sections)


def _words(model: Model) -> str:
    """Options with which a model is begun."""
    s = model.spec
    words = [
        f"--rank {s.rank}" if s.rank is not None else "",
        f"--tol {s.tol:g}" if s.tol is not None else "",
    ]
    words += [
        "--center" if s.center else "",
        "--columns" if s.axis == "columns" else "",
        "--robust" if s.robust else "",
    ]
    words += [
        f"--forget {s.forget:g}" if s.forget != 1 else "",
        f"--window {s.window}" if s.window else "",
        "--u" if s.u else "",
    ]
    return "".join(f" {word}" for word in words if word)


def _step_words(model: Model) -> str:
    words = step_words(model.row_steps)
    return f" {shlex.join(words)}" if words else ""


def _spec_table(model: Model) -> list[Table]:
    values = [(name, getattr(model.spec, name)) for name in model.spec.__struct_fields__]
    rows = [[Cell(name), Cell("–" if value is None else str(value))] for name, value in values]
    return [Table("Options of the model", ["option", "value"], rows)]

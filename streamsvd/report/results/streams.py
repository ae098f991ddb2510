"""The page of `top_eigenvectors`, and of a stream that was saved before its end."""

from __future__ import annotations

import numpy as np

from streamsvd.engine.memory import show_bytes
from streamsvd.numerics.sentences import round_down, round_up
from streamsvd.report.drawing.charts import MOST_MARKS, Chart
from streamsvd.report.drawing.scales import Scale, thin_indices
from streamsvd.report.parts import MOST_ROWS, Cell, Drawing, Page, Section, Table, Tone
from streamsvd.report.results.components import components_section
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section
from streamsvd.report.results.spectra import share_text
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.streams.stream import TopEigenvectorStream


def stream_verdict(found: TopEigenvectorsResult) -> tuple[str, Tone]:
    """What is proved of the span, and on what that rests."""
    c, k = found.certificate, int(found.values.size)
    what = "the leading eigenvector" if k == 1 else f"the span of the {k} leading eigenvectors"
    if c.evidence == "none":
        said = f"Nothing is proved of {what}: the sine of the angle to the true one is estimated as {c.sine_estimate:.2g}."
        return said, "caution"
    rests = "in any order of rows" if c.evidence == "deterministic" else f"in random order, but for a chance of {c.failure_probability:g}"  # fmt: skip
    said = f"The sine of the angle between {what} and what was found is at most {round_up(c.sine, 3)} ({rests})."
    return said, "caution" if found.info.warnings else "good"


def stream_page(
    found: TopEigenvectorsResult, origin: ResultOrigin, *, is_open: bool = False
) -> Page:
    """The page of the eigenvectors of a stream; ``is_open`` where more rows may come."""
    c, o = found.certificate, found.order
    verdict, tone = stream_verdict(found)
    if is_open:
        verdict = f"So far, after {found.info.n_rows:,} rows: {verdict[0].lower()}{verdict[1:]}"
    random = {True: "random", False: "not random", None: "too few rows to say"}[o.random]
    facts = [
        ("method", found.method), ("evidence of the angle", c.evidence),
        ("captured energy", f"at least {share_text(c.captured_lower)} ({c.captured_evidence}), estimated {100 * c.captured_estimate:.4g} %"),
        ("order of the rows", f"{random}; p = {o.p_value:.2g}, design effect {o.design_effect:.3g}"),
        ("energy seen", f"{found.energy:.6g}"), ("heavy rows kept", f"{found.heavy_rows:,}"),
        ("state", f"{show_bytes(found.state_bytes)} at its end, at most {show_bytes(found.bound_bytes)} however long it is"),
    ]  # fmt: skip
    sections = [
        Section("What is proved", (), facts),
        Section("Eigenvalues and their intervals", (), (), [eigenvalue_chart(found)], [eigenvalue_table(found)]),
        components_section(found.components, grid=origin.grid, most=origin.most),
        cost_section(found.info),
        reproduce_section(
            command_line("top_eigenvectors", origin.source, found.options, nonfinite=found.info.nonfinite),
            options=found.options, release=origin.release, seed=found.options.seed,
        ),
    ]  # fmt: skip
    what = "stream that was saved" if is_open else "result of top_eigenvectors"
    return Page(origin.title, what, verdict, tone, found.info.warnings, sections)


def open_stream_page(stream: TopEigenvectorStream, origin: ResultOrigin) -> Page:
    """The page of a stream that may go on: its answer for the rows so far."""
    return stream_page(stream.finalize(), origin, is_open=True)


def eigenvalue_chart(found: TopEigenvectorsResult) -> Drawing:
    """Eigenvalues within their certified intervals."""
    c, values = found.certificate, found.values
    i = np.array(thin_indices(int(values.size), MOST_MARKS))
    note = f"{i.size} of {values.size} values are drawn." if i.size < values.size else ""
    told = f"From {float(values[0]):.5g} down to {float(values[-1]):.5g}."
    chart = Chart(
        "Eigenvalues with certified intervals", told, Scale.of(i + 1.0, is_integer=True),
        Scale.of([*values[i], *c.values_upper[i], *c.values_lower[i]], from_zero=True), x_label="eigenvector", y_label="eigenvalue of A* A", note=note,
    )  # fmt: skip
    return (
        chart.intervals(i + 1.0, c.values_lower[i], c.values_upper[i])
        .points(i + 1.0, values[i])
        .finish()
    )


def eigenvalue_table(found: TopEigenvectorsResult) -> Table:
    """Eigenvalues with the ends of their intervals, rounded outward."""
    c, rows = found.certificate, []
    for i in thin_indices(int(found.values.size), MOST_ROWS):
        low, high, value = (
            float(c.values_lower[i]),
            float(c.values_upper[i]),
            float(found.values[i]),
        )
        rows.append([Cell(str(i + 1), i + 1), Cell(f"{value:.7g}", value), Cell(round_down(low, 7), low), Cell(round_up(high, 7), high)])  # fmt: skip
    return Table("Eigenvalues", ["i", "eigenvalue", "at least", "at most"], rows)

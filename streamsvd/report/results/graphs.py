"""The pages of `embed` and `graph_eigenvectors`."""

from __future__ import annotations

import numpy as np

from streamsvd.graphs.result import Embedding, GraphEigenvectors
from streamsvd.numerics.sentences import round_down, round_up
from streamsvd.report.drawing.charts import MOST_MARKS, Chart
from streamsvd.report.drawing.scales import Scale, thin_indices
from streamsvd.report.parts import MOST_ROWS, Cell, Drawing, Page, Section, Table, Tone
from streamsvd.report.results.components import components_section
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.kernels import weights_chart
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section

MOST_NODES = 4096
"""Whose norms are drawn: they are read for the page."""


def embedding_page(found: Embedding, origin: ResultOrigin) -> Page:
    """The page of `embed`."""
    n, d = found.vectors.shape
    o, first = found.options, np.asarray(found.vectors[:MOST_NODES], dtype=np.float64)
    verdict = f"{n:,} nodes have {d} numbers each. A random projection keeps their distances in probability; no error is proved."
    facts = [
        ("nodes", f"{n:,}"), ("dimensions", f"{d:,}"), ("without edges", f"{found.isolated:,}; their rows are 0"),
        ("weights of steps", ", ".join(f"{w:g}" for w in o.step_weights)), ("a step", o.step), ("power of degrees", f"{o.beta:g}"),
        ("runs of columns", f"{found.slabs:,}"),
    ]  # fmt: skip
    what = "Norms of the rows" if n <= MOST_NODES else f"Norms of the first {MOST_NODES:,} rows"
    norms = np.sqrt(np.einsum("ij,ij->i", first, first))
    sections = [
        Section("The embedding", (), facts, [weights_chart(what, norms, "norm")]),
        cost_section(found.info),
        reproduce_section(
            command_line("embed", origin.source, o), options=o, release=origin.release, seed=o.seed
        ),
    ]
    return Page(origin.title, "result of embed", verdict, "good", found.info.warnings, sections)


def eigenvectors_page(found: GraphEigenvectors, origin: ResultOrigin) -> Page:
    """The page of `graph_eigenvectors`."""
    k, o = int(found.values.size), found.options
    count = int(found.is_resolved.sum())
    tone: Tone = "good" if count == k else "bad"
    verdict = f"{count} of {k} eigenvalues lie in intervals of width {o.tol:g} (proved)."
    facts = [
        ("nodes", f"{found.vectors.shape[0]:,}"), ("without edges", f"{found.isolated:,}"),
        ("an upper end fails", f"with probability at most {found.certificate.failure_probability:g}"),
    ]  # fmt: skip
    sections = [
        Section("Eigenvalues and their intervals", (), facts, [_chart(found)], [_table(found)]),
        components_section(found.vectors.T, grid=origin.grid, most=origin.most, axis="node"),
        cost_section(found.info),
        reproduce_section(
            command_line("eigenvectors", origin.source, o),
            options=o,
            release=origin.release,
            seed=o.seed,
        ),
    ]
    return Page(
        origin.title, "result of graph_eigenvectors", verdict, tone, found.info.warnings, sections
    )


def _chart(found: GraphEigenvectors) -> Drawing:
    """Eigenvalues within their intervals."""
    values = found.values
    i = np.array(thin_indices(int(values.size), MOST_MARKS))
    note = f"{i.size} of {values.size} values are drawn." if i.size < values.size else ""
    told = f"From {float(values[0]):.5g} down to {float(values[-1]):.5g}."
    chart = Chart(
        "Eigenvalues with proved intervals", told, Scale.of(i + 1.0, is_integer=True),
        Scale.of([*values[i], *found.upper[i], *found.lower[i]]), x_label="eigenvector", y_label="eigenvalue", note=note,
    )  # fmt: skip
    intervals = chart.intervals(i + 1.0, found.lower[i], found.upper[i])
    return intervals.points(i + 1.0, values[i]).finish()


def _table(found: GraphEigenvectors) -> Table:
    """Eigenvalues with the ends of their intervals, rounded outward."""
    rows = []
    for i in thin_indices(int(found.values.size), MOST_ROWS):
        value, low, high = (float(x[i]) for x in (found.values, found.lower, found.upper))
        rows.append([Cell(str(i + 1), i + 1), Cell(f"{value:.7g}", value), Cell(round_down(low, 7), low), Cell(round_up(high, 7), high)])  # fmt: skip
    return Table("Eigenvalues", ["i", "eigenvalue", "at least", "at most"], rows)

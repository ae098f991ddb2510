"""The page of `cells`."""

from __future__ import annotations

import numpy as np

from streamsvd.report.parts import Cell, Page, Section, Table, number
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.factorisations import svd_sections, svd_verdict
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section
from streamsvd.single_cell.result import CellsResult

MOST_GENES = 50
"""Genes of the table: those that vary most."""


def cells_page(found: CellsResult, origin: ResultOrigin) -> Page:
    """What was counted, the genes that vary most, and the components."""
    info = found.info
    verdict, tone = svd_verdict(found.certificate, info.status, info.warnings, info.criterion)
    again = reproduce_section(
        command_line("cells", origin.source, found.options), options=found.options, release=origin.release, seed=info.seed
    )  # fmt: skip
    sections = [
        _counts_section(found),
        _genes_section(found),
        *svd_sections(found, origin),
        cost_section(info, more=(("route", f"{info.route}, {info.precision} precision"),)),
        again,
    ]
    return Page(origin.title, "result of cells", verdict, tone, info.warnings, sections)


def _counts_section(found: CellsResult) -> Section:
    """Sums of cells, by their quartiles."""
    heads = ["of each cell", "least", "a quarter below", "half below", "three quarters", "most"]
    columns = found.cells.columns()
    filled = found.cells.total_counts > 0  # shares of cells without counts are none
    parts = {
        name: values[filled] if name.startswith("pct") else values
        for name, values in columns.items()
    }
    rows = [
        [Cell(name), *(number(float(q), 6) for q in np.quantile(values, np.linspace(0, 1, 5)))]
        for name, values in parts.items()
        if values.size
    ]
    genes = found.genes
    facts = [
        ("cells", f"{found.cells.total_counts.size:,}"),
        ("genes", f"{genes.means.size:,}"),
        ("genes that were kept", f"{int(genes.highly_variable.sum()):,}"),
        ("mitochondrial genes", f"{int(genes.mt.sum()):,}"),
    ]
    return Section("What was counted", (), facts, (), [Table("Sums of cells", heads, rows)])


def _genes_section(found: CellsResult) -> Section:
    """The genes that vary most."""
    genes, names = found.genes, found.labels.column_names
    score = "variances_norm" if genes.variances_norm is not None else "dispersions_norm"
    scores = getattr(genes, score)
    order = np.argsort(np.nan_to_num(genes.highly_variable_rank, nan=np.inf), kind="stable")
    count = int(genes.highly_variable.sum())
    rows = [
        [
            Cell(str(j) if names is None else str(names[j])),
            number(float(genes.means[j]), 6), number(float(genes.variances[j]), 6), number(float(scores[j]), 6),
            number(float(genes.n_cells_by_counts[j]), 9),
        ]
        for j in order[: min(count, MOST_GENES)]
    ]  # fmt: skip
    note = f"{count - MOST_GENES:,} more were kept." if count > MOST_GENES else ""
    heads = ["gene", "mean", "variance", score, "cells"]
    return Section("Genes that vary most", (), (), (), [Table("Genes", heads, rows, note)])

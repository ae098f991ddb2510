"""The page of `rotate`."""

from __future__ import annotations

import numpy as np

from streamsvd.factor.rotation_result import Rotation
from streamsvd.info import Status
from streamsvd.report.parts import Cell, Page, Section, Table, Tone, number
from streamsvd.report.results.components import Grid, components_section
from streamsvd.report.results.costs import cost_section
from streamsvd.report.results.origins import ResultOrigin
from streamsvd.report.results.reproducing import command_line, reproduce_section


def rotation_page(found: Rotation, origin: ResultOrigin) -> Page:
    """Variances before and after, rotated components, correlations of the factors."""
    held = float(np.sum(found.variance_before)) / (found.total_variance or 1.0)
    tone: Tone = "good"
    verdict = (
        f"{found.rank} components that hold {100 * held:.4g} % of the variance, rotated by {found.options.method}: "
        f"converged after {found.iterations} sweeps."
    )
    if found.info.status is not Status.CONVERGED:
        verdict = f"Not converged after {found.iterations} sweeps: the rotation is one on the way."
        tone = "bad"
    facts = [
        ("method", found.options.method),
        ("rows of loadings normalised", "yes" if found.options.normalize else "no"),
        ("varimax criterion", f"{found.criterion:.6g}"),
    ]
    rows = [
        [Cell(str(i + 1), i + 1), number(float(after)), number(100 * float(share)), number(float(before))]
        for i, (after, share, before) in enumerate(
            zip(found.variance, found.variance_ratio, found.variance_before, strict=True)
        )
    ]  # fmt: skip
    heads = ["i", "variance", "share in %", "before, of the i-th"]
    tables = [Table("Variances after the rotation", heads, rows)]
    if found.options.method == "promax":
        tables.append(_correlations(found))
    names = [f"Rotated component {i + 1}" for i in range(found.rank)]
    grid = origin.grid or Grid.of(found.labels)
    drawn = components_section(
        found.components, grid=grid, names=names, most=origin.most, title="Rotated components"
    )
    again = reproduce_section(
        command_line("rotate", "RESULT", found.options), options=found.options, release=origin.release, seed=None,
        texts=["RESULT is what svd or pca found, and was rotated."],
    )  # fmt: skip
    sections = [Section("Rotation", (), facts, (), tables), drawn, cost_section(found.info), again]
    return Page(origin.title, "result of rotate", verdict, tone, (), sections)


def _correlations(found: Rotation) -> Table:
    """Of the factors."""
    heads = ["factor", *(str(i + 1) for i in range(found.rank))]
    rows = [
        [Cell(str(i + 1), i + 1), *(number(float(abs(x) if np.iscomplexobj(x) else x), 3) for x in row)]
        for i, row in enumerate(found.correlation)
    ]  # fmt: skip
    title = "Correlations of the factors"
    return Table(f"{title}, moduli" if np.iscomplexobj(found.correlation) else title, heads, rows)

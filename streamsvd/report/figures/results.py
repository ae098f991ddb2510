"""Whole figures of a factorisation, in files: scree, components, scores, biplot, or all of them on one sheet."""

from __future__ import annotations

from typing import Any, BinaryIO

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from streamsvd.report.figures.biplots import draw_biplot
from streamsvd.report.figures.factorisations import DPI, INK, blank_figure
from streamsvd.report.figures.panels import draw_field, draw_score, draw_shares, draw_together
from streamsvd.report.plot_parts import PlotParts

WIDTH = 11.0
"""Inches."""
SIDE_BY_SIDE = ("map", "image", "points")


def draw_result(parts: PlotParts, kind: str) -> Figure:
    """A figure of what a plot was asked for."""
    return {
        "scree": _scree, "components": _components, "scores": _scores, "biplot": _biplot, "all": _all,
    }[kind](parts)  # fmt: skip


def write_figure(figure: Figure, file: BinaryIO, format: str) -> None:
    """The file of a figure; equal figures are equal bytes."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with mpl.rc_context({"svg.hashsalt": "streamsvd"}):
        figure.savefig(
            file, format=format, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15, metadata=metadata[format]
        )  # fmt: skip


def _scree(parts: PlotParts) -> Figure:
    figure = blank_figure(WIDTH, 4.6, parts.title)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    draw_shares(left, parts.scree)
    draw_together(right, parts.scree)
    return figure


def _height(parts: PlotParts, width: float) -> float:
    """Inches of a component that is so wide."""
    geometry = parts.geometry
    if geometry.kind not in SIDE_BY_SIDE:
        return 2.3 if geometry.kind == "line" else 2.9
    if geometry.kind == "image" and any(axis.has_values for axis in geometry.axes):
        return 0.62 * width
    down, across = (_extent(axis) for axis in geometry.axes)
    return float(min(max(0.84 * width * down / max(across, 1e-9), 1.9), 1.1 * width)) + 0.5


def _extent(axis: Any) -> float:
    """How far an axis goes, in its unit or in places."""
    size = len(axis.values)
    if not axis.role:
        return float(size)
    return float(axis.values.max() - axis.values.min()) * (1 + 1 / max(size - 1, 1)) or 1.0


def _components(parts: PlotParts) -> Figure:
    count = len(parts.fields)
    if parts.geometry.kind not in SIDE_BY_SIDE:
        figure = blank_figure(WIDTH, _height(parts, WIDTH) * count + 0.6, parts.title)
        _fields(figure, parts, 1)
        return figure
    across = min(count, 2)
    width = WIDTH / 2
    rows = -(-count // across)
    figure = blank_figure(
        WIDTH if across == 2 else WIDTH * 0.75, _height(parts, width if across == 2 else WIDTH * 0.75) * rows + 0.6, parts.title, layout="compressed"
    )  # fmt: skip
    _fields(figure, parts, across)
    return figure


def _fields(figure: Any, parts: PlotParts, across: int) -> None:
    count = len(parts.fields)
    axes = figure.subplots(-(-count // across), across, squeeze=False).ravel()
    for i, (axis, values, title) in enumerate(zip(axes, parts.fields, parts.titles, strict=False)):
        draw_field(figure, axis, values, parts.geometry, title, is_last=i >= count - across)
    for axis in axes[count:]:
        axis.remove()


def _scores(parts: PlotParts) -> Figure:
    assert parts.scores is not None
    count = len(parts.titles)
    figure = blank_figure(WIDTH, 1.75 * count + 1.0, parts.title)
    axes = figure.subplots(count, 1, sharex=True, squeeze=False).ravel()
    for i, axis in enumerate(axes):
        draw_score(axis, parts.scores, i, parts.titles[i], is_last=i == count - 1)
    return figure


def _biplot(parts: PlotParts) -> Figure:
    assert parts.biplot is not None
    figure = blank_figure(8.2, 8.2, parts.title)
    draw_biplot(figure.subplots(), parts.biplot)
    return figure


def _all(parts: PlotParts) -> Figure:
    """Scree and, for few columns, a biplot above; below, each component beside its scores."""
    wide = parts.scores is None and parts.geometry.kind not in SIDE_BY_SIDE
    across = 1 if wide else 2
    rows = len(parts.fields) if parts.scores is not None or wide else -(-len(parts.fields) // 2)
    tall = float(np.clip(_height(parts, WIDTH / across), 2.1, 3.6))
    top = 4.4 if parts.biplot is None else 5.2
    figure = Figure(figsize=(WIDTH, top + 0.4 + tall * rows), layout="constrained")
    figure.suptitle(parts.title, color=INK, fontsize=13, x=0.01, ha="left")
    sheets: Any = figure.subfigures(2, 1, height_ratios=[top, tall * rows])
    above, below = sheets
    if parts.biplot is None:
        left, right = above.subplots(1, 2, width_ratios=[1.5, 1])
        draw_together(right, parts.scree)
    else:
        left, right = above.subplots(1, 2, width_ratios=[1.15, 1])
        draw_biplot(right, parts.biplot)
    draw_shares(left, parts.scree)
    if parts.scores is None:
        _fields(below, parts, across)
        return figure
    ratios = [1, 1] if parts.geometry.kind in SIDE_BY_SIDE else [1, 1.1]
    axes = below.subplots(rows, 2, squeeze=False, width_ratios=ratios)
    for i in range(rows):
        is_last = i == rows - 1
        draw_field(
            below, axes[i, 0], parts.fields[i], parts.geometry, parts.titles[i], is_last=is_last
        )
        draw_score(axes[i, 1], parts.scores, i, "its scores", is_last=is_last)
    return figure

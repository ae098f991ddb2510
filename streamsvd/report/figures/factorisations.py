"""Figures of factorisations, written to files; the only importer of matplotlib.

Figures are made without pyplot: no window, no global state, any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from streamsvd.numerics.certificate import Certificate
from streamsvd.typing import Real

INK, BLUE, RED, GREY = "#22303c", "#2166ac", "#b2182b", "#8a949e"
DPI = 150
STYLE = {"color": INK, "fontsize": 11}
FigureFile = TypeVar("FigureFile", Path, BinaryIO)
"""Where a figure goes: a path, or an open file, which then has no suffix that tells the format."""


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """One field on a grid of latitudes and longitudes, in degrees; ``values`` is ``(lat, lon)``."""

    title: str
    latitude: Real
    longitude: Real
    values: Real


def maps(path: Path, fields: Sequence[Map], *, title: str, units: str) -> Path:
    """Fields side by side, two a row, each with a diverging scale about zero of its own."""
    rows = -(-len(fields) // 2)
    figure = blank_figure(11, 3.7 * rows + 0.6, title, layout="compressed")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for axis, field in zip(axes, fields, strict=False):
        limit = float(np.abs(field.values).max()) or 1.0
        drawn = axis.pcolormesh(
            field.longitude,
            field.latitude,
            field.values,
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            shading="nearest",
        )
        axis.contour(
            field.longitude,
            field.latitude,
            field.values,
            levels=[0.0],
            colors=INK,
            linewidths=0.6,
            alpha=0.6,
        )
        axis.set_aspect(1 / np.cos(np.deg2rad(float(np.mean(field.latitude)))))
        axis.set_title(field.title, loc="left", **STYLE)
        axis.xaxis.set_major_formatter(FuncFormatter(east_west))
        axis.yaxis.set_major_formatter(FuncFormatter(north_south))
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_major_locator(MaxNLocator(5))
        bar = figure.colorbar(drawn, ax=axis, pad=0.02)
        bar.set_label(units, color=INK, fontsize=9)
        style_axes(axis, bar.ax)
    for axis in axes[len(fields) :]:
        axis.remove()
    return save_figure(figure, path)


def series(
    path: Path,
    x: Real,
    columns: Real,
    *,
    title: str,
    labels: Sequence[str],
    xlabel: str,
    ylabel: str,
) -> Path:
    """Columns as curves below one another, ``(len(x), k)``, shaded on both sides of zero."""
    k = columns.shape[1]
    figure = blank_figure(11, 1.6 * k + 1.0, title)
    axes = figure.subplots(k, 1, sharex=True, squeeze=False).ravel()
    for axis, y, label in zip(axes, columns.T, labels, strict=True):
        axis.fill_between(
            x, y, 0, where=y >= 0, color=RED, alpha=0.25, linewidth=0, interpolate=True
        )
        axis.fill_between(
            x, y, 0, where=y < 0, color=BLUE, alpha=0.25, linewidth=0, interpolate=True
        )
        axis.plot(x, y, color=INK, linewidth=0.9)
        axis.axhline(0, color=GREY, linewidth=0.6)
        axis.set_title(label, loc="left", color=INK, fontsize=10)
        axis.margins(x=0.01)
        axis.yaxis.set_major_locator(MaxNLocator(4))
        style_axes(axis)
    axes[-1].set_xlabel(xlabel, color=INK)
    figure.supylabel(ylabel, color=INK, fontsize=10)
    return save_figure(figure, path)


def scree(path: Path, share: Real, low: Real, high: Real, *, title: str, tol: float) -> Path:
    """Share of the variance of each component with its certified interval, and how wide that is."""
    i = np.arange(1, share.size + 1)
    figure = blank_figure(11, 5.2, title)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    left.bar(i, share * 100, color=BLUE, alpha=0.35, width=0.7)
    left.set_xticks(i)
    spread = np.stack([share - low, high - share]) * 100
    left.errorbar(
        i, share * 100, yerr=np.maximum(spread, 0), fmt="_", color=INK, markersize=11, capsize=4,
        label="value and certified interval",
    )  # fmt: skip
    left.set_yscale("log")
    for x, y in zip(i, share * 100, strict=True):
        left.annotate(
            _percent(y),
            (x, y),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
        )
    left.set_ylim(top=float(share.max()) * 250)
    left.set_xlabel("component", color=INK)
    left.set_ylabel("share of the variance in %", color=INK)
    left.legend(frameon=False, loc="upper right", fontsize=9)
    _widths(right, i, (high - low) / high, tol)
    right.set_xlabel("component", color=INK)
    right.set_ylim(top=tol * 30)
    left.set_title("Shares; the intervals are narrower than their lines", loc="left", **STYLE)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    style_axes(left, right)
    return save_figure(figure, path)


def against_truth(
    path: Path,
    s: Real,
    certificate: Certificate,
    truth: Real,
    *,
    title: str,
    tol: float,
    known_to: float,
) -> Path:
    """Certified intervals with the true values in them, and certified widths above the true errors."""
    i = np.arange(1, s.size + 1)
    low, high = certificate.sigma_lower, certificate.sigma_upper
    figure = blank_figure(11, 5.2, title)
    left, right = figure.subplots(1, 2)
    left.fill_between(
        i, (low / truth - 1), (high / truth - 1), step="mid", color=BLUE, alpha=0.25, linewidth=0,
        label="certified interval",
    )  # fmt: skip
    left.plot(i, s / truth - 1, "o", color=RED, markersize=3, label="computed value")
    left.axhline(0, color=INK, linewidth=0.9, label="true value")
    inside = (low <= truth * (1 + known_to)) & (truth * (1 - known_to) <= high)
    left.set_title(f"The truth lies in {inside.sum()} of {s.size} intervals", loc="left", **STYLE)
    left.set_xlabel("i", color=INK)
    left.set_ylabel("relative distance from the true singular value", color=INK)
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.1e}" if value else "0"))
    left.legend(frameon=False, fontsize=9)
    _widths(right, i, (high - low) / high, tol)
    error = np.abs(s / truth - 1)
    right.semilogy(i, np.maximum(error, 1e-17), "o", color=RED, markersize=3, label="true error")
    floor = min(known_to, float(error[error > 0].min(initial=known_to))) / 5
    right.axhspan(floor, known_to, color=GREY, alpha=0.15, linewidth=0)
    right.set_ylim(floor, tol * 5)
    right.set_title("Certified width above true error", loc="left", **STYLE)
    right.annotate(
        "grey: rounding of the entries to float32 hides the truth", (1, known_to), (0, -12),
        textcoords="offset points", fontsize=8, color=GREY,
    )  # fmt: skip
    right.set_xlabel("i", color=INK)
    right.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, 0.82), ncols=2)
    style_axes(left, right)
    return save_figure(figure, path)


def _widths(axis: Any, i: Any, width: Real, tol: float) -> None:
    axis.semilogy(
        i, np.maximum(width, 1e-17), "s", color=BLUE, markersize=4, label="certified width"
    )
    axis.axhline(tol, color=INK, linestyle="--", linewidth=0.9)
    axis.annotate(
        f"asked: {tol:g}",
        (i[-1], tol),
        (0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=INK,
    )
    axis.set_ylabel("relative to the value", color=INK)
    axis.set_title("Certified width of each interval", loc="left", **STYLE)


def blank_figure(
    width: float,
    height: float,
    title: str,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> Figure:
    """An empty figure with its title; inches."""
    figure = Figure(figsize=(width, height), layout=layout)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.08, h_pad=0.08)  # type: ignore[call-arg]  # inches; matplotlib types the base class only
    figure.suptitle(title, color=INK, fontsize=13, x=0.01, ha="left")
    return figure


def save_figure(figure: Figure, path: FigureFile, format: str | None = None) -> FigureFile:
    """Written as its suffix says, or in another format."""
    figure.savefig(
        path, format=format, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15
    )
    return path


def style_axes(*axes: Any) -> None:
    """Thin grey frames and small numbers."""
    for axis in axes:
        axis.tick_params(colors=INK, labelsize=9)
        for side in axis.spines.values():
            side.set_color(GREY)
            side.set_linewidth(0.6)


def _percent(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def east_west(degrees: float, _: Any) -> str:
    """A longitude beside an axis."""
    west = (-degrees) % 360
    if west == 0:
        return "0°"
    return f"{west:g}°W" if 0 < west < 180 else f"{degrees % 360:g}°E"


def north_south(degrees: float, _: Any) -> str:
    """A latitude beside an axis."""
    return f"{abs(degrees):g}°{'N' if degrees > 0 else 'S' if degrees else ''}"

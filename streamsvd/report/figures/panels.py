"""Panels of a factorisation: its values, its components as maps, images, places or lines, its scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from streamsvd.report.axes_of_labels import AxisValues, ColumnGeometry, shorten
from streamsvd.report.drawing.images import thin_field
from streamsvd.report.drawing.scales import envelope, finite
from streamsvd.report.figures.factorisations import (
    BLUE,
    GREY,
    INK,
    RED,
    STYLE,
    east_west,
    north_south,
    style_axes,
)
from streamsvd.report.plot_parts import ScoreParts, ScreeParts
from streamsvd.typing import Real

NO_VALUE = "#e4e7ea"
"""Where a field has none: white would be zero."""
SMALL = {"color": INK, "fontsize": 9}
DEGREES = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90)
"""Between the numbers of a map."""
FEW = 30
"""Components up to which each has a bar and a number."""
LINE_POINTS = 1500
MOST_PIXELS = 720
"""Along each side of a field; of a larger one, means of blocks are drawn."""


def draw_shares(axis: Any, parts: ScreeParts) -> None:
    """Share of each component on a logarithmic axis, with its certified interval and its sampling error."""
    share = 100 * parts.share
    i = np.arange(1, share.size + 1)
    positive = share[share > 0]
    below = 3.0 if share.size <= FEW else 1.3  # bars stand on something
    floor = float(positive.min()) / below if positive.size else 1e-3
    if share.size <= FEW:
        axis.bar(i, np.maximum(share, floor), color=BLUE, alpha=0.3, width=0.7)
    if parts.sampling is not None:
        error = 100 * parts.sampling
        low = np.maximum(share - error, floor)
        axis.vlines(
            i, low, share + error, color=GREY, linewidth=7 if share.size <= FEW else 3, alpha=0.45,
            label=f"sampling error (North), {parts.n_rows:,} rows as independent",
        )  # fmt: skip
    if parts.ends is None:
        axis.plot(i, share, "_", color=INK, markersize=10)
    else:
        low, high = (100 * end for end in parts.ends)
        spread = np.stack([share - np.maximum(low, floor), high - share])
        what = "certified interval" if parts.is_proved else "estimated interval"
        axis.errorbar(
            i, share, yerr=np.maximum(spread, 0), fmt="_", color=INK, markersize=9 if share.size <= FEW else 4,
            capsize=3.5, linewidth=1.2, label=f"value and {what}",
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(bottom=floor * 0.9)
    if share.size and share.max() / floor < 30:
        axis.yaxis.set_minor_formatter(FuncFormatter(_few_between))
        axis.tick_params(which="minor", labelsize=9, colors=INK)
    axis.yaxis.set_major_formatter(FuncFormatter(_plain_percent))
    axis.set_ylabel("share in %, logarithmic", **SMALL)
    axis.set_title(parts.title, loc="left", **STYLE)
    if parts.ends is not None:
        axis.legend(frameon=False, fontsize=8, loc="upper right")
        low_y, high_y = axis.get_ylim()
        axis.set_ylim(low_y, high_y * (high_y / low_y) ** 0.22)  # room for the legend
    _number_axis(axis, share.size)
    style_axes(axis)


def draw_together(axis: Any, parts: ScreeParts) -> None:
    """Share of all components up to each."""
    i = np.arange(1, parts.together.size + 1)
    together = 100 * parts.together
    if parts.together_ends is not None:
        low, high = (100 * end for end in parts.together_ends)
        what = "certified" if parts.is_proved else "estimated"
        axis.fill_between(i, low, high, color=BLUE, alpha=0.25, linewidth=0, label=f"{what} ends")
    axis.plot(i, together, "o-" if i.size <= FEW else "-", color=BLUE, markersize=4, linewidth=1.4)
    axis.annotate(
        f"{together[-1]:.4g} %", (i[-1], together[-1]), (0, 7 if together[-1] < 90 else -14), textcoords="offset points", ha="right", **SMALL
    )  # fmt: skip
    axis.set_ylim(0, 104)
    axis.axhline(100, color=GREY, linewidth=0.7, linestyle="--")
    axis.set_ylabel("share in %", **SMALL)
    axis.set_title("All up to the component together", loc="left", **STYLE)
    _number_axis(axis, i.size)
    style_axes(axis)


def _number_axis(axis: Any, count: int) -> None:
    axis.set_xlabel("component", **SMALL)
    axis.set_xlim(0.4, count + 0.6)
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True, min_n_ticks=1))


def _plain_percent(value: float, _: Any) -> str:
    """Nothing above 100 %, which is room for the legend."""
    if value > 100.001:
        return ""
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}"


def _few_between(value: float, place: Any) -> str:
    """Numbers between powers of ten: not all of them have room."""
    return _plain_percent(value, place) if f"{value:.0e}"[0] in "235" else ""


# Components ---------------------------------------------------------------------------------------------


def draw_field(
    figure: Any,
    axis: Any,
    values: Real,
    geometry: ColumnGeometry,
    title: str,
    *,
    is_last: bool = True,
) -> None:
    """One component, as its columns lie; lines and bars that share their axis with one below do not number it."""
    axis.set_title(title, loc="left", **(STYLE | {"fontsize": 10}))
    if geometry.kind in ("map", "image"):
        _grid(figure, axis, values, geometry)
    elif geometry.kind == "points":
        _points(figure, axis, values, geometry)
    elif geometry.kind == "bars":
        _bars(axis, values, geometry.axes[0])
    else:
        _line(axis, values, geometry.axes[0])
    style_axes(axis)
    if not is_last and geometry.kind in ("bars", "line"):
        _hide_numbers(axis)


def _limit(values: Real) -> float:
    """Colours are symmetric about zero."""
    return float(np.abs(finite(values)).max(initial=0.0)) or 1.0


def _grid(figure: Any, axis: Any, values: Real, geometry: ColumnGeometry) -> None:
    """A map or an image; what has no value stays grey."""
    down, across = geometry.axes
    if down.role == "longitude":
        down, across, values = across, down, values.T
    (y, down_order), (x, across_order) = _ascending(down), _ascending(across)
    values = values[down_order][:, across_order]
    x, y, values = _thin_axis(x), _thin_axis(y), thin_field(values, MOST_PIXELS)
    limit = _limit(values)
    axis.set_facecolor(NO_VALUE)
    drawn = axis.pcolormesh(
        x, y, np.ma.masked_invalid(values), cmap="RdBu_r", vmin=-limit, vmax=limit, shading="nearest", rasterized=True,
    )  # fmt: skip
    if geometry.kind == "map":
        _degrees(axis, y)
    elif not (down.has_values or across.has_values):
        axis.set_aspect("equal")
        axis.invert_yaxis()  # as images are stored: the first row above
    if geometry.kind == "image":
        axis.set_xlabel(across.label, **SMALL)
        axis.set_ylabel(down.label, **SMALL)
        _ticks(axis.xaxis, across)
        _ticks(axis.yaxis, down)
    _colour_bar(figure, axis, drawn)


def _thin_axis(x: Any) -> Any:
    """Middles of the blocks whose means are drawn."""
    step = -(-x.size // MOST_PIXELS)
    if step == 1:
        return x
    starts = np.arange(0, x.size, step)
    whole = x.astype("M8[us]").astype(np.int64) if x.dtype.kind == "M" else x
    means = np.add.reduceat(whole / step, starts)
    means[-1] *= step / (x.size - starts[-1])
    return means.astype(np.int64).astype("M8[us]") if x.dtype.kind == "M" else means


def _ascending(along: AxisValues) -> tuple[Any, Any]:
    """Values in ascending order, and that order; where there are equal ones, numbers."""
    order = np.argsort(along.values, kind="stable")
    values = along.values[order]
    if values.size > 1 and (values[1:] == values[:-1]).any():
        return np.arange(values.size), np.arange(values.size)
    return values, order


def _points(figure: Any, axis: Any, values: Real, geometry: ColumnGeometry) -> None:
    """Places with a colour each."""
    latitude, longitude = (along.values for along in geometry.axes)
    limit, here = _limit(values), np.isfinite(values)
    axis.plot(longitude[~here], latitude[~here], ".", color=NO_VALUE, markersize=3)
    size = float(np.clip(6000 / max(values.size, 1), 4, 60))
    drawn = axis.scatter(
        longitude[here], latitude[here], c=values[here], s=size, cmap="RdBu_r", vmin=-limit, vmax=limit,
        edgecolors=GREY, linewidths=0.3 if values.size < 2000 else 0, rasterized=values.size > 5000,
    )  # fmt: skip
    _degrees(axis, latitude)
    _colour_bar(figure, axis, drawn)


def _degrees(axis: Any, latitude: Real) -> None:
    """Degrees beside a map, whose aspect is right in its middle."""
    middle = np.clip(abs(float(np.mean(latitude))), 0, 70)
    aspect = 1 / float(np.cos(np.deg2rad(middle)))
    (west, east), (south, north) = axis.get_xlim(), axis.get_ylim()
    shape = aspect * abs(north - south) / (abs(east - west) or 1.0)
    axis.set_aspect(aspect if 0.3 < shape < 2.5 else "auto")  # a narrow band is stretched
    axis.xaxis.set_major_formatter(FuncFormatter(east_west))
    axis.yaxis.set_major_formatter(FuncFormatter(north_south))
    for one, (low, high) in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
        step = next((d for d in DEGREES if 5 * d >= abs(high - low)), 90)
        one.set_major_locator(MultipleLocator(step) if step > 1 else MaxNLocator(5))


def _colour_bar(figure: Any, axis: Any, drawn: Any) -> None:
    bar = figure.colorbar(drawn, ax=axis, pad=0.015, aspect=18)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    style_axes(bar.ax)
    bar.ax.tick_params(labelsize=8)


def _bars(axis: Any, values: Real, along: AxisValues) -> None:
    """Few columns that have names."""
    assert along.names is not None
    x = np.arange(values.size)
    axis.bar(x, np.nan_to_num(values), color=[RED if v >= 0 else BLUE for v in np.nan_to_num(values)], alpha=0.75, width=0.75)  # fmt: skip
    axis.axhline(0, color=GREY, linewidth=0.6)
    axis.set_xlim(-0.6, values.size - 0.4)
    axis.set_xlabel(along.label if not along.has_values else "", **SMALL)
    _ticks(axis.xaxis, along)
    axis.yaxis.set_major_locator(MaxNLocator(5))


def _line(axis: Any, values: Real, along: AxisValues) -> None:
    """Many columns along one axis."""
    x, order = _ascending(along)
    places, y = envelope(np.asarray(values[order], np.float64), LINE_POINTS // 2)
    axis.axhline(0, color=GREY, linewidth=0.6)
    rough = y.size > 300 and np.nanmedian(np.abs(np.diff(y))) > _limit(y) / 20
    thin = 0.5 if rough else 1.0
    axis.plot(x[places.astype(np.int64)], y, color=BLUE, linewidth=thin)
    axis.margins(x=0.01)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel(along.label, **SMALL)
    _ticks(axis.xaxis, along)


def _ticks(axis: Any, along: AxisValues) -> None:
    """Dates, names or round numbers."""
    if along.role == "time":
        _dates(axis)
    elif along.names is not None and len(along.names) <= FEW + 10:
        names = shorten(along.names)
        longest = max(map(len, names))
        slanted = axis.axis_name == "x" and longest > 2 and (len(names) > 8 or longest > 8)
        turn: dict[str, Any] = (
            {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
        )
        axis.set_ticks(np.arange(len(names)), names, fontsize=8, **turn)
    else:
        axis.set_major_locator(MaxNLocator(6, integer=not along.has_values))


def _dates(axis: Any) -> None:
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axis.set_major_locator(locator)
    axis.set_major_formatter(ConciseDateFormatter(locator))


# Scores -------------------------------------------------------------------------------------------------


def draw_score(axis: Any, parts: ScoreParts, number: int, title: str, *, is_last: bool) -> None:
    """One column of scores along the rows, shaded on both sides of zero."""
    x, y = parts.x, parts.values[:, number]
    if parts.is_thinned:
        axis.fill_between(x[0::2], y[0::2], y[1::2], color=INK, alpha=0.75, linewidth=0.2)
    else:
        for side, colour in ((y >= 0, RED), (y < 0, BLUE)):
            axis.fill_between(
                x, y, 0, where=side, color=colour, alpha=0.3, linewidth=0, interpolate=True
            )
        axis.plot(x, y, color=INK, linewidth=float(np.clip(400 / x.size, 0.3, 1.0)))
    axis.axhline(0, color=GREY, linewidth=0.6)
    axis.set_title(title, loc="left", **(STYLE | {"fontsize": 10}))
    axis.margins(x=0.01)
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.set_ylabel(parts.label, **SMALL)
    _ticks(axis.xaxis, parts.axis)
    style_axes(axis)
    axis.set_xlabel(parts.axis.label, **SMALL)
    if not is_last:
        _hide_numbers(axis)


def _hide_numbers(axis: Any) -> None:
    """Of an axis that is numbered below."""
    axis.tick_params(axis="x", labelbottom=False)
    axis.xaxis.get_offset_text().set_visible(False)
    axis.set_xlabel("")

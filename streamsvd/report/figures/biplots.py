"""A biplot: columns as arrows and rows as points, in the plane of two components (Gabriel 1971)."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamsvd.report.axes_of_labels import shorten
from streamsvd.report.figures.factorisations import BLUE, GREY, INK, RED, style_axes
from streamsvd.report.plot_parts import BiplotParts
from streamsvd.typing import Real


def draw_biplot(axis: Any, parts: BiplotParts) -> None:
    """Arrows are loadings, points scores of variance one; arrows are scaled to reach as far as the points do."""
    reach = float(np.abs(parts.arrows).max(initial=0.0)) or 1.0
    extent = 1.0
    if parts.points is not None and len(parts.points):
        extent = float(np.quantile(np.abs(parts.points), 0.995)) or 1.0
        axis.plot(*parts.points.T, ".", color=GREY, alpha=0.35, markersize=3.5, zorder=1, rasterized=len(parts.points) > 1000)  # fmt: skip
    arrows = parts.arrows / reach * extent
    for x, y in arrows:
        axis.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": RED, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}, zorder=3)  # fmt: skip
    room = 1.45 * extent
    axis.set_xlim(-room, room)
    axis.set_ylim(-room, room)
    axis.set_aspect("equal")
    axis.axhline(0, color=GREY, linewidth=0.5)
    axis.axvline(0, color=GREY, linewidth=0.5)
    _names(axis, arrows, shorten(parts.names), room)
    axis.set_xlabel(parts.titles[0], color=INK, fontsize=9)
    axis.set_ylabel(parts.titles[1], color=INK, fontsize=9)
    said = "arrows: columns (loadings)"
    if parts.points is not None:
        said += "; points: rows (scores of variance one)"
    axis.set_title(said, loc="left", color=INK, fontsize=9)
    style_axes(axis)


def _names(axis: Any, arrows: Real, names: list[str], room: float) -> None:
    """Names beside the heads of their arrows, moved apart up and down, each side by itself."""
    gap = 2 * room / 26  # the height of a line of text
    for side in (-1, 1):
        mine = [i for i in range(len(names)) if (arrows[i, 0] >= 0) == (side > 0)]
        mine.sort(key=lambda i: float(arrows[i, 1]))
        places = spread([float(arrows[i, 1]) for i in mine], gap, room * 0.97)
        for i, y in zip(mine, places, strict=True):
            x = float(arrows[i, 0]) + side * 0.03 * room
            moved = abs(y - float(arrows[i, 1])) > gap / 2
            axis.annotate(
                names[i], tuple(arrows[i]), (x + side * 0.05 * room * moved, y), ha="left" if side > 0 else "right", va="center",
                fontsize=8, color=BLUE, zorder=4, bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}, arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4} if moved else None,
            )  # fmt: skip


def spread(wanted: list[float], gap: float, most: float) -> list[float]:
    """Ascending places moved apart by at least a gap, each run of them about the middle of what was wanted; within ``-most`` and ``most``.

    Examples
    --------
    >>> spread([0.0, 0.1, 2.0], 1.0, 3.0)
    [-0.45, 0.55, 2.0]
    >>> spread([2.9, 2.95, 3.0], 1.0, 3.0)
    [1.0, 2.0, 3.0]
    """
    gap = min(gap, 2 * most / max(len(wanted) - 1, 1))
    runs: list[tuple[float, int]] = []  # middle and count of those that touch
    for place in wanted:
        runs.append(_within(place, 1, gap, most))
        while len(runs) > 1 and _distance(runs[-2], runs[-1], gap) < gap:
            (b, n), (a, m) = runs.pop(), runs.pop()
            runs.append(_within((a * m + b * n) / (m + n), m + n, gap, most))
    return [round(m + (j - (n - 1) / 2) * gap, 12) for m, n in runs for j in range(n)]


def _within(middle: float, count: int, gap: float, most: float) -> tuple[float, int]:
    half = (count - 1) * gap / 2
    return float(np.clip(middle, min(-most + half, 0.0), max(most - half, 0.0))), count


def _distance(a: tuple[float, int], b: tuple[float, int], gap: float) -> float:
    """From the last of one run to the first of the next."""
    return b[0] - (b[1] - 1) * gap / 2 - (a[0] + (a[1] - 1) * gap / 2)

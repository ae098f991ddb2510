"""The figure of a collection at several errors: bytes against error, sizes of clusters, and who joined whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamsvd.collections.rates import RateCurve, RatePoint
from streamsvd.engine.memory import show_bytes
from streamsvd.report.figures.factorisations import (
    BLUE,
    GREY,
    INK,
    RED,
    STYLE,
    FigureFile,
    blank_figure,
    save_figure,
    style_axes,
)
from streamsvd.report.figures.trees import draw_tree, matrix_count_text

SMALL = {"color": INK, "fontsize": 9}
TICKS = 8
"""Most numbers on an axis of bytes."""
WHOSE = {"cluster": "of each cluster", "global": "of all together", "block": "of every matrix"}


def draw_rates(
    path: FigureFile, found: RateCurve, *, at: float, title: str = "", format: str | None = None
) -> FigureFile:
    """Bytes against error, and the clusters and the tree of their merges at one of the errors.

    Parameters
    ----------
    path
        File to write, by its path or open; its suffix is the format, if that is not passed.
    found
        By `streamsvd.rate_curve`.
    at
        Error whose clusters are drawn.
    title
        Said above, before what there is.
    format
        ``"png"``, ``"svg"`` or ``"pdf"``, whatever the file is called.

    Raises
    ------
    SpecError
        If that error was not asked for.
    """
    rate, p = found.at(at), found.plan
    what = f"{matrix_count_text(p.n_blocks)} of {p.rows:,} rows, {show_bytes(found.bytes_before)}"
    figure = blank_figure(11, 8.4, f"{title}: {what}" if title else what)
    axes: dict[str, Any] = figure.subplot_mosaic(
        [["curve", "sizes"], ["tree", "tree"]], height_ratios=[1, 1.1]
    )
    _curve(axes["curve"], found, at)
    _sizes(axes["sizes"], rate)
    draw_tree(axes["tree"], rate, mode=found.options.mode)
    style_axes(*axes.values())
    return save_figure(figure, path, format)


def _curve(axis: Any, found: RateCurve, at: float) -> None:
    """Bytes of shared bases, of each matrix alone, and of the matrices."""
    errors = [rate.error for rate in found.rates]
    ours = [rate.bytes_after for rate in found.rates]
    alone = [rate.bytes_alone for rate in found.rates]
    axis.axhline(found.bytes_before, color=GREY, linestyle="--", label="matrices as they are")
    axis.plot(
        errors, alone, "s-", color=RED, linewidth=2.2, markersize=8, label="SVD of each alone"
    )
    axis.plot(errors, ours, "o-", color=BLUE, markersize=5, label="shared bases")
    axis.axvline(at, color=INK, linewidth=0.7, alpha=0.4)
    for x, y, rate in zip(errors, ours, found.rates, strict=True):
        if np.isfinite(rate.compression_ratio):
            axis.annotate(
                f"{rate.compression_ratio:.3g}×", (x, y), (0, -14), textcoords="offset points",
                ha="center", color=BLUE, fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )  # fmt: skip
    _bytes(axis, min(*ours, *alone, found.bytes_before), max(*alone, *ours, found.bytes_before))
    if errors[0] > 0:
        _errors(axis, errors)
    axis.set_xlabel(f"relative error allowed, {WHOSE[found.options.mode]}", **SMALL)
    axis.set_title("Bytes against error", loc="left", **STYLE)
    axis.legend(frameon=False, fontsize=9, loc="upper right", labelcolor=INK)


def _bytes(axis: Any, least: int, most: int) -> None:
    """A logarithmic axis with numbers at powers of two; a linear one where there is nothing to take a logarithm of."""
    if least <= 0:
        axis.set_ylim(-0.04 * max(most, 1), 1.4 * max(most, 1))
        axis.set_yticks([0, most] if most else [0], ["0 B", show_bytes(most)][: 1 + bool(most)])
        return
    low = least / 1.7
    high = most * (most / low) ** 0.35  # room for the legend
    first, last = int(np.ceil(np.log2(low))), int(np.floor(np.log2(high)))
    step = -(-(last - first + 1) // TICKS)
    ticks = [2**k for k in range(first, last + 1) if k % step == 0]
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    axis.set_yticks(ticks, [show_bytes(x) for x in ticks])
    axis.set_yticks([], minor=True)


def _errors(axis: Any, errors: Sequence[float]) -> None:
    """A logarithmic axis with the errors as its numbers, but for those that are too near to the one before."""
    span = max(errors[-1] / errors[0], 2.0)
    ticks = [errors[0]]
    for error in errors[1:]:
        if error >= ticks[-1] * span**0.06:
            ticks.append(error)
    axis.set_xscale("log")
    axis.set_xlim(errors[0] / span**0.08, errors[-1] * span**0.08)
    axis.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axis.set_xticks([], minor=True)


def _sizes(axis: Any, rate: RatePoint) -> None:
    """Matrices of each cluster, the largest first; those kept as they are in grey, at the end."""
    sizes = [
        sorted((len(c.members) for c in rate.clusters if c.raw is raw), reverse=True)
        for raw in (False, True)
    ]
    shared, raw = sizes
    # Many that are kept as they are get narrow bars, or nothing would be seen of the others.
    narrow = min(1.0, max(len(shared), 8) / len(raw)) if shared and raw else 1.0
    share = 0.8 if max(len(shared), narrow * len(raw)) <= 60 else 1.0
    axis.bar(range(1, len(shared) + 1), shared, share, color=BLUE, label="sharing a basis")
    if raw:
        after = [len(shared) + 0.5 + narrow * (i + 0.5) for i in range(len(raw))]
        axis.bar(after, raw, share * narrow, color=GREY, label="kept as they are")
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    axis.set_xlim(0.4, max(len(shared) + narrow * len(raw), 8) + 0.6)
    axis.set_ylim(0, 1.15 * max([*shared, *raw]))
    for numbers in (axis.xaxis, axis.yaxis):
        numbers.get_major_locator().set_params(integer=True)
    counted = len(rate.clusters) if narrow == 1 else len(shared)
    ticks = range(1, counted + 1) if counted < 12 else axis.get_xticks()
    axis.set_xticks([x for x in ticks if 1 <= x <= counted])
    axis.set_xlabel("cluster, the largest first", **SMALL)
    axis.set_ylabel("matrices", **SMALL)
    said = f"{len(shared):,} cluster{'s' * (len(shared) != 1)} at error {rate.error:g}"
    if rate.raw:
        said += (
            f", {matrix_count_text(rate.raw)} kept as {'it is' if rate.raw == 1 else 'they are'}"
        )
    axis.set_title(said, loc="left", **STYLE)

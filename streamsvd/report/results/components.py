"""Components as what they are: images or maps where their columns come from a grid, lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.labels import Labels
from streamsvd.report.drawing.charts import Chart
from streamsvd.report.drawing.images import image
from streamsvd.report.drawing.scales import Numbers, Scale, envelope, finite
from streamsvd.report.parts import Drawing, Section
from streamsvd.typing import Matrix

MOST_COMPONENTS = 8
POINTS = 300
"""Stretches of a long line, each drawn from its least to its largest."""
MOST_BYTES = 64 << 20
"""Of a left factor that lies on disk and is read for the page."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The dimensions that columns come from.

    Attributes
    ----------
    extents
        Of each, in C order.
    axes
        Name and numbers of each, ``("lat", array)``; None where nobody knows.
    """

    extents: tuple[int, ...]
    axes: tuple[Any, ...] = ()

    @classmethod
    def of(cls, labels: Labels) -> Grid:
        """The dimensions of the columns, with the finite numbers along them."""
        axes: list[Any] = []
        for dimension in labels.columns:
            found = labels.coordinate(dimension.name)
            along = found is not None and found.dims == (dimension.name,)
            numbers = found.array if found is not None and along else np.zeros(0)
            drawn = along and numbers.dtype.kind in "iuf" and bool(np.isfinite(numbers).all())
            axes.append((dimension.name, numbers) if drawn else None)
        return cls(tuple(dimension.length for dimension in labels.columns), tuple(axes))

    def fits(self, columns: int) -> bool:
        """Whether so many columns make an image."""
        return (
            math.prod(self.extents) == columns
            and len(self.extents) >= 2
            and min(self.extents[-2:]) > 1
        )

    @property
    def last_axes(self) -> tuple[Any, Any]:
        """Of the two dimensions that make an image."""
        return (self.axes[-2], self.axes[-1]) if len(self.axes) >= 2 else (None, None)


def components_section(
    Vh: Matrix, *, grid: Grid | None = None, names: Sequence[str] = (), most: int = MOST_COMPONENTS,
    title: str = "Components", axis: str = "column",
) -> Section:  # fmt: skip
    """The leading rows of ``(k, n)``, a drawing each."""
    k, n = Vh.shape
    texts = []
    few = min(k, most)
    if few < k:
        texts.append(f"The first {few} of {k} are drawn.")
    is_complex = np.iscomplexobj(Vh)
    if is_complex:
        texts.append("They are complex: their real parts are drawn.")
    grid = grid if grid is not None and grid.fits(n) else None
    if grid is not None and len(grid.extents) > 2:
        texts.append(
            f"The columns come from {' × '.join(map(str, grid.extents))} places: the first slice of the leading dimensions is drawn."
        )
    drawings = []
    for i in range(few):
        row = np.asarray(Vh[i].real if is_complex else Vh[i], dtype=np.float64)
        name = names[i] if i < len(names) else f"Component {i + 1}"
        if grid is not None:
            field = row.reshape(-1, *grid.extents[-2:])[0]
            drawings.append(image(name, field, axes=grid.last_axes))
        else:
            drawings.append(line(name, row, axis))
    if grid is None and n > 2 * POINTS:
        texts.append(
            f"Of {n:,} {axis}s, {POINTS} stretches are drawn, each from its least to its largest entry."
        )
    return Section(title, texts, (), drawings)


def line(name: str, values: Numbers, axis: str) -> Drawing:
    """A row of numbers as a line about zero."""
    x, y = envelope(values, POINTS)
    found = finite(values)
    told = "No entry is a number."
    if found.size:
        low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
        told = f"{values.size:,} entries: least {values[low]:.4g} at {axis} {low:,}, largest {values[high]:.4g} at {axis} {high:,}."
    if found.size < values.size:
        told += f" {values.size - found.size:,} have no value."
    chart = Chart(
        name, told, Scale.of([0.0, max(values.size - 1, 1)], is_integer=True), Scale.of([*finite(y), 0.0]), x_label=axis, y_label="entry"
    )  # fmt: skip
    return chart.line(x, y).finish()


def scores_section(U: Any, *, most: int = 4) -> Section | None:
    """The leading columns of a left factor, row by row; None where there is none, or it is too large to be read for a page."""
    if U is None:
        return None
    m, k = U.shape
    if m * k * np.dtype(U.dtype).itemsize > MOST_BYTES:
        text = f"The left factor has {m:,} × {k} entries, too many to be read for a page."
        return Section("Left vectors", [text])
    values = np.asarray(U[:])
    return components_section(
        values.T,
        most=most,
        names=[f"Left vector {i + 1}" for i in range(most)],
        title="Left vectors",
        axis="row",
    )

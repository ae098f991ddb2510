"""What plots of a result show, as arrays: nothing here draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.factor.result import PCA, SVD
from streamsvd.factor.rotation_result import Rotation
from streamsvd.factor.sampling import independent_rows
from streamsvd.labels import Labels
from streamsvd.numerics.sampling import standard_errors
from streamsvd.report.axes_of_labels import (
    AxisValues,
    ColumnGeometry,
    column_geometry,
    row_axis,
)
from streamsvd.typing import Matrix, Real

ROWS_AT_ONCE = 1 << 16
MOST_POINTS = 3000
"""Rows of scores that are drawn one by one; of more, stretches, each from its least to its largest."""
BIPLOT_COLUMNS = 30


@dataclass(frozen=True, slots=True, eq=False)
class ScreeParts:
    """Shares of the components, ``(k,)``, with what is known of them.

    Attributes
    ----------
    share, together
        Of each, and of all up to it.
    ends
        Lower and upper ends of `share`; None where there are none.
    together_ends
        The same of `together`.
    sampling
        Standard error of `share` by North's rule; None where rows are no sample about their mean.
    n_rows
        Rows on which that rests.
    is_proved
        Whether ends are certified.
    title
        What it shows.
    """

    share: Real
    together: Real
    ends: tuple[Real, Real] | None
    together_ends: tuple[Real, Real] | None
    sampling: Real | None
    n_rows: int
    is_proved: bool
    title: str


@dataclass(frozen=True, slots=True, eq=False)
class ScoreParts:
    """Scores of chosen components along the rows.

    Attributes
    ----------
    axis
        What rows lie along.
    x
        Numbers or dates, ``(p,)``.
    values
        ``(p, r)``; where there were too many rows, the least and the largest of each stretch in turn.
    is_thinned
        Whether it is so.
    label
        What is written beside them.
    """

    axis: AxisValues
    x: npt.NDArray[Any]
    values: Real
    is_thinned: bool
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class BiplotParts:
    """Two components: columns as arrows, rows as points.

    Attributes
    ----------
    arrows
        Loadings of the columns, ``(n, 2)``, those left out taken away.
    names
        Of the columns.
    points
        Scores of variance one, ``(p, 2)``; None where there is no left factor.
    titles
        Of the two axes.
    """

    arrows: Real
    names: tuple[str, ...]
    points: Real | None
    titles: tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class PlotParts:
    """A result, as plots know it.

    Attributes
    ----------
    title
        What it is.
    scree
        Its values.
    geometry
        How a component is drawn.
    fields
        Components that were asked for, each in its shape; NaN where nothing is.
    titles
        Of these.
    scores
        None where there is no left factor.
    biplot
        None where there are too many columns, or one component.
    """

    title: str
    scree: ScreeParts
    geometry: ColumnGeometry
    fields: tuple[Real, ...]
    titles: tuple[str, ...]
    scores: ScoreParts | None
    biplot: BiplotParts | None


def plot_parts(result: SVD | Rotation, numbers: Sequence[int]) -> PlotParts:
    """Everything that is drawn of a result and some of its components, by their numbers from 0."""
    rows = result.components if isinstance(result, Rotation) else result.Vh
    geometry = column_geometry(result.labels, rows.shape[1])
    scree = _scree(result)
    word = _word(result)
    shares = [f"{word} {i + 1} ({100 * float(scree.share[i]):.3g} %)" for i in numbers]
    is_complex = np.iscomplexobj(rows)
    notes = "".join(
        f", {note}" for note in (geometry.first, "real part" if is_complex else "") if note
    )
    fields = tuple(np.asarray(geometry.field(_real(rows[i])), np.float64) for i in numbers)
    scores = _scores(result, numbers)
    return PlotParts(
        _title(result),
        scree,
        geometry,
        fields,
        tuple(f"{share}{notes}" for share in shares),
        scores,
        _biplot(result, rows, numbers, shares),
    )


def _real(x: Any) -> Any:
    return x.real if np.iscomplexobj(x) else x


def _word(result: SVD | Rotation) -> str:
    if isinstance(result, Rotation):
        return "rotated component"
    return "component" if isinstance(result, PCA) else "vector"


def _title(result: SVD | Rotation) -> str:
    """What was factorised, in a line."""
    labels, m = result.labels, result.info.n_rows
    n = (result.components if isinstance(result, Rotation) else result.Vh).shape[1]
    name = str(labels.attributes.get("long_name") or labels.name)
    what = {Rotation: "rotated components", PCA: "PCA"}.get(type(result), "SVD")
    if isinstance(result, Rotation):
        what = f"{result.options.method} of {result.rank} components"
    of = f" of {name}" if name else ""
    return f"{what}{of}: {m:,} rows × {n:,} columns"


def _scree(result: SVD | Rotation) -> ScreeParts:
    if isinstance(result, Rotation):
        share = result.variance_ratio
        return ScreeParts(
            share, np.minimum(np.cumsum(share), 1.0), None, None, None, result.info.n_rows, False, "Variance after the rotation",
        )  # fmt: skip
    table = result.scree()
    sampling, n_rows = None, independent_rows(result)
    if isinstance(result, PCA) or result.mean is not None:
        sampling = standard_errors(table.share, n_rows)
    return ScreeParts(
        table.share, table.cumulative, (table.share_lower, table.share_upper), (table.cumulative_lower, table.cumulative_upper),
        sampling, round(n_rows), table.is_proved, "Share of the variance" if sampling is not None else "Share of the energy",
    )  # fmt: skip


def _left(result: SVD | Rotation) -> tuple[Any, Real | None]:
    """Scores of rows as they lie, and what their columns are multiplied with."""
    if isinstance(result, Rotation):
        return result.scores, np.ones(result.rank)
    return result.U, result.s


def _scores(result: SVD | Rotation, numbers: Sequence[int]) -> ScoreParts | None:
    U, factor = _left(result)
    if U is None or factor is None:
        return None
    m = int(U.shape[0])
    axis = row_axis(result.labels, m)
    rows, values, is_thinned = _thin_rows(U, list(numbers), m)
    units = str(result.labels.attributes.get("units", ""))
    preparation = getattr(result, "preparation", {})
    is_plain = not isinstance(result, Rotation) and not any(
        preparation.get(name) is not None and preparation.get(name) is not False
        for name in ("scale", "row_weights", "column_weights")
    )
    label = f"score in {units}" if units not in ("", "1") and is_plain else "score"
    x = axis.values[rows]
    return ScoreParts(axis, x, _real(values * factor[list(numbers)]), is_thinned, label)


def _thin_rows(U: Any, numbers: list[int], m: int) -> tuple[npt.NDArray[np.int64], Matrix, bool]:
    """Rows that are drawn: all, or in each stretch the least and the largest, read a run at a time."""
    if m <= MOST_POINTS:
        return np.arange(m), np.asarray(U[:])[:, numbers], False
    cuts = np.linspace(0, m, MOST_POINTS // 2 + 1).astype(np.int64)
    low = np.full((cuts.size - 1, len(numbers)), np.inf)
    high = -low
    for start in range(0, m, ROWS_AT_ONCE):
        rows = _real(np.asarray(U[start : start + ROWS_AT_ONCE])[:, numbers])
        at = np.searchsorted(cuts, np.arange(start, start + rows.shape[0]), side="right") - 1
        np.minimum.at(low, at, rows)
        np.maximum.at(high, at, rows)
    places = np.repeat(cuts[:-1], 2)
    values = np.empty((places.size, len(numbers)))
    values[0::2], values[1::2] = low, high
    return places, values, True


def _every_so_many(U: Any, numbers: list[int], m: int) -> Matrix:
    """About `MOST_POINTS` rows at equal distances, read a run at a time."""
    step = -(-m // MOST_POINTS)
    run = max(ROWS_AT_ONCE // step, 1) * step
    parts = [np.asarray(U[a : min(a + run, m)])[::step, numbers] for a in range(0, m, run)]
    return np.concatenate(parts)


def _biplot(
    result: SVD | Rotation, rows: Matrix, numbers: Sequence[int], shares: Sequence[str]
) -> BiplotParts | None:
    n = rows.shape[1]
    if n > BIPLOT_COLUMNS or len(numbers) < 2 or np.iscomplexobj(rows):
        return None
    pair = list(numbers[:2])
    present = np.isfinite(rows).all(axis=0)
    with np.errstate(over="ignore"):
        variance = (
            result.variance if isinstance(result, Rotation) else result.s**2 / result.info.freedom
        )
    arrows = rows[pair][:, present].T * np.sqrt(variance[pair])
    names = np.array(_names(result.labels, n))[present]
    U, factor = _left(result)
    points = None
    if U is not None and factor is not None:
        _, values, is_thinned = _thin_rows(U, pair, int(U.shape[0]))
        if is_thinned:  # ends of stretches are no rows: one in so many rows is drawn
            values = _every_so_many(U, pair, int(U.shape[0]))
        points = values * factor[pair] / np.sqrt(np.where(variance[pair] > 0, variance[pair], 1))
    return BiplotParts(arrows, tuple(map(str, names)), points, (shares[0], shares[1]))


def _names(labels: Labels, n: int) -> list[str]:
    from streamsvd.factor.tables import column_texts

    return column_texts(labels, n, np.arange(n))

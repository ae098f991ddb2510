"""Anomalies and trends: a matrix whose rows have lost what groups of them have in common, after one pass.

Labels of rows come from the coordinate of their dimension, or from the caller. What is subtracted is a `Climatology`: known once, it is
the same for rows that come later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.row_fits import RowFitRequest, fit_rows
from streamsvd.engine.row_labels import (
    Keys,
    LabelledRows,
    RowTransform,
    given_rows,
    label_rows,
    with_reference,
    with_times,
)
from streamsvd.engine.weights import column_weight_array
from streamsvd.errors import SpecError
from streamsvd.numerics.row_fits import RowFit
from streamsvd.protocols import Source
from streamsvd.store.sources.views.adjusted import AdjustedRows, RowLabels
from streamsvd.typing import Real


@dataclass(frozen=True, slots=True, eq=False)
class Climatology:
    """What groups of rows have in common, and how labels lead to it.

    Attributes
    ----------
    keys
        Numbers of the groups, ascending, ``(G,)``.
    origin, scale
        Times are ``(t - origin) / scale``.
    fit
        What is subtracted; None before it is known.
    asked
        How rows are labelled; None where the caller gave the labels.
    """

    keys: Keys
    origin: float
    scale: float
    fit: RowFit | None
    asked: RowTransform | None = None

    @classmethod
    def unread(cls, rows: LabelledRows) -> Climatology:
        """Of the rows that are to be fitted, before they are read."""
        origin, scale = 0.0, 1.0
        if rows.times is not None:
            times = rows.times[rows.reference]
            first, last = float(times.min()), float(times.max())
            origin, scale = (first + last) / 2, (last - first) / 2 or 1.0
        return cls(np.unique(rows.keys[rows.reference]), origin, scale, None, rows.asked)

    def labels(self, rows: LabelledRows, name: str) -> RowLabels:
        """Labels of rows by these groups.

        Raises
        ------
        SpecError
            If a row is of no group of these; it names the row and its group.
        """
        place = np.searchsorted(self.keys, rows.keys)
        place = np.minimum(place, self.keys.size - 1)
        strange = self.keys[place] != rows.keys
        if strange.any():
            row = int(np.argmax(strange))
            raise SpecError(
                f"row {row:,} of {name} is of {rows.describe(int(rows.keys[row]))}, of which no row was fitted: what it has in common "
                f"with others is not known ({int(strange.sum()):,} of {strange.size:,} rows are of such groups). Pass a reference= "
                "that has all groups, or fewer groups."
            )
        times = None if rows.times is None else (rows.times - self.origin) / self.scale
        return RowLabels(place.astype(np.int32), times)


def fit_request(source: Source, rows: LabelledRows) -> RowFitRequest:
    """What is fitted, checked for all rows before any is read.

    Raises
    ------
    SpecError
        If a row is of a group of which none is fitted.
    """
    groups = Climatology.unread(rows)
    labels = groups.labels(rows, source.name)
    return RowFitRequest(source, labels, rows.reference, groups.keys.size)


def fit_climatology(
    source: Source, rows: LabelledRows, memory: int | float | str | None, notify: Callback
) -> Climatology:
    """What groups of rows have in common: one pass.

    Raises
    ------
    SpecError, BudgetError, NonFiniteError
        If a row is of a group that is not fitted, the memory does not do, or an entry is Inf.
    """
    groups = Climatology.unread(rows)
    found = fit_rows(fit_request(source, rows), memory, notify)
    return replace(groups, fit=found)


def subtract_climatology(
    source: Source, rows: LabelledRows, climatology: Climatology
) -> AdjustedRows:
    """A matrix without its climatology; not to be read before that is known.

    Raises
    ------
    SpecError
        If a row is of a group that is not fitted, or entries were rounded to single precision by steps before.
    """
    if getattr(source, "step_rounding", 0.0):
        raise SpecError(
            f"{source.name} was rounded to float32 by its steps, and differences of it would hide by how much. Take them with "
            "apply_steps(A, steps, precise=True)."
        )
    whole = None if climatology.fit is None else climatology
    labels = climatology.labels(rows, source.name)
    return AdjustedRows(source, labels, climatology.fit, climatology=whole)


def climatology_of(source: Source) -> Climatology | None:
    """What the rows of a matrix have lost, of a matrix that is read without it; None for nothing."""
    found = getattr(source, "climatology", None)
    return found if isinstance(found, Climatology) else None


def subtract_same(source: Source, climatology: Climatology) -> Source:
    """Rows that come later without what the rows before them have lost.

    Raises
    ------
    SpecError
        If one is of a group of which no row was fitted, rows have no times, or the labels were the caller's.
    """
    if climatology.asked is None:
        raise SpecError(
            f"means of groups were subtracted whose labels were an array, and nobody knows those of {source.name}. Pass "
            "streamsvd.anomalies(new, by=labels, like=result)."
        )
    rows = label_rows(source, replace(climatology.asked, reference=None))
    return subtract_climatology(source, rows, climatology)


def anomalies(
    A: Any,
    by: str | Sequence[str] | npt.NDArray[Any] | None = None,
    *,
    like: Any = None,
    of: str | None = None,
    reference: Sequence[str] | npt.NDArray[Any] | None = None,
    detrend: bool | Sequence[float] | npt.NDArray[Any] = False,
    memory: int | float | str | None = None,
    callback: Callback = ignore_event,
) -> Source:
    """A matrix without its climatology: from each row the mean of the rows of its group is subtracted, as it is read.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    by
        ``"month"``, ``"season"``, ``"dayofyear"`` or ``"hour"`` of the time of a row, or several of them, such as
        ``["month", "hour"]``; or an array of integers, one label for each row. The month if left out.
    like
        What this returned before, or a result of it: what was found there is subtracted, and nothing is fitted. Of the other
        arguments only labels in ``by``, and times in ``detrend``, are taken then, where those before were arrays too.
    of
        The dimension whose coordinate has the times, where several make the rows.
    reference
        First and last day of the rows whose means are taken, such as ``["1981-01-01", "2010-12-31"]``, both included; or an array of
        booleans, one for each row. All rows if left out.
    detrend
        Whether the trend along the same times is subtracted too, found together with the means by least squares; or the
        times, one number for each row.
    memory
        Bytes that the pass may use, or a text such as ``"256MiB"``; half of what is free if left out.
    callback
        Receives progress events.

    Returns
    -------
    source
        What every verb takes, in float64 or complex128. A missing entry stays missing; so does one whose group has no value in its
        column within the reference.

    Raises
    ------
    SpecError
        If the rows have no such times, or one is of a group without rows in the reference.
    BudgetError
        If the means do not fit in the memory: groups times columns, in float64.
    NonFiniteError
        If an entry is Inf.

    Notes
    -----
    Cost: one pass over the rows of the reference; ``8 G n`` bytes stay in memory for ``G`` groups of ``n`` columns.
    The means of a matrix that grows change with it: pass ``reference`` where a model absorbs what this returns.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> B = streamsvd.anomalies(np.arange(12.0).reshape(6, 2), by=np.arange(6) % 2)
    >>> out = np.empty((6, 2))
    >>> B.read(slice(0, 6), slice(0, 2), out)
    >>> out[:, 0]
    array([-4., -4.,  0.,  0.,  4.,  4.])
    """
    source = as_source(A)
    trend = isinstance(detrend, bool)
    if like is not None:
        return _subtract_like(source, like, by, None if trend else detrend)
    by = "month" if by is None else by
    if len(by) == 0:
        raise SpecError(
            "by= names nothing. Pass a field such as month, or one integer for each row."
        )
    named = isinstance(by, str) or all(isinstance(field, str) for field in by)
    if named:
        fields = (by,) if isinstance(by, str) else tuple(str(field) for field in by)
        period = None if reference is None or _is_mask(reference) else _period(reference)
        asked = RowTransform(fields, of, trend and bool(detrend), of, period)
        rows = label_rows(source, asked)
    else:
        rows = given_rows(source, by, of)
        if trend and detrend:
            raise SpecError(
                "detrend=True needs times, and by= is an array. Pass detrend= as an array, one time for each row."
            )
    if reference is not None and (_is_mask(reference) or not named):
        rows = with_reference(source, rows, reference)
    if not trend:
        rows = with_times(source, rows, detrend)
    return subtract_climatology(source, rows, fit_climatology(source, rows, memory, callback))


def _subtract_like(source: Source, like: Any, by: Any, times: Any) -> Source:
    """Rows without what was found before, their labels by the coordinates, or by the caller."""
    climatology = climatology_of(like)
    if climatology is None:
        raise SpecError(
            "like= is no matrix without its means, and no result of one. Pass what anomalies or detrend returned, or a result of it."
        )
    if climatology.asked is not None:
        if by is not None or times is not None:
            raise SpecError(
                "like= says how rows are grouped: by their times, as before. Leave by= and detrend= out."
            )
        return subtract_same(source, climatology)
    keys = np.zeros(source.shape[0], np.int64) if by is None else by
    rows = given_rows(source, keys, None)
    if climatology.fit is not None and climatology.fit.slope is not None:
        rows = with_times(source, rows, times)
    return subtract_climatology(source, rows, climatology)


def detrend(
    A: Any,
    along: str | Sequence[float] | npt.NDArray[Any] | None = None,
    *,
    reference: Sequence[str] | npt.NDArray[Any] | None = None,
    memory: int | float | str | None = None,
    callback: Callback = ignore_event,
) -> Source:
    """A matrix without the mean and the linear trend of each column, by least squares, subtracted as it is read.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    along
        The dimension whose coordinate is the time, where several make the rows; or an array of numbers, one for each row.
    reference
        First and last day of the rows that the line is fitted to, both included; or an array of booleans, one for each row. All
        rows if left out.
    memory, callback
        As in `anomalies`.

    Returns
    -------
    source
        As of `anomalies`. Where the times of a column do not tell a slope, that of one row, it is 0.

    Raises
    ------
    SpecError, BudgetError, NonFiniteError
        As `anomalies`.

    Notes
    -----
    Cost: one pass over the rows of the reference.
    """
    source = as_source(A)
    if along is None or isinstance(along, str):
        period = None if reference is None or _is_mask(reference) else _period(reference)
        rows = label_rows(source, RowTransform((), None, True, along, period))
        period_is_used = period is not None
    else:
        rows = with_times(
            source, given_rows(source, np.zeros(source.shape[0], np.int64), None), along
        )
        period_is_used = False
    if reference is not None and not period_is_used:
        rows = with_reference(source, rows, reference)
    return subtract_climatology(source, rows, fit_climatology(source, rows, memory, callback))


def column_weights(A: Any, weights: Any) -> Real:
    """Factors of the columns of a matrix from its dimensions: what ``column_weights=`` of `svd` and `pca` makes of the same.

    Parameters
    ----------
    A
        The matrix, or anything `streamsvd.open` takes.
    weights
        ``"coslat"``, the cosine of the latitude that the columns have; the name of an array beside the matrix, over some of the
        dimensions of the columns, such as ``"cell_area"``; or of each dimension that has weights ``"cos"``, the cosine of its
        latitude in degrees, the name of an array along it, or an array: ``{"lat": "cos"}``. Numbers, one for each column, flat or
        in the shape of the dimensions that make them, are factors already.

    Returns
    -------
    factors
        ``(n,)``: the root of the weight, as that counts in sums of squares.

    Raises
    ------
    SpecError
        If a dimension makes rows, has no coordinate, is no latitude, or a weight is negative or missing.
    ShapeError
        If numbers are not as many as columns.
    """
    found = column_weight_array(as_source(A), weights, "weights")
    if found is None:
        raise SpecError(
            'weights=None weighs nothing. Pass "coslat", {"lat": "cos"}, a name or numbers.'
        )
    return found


def _is_mask(reference: Any) -> bool:
    return bool(as_array(reference).dtype.kind == "b")


def _period(reference: Any) -> tuple[str, str]:
    given = tuple(reference)
    if len(given) != 2 or not all(isinstance(day, str) for day in given):
        raise SpecError(
            f'reference={reference!r} is no period. Pass its first and last day as texts, such as ["1981-01-01", "2010-12-31"].'
        )
    return given[0], given[1]

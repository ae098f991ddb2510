"""A result as a table of pandas: components, scores or variances, under the names that the data have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import BudgetError, SpecError
from streamsvd.factor.exports.labelled import (
    RowScores,
    component_names,
    result_labels,
    without_dropped,
)
from streamsvd.factor.exports.spectrum import spectrum_columns
from streamsvd.labels import Coordinate, Dimension
from streamsvd.store.sources.times import usual_dates

if TYPE_CHECKING:
    from streamsvd.factor.result import SVD

TABLES = ("components", "scores", "variance")


def result_table(result: SVD, what: str) -> Any:
    """A table of a result: see `streamsvd.factor.export_methods.ExportMethods.to_dataframe`."""
    if what not in TABLES:
        raise SpecError(f"what={what!r} is unknown. Pass one of {', '.join(TABLES)}.")
    names = pd.Index(component_names(result), name="component")
    labels = result_labels(result)
    if what == "variance":
        return pd.DataFrame(spectrum_columns(result), index=names)
    if what == "components":
        index = _index(labels.columns, labels.column_coordinates)
        return pd.DataFrame(without_dropped(result, result.Vh).T, index=index, columns=names)
    scores = RowScores.of(result)
    _check_memory(scores)
    index = _index(labels.rows, labels.row_coordinates)
    return pd.DataFrame(scores.read(), index=index, columns=names)


def _check_memory(scores: RowScores) -> None:
    """Refuse what would not fit, before it is read.

    Raises
    ------
    BudgetError
        It says what does not hold them in memory.
    """
    needed, allowed = (
        2 * scores.shape[0] * scores.shape[1] * scores.dtype.itemsize,
        allowed_bytes(None),
    )
    if scores.is_lazy and needed > allowed:
        raise BudgetError(
            "a table of the scores", needed, allowed,
            "Use to_xarray(), whose scores are read where they are used, or rows of U.",
        )  # fmt: skip


def _index(dimensions: tuple[Dimension, ...], coordinates: tuple[Coordinate, ...]) -> Any:
    """An index of the values along each dimension; numbers from 0 where it has none."""
    along = {c.name: c for c in coordinates if c.dims == (c.name,)}
    levels = [
        _values(along[d.name]) if d.name in along else np.arange(d.length) for d in dimensions
    ]
    names = [dimension.name for dimension in dimensions]
    if len(levels) == 1:
        return pd.Index(levels[0], name=names[0])
    return pd.MultiIndex.from_product(levels, names=names)


def _values(coordinate: Coordinate) -> Any:
    """Values of a coordinate, times as dates where they are of the usual calendar."""
    dates = usual_dates(coordinate.array, coordinate.attributes)
    return coordinate.array if dates is None else dates

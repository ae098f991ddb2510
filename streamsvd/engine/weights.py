"""Weights of columns as verbs take them: numbers, or words about the dimensions that make the columns; numbers afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamsvd.checks.weights import weight_array
from streamsvd.errors import ShapeError
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.neighbours import column_names, in_column_order
from streamsvd.store.sources.same_places import check_places
from streamsvd.store.sources.views.kept_columns import column_extents
from streamsvd.typing import Real


def column_weight_array(source: Source, given: Any, name: str = "column_weights") -> Real | None:
    """One factor for each column, in the order of the columns; None for none.

    Parameters
    ----------
    source
        The matrix.
    given
        Numbers, one for each column, flat or in the shape of the dimensions that make the columns; ``"coslat"``; the name of an
        array beside the matrix; or of each dimension that has weights ``"cos"``, the name of an array or an array: see
        `streamsvd.store.sources.cell_weights.column_factors`.
    name
        How messages call them.

    Raises
    ------
    ShapeError, SpecError
        If they are not as many as columns, or nothing of the kind is beside the matrix.
    """
    if given is None:
        return None
    if isinstance(given, str | Mapping):
        from streamsvd.store.sources.cell_weights import column_factors

        return column_factors(source, given, name)
    weights: Real = weight_array(in_column_order(source, given, name), name, "columns")
    extents, count = column_extents(source), source.shape[1]
    if weights.shape not in {(count,), extents}:
        names = column_names(source)
        made = f", of {names}" if names else ""
        also = f", flat or in the shape {extents}" if len(extents) > 1 else ""
        raise ShapeError(
            f"{name} has shape {weights.shape}, the matrix has {count:,} columns{made}. Pass one weight for each{also}."
        )
    return np.ascontiguousarray(weights.reshape(-1))


def row_weight_array(source: Source, given: Any) -> Real | None:
    """Weights of rows as numbers, of whatever shape; None for none.

    Raises
    ------
    SpecError
        If they are no numbers, or their labels contradict those of the matrix.
    """
    if given is not None:
        labels = source_labels(source)
        check_places(given, labels, labels.rows, "row_weights")
    weights: Real | None = weight_array(given, "row_weights", "rows")
    return weights

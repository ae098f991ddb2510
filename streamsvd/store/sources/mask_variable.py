"""A mask of columns that is an array beside the matrix, named by the caller."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.neighbours import (
    has_neighbours,
    in_order,
    matrix_layout,
    neighbour,
)
from streamsvd.store.sources.views.kept_columns import column_extents

Array = npt.NDArray[Any]


def mask_variable(source: Source, name: str) -> Array:
    """The values of an array beside that of a source, in the order of the dimensions of its columns.

    Raises
    ------
    SpecError
        If the source is no array of a zarr group, or the group has no array of this name.
    StoreError
        If it cannot be read.
    """
    try:
        found = neighbour(source, name, f"mask={name!r}")
    except SpecError as error:
        beside = "an array of booleans" if not has_neighbours(source) else (
            "the name of an array in the same group, or an array of booleans"
        )  # fmt: skip
        raise SpecError(f"{error} Pass {beside}, one for each column.") from error
    layout = matrix_layout(source)
    names = None if layout is None else layout.names
    wanted = None if layout is None or names is None else [names[a] for a in layout.column_axes]
    return in_order(found, wanted, column_extents(source))

"""Blocks of rows of which some columns are kept, and the answer with all of them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.errors import ShapeError, SpecError
from streamsvd.numerics.columns import Columns, as_mask
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.streams.run import as_rows
from streamsvd.typing import Matrix


def columns_of_blocks(mask: Any) -> Columns:
    """The columns that a mask keeps, whatever blocks come.

    Raises
    ------
    SpecError
        If it is the name of a mask, or none.
    """
    if isinstance(mask, str):
        raise SpecError(
            f"mask={mask!r} is found in, or beside, a stored matrix, and blocks come one after another. Pass an array of "
            "booleans, true where a column is kept."
        )
    return Columns.of(as_mask(mask, (int(np.size(mask)),), "the stream"))


def keep_columns(rows: Matrix, columns: Columns) -> Matrix:
    """The columns of a block that are kept.

    Raises
    ------
    ShapeError
        If the block has another number of columns than the mask.
    """
    if rows.shape[1] != columns.count:
        raise ShapeError(
            f"a block of shape {rows.shape} came, and mask has {columns.count} entries. Pass one for each column."
        )
    return np.asarray(columns.take(rows))


def restore_columns(found: TopEigenvectorsResult, columns: Columns) -> TopEigenvectorsResult:
    """What was found of the columns that are kept, with all columns."""
    info = replace(
        found.info,
        warnings=(*found.info.warnings, f"{columns.description}."),
        dropped_columns=columns.dropped_indices,
    )
    return replace(found, components=columns.spread(found.components), info=info)


@dataclass(frozen=True, slots=True, eq=False)
class KeptBlocks:
    """Blocks of rows, of the columns that are kept."""

    blocks: Iterable[Any]
    columns: Columns

    def __iter__(self) -> Iterator[Matrix]:
        for block in self.blocks:
            yield keep_columns(as_rows(block), self.columns)

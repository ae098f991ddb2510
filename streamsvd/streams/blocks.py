"""Blocks of rows as they come: of which columns are kept, and missing values filled; and the answer with all columns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from streamsvd.checks.masks import as_array
from streamsvd.engine.missing import check_policy
from streamsvd.errors import NonFiniteError, ShapeError, SpecError
from streamsvd.numerics.columns import Columns, as_mask
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class BlockFilter:
    """What is done to each block before a stream takes it in.

    Attributes
    ----------
    columns
        Those that are kept; None for all.
    nonfinite
        What a NaN is: ``"raise"`` or ``"zero"``.
    """

    columns: Columns | None
    nonfinite: str

    @classmethod
    def of(cls, mask: Any, nonfinite: str) -> BlockFilter:
        """As the caller asks.

        Raises
        ------
        SpecError
            If the mask is the name of one, or none, or what is missing would have to be counted first.
        """
        check_policy(nonfinite)
        if nonfinite not in ("raise", "zero"):
            raise SpecError(
                f"nonfinite={nonfinite!r} counts what is missing in every column before the first pass, and blocks come one after "
                'another. Pass "zero" or "raise", or a stored matrix.'
            )
        if isinstance(mask, str):
            raise SpecError(
                f"mask={mask!r} is found in, or beside, a stored matrix, and blocks come one after another. Pass an array of "
                "booleans, true where a column is kept."
            )
        if mask is None:
            return cls(None, nonfinite)
        marks = as_mask(mask, (int(np.size(mask)),), "the stream")
        return cls(Columns.of(marks), nonfinite)

    def take(self, block: Any) -> tuple[Matrix, int]:
        """The rows of a block, which is not changed, and how many entries of them were missing and are 0.

        Raises
        ------
        ShapeError
            If it is no block of rows, or has another number of columns than the mask.
        """
        rows = as_rows(block)
        if self.columns is not None:
            if rows.shape[1] != self.columns.count:
                raise ShapeError(
                    f"a block of shape {rows.shape} came, and mask has {self.columns.count} entries. Pass one for each column."
                )
            rows = np.asarray(self.columns.take(rows))
        if self.nonfinite == "raise" or rows.dtype.kind != "f":
            return rows, 0
        holes = np.isnan(rows)
        count = int(np.count_nonzero(holes))
        return (np.where(holes, rows.dtype.type(0), rows) if count else rows), count

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Errors that name an entry count its column among all columns."""
        try:
            yield
        except NonFiniteError as bad:
            if self.columns is None:
                raise
            column = int(self.columns.indices[bad.column])
            raise NonFiniteError(bad.value, bad.row, column, bad.chunk, bad.remedy) from None

    def put_back(self, found: TopEigenvectorsResult) -> TopEigenvectorsResult:
        """What was found of the columns that are kept, with all columns."""
        columns = self.columns
        if columns is None:
            return found
        info = replace(
            found.info,
            warnings=(*found.info.warnings, f"{columns.description}."),
            dropped_columns=columns.dropped_indices,
        )
        return replace(found, components=columns.spread(found.components), info=info)


def as_rows(block: Any) -> Matrix:
    """A block as an array of rows, NaN where it is masked, of a sparse one with its zeros; one row alone is a block of one.

    Raises
    ------
    ShapeError
        If it has more dimensions, or none.
    """
    is_sparse = sparse.issparse(block)
    rows = as_array(block.toarray() if is_sparse else block)
    if rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2:
        raise ShapeError(
            f"a block of shape {rows.shape} came. Blocks are (rows, columns), or one row (columns,)."
        )
    return rows

"""Which rows and columns of a matrix count: what has weight 0 is not there.

Entries that do not count are 0 before anybody looks at them, as 0 times NaN is NaN: they are no reason to
complain, to fill or to drop, they are in no mean, and no row of weight 0 is a degree of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Real

Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """Which rows and columns count.

    Attributes
    ----------
    rows, columns
        Of bool, ``(m,)`` and ``(n,)``; None where all of them count.
    """

    rows: Mask | None = None
    columns: Mask | None = None

    @classmethod
    def of(cls, row_weights: Real | None, column_weights: Real | None) -> Support:
        """Those of positive weight."""
        return cls(_positive(row_weights), _positive(column_weights))

    @property
    def whole(self) -> bool:
        """Whether everything counts."""
        return self.rows is None and self.columns is None

    @property
    def excluded_columns(self) -> tuple[int, ...]:
        """Numbers of the columns that do not count."""
        return () if self.columns is None else tuple(np.flatnonzero(~self.columns).tolist())

    def within(self, row: int, column: int, shape: tuple[int, ...]) -> Support:
        """The same of a rectangle, given its first row and column and its shape."""
        return Support(_part(self.rows, row, shape[0]), _part(self.columns, column, shape[1]))

    def blank(self, data: npt.NDArray[Any]) -> None:
        """Set what does not count to 0, in the memory of the data."""
        if self.rows is not None:
            data[~self.rows] = 0
        if self.columns is not None:
            data[:, ~self.columns] = 0


FULL_SUPPORT = Support()
"""Of a matrix without weights."""


def degrees_of_freedom(n_rows: int, row_weights: Real | None) -> float:
    """Degrees of freedom of a variance about the mean: ``(n - 1)`` times the mean weight of the n rows that count.

    A weight of 0 is the row left out, and a factor common to all weights changes no variance.
    """
    if row_weights is None:
        return float(max(n_rows - 1, 1))
    weights = row_weights[row_weights > 0]
    return float(max(weights.size - 1, 1) * np.mean(weights))


def _positive(weights: Real | None) -> Mask | None:
    if weights is None or np.all(weights > 0):
        return None
    return np.asarray(weights > 0)


def _part(mask: Mask | None, start: int, count: int) -> Mask | None:
    if mask is None or mask[start : start + count].all():
        return None
    return mask[start : start + count]

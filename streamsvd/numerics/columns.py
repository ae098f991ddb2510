"""Which columns of a matrix take part: those that are left out have no value, or none that counts.

What is found of the columns that are kept is narrower than the matrix; `Columns.spread` puts it back to its places,
with NaN at the columns that were left out: nothing is known there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array
from streamsvd.errors import SpecError

MOST_NAMED = 4
"""Columns that a message names, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The columns of a matrix, each kept or left out.

    Attributes
    ----------
    marks
        For each column `KEPT`; `EMPTY`, it is missing throughout; `MASKED`, the caller left it out; or
        `HOLES`, it has missing values, and the caller wants no such column.
    """

    marks: npt.NDArray[np.int8]

    MARK_EMPTY: ClassVar[int] = 0
    MARK_KEPT: ClassVar[int] = 1
    MARK_MASKED: ClassVar[int] = 2
    MARK_HOLES: ClassVar[int] = 3

    @classmethod
    def of(cls, kept: npt.NDArray[np.bool_], empty: npt.NDArray[np.bool_] | None = None) -> Columns:
        """Of a mask that is true for what the caller keeps, and of what is missing throughout."""
        marks = np.where(kept, cls.MARK_KEPT, cls.MARK_MASKED).astype(np.int8)
        if empty is not None:
            marks[empty & kept] = cls.MARK_EMPTY
        return cls(marks)

    def without(self, holes: npt.NDArray[np.bool_]) -> Columns:
        """Without some of those that are kept, told by their places among them, which have missing values."""
        marks = self.marks.copy()
        marks[self.indices[holes]] = self.MARK_HOLES
        return Columns(marks)

    @property
    def count(self) -> int:
        """Columns of the whole matrix."""
        return int(self.marks.size)

    @property
    def keep_mask(self) -> npt.NDArray[np.bool_]:
        """Whether each column is kept."""
        return np.asarray(self.marks == self.MARK_KEPT)

    @property
    def indices(self) -> npt.NDArray[np.intp]:
        """Numbers of the columns that are kept, ascending."""
        return np.flatnonzero(self.keep_mask)

    @property
    def dropped_indices(self) -> tuple[int, ...]:
        """Numbers of the columns that are left out, ascending."""
        return tuple(int(j) for j in np.flatnonzero(~self.keep_mask))

    @property
    def n_empty(self) -> int:
        """Columns left out because they are missing throughout."""
        return int(np.count_nonzero(self.marks == self.MARK_EMPTY))

    def equals(self, other: Columns | None) -> bool:
        """Whether the same columns are kept."""
        return other is not None and np.array_equal(self.keep_mask, other.keep_mask)

    def take(self, values: Any) -> Any:
        """What belongs to the columns that are kept, of an array with all columns along its last axis."""
        return np.asarray(values)[..., self.indices]

    def spread(self, values: Any, fill: float = np.nan, *, axis: int = -1) -> Any:
        """The same at its places among all columns; ``fill`` where a column is left out."""
        narrow = np.moveaxis(np.asarray(values), axis, -1)
        dtype = narrow.dtype if narrow.dtype.kind in "fc" else np.dtype(np.float64)
        out = np.full((*narrow.shape[:-1], self.count), fill, dtype=dtype)
        out[..., self.indices] = narrow
        return np.ascontiguousarray(np.moveaxis(out, -1, axis))

    def all_dropped_indices(self, among_kept: tuple[int, ...]) -> tuple[int, ...]:
        """Numbers of all columns left out, some of them told by their places among those kept."""
        further = self.indices[list(among_kept)] if among_kept else ()
        return tuple(sorted({*self.dropped_indices, *(int(j) for j in further)}))

    @property
    def description(self) -> str:
        """How many columns are left out, and why, in words."""
        parts = []
        if self.n_empty:
            parts.append(f"{self.n_empty:,} missing throughout")
        for mark, why in (
            (self.MARK_MASKED, "by the mask"),
            (self.MARK_HOLES, "with missing values"),
        ):
            count = int(np.count_nonzero(self.marks == mark))
            if count:
                parts.append(f"{count:,} {why}")
        return f"{len(self.dropped_indices):,} of {self.count:,} columns are left out: {', '.join(parts)}"


def original_column(source: Any, column: int) -> int:
    """Number of a column in the whole matrix, where a source shows some of its columns."""
    columns = getattr(source, "columns", None)
    return int(columns.indices[column]) if isinstance(columns, Columns) else column


def describe_columns(numbers: Any) -> str:
    """Columns in words: the first few by number, and how many there are beside."""
    some = [str(int(j)) for j in numbers[:MOST_NAMED]]
    more = len(numbers) - len(some)
    return f"column{'s' if len(numbers) > 1 else ''} {', '.join(some)}" + (
        f" and {more:,} more" if more else ""
    )


def as_mask(given: Any, extents: tuple[int, ...], where: str) -> npt.NDArray[np.bool_]:
    """A mask over columns as a flat boolean array, true where a column is kept.

    Parameters
    ----------
    given
        Booleans, or zeros and ones (NaN or masked is no), one for each column, in the shape of the dimensions that make the
        columns or flat.
    extents
        Extents of those dimensions.
    where
        How messages call the matrix.

    Raises
    ------
    SpecError
        If it has another shape, is no mask, or keeps nothing.
    """
    values = as_array(given)
    count = int(np.prod(extents, dtype=np.int64))
    if values.shape not in {(count,), tuple(extents)}:
        shapes = f"({count},)" if len(extents) == 1 else f"{tuple(extents)} or ({count},)"
        raise SpecError(
            f"mask has shape {values.shape}, {where} has {count:,} columns. Pass one boolean for each, in the shape "
            f"{shapes}, true where a column is kept."
        )
    values = values.reshape(-1)
    if values.dtype.kind != "b":
        numbers = values.dtype.kind in "iuf"
        known = np.nan_to_num(values, nan=0.0) if values.dtype.kind == "f" else values
        if not numbers or not np.isin(known, (0, 1)).all():
            raise SpecError(
                f"mask holds {values.dtype} that are not all 0 or 1. Pass booleans, true where a column is kept, such as "
                "mask=values > 0.5."
            )
        values = known.astype(bool)
    if not values.any():
        raise SpecError(
            "mask leaves every column out. Pass true for the columns to keep; if it marks those to leave out, pass ~mask."
        )
    return values

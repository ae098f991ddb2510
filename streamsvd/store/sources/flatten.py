"""An N-dimensional array seen as a matrix: pure arithmetic of indices.

Row ``i`` of the matrix is the C-order index over the dimensions named as rows, in the order named; column
``j`` likewise over the remaining dimensions, in stored order. A run of consecutive indices is a union of
at most ``2 d - 1`` rectangles over its ``d`` dimensions, so every rectangle of the matrix is a few
rectangles of the array, and no list of indices is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, SpecError

Box = tuple[slice, ...]


def boxes(start: int, stop: int, extents: Sequence[int]) -> Iterator[Box]:
    """Cut the C-order run ``start:stop`` over ``extents`` into rectangles, in order."""
    if start >= stop:
        return
    if not extents:  # the one column of a vector
        yield ()
        return
    if len(extents) == 1:
        yield (slice(start, stop),)
        return
    rest = extents[1:]
    inner = math.prod(rest)
    first, head = divmod(start, inner)
    last, tail = divmod(stop, inner)
    if first == last:
        yield from _within(first, head, tail, rest)
        return
    if head:
        yield from _within(first, head, inner, rest)
        first += 1
    if first < last:
        yield (slice(first, last), *(slice(0, extent) for extent in rest))
    yield from _within(last, 0, tail, rest)


def _within(index: int, start: int, stop: int, extents: Sequence[int]) -> Iterator[Box]:
    for box in boxes(start, stop, extents):
        yield (slice(index, index + 1), *box)


def box_shape(box: Box) -> tuple[int, ...]:
    """Lengths of a rectangle."""
    return tuple(part.stop - part.start for part in box)


@dataclass(frozen=True)
class Flattening:
    """Which dimensions of an array are the rows of a matrix, and which are its columns."""

    extents: tuple[int, ...]
    row_axes: tuple[int, ...]
    column_axes: tuple[int, ...]
    names: tuple[str | None, ...] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return (
            math.prod(self.extents[axis] for axis in self.row_axes),
            math.prod(self.extents[axis] for axis in self.column_axes),
        )

    def chunks(self, chunk_shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns that a read should be aligned to, so that each chunk is decoded once.

        Per side: the chunk length of the first dimension times the whole of the others.
        """

        def natural(axes: tuple[int, ...]) -> int:
            if not axes:
                return 1
            first, *others = axes
            length = min(chunk_shape[first], self.extents[first])
            return length * math.prod(self.extents[axis] for axis in others)

        return natural(self.row_axes), natural(self.column_axes)

    def views(
        self, rows: slice, columns: slice, out: npt.NDArray[Any]
    ) -> Iterator[tuple[Box, npt.NDArray[Any]]]:
        """Rectangles of the array that make up ``A[rows, columns]``, each with its place in ``out``.

        The place is a view of ``out`` with the dimensions of the array in stored order.
        """
        row_extents = [self.extents[axis] for axis in self.row_axes]
        column_extents = [self.extents[axis] for axis in self.column_axes]
        stored_order = np.argsort(self.row_axes + self.column_axes)
        row = 0
        for row_box in boxes(rows.start, rows.stop, row_extents):
            row_lengths = box_shape(row_box)
            height = math.prod(row_lengths)
            column = 0
            for column_box in boxes(columns.start, columns.stop, column_extents):
                column_lengths = box_shape(column_box)
                width = math.prod(column_lengths)
                place = out[row : row + height, column : column + width]
                # Splitting an axis never copies, whatever the strides.
                place = place.reshape(row_lengths + column_lengths).transpose(stored_order)
                both = row_box + column_box
                yield tuple(both[axis] for axis in stored_order), place
                column += width
            row += height

    def index(self, row: int, column: int) -> tuple[int, ...]:
        """Index in the array of one entry of the matrix."""
        found = [0] * len(self.extents)
        for flat, axes in ((row, self.row_axes), (column, self.column_axes)):
            for axis in reversed(axes):
                flat, found[axis] = divmod(flat, self.extents[axis])
        return tuple(found)


def vector_layout(length: int) -> Flattening:
    """An array of one dimension as a matrix of one column."""
    return Flattening((length,), (0,), ())


Rows = str | int | Sequence[str | int] | None


def flattening(
    extents: Sequence[int], names: Sequence[str | None] | None, rows: Rows, where: str
) -> Flattening:
    """Flattening of an array by the dimensions named as rows; see the module for the order.

    Raises
    ------
    ShapeError
        If the array has fewer than two dimensions, none left for the columns, or no entries.
    SpecError
        If a dimension is unknown or named twice, or several choices are possible and none was made.
    """
    shape = tuple(int(extent) for extent in extents)
    if len(shape) < 2:
        raise ShapeError(
            f"{where} has {len(shape)} dimension(s), shape {shape}; a matrix needs two. "
            "Reshape it to (1, n) or (n, 1) if it is one row or one column."
        )
    if any(extent < 1 for extent in shape):
        raise ShapeError(f"{where} is empty: shape {shape}. A matrix needs at least one entry.")
    if math.prod(shape) > np.iinfo(np.int64).max:
        raise ShapeError(
            f"{where} claims {math.prod(shape):.3g} entries (shape {shape}); "
            f"at most {np.iinfo(np.int64).max:.3g} can be addressed. The metadata are wrong or hostile."
        )
    known = _dimensions(shape, names)
    if rows is None:
        if len(shape) > 2:
            example = names[0] if names is not None and names[0] is not None else 0
            raise SpecError(
                f"{where} has {len(shape)} dimensions: {known}. Say which are the rows of the matrix, "
                f"for example rows={example!r}; the others become its columns."
            )
        rows = 0
    row_axes = tuple(
        _axis(row, shape, names, known, where)
        for row in ((rows,) if isinstance(rows, str | int) else tuple(rows))
    )
    if not row_axes or len(set(row_axes)) != len(row_axes):
        raise SpecError(
            f"rows={rows!r} must name one or more different dimensions of {where}: {known}."
        )
    column_axes = tuple(axis for axis in range(len(shape)) if axis not in row_axes)
    if not column_axes:
        raise ShapeError(
            f"rows={rows!r} takes every dimension of {where} ({known}); leave one for the columns."
        )
    return Flattening(shape, row_axes, column_axes, None if names is None else tuple(names))


def _dimensions(shape: tuple[int, ...], names: Sequence[str | None] | None) -> str:
    labels = names if names is not None else [None] * len(shape)
    parts = [f"{axis if name is None else name}: {shape[axis]}" for axis, name in enumerate(labels)]
    return "(" + ", ".join(parts) + ")"


def _axis(
    row: str | int,
    shape: tuple[int, ...],
    names: Sequence[str | None] | None,
    known: str,
    where: str,
) -> int:
    if isinstance(row, str):
        if names is not None and row in names:
            return list(names).index(row)
        hint = "" if names is not None else " They have no names here; use their numbers."
        raise SpecError(f"{where} has no dimension {row!r}; it has {known}.{hint}")
    axis = int(row) + len(shape) if row < 0 else int(row)
    if not 0 <= axis < len(shape):
        raise SpecError(f"{where} has no dimension {row}; it has {known}.")
    return axis

"""What an index of a lazy matrix asks for, as numpy means it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array, require_unmasked
from streamsvd.errors import ShapeError, SpecError
from streamsvd.store.sources.views.row_choice import Numbers

Part = int | slice | npt.NDArray[np.intp]


def split_index(key: Any, shape: tuple[int, int]) -> tuple[Part, Part]:
    """An index of two dimensions as one of rows and one of columns.

    Raises
    ------
    IndexError
        As numpy: too many indices, numbers out of range, masks of another shape.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    if any(part is None for part in parts):
        raise IndexError("a new axis cannot be made here. Take numpy.asarray(...) first.")
    parts = _without_ellipsis(parts)
    if len(parts) == 1 and _is_mask(parts[0]) and np.ndim(parts[0]) == 2:
        mask = as_array(parts[0])
        if mask.shape != shape:
            raise IndexError(f"the mask has shape {mask.shape}, the array {shape}.")
        rows, columns = np.nonzero(mask)
        return rows, columns
    if len(parts) > 2:
        raise IndexError(f"{len(parts)} indices for an array of 2 dimensions.")
    parts += [slice(None)] * (2 - len(parts))
    found = [
        _part(part, extent, axis)
        for axis, (part, extent) in enumerate(zip(parts, shape, strict=True))
    ]
    return found[0], found[1]


def _is_mask(part: Any) -> bool:
    return not isinstance(part, slice | int) and as_array(part).dtype.kind == "b"


def _without_ellipsis(parts: list[Any]) -> list[Any]:
    """``...`` written out."""
    places = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can have one ellipsis only.")
    if not places:
        return parts
    (at,) = places
    filled = [slice(None)] * max(0, 3 - len(parts))
    return [*parts[:at], *filled, *parts[at + 1 :]]


def _part(part: Any, extent: int, axis: int) -> Part:
    """An index of one dimension, with numbers from 0."""
    if isinstance(part, slice):
        return part
    if isinstance(part, int | np.integer) and not isinstance(part, bool | np.bool_):
        number = int(part)
        if not -extent <= number < extent:
            raise IndexError(f"index {number} is out of bounds for axis {axis} with size {extent}.")
        return number % extent
    values = require_unmasked(part, "an index")
    if values.dtype.kind == "b":
        if values.shape != (extent,):
            raise IndexError(
                f"the mask of axis {axis} has shape {values.shape}, the axis has {extent} entries."
            )
        return np.flatnonzero(values)
    if values.size == 0:
        return values.astype(np.intp)
    if values.dtype.kind not in "iu":
        raise IndexError(
            f"an index of axis {axis} is {values.dtype}: numbers or booleans are wanted."
        )
    bad = (values < -extent) | (values >= extent)
    if bad.any():
        raise IndexError(
            f"index {values[bad].reshape(-1)[0]} is out of bounds for axis {axis} with size {extent}."
        )
    return np.where(values < 0, values + extent, values).astype(np.intp)


def take_numbers(numbers: Numbers, part: Part) -> int | Numbers:
    """Some of the numbers of rows or columns."""
    if isinstance(part, int):
        return int(numbers[part])
    if isinstance(numbers, range) and isinstance(part, np.ndarray):
        return np.asarray(numbers.start + numbers.step * part, dtype=np.intp)
    return numbers[part]


def chosen_numbers(given: Any, extent: int, name: str) -> Numbers:
    """Rows or columns that a caller wants, of so many.

    Raises
    ------
    ShapeError
        If a number is out of range, or a mask has another length.
    SpecError
        If it is no index.
    """
    if given is None:
        return range(extent)
    if isinstance(given, str):
        raise SpecError(f"{name}={given!r} is text. Pass a slice, numbers or booleans.")
    try:
        part = _part(given, extent, 0)
    except (IndexError, TypeError, ValueError) as error:
        raise ShapeError(
            f"{name}= does not lie among the {extent:,} {name}: {error} Pass a slice, numbers or booleans."
        ) from None
    if isinstance(part, int):
        return range(part, part + 1)
    if isinstance(part, slice):
        return range(extent)[part]
    if part.ndim != 1:
        raise ShapeError(f"{name}= has {part.ndim} dimensions. Pass one.")
    return part

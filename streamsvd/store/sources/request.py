"""What is asked of a source when it is opened, beside where it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources.flatten import Rows


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """What is asked of a source.

    Attributes
    ----------
    variable
        Name of the array within a group, a file or a data set.
    rows
        Dimension or dimensions, by name or number, whose C-order index is the row of the matrix.
    missing
        What an absent chunk is: ``"error"``, or ``"fill"``, its fill value.
    missing_value
        A number that stands for a missing value, where the source cannot say so itself.
    dtype, shape, offset
        Type, extents and first byte of numbers without a header.
    """

    variable: str | None = None
    rows: Rows = None
    missing: str = "error"
    missing_value: float | None = None
    dtype: Any = None
    shape: tuple[int, ...] | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        if self.missing not in ("error", "fill"):
            raise SpecError(f'missing={self.missing!r} must be "error" or "fill".')
        marked = self.missing_value
        if marked is not None and (
            isinstance(marked, bool) or not isinstance(marked, int | float | np.number)
        ):
            raise SpecError(f"missing_value={marked!r} is no number. Pass one, such as -9.")
        if self.shape is not None:
            object.__setattr__(self, "shape", _extents(self.shape))
        if isinstance(self.offset, bool) or not isinstance(self.offset, int) or self.offset < 0:
            raise SpecError(
                f"offset={self.offset!r} is no number of bytes. Pass where the numbers begin, 0 or more."
            )
        if self.dtype is not None:
            object.__setattr__(self, "dtype", _number_type(self.dtype))

    def non_defaults(self) -> tuple[str, ...]:
        """Names of what is asked, beside the defaults."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != f.default)


def _extents(given: Any) -> tuple[int, ...]:
    parts = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    if not parts or any(
        isinstance(part, bool) or not isinstance(part, int | np.integer) or part < 1
        for part in parts
    ):
        raise SpecError(f"shape={given!r} is no shape. Pass the extents, such as shape=(1000, 50).")
    return tuple(int(part) for part in parts)


def _number_type(given: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = np.dtype(given)
    except TypeError as error:
        raise SpecError(
            f"dtype={given!r} is no type of numbers. Pass one of numpy's, such as 'float32' or '<i2'."
        ) from error
    return found


def source_text(source: Any) -> str:
    """How messages call what is to be opened: a path, the name of a matrix, or the type of an object."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, Source):
        return source.name
    return f"{type(source).__module__}.{type(source).__qualname__}"

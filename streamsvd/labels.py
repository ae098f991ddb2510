"""What a matrix says of its rows and columns beside its numbers: dimensions, coordinates along them, names, units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.masks import as_array

Array = npt.NDArray[Any]

ROW, COLUMN, MODE = "row", "column", "mode"
"""Names of dimensions that have none, and of the components of a result."""


@dataclass(frozen=True, slots=True, eq=False)
class TextValues:
    """Texts in two arrays of numbers, as compact in memory as in a file.

    Attributes
    ----------
    utf8
        Bytes of all texts, one after another.
    offsets
        Where each begins, and where the last ends, ``(count + 1,)``.
    """

    utf8: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[Any]) -> TextValues:
        """Of texts; what is no text is written as one, bytes are UTF-8, None is empty."""
        parts = [_utf8(text) for text in texts]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)

    def __len__(self) -> int:
        return int(self.offsets.size) - 1

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        return bytes(self.utf8[self.offsets[index] : self.offsets[index + 1]]).decode()

    @property
    def values(self) -> npt.NDArray[np.object_]:
        """The texts, ``(count,)``."""
        out = np.empty(len(self), object)
        data, ends = self.utf8.tobytes(), self.offsets.tolist()
        for i, (a, b) in enumerate(pairwise(ends)):
            out[i] = data[a:b].decode(errors="replace")
        return out


def _utf8(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    return b"" if text is None else str(text).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Dimension:
    """One of the dimensions that rows, or columns, come from.

    Attributes
    ----------
    name
        Its name.
    length
        Its extent.
    """

    name: str
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """What stands along one dimension or several.

    Attributes
    ----------
    name
        Its name; that of a dimension for the values along it.
    dims
        Names of the dimensions that it lies along, in the order of its axes.
    values
        Numbers, in the shape of the dimensions, or texts along one. Times are numbers of the ``units`` in the attributes.
    attributes
        Plain values, such as ``units`` and ``calendar``.
    """

    name: str
    dims: tuple[str, ...]
    values: Array | TextValues
    attributes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        dims: Sequence[str],
        values: Any,
        attributes: Mapping[str, Any] | None = None,
    ) -> Coordinate:
        """Of values of any kind: numbers and truth values, dates, texts."""
        plain = plain_attributes(attributes or {})
        if isinstance(values, TextValues):
            return cls(name, tuple(dims), values, plain)
        array = as_array(values)
        if array.dtype.kind == "M":
            plain.update(units="microseconds since 1970-01-01", calendar="proleptic_gregorian")
            array = array.astype("M8[us]").astype(np.int64)
        elif array.dtype.kind == "m":
            plain.update(units="microseconds")
            array = array.astype("m8[us]").astype(np.int64)
        if array.dtype.kind in "biufc":
            return cls(name, tuple(dims), array, plain)
        return cls(name, tuple(dims), TextValues.of(array.reshape(-1).tolist()), plain)

    @property
    def array(self) -> Array:
        """The values as an array, texts as objects."""
        return self.values.values if isinstance(self.values, TextValues) else self.values

    @property
    def units(self) -> str:
        """Its unit; empty where it has none."""
        return str(self.attributes.get("units", ""))

    def take(self, part: slice | npt.NDArray[np.int64]) -> Coordinate:
        """The same of a run, or of some numbers, along its first dimension."""
        if isinstance(self.values, TextValues):
            return replace(self, values=TextValues.of(self.values.values[part]))
        return replace(self, values=self.values[part])


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What a matrix says of its rows and columns.

    Attributes
    ----------
    name
        Of the variable; empty where it has none.
    attributes
        Of the variable: plain values, such as ``units`` and ``long_name``.
    rows, columns
        The dimensions that make the rows, and those that make the columns, each in C order.
    coordinates
        What stands along them.
    notes
        What was left out and why, in sentences.
    """

    name: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    rows: tuple[Dimension, ...] = ()
    columns: tuple[Dimension, ...] = ()
    coordinates: tuple[Coordinate, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def plain(cls, shape: tuple[int, int], name: str = "") -> Labels:
        """Of a matrix that says nothing of itself."""
        return cls(name, {}, (Dimension(ROW, shape[0]),), (Dimension(COLUMN, shape[1]),))

    def __repr__(self) -> str:
        sides = [
            f"{name} {', '.join(f'{d.name} ({d.length:,})' for d in side) or '-'}"
            for name, side in (("rows", self.rows), ("columns", self.columns))
        ]
        names = ", ".join(c.name for c in self.coordinates)
        return f"<Labels{f' of {self.name}' if self.name else ''}: {'; '.join(sides)}; coordinates {names or '-'}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return math.prod(d.length for d in self.rows), math.prod(d.length for d in self.columns)

    def coordinate(self, name: str) -> Coordinate | None:
        """The coordinate of a name."""
        return next((c for c in self.coordinates if c.name == name), None)

    @property
    def row_coordinates(self) -> tuple[Coordinate, ...]:
        """Those that lie along rows alone."""
        return self._along(self.rows)

    @property
    def column_coordinates(self) -> tuple[Coordinate, ...]:
        """Those that lie along columns alone."""
        return self._along(self.columns)

    def _along(self, dimensions: tuple[Dimension, ...]) -> tuple[Coordinate, ...]:
        names = {dimension.name for dimension in dimensions}
        return tuple(c for c in self.coordinates if c.dims and set(c.dims) <= names)

    @property
    def of_columns(self) -> Labels:
        """The same without the coordinates of rows."""
        return replace(self, coordinates=self.column_coordinates)

    def with_rows(
        self, rows: tuple[Dimension, ...], coordinates: tuple[Coordinate, ...] = ()
    ) -> Labels:
        """The same columns with other rows."""
        return replace(self, rows=rows, coordinates=(*coordinates, *self.column_coordinates))

    def take_rows(self, indices: npt.NDArray[np.int64]) -> Labels:
        """Of some of the rows, by their numbers, where one dimension makes them; else rows lose their coordinates."""
        count = int(indices.size)
        if len(self.rows) != 1:
            return self.with_rows((Dimension(ROW, count),))
        (along,) = self.rows
        taken = tuple(c.take(indices) for c in self.row_coordinates if c.dims == (along.name,))
        return self.with_rows((Dimension(along.name, count),), taken)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing in it but the extents."""
        said = self.name or self.attributes or self.coordinates
        names = {d.name for d in (*self.rows, *self.columns)}
        return not said and len(self.columns) <= 1 and names <= {ROW, COLUMN}

    def row_range(self, start: int, stop: int) -> Labels:
        """Of consecutive rows, where one dimension makes them; else rows lose their coordinates."""
        if len(self.rows) != 1:
            return self.with_rows((Dimension(ROW, stop - start),))
        (along,) = self.rows
        taken = tuple(
            c.take(slice(start, stop)) for c in self.row_coordinates if c.dims == (along.name,)
        )
        return self.with_rows((Dimension(along.name, stop - start),), taken)

    @property
    def column_names(self) -> npt.NDArray[np.object_] | None:
        """One text for each column, where one dimension makes them and names them; None otherwise."""
        if len(self.columns) != 1:
            return None
        found = self.coordinate(self.columns[0].name)
        if found is None or found.dims != (self.columns[0].name,):
            return None
        return np.array([str(value) for value in found.array], object)


NO_LABELS = Labels()
"""Of what says nothing of itself."""


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as numbers, texts and lists of them; what is nothing of the kind is left out."""
    found = {}
    for name, value in attributes.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(plain, bytes):
            plain = plain.decode(errors="replace")
        if isinstance(plain, list | tuple):
            plain = [p.decode(errors="replace") if isinstance(p, bytes) else p for p in plain]
            plain = plain[0] if len(plain) == 1 else plain
        parts = plain if isinstance(plain, list) else [plain]
        if all(isinstance(part, bool | int | str) or _is_finite(part) for part in parts):
            found[str(name)] = plain
    return found


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)

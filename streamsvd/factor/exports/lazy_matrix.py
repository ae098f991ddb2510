"""Matrices that xarray reads where they are used, in the dimensions that make their rows and columns: a window, without dask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

Key = tuple[Any, ...]


class PartialMatrix(Protocol):
    """A matrix of which parts can be had.

    Attributes
    ----------
    shape, dtype
        As of an array.
    """

    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def read(self, rows: Any, columns: Any, /) -> npt.NDArray[Any]:
        """The rectangle of these rows and columns, each a slice or numbers."""
        ...


@dataclass(frozen=True, eq=False)
class LazyMatrix(BackendArray):  # type: ignore[misc]  # xarray is Any to mypy
    """A matrix in the shape of the dimensions that make it.

    Attributes
    ----------
    matrix
        What is read.
    rows, columns
        Extents of the dimensions that make either, in C order.
    """

    matrix: PartialMatrix
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the rows, then of the columns."""
        return (*self.rows, *self.columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the entries."""
        return self.matrix.dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._select
        )

    def _select(self, key: Key) -> npt.NDArray[Any]:
        """Entries by one slice, number or list of numbers for each dimension."""
        split = len(self.rows)
        rows, height = _flat_numbers(key[:split], self.rows)
        columns, width = _flat_numbers(key[split:], self.columns)
        return self.matrix.read(rows, columns).reshape((*height, *width))


def _flat_numbers(key: Key, extents: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Numbers in C order of what a key chooses, as a slice where they follow one another, and the shape of it."""
    parts = [np.arange(e)[part] for e, part in zip(extents, key, strict=True)]
    shape = tuple(part.size for part in parts if part.ndim)  # a number takes its dimension away
    chosen = np.ravel_multi_index(np.ix_(*(np.atleast_1d(part) for part in parts)), extents)
    numbers = np.asarray(chosen).reshape(-1)
    if not numbers.size:
        return slice(0, 0), shape
    first, last = int(numbers[0]), int(numbers[-1])
    follow = last - first + 1 == numbers.size and bool((np.diff(numbers) == 1).all())
    return (slice(first, last + 1) if follow else numbers), shape


def lazy_variable(matrix: PartialMatrix, rows: Sequence[int], columns: Sequence[int]) -> Any:
    """What a variable of xarray holds, so that the matrix is read where it is used."""
    assert (math.prod(rows), math.prod(columns)) == tuple(matrix.shape)
    return indexing.LazilyIndexedArray(LazyMatrix(matrix, tuple(rows), tuple(columns)))


@dataclass(frozen=True, slots=True, eq=False)
class ArrayParts:
    """What is indexed as an array, a rectangle at a time: a lazy array, or one of zarr."""

    whole: Any

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        m, n = self.whole.shape
        return int(m), int(n)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its entries."""
        found: np.dtype[Any] = np.dtype(self.whole.dtype)
        return found

    def read(self, rows: Any, columns: Any, /) -> npt.NDArray[Any]:
        """The rectangle of these rows and columns."""
        get = getattr(self.whole, "oindex", self.whole)
        if isinstance(rows, slice) or isinstance(columns, slice):
            return np.asarray(get[rows, columns])
        return np.asarray(get[rows, :])[:, columns]

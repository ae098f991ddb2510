"""Scores that xarray reads where they are used: a window on the left factor in its folder, without dask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.backends import BackendArray
from xarray.core import indexing

from streamsvd.factor.exports.labelled import RowScores

Key = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class LazyScores(BackendArray):  # type: ignore[misc]  # xarray is Any to mypy
    """Scores in the shape of the dimensions that make the rows.

    Attributes
    ----------
    scores
        Of all rows, ``(m, k)``.
    extents
        Of the dimensions of the rows.
    """

    scores: RowScores
    extents: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the rows, and components."""
        return (*self.extents, self.scores.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the scores."""
        return self.scores.dtype

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._select
        )

    def _select(self, key: Key) -> npt.NDArray[Any]:
        """Scores by one slice, number or list of numbers for each dimension."""
        *rows, components = key
        if len(rows) == 1 and isinstance(rows[0], slice):
            return self.scores.read(rows[0], components)
        numbers = [np.arange(e)[part] for e, part in zip(self.extents, rows, strict=True)]
        flat = np.ravel_multi_index(np.ix_(*(np.atleast_1d(part) for part in numbers)), self.extents)
        found = self.scores.read(_as_run(flat.reshape(-1)), components)
        lengths = [part.size for part in numbers if part.ndim]  # a number takes its dimension away
        return found.reshape(*lengths, *found.shape[1:])


def _as_run(numbers: npt.NDArray[np.int64]) -> Any:
    """Consecutive rows as a slice, which is read without looking for each."""
    if not numbers.size:
        return slice(0, 0)
    first, last = int(numbers[0]), int(numbers[-1])
    run = last - first + 1 == numbers.size and bool((np.diff(numbers) == 1).all())
    return slice(first, last + 1) if run else numbers


def score_variable(scores: RowScores, extents: tuple[int, ...]) -> Any:
    """Scores in the shape of the dimensions of the rows: an array, or one that is read where it is used."""
    assert math.prod(extents) == scores.shape[0]
    if not scores.is_lazy:
        return scores.read().reshape(*extents, scores.shape[1])
    return indexing.LazilyIndexedArray(LazyScores(scores, extents))

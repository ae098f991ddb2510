"""Targets of a regression, and which rows judge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_object
from streamsvd.checks.masks import as_array
from streamsvd.checks.sizes import check_size
from streamsvd.errors import ShapeError, SpecError
from streamsvd.kernels.mathematics.ridge import RidgeSums
from streamsvd.numerics.uniforms import uniforms
from streamsvd.typing import Matrix, Real

_TOGETHER = 1 << 16
_JUDGES = 0x5EED
"""Turns the seed of the sampling into that of the rows held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Targets ``(rows, q)``, and which rows judge.

    Rows that judge must not have trained the mean either: sums are of targets less the mean of the rows that train, beside those of a
    column of ones, which turn them into sums about the mean of all rows.

    Attributes
    ----------
    values
        The targets.
    held_out
        Share of the rows that judge.
    seed
        Of the choice.
    mean, whole_mean
        Over the rows that train, and over all, ``(q,)``.
    """

    values: Matrix
    held_out: float
    seed: int
    mean: Real
    whole_mean: Real

    @classmethod
    def with_means(cls, values: Matrix, held_out: float, seed: int) -> Targets:
        """With their means.

        Raises
        ------
        SpecError
            If no row trains.
        """
        m, q = values.shape
        made = cls(values, held_out, seed, np.zeros(q), values.mean(axis=0))
        total, count = np.zeros(q), 0
        for first in range(0, m, _TOGETHER):
            numbers = np.arange(first, min(first + _TOGETHER, m), dtype=np.int64)
            trains = ~made.judges(numbers)
            total += values[numbers[trains]].sum(axis=0)
            count += int(np.count_nonzero(trains))
        if count == 0:
            raise SpecError(
                f"held_out={held_out} leaves none of the {m} rows to train on. Pass less, or 0 and a ridge."
            )
        mean = made.whole_mean if count == m else total / count
        return replace(made, mean=np.asarray(mean))

    @property
    def count(self) -> int:
        """Targets of a row."""
        return int(self.values.shape[1])

    def of(self, first: int, count: int) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Centred targets and a column of ones for some rows, and whether each judges."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        y = self.values[first : first + count] - self.mean
        return np.concatenate([y, np.ones((count, 1))], axis=1), self.judges(numbers)

    def plain(self, sums: RidgeSums) -> RidgeSums:
        """Sums about the mean of the rows that train."""
        return replace(sums, r=sums.r[:, :-1], squares=sums.squares[:-1])

    def about_whole(self, sums: RidgeSums) -> RidgeSums:
        """Sums of all rows about the mean of all rows; the squares stay as they are."""
        moved = np.outer(sums.r[:, -1], self.whole_mean - self.mean)
        return replace(self.plain(sums), r=sums.r[:, :-1] - moved)

    def judges(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether rows of these numbers judge."""
        if self.held_out == 0:
            return np.zeros(numbers.size, dtype=bool)
        return np.asarray(uniforms(self.seed ^ _JUDGES, numbers, 1)[:, 0] < self.held_out)


def as_targets(y: Any, m: int, name: str) -> tuple[Matrix, bool]:
    """Targets in float64 as ``(m, q)``, and whether they came as one vector.

    Raises
    ------
    ShapeError
        If there is not one target, or one row of them, for each of the ``m`` rows.
    SpecError
        If they are not finite real numbers.
    """
    try:
        values = as_array(y)
    except TypeError:  # what numpy makes no array of
        check_object(y, "y")
        raise
    if values.ndim not in (1, 2) or values.shape[0] != m:
        raise ShapeError(
            f"y has shape {values.shape}, {name} has {m:,} rows. Pass one target, or one row of them, for each."
        )
    if values.dtype.kind not in "fiub":
        raise SpecError(
            f"y holds {values.dtype}: targets are real numbers. Encode categories as numbers first."
        )
    if values.size == 0:
        raise ShapeError(
            f"y has shape {values.shape}: there is nothing to fit. Pass one target or more."
        )
    check_size(values, "y")
    wide = values.astype(np.float64).reshape(m, -1)
    bad = ~np.isfinite(wide)
    if bad.any():
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise SpecError(
            f"y is {wide[i, j]} at row {int(i)}, target {int(j)}. Mend or leave out the row."
        )
    return wide, values.ndim == 1

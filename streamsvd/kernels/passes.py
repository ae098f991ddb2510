"""What is done with a run of rows in each kind of pass, and how neighbours are joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.runs import RowStream
from streamsvd.engine.tree import Run
from streamsvd.errors import SpecError
from streamsvd.kernels.devices import choosing, computing
from streamsvd.kernels.mathematics import (
    Dictionary,
    DictionaryOptions,
    FeatureMap,
    merge_dictionaries,
    push_rows,
)
from streamsvd.kernels.mathematics.onepass import Regression, merge_regressions, regression
from streamsvd.kernels.mathematics.ridge import RidgeSums
from streamsvd.numerics.moments import row_squares
from streamsvd.numerics.uniforms import uniforms
from streamsvd.typing import Matrix, Real

Array = Any
_TOGETHER = 1 << 16
_JUDGES = 0x5EED
"""Turns the seed of the sampling into that of the rows held out."""


@dataclass(frozen=True, slots=True, eq=False)
class DictionaryPass:
    """The dictionary of a run; rows count from ``offset``."""

    rows: RowStream
    spec: DictionaryOptions
    step: int
    offset: int = 0
    device: str = "cpu"

    def leaf(self, run: Run) -> Dictionary:
        """Block after block."""
        state: Dictionary | None = None
        with choosing(self.device, self.spec) as spec:
            for first, block in self.rows.even_blocks(run, self.step):
                state = push_rows(spec, state, block, self.offset + first)
        assert state is not None
        return state

    def join(self, left: Dictionary, right: Dictionary) -> Dictionary:
        """Merged and shrunk."""
        with choosing(self.device, self.spec) as spec:
            return merge_dictionaries(spec, [left, right])


@dataclass(frozen=True, slots=True, eq=False)
class TraceErrorPass:
    """``trace(K - K_C)`` and ``trace(K)``."""

    rows: RowStream
    map_: FeatureMap
    device: str = "cpu"

    def leaf(self, run: Run) -> tuple[float, float]:
        """Sums over the rows."""
        left = trace = 0.0
        with computing(self.device, self.map_, self.rows, run) as (_, blocks):
            for _, block, features in blocks:
                part = features.remaining(block)
                left, trace = left + part[0], trace + part[1]
        return left, trace

    def join(self, left: tuple[float, float], right: tuple[float, float]) -> tuple[float, float]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


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


@dataclass(frozen=True, slots=True, eq=False)
class RegressionPass:
    """Dictionary and regression in one pass."""

    rows: RowStream
    spec: DictionaryOptions
    step: int
    targets: Targets

    def leaf(self, run: Run) -> Regression:
        """Block after block."""
        state: Regression | None = None
        for first, block in self.rows.even_blocks(run, self.step):
            y, judge = self.targets.of(first, block.shape[0])
            state = regression(self.spec, state, block, first, y, judge)
        assert state is not None
        return state

    def join(self, left: Regression, right: Regression) -> Regression:
        """Merged, sums carried over."""
        return merge_regressions(self.spec, left, right)


@dataclass(frozen=True, slots=True, eq=False)
class HoldoutSums:
    """What rows that train, and rows that judge, sum to.

    Attributes
    ----------
    train, held_out
        The sums.
    left
        ``trace(K - K_C)`` over all of them.
    """

    train: RidgeSums
    held_out: RidgeSums
    left: float


@dataclass(frozen=True, slots=True, eq=False)
class RidgeSumPass:
    """The sums of whitened features and targets; ``H`` only where it is wanted."""

    rows: RowStream
    map_: FeatureMap
    targets: Targets
    products: bool
    device: str = "cpu"

    def leaf(self, run: Run) -> HoldoutSums:
        """Sums over the rows."""
        q = self.targets.count + 1
        size = self.map_.n_features
        side = size if self.products else 0
        zero = RidgeSums(np.zeros((side, side)), np.zeros((size, q)), np.zeros(q), 0)
        with computing(self.device, self.map_, self.rows, run) as (engine, blocks):
            train = out = zero.move_to(engine.to_device)
            left = engine.zeros((), "float64")
            for first, block, features in blocks:
                y, judge = self.targets.of(first, block.shape[0])
                Z, xp = features(block), engine.xp
                apart = features.kernel.diagonal(block) - row_squares(Z)
                left = left + xp.sum(xp.maximum(apart, 0.0))
                rows = take_rows(engine, Z, ~judge), engine.to_device(y[~judge])
                train = train.update(*rows, products=self.products)
                rows = take_rows(engine, Z, judge), engine.to_device(y[judge])
                out = out.update(*rows, products=self.products)
            home = engine.to_host
            return HoldoutSums(train.move_to(home), out.move_to(home), float(home(left)))

    def join(self, left: HoldoutSums, right: HoldoutSums) -> HoldoutSums:
        """Added."""
        return HoldoutSums(
            left.train.merge(right.train),
            left.held_out.merge(right.held_out),
            left.left + right.left,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ProductPass:
    """``Z* (Z V)`` over rows that train, and over those that judge where they are wanted."""

    rows: RowStream
    map_: FeatureMap
    targets: Targets
    V: Matrix
    judges: bool
    device: str = "cpu"

    def leaf(self, run: Run) -> tuple[Matrix, Matrix]:
        """Sums over the rows."""
        with computing(self.device, self.map_, self.rows, run) as (engine, blocks):
            V = engine.to_device(self.V)
            train, out = engine.xp.zeros_like(V), engine.xp.zeros_like(V)
            for first, block, features in blocks:
                _, judge = self.targets.of(first, block.shape[0])
                Z = features(block)
                part = take_rows(engine, Z, ~judge)
                train += part.T @ (part @ V)
                if self.judges:
                    part = take_rows(engine, Z, judge)
                    out += part.T @ (part @ V)
            return engine.to_host(train), engine.to_host(out)

    def join(
        self, left: tuple[Matrix, Matrix], right: tuple[Matrix, Matrix]
    ) -> tuple[Matrix, Matrix]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


def take_rows(engine: Device, Z: Array, rows: npt.NDArray[np.bool_]) -> Array:
    """Some rows of a block, where it lies."""
    if rows.all():
        return Z
    numbers = engine.to_device(np.flatnonzero(rows))
    return engine.xp.take(Z, numbers, axis=0)


def held_out_errors(sums: RidgeSums, beta: Matrix, product: Matrix, columns: int) -> Real:
    """Squared errors on rows that judge, ``(columns,)``: ``|y|^2 - 2 r* beta + beta* H beta``.

    Parameters
    ----------
    sums
        Of the rows that judge: ``r`` ``(r, q)`` and squares.
    beta, product
        Coefficients ``(r, columns q)``, all targets of one ridge beside each other, and what ``H`` makes of them.
    columns
        Ridges.
    """
    r, squares = np.tile(sums.r, (1, columns)), np.tile(sums.squares, columns)
    cross = np.einsum("ij,ij->j", beta, r)
    return np.asarray(np.maximum(squares - 2 * cross + np.einsum("ij,ij->j", beta, product), 0.0))

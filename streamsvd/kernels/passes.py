"""What one read adds up where a dictionary is chosen, its error summed, and a regression fitted or used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.kernels.devices import Features, sampling_at, sampling_on
from streamsvd.kernels.mathematics import (
    Dictionary,
    DictionaryOptions,
    FeatureMap,
    merge_dictionaries,
    push_rows,
)
from streamsvd.kernels.mathematics.onepass import Regression, merge_regressions, regression
from streamsvd.kernels.mathematics.ridge import RidgeSums
from streamsvd.kernels.targets import Targets
from streamsvd.numerics.moments import row_squares
from streamsvd.typing import Matrix, Real

Array = Any


@dataclass(slots=True, eq=False)
class DictionaryState:
    """The dictionary of a span so far; None before its first block. Rows are sampled as ``sampling`` says on the device."""

    device: Device
    sampling: DictionaryOptions
    dictionary: Dictionary | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DictionaryPass:
    """The dictionary of all rows, which count from ``offset``.

    Notes
    -----
    Cost: ``8 n m^2`` flops for n rows and a dictionary of m.
    """

    sampling: DictionaryOptions
    device: str = "cpu"
    offset: int = 0

    def init(self, device: Device) -> DictionaryState:
        """No rows."""
        return DictionaryState(device, sampling_on(device, self.sampling))

    def update(self, state: DictionaryState, block: Block) -> DictionaryState:
        """With the rows of a block, shrunk."""
        rows, first = block.float64_on_host(state.device), self.offset + block.first
        state.dictionary = push_rows(state.sampling, state.dictionary, rows, first)
        return state

    def close(self, state: DictionaryState) -> Dictionary:
        """The dictionary, on the host."""
        assert state.dictionary is not None
        return state.dictionary

    def merge(self, left: Dictionary, right: Dictionary) -> Dictionary:
        """Merged and shrunk."""
        with sampling_at(self.device, self.sampling) as sampling:
            return merge_dictionaries(sampling, [left, right])


@dataclass(slots=True, eq=False)
class TraceState:
    """Traces of a span so far."""

    features: Features
    left: float = 0.0
    trace: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class TraceErrorPass:
    """``trace(K - K_C)`` and ``trace(K)``."""

    map_: FeatureMap

    def init(self, device: Device) -> TraceState:
        """Zero, and the map on the device."""
        return TraceState(Features.on(device, self.map_))

    def update(self, state: TraceState, block: Block) -> TraceState:
        """With the rows of a block."""
        for _, rows, map_ in state.features.pieces(block):
            left, trace = map_.remaining(rows)
            state.left, state.trace = state.left + left, state.trace + trace
        return state

    def close(self, state: TraceState) -> tuple[float, float]:
        """Both."""
        return state.left, state.trace

    def merge(self, left: tuple[float, float], right: tuple[float, float]) -> tuple[float, float]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


@dataclass(slots=True, eq=False)
class RegressionState:
    """The regression of a span so far; None before its first block."""

    device: Device
    regression: Regression | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RegressionPass:
    """Dictionary and regression in one pass."""

    sampling: DictionaryOptions
    targets: Targets

    def init(self, device: Device) -> RegressionState:
        """No rows."""
        return RegressionState(device)

    def update(self, state: RegressionState, block: Block) -> RegressionState:
        """With the rows of a block."""
        rows = block.float64_on_host(state.device)
        y, judge = self.targets.of(block.first, block.n_rows)
        state.regression = regression(self.sampling, state.regression, rows, block.first, y, judge)
        return state

    def close(self, state: RegressionState) -> Regression:
        """The regression."""
        assert state.regression is not None
        return state.regression

    def merge(self, left: Regression, right: Regression) -> Regression:
        """Merged, sums carried over."""
        return merge_regressions(self.sampling, left, right)


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


@dataclass(slots=True, eq=False)
class HoldoutState:
    """The same of a span so far, on the device."""

    features: Features
    train: RidgeSums
    held_out: RidgeSums
    left: Array


@dataclass(frozen=True, slots=True, eq=False)
class RidgeSumPass:
    """The sums of whitened features and targets; ``H`` only where it is wanted.

    Notes
    -----
    Cost: features, and ``n M^2`` flops for ``H`` of M centres.
    """

    map_: FeatureMap
    targets: Targets
    products: bool

    def init(self, device: Device) -> HoldoutState:
        """Zero sums on the device, and the map there."""
        size, q = self.map_.n_features, self.targets.count + 1
        side = size if self.products else 0
        zero = RidgeSums(np.zeros((side, side)), np.zeros((size, q)), np.zeros(q), 0)
        zero, left = zero.move_to(device.to_device), device.zeros((), "float64")
        return HoldoutState(Features.on(device, self.map_), zero, zero, left)

    def update(self, state: HoldoutState, block: Block) -> HoldoutState:
        """With the rows of a block."""
        device = state.features.device
        xp = device.xp
        for first, rows, map_ in state.features.pieces(block):
            y, judge = self.targets.of(first, rows.shape[0])
            Z = map_(rows)
            apart = map_.kernel.diagonal(rows) - row_squares(Z)
            state.left = state.left + xp.sum(xp.maximum(apart, 0.0))
            part = take_rows(device, Z, ~judge), device.to_device(y[~judge])
            state.train = state.train.update(*part, products=self.products)
            part = take_rows(device, Z, judge), device.to_device(y[judge])
            state.held_out = state.held_out.update(*part, products=self.products)
        return state

    def close(self, state: HoldoutState) -> HoldoutSums:
        """The sums, on the host."""
        home = state.features.device.to_host
        return HoldoutSums(
            state.train.move_to(home), state.held_out.move_to(home), float(home(state.left))
        )

    def merge(self, left: HoldoutSums, right: HoldoutSums) -> HoldoutSums:
        """Added."""
        return HoldoutSums(
            left.train.merge(right.train),
            left.held_out.merge(right.held_out),
            left.left + right.left,
        )


@dataclass(slots=True, eq=False)
class ProductState:
    """Products of a span so far, on the device."""

    features: Features
    V: Array
    train: Array
    held_out: Array


@dataclass(frozen=True, slots=True, eq=False)
class ProductPass:
    """``Z* (Z V)`` over rows that train, and over those that judge where they are wanted.

    Notes
    -----
    Cost: features, and ``4 n M k`` flops for M centres and k columns of V.
    """

    map_: FeatureMap
    targets: Targets
    V: Matrix
    judges: bool

    def init(self, device: Device) -> ProductState:
        """Zero sums on the device, and map and V there."""
        V, xp = device.to_device(self.V), device.xp
        return ProductState(Features.on(device, self.map_), V, xp.zeros_like(V), xp.zeros_like(V))

    def update(self, state: ProductState, block: Block) -> ProductState:
        """With the rows of a block."""
        device, V = state.features.device, state.V
        for first, rows, map_ in state.features.pieces(block):
            _, judge = self.targets.of(first, rows.shape[0])
            Z = map_(rows)
            part = take_rows(device, Z, ~judge)
            state.train += part.T @ (part @ V)
            if self.judges:
                part = take_rows(device, Z, judge)
                state.held_out += part.T @ (part @ V)
        return state

    def close(self, state: ProductState) -> tuple[Matrix, Matrix]:
        """Both, on the host."""
        home = state.features.device.to_host
        return home(state.train), home(state.held_out)

    def merge(
        self, left: tuple[Matrix, Matrix], right: tuple[Matrix, Matrix]
    ) -> tuple[Matrix, Matrix]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


@dataclass(slots=True, eq=False)
class PredictionState:
    """Predictions of a span on their way to the sink: those of whole bands, and those that wait for the rest of theirs."""

    features: Features
    coefficients: Array
    waiting: list[Matrix] = field(default_factory=list)
    pieces: list[tuple[int, Matrix]] = field(default_factory=list)
    n_written: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PredictionPass:
    """``z(x) @ coefficients + mean`` of all ``m`` rows, handed over in whole bands of so many rows: a chunk has one writer.

    Notes
    -----
    Cost: features, and ``2 n M q`` flops for M centres and q targets.
    """

    map_: FeatureMap
    coefficients: Matrix
    mean: Real
    band: int
    m: int

    def init(self, device: Device) -> PredictionState:
        """No rows; map and coefficients on the device."""
        there = device.to_device(self.coefficients)
        return PredictionState(Features.on(device, self.map_), there)

    def update(self, state: PredictionState, block: Block) -> PredictionState:
        """With the rows of a block; spans begin and end where bands do."""
        home, end = state.features.device.to_host, block.first + block.n_rows
        start = block.first - sum(rows.shape[0] for rows in state.waiting)
        for _, rows, map_ in state.features.pieces(block):
            state.waiting.append(home(map_(rows) @ state.coefficients) + self.mean)
        whole = end if end == self.m else end - end % self.band
        if whole > start:
            rows = np.concatenate(state.waiting)
            state.pieces.append((start, rows[: whole - start]))
            state.waiting = [rows[whole - start :].copy()] if whole < end else []
            state.n_written += whole - start
        return state

    def close(self, state: PredictionState) -> int:
        """Rows handed over."""
        return state.n_written

    def merge(self, left: int, right: int) -> int:
        """Added."""
        return left + right


def take_rows(device: Device, Z: Array, rows: npt.NDArray[np.bool_]) -> Array:
    """Some rows of a block, where it lies."""
    if rows.all():
        return Z
    numbers = device.to_device(np.flatnonzero(rows))
    return device.xp.take(Z, numbers, axis=0)


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

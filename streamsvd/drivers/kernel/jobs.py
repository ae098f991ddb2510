"""What is done with a run of rows in each kind of pass, and how neighbours are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamsvd.drivers.kernel.reading import Rows
from streamsvd.engine.tree import Run
from streamsvd.kernels.uniforms import uniforms
from streamsvd.leverage import Dictionary, FeatureMap, Spec, merged, pushed, remaining
from streamsvd.leverage.onepass import Regression, joined, regression
from streamsvd.leverage.ridge import Moments
from streamsvd.typing import Matrix, Real

_JUDGES = 0x5EED
"""Turns the seed of the sampling into that of the rows held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Choosing:
    """The dictionary of a run; rows count from ``offset``."""

    rows: Rows
    spec: Spec
    step: int
    offset: int = 0

    def leaf(self, run: Run) -> Dictionary:
        """Block after block."""
        state: Dictionary | None = None
        for first, block in self.rows.even(run, self.step):
            state = pushed(self.spec, state, block, self.offset + first)
        assert state is not None
        return state

    def join(self, left: Dictionary, right: Dictionary) -> Dictionary:
        """Merged and shrunk."""
        return merged(self.spec, [left, right])


@dataclass(frozen=True, slots=True, eq=False)
class Remaining:
    """``trace(K - K_C)`` and ``trace(K)``."""

    rows: Rows
    map_: FeatureMap

    def leaf(self, run: Run) -> tuple[float, float]:
        """Sums over the rows."""
        left = trace = 0.0
        for _, block in self.rows.blocks(run):
            left += float(remaining(self.map_, block).sum())
            trace += float(self.map_.kernel.diagonal(block).sum())
        return left, trace

    def join(self, left: tuple[float, float], right: tuple[float, float]) -> tuple[float, float]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Centred targets ``(rows, q)``, and which rows judge.

    Attributes
    ----------
    values
        The targets.
    held_out
        Share of the rows that judge.
    seed
        Of the choice.
    """

    values: Matrix
    held_out: float
    seed: int

    def of(self, first: int, count: int) -> tuple[Matrix, npt.NDArray[np.bool_]]:
        """Targets of some rows, and whether each judges."""
        numbers = np.arange(first, first + count, dtype=np.int64)
        judge = uniforms(self.seed ^ _JUDGES, numbers, 1)[:, 0] < self.held_out
        return self.values[first : first + count], judge


@dataclass(frozen=True, slots=True, eq=False)
class Fitting:
    """Dictionary and regression in one pass."""

    rows: Rows
    spec: Spec
    step: int
    targets: Targets

    def leaf(self, run: Run) -> Regression:
        """Block after block."""
        state: Regression | None = None
        for first, block in self.rows.even(run, self.step):
            y, judge = self.targets.of(first, block.shape[0])
            state = regression(self.spec, state, block, first, y, judge)
        assert state is not None
        return state

    def join(self, left: Regression, right: Regression) -> Regression:
        """Merged, sums carried over."""
        return joined(self.spec, left, right)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What rows that train, and rows that judge, sum to.

    Attributes
    ----------
    train, held_out
        The sums.
    left
        ``trace(K - K_C)`` over all of them.
    """

    train: Moments
    held_out: Moments
    left: float


@dataclass(frozen=True, slots=True, eq=False)
class Summing:
    """The sums of whitened features and targets; ``H`` only where it is wanted."""

    rows: Rows
    map_: FeatureMap
    targets: Targets
    products: bool

    def leaf(self, run: Run) -> Sums:
        """Sums over the rows."""
        q = self.targets.values.shape[1]
        size = self.map_.n_features
        side = size if self.products else 0
        train = out = Moments(np.zeros((side, side)), np.zeros((size, q)), np.zeros(q), 0)
        left = 0.0
        for first, block in self.rows.blocks(run):
            y, judge = self.targets.of(first, block.shape[0])
            Z = self.map_(block)
            whole = self.map_.kernel.diagonal(block)
            left += float(np.maximum(whole - np.einsum("ij,ij->i", Z, Z), 0.0).sum())
            train = self._with(train, Z[~judge], y[~judge])
            out = self._with(out, Z[judge], y[judge])
        return Sums(train, out, left)

    def _with(self, sums: Moments, Z: Matrix, y: Matrix) -> Moments:
        if self.products:
            return sums.update(Z, y)
        squares = sums.squares + np.sum(y * y, axis=0)
        return Moments(sums.H, sums.r + Z.T @ y, squares, sums.n_rows + Z.shape[0])

    def join(self, left: Sums, right: Sums) -> Sums:
        """Added."""
        return Sums(
            left.train.merge(right.train),
            left.held_out.merge(right.held_out),
            left.left + right.left,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """``Z* (Z V)`` over rows that train, and over those that judge where they are wanted."""

    rows: Rows
    map_: FeatureMap
    targets: Targets
    V: Matrix
    judges: bool

    def leaf(self, run: Run) -> tuple[Matrix, Matrix]:
        """Sums over the rows."""
        train, out = np.zeros_like(self.V), np.zeros_like(self.V)
        for first, block in self.rows.blocks(run):
            _, judge = self.targets.of(first, block.shape[0])
            Z = self.map_(block)
            train += Z[~judge].T @ (Z[~judge] @ self.V)
            if self.judges:
                out += Z[judge].T @ (Z[judge] @ self.V)
        return train, out

    def join(
        self, left: tuple[Matrix, Matrix], right: tuple[Matrix, Matrix]
    ) -> tuple[Matrix, Matrix]:
        """Added."""
        return left[0] + right[0], left[1] + right[1]


def held_out_errors(sums: Moments, beta: Matrix, product: Matrix, columns: int) -> Real:
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

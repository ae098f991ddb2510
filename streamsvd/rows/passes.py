"""What one read adds up where rows are sampled, or a problem of least squares is solved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.engine.triangle_pass import rows_beside
from streamsvd.rows.mathematics import (
    DescentSums,
    Draw,
    LeastSquaresDescent,
    RowSpace,
    SparseSignSketch,
    leverage,
    sensitivity,
)
from streamsvd.typing import Matrix

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class HostSum(Generic[T]):
    """A value that grows on the host, and the device that its blocks come from."""

    value: T
    device: Device


@dataclass(frozen=True, slots=True, eq=False)
class DrawPass:
    """A sample of the ``m`` rows by scores in a row space, for the norm ``p``."""

    space: RowSpace
    draw: Draw
    p: float
    m: int

    def init(self, device: Device) -> HostSum[Draw]:
        """No rows drawn."""
        return HostSum(self.draw, device)

    def update(self, state: HostSum[Draw], block: Block) -> HostSum[Draw]:
        """With the rows of a block, each by a number of its own."""
        rows = block.float64_on_host(state.device)
        scores = sensitivity(leverage(self.space, rows), self.p, self.m)
        return replace(state, value=state.value.push(block.first, rows, scores))

    def close(self, state: HostSum[Draw]) -> Draw:
        """The rows drawn."""
        return state.value

    def merge(self, left: Draw, right: Draw) -> Draw:
        """Together, as many as are wanted."""
        return left.merge(right)


@dataclass(frozen=True, slots=True, eq=False)
class SparseSignPass:
    """A sketch of few rows of the ``n`` columns, with columns of ``beside`` on the right."""

    n: int
    beside: Matrix
    seed: int

    def init(self, device: Device) -> HostSum[SparseSignSketch]:
        """Of no rows."""
        width = self.n + self.beside.shape[1]
        return HostSum(SparseSignSketch.zero(self.n, width, seed=self.seed), device)

    def update(self, state: HostSum[SparseSignSketch], block: Block) -> HostSum[SparseSignSketch]:
        """With the rows of a block."""
        rows = rows_beside(block, state.device, self.beside)
        return replace(state, value=state.value.update(block.first, rows))

    def close(self, state: HostSum[SparseSignSketch]) -> SparseSignSketch:
        """The sketch."""
        return state.value

    def merge(self, left: SparseSignSketch, right: SparseSignSketch) -> SparseSignSketch:
        """Added."""
        return left.merge(right)


@dataclass(frozen=True, slots=True, eq=False)
class DescentPass:
    """Sums of one iteration of least squares."""

    b: Matrix
    descent: LeastSquaresDescent

    def init(self, device: Device) -> HostSum[DescentSums]:
        """Zero sums."""
        return HostSum(DescentSums.zero(*self.descent.X.shape), device)

    def update(self, state: HostSum[DescentSums], block: Block) -> HostSum[DescentSums]:
        """With the rows of a block."""
        rows = block.float64_on_host(state.device)
        b = self.b[block.first : block.first + block.n_rows]
        return replace(state, value=state.value.update(self.descent, rows, b))

    def close(self, state: HostSum[DescentSums]) -> DescentSums:
        """The sums."""
        return state.value

    def merge(self, left: DescentSums, right: DescentSums) -> DescentSums:
        """Added."""
        return left.merge(right)

"""What is done with a run of rows where rows are sampled, or a problem of least squares is solved."""

from __future__ import annotations

from dataclasses import dataclass

from streamsvd.engine.runs.reading import RowStream
from streamsvd.engine.runs.triangles import blocks_beside
from streamsvd.engine.tree import Run
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


@dataclass(frozen=True, slots=True, eq=False)
class DrawPass:
    """A sample by scores in a row space."""

    rows: RowStream
    height: int
    space: RowSpace
    draw: Draw
    p: float

    def leaf(self, run: Run) -> Draw:
        """Block after block."""
        draw, m = self.draw, self.rows.source.shape[0]
        for first, block in self.rows.even_blocks(run, self.height):
            draw = draw.push(first, block, sensitivity(leverage(self.space, block), self.p, m))
        return draw

    def join(self, left: Draw, right: Draw) -> Draw:
        """Together, as many as are wanted."""
        return left.merge(right)


@dataclass(frozen=True, slots=True, eq=False)
class SparseSignPass:
    """A sketch of few rows, with columns of ``beside`` on the right."""

    rows: RowStream
    height: int
    beside: Matrix
    seed: int

    def leaf(self, run: Run) -> SparseSignSketch:
        """Block after block."""
        n = self.rows.source.shape[1]
        sketch = SparseSignSketch.zero(n, n + self.beside.shape[1], seed=self.seed)
        for first, block in blocks_beside(self.rows, run, self.height, self.beside):
            sketch = sketch.update(first, block)
        return sketch

    def join(self, left: SparseSignSketch, right: SparseSignSketch) -> SparseSignSketch:
        """Added."""
        return left.merge(right)


@dataclass(frozen=True, slots=True, eq=False)
class DescentPass:
    """Sums of one iteration."""

    rows: RowStream
    height: int
    b: Matrix
    state: LeastSquaresDescent

    def leaf(self, run: Run) -> DescentSums:
        """Block after block."""
        sums = DescentSums.zero(*self.state.X.shape)
        for first, block in self.rows.even_blocks(run, self.height):
            sums = sums.update(self.state, block, self.b[first : first + block.shape[0]])
        return sums

    def join(self, left: DescentSums, right: DescentSums) -> DescentSums:
        """Added."""
        return left.merge(right)

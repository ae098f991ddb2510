"""The triangle of all rows in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamsvd.engine.runs.reading import RowStream
from streamsvd.engine.tree import Run
from streamsvd.numerics.triangle import Tower, Triangle, join_triangles
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class TrianglePass:
    """The triangle of all rows, with columns of ``beside`` on their right."""

    rows: RowStream
    height: int
    beside: Matrix | None = None

    def leaf(self, run: Run) -> Triangle:
        """Block after block."""
        tower = Tower()
        for block in blocks_beside(self.rows, run, self.height, self.beside):
            tower = tower.push(block[1])
        return tower.top()

    def join(self, left: Triangle, right: Triangle) -> Triangle:
        """One below the other, reduced."""
        return join_triangles(left, right)


def blocks_beside(
    rows: RowStream, run: Run, height: int, beside: Matrix | None
) -> Iterator[tuple[int, Matrix]]:
    """Blocks of rows with those of another matrix on their right."""
    for first, block in rows.even_blocks(run, height):
        if beside is None:
            yield first, block
        else:
            yield first, np.concatenate([block, beside[first : first + block.shape[0]]], axis=1)

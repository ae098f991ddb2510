"""The triangle of all rows in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.numerics.triangle import Tower, Triangle, join_triangles
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class TriangleState:
    """Triangles of a span so far, and where its blocks lie."""

    tower: Tower
    device: Device


@dataclass(frozen=True, slots=True, eq=False)
class TrianglePass:
    """The triangle of all rows, with columns of ``beside`` on their right.

    Notes
    -----
    Cost: ``4 m n^2`` flops, and ``n^2`` numbers for each level of the tower of a span.
    """

    beside: Matrix | None = None

    def init(self, device: Device) -> TriangleState:
        """No rows."""
        return TriangleState(Tower(), device)

    def update(self, state: TriangleState, block: Block) -> TriangleState:
        """With the rows of a block."""
        rows = rows_beside(block, state.device, self.beside)
        return replace(state, tower=state.tower.push(rows))

    def close(self, state: TriangleState) -> Triangle:
        """One triangle."""
        return state.tower.top()

    def merge(self, left: Triangle, right: Triangle) -> Triangle:
        """One below the other, reduced."""
        return join_triangles(left, right)


def rows_beside(block: Block, device: Device, beside: Matrix | None) -> Matrix:
    """Rows of a block in float64 with those of another matrix on their right."""
    rows = block.float64_on_host(device)
    if beside is None:
        return rows
    return np.concatenate([rows, beside[block.first : block.first + block.n_rows]], axis=1)

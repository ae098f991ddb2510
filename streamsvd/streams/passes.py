"""What a further read of a stored stream adds up: exact products, and the size of what was read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.typing import Matrix


@dataclass(slots=True, eq=False)
class ProductSums:
    """``A* A V``, rows and energy of some rows."""

    products: Matrix
    n_rows: int = 0
    energy: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RefinementPass:
    """Products with the columns that the stream left.

    Attributes
    ----------
    basis
        These columns, ``(n, b)``.
    """

    basis: Matrix

    def init(self, device: Device) -> ProductSums:
        """Nothing yet."""
        del device
        return ProductSums(np.zeros_like(self.basis))

    def update(self, state: ProductSums, block: Block, /) -> ProductSums:
        """With the rows of a block."""
        X = np.asarray(block.data).astype(np.float64, copy=False)
        state.products += X.T @ (X @ self.basis)
        state.n_rows += X.shape[0]
        state.energy += float(np.einsum("ij,ij->", X, X))
        return state

    def close(self, state: ProductSums) -> ProductSums:
        """All of it."""
        return state

    def merge(self, left: ProductSums, right: ProductSums) -> ProductSums:
        """The sums of both."""
        return ProductSums(
            left.products + right.products, left.n_rows + right.n_rows, left.energy + right.energy
        )

    def absorb(self, left: ProductSums, right: ProductSums) -> ProductSums:
        """The same in the memory of the left one."""
        left.products += right.products
        left.n_rows, left.energy = left.n_rows + right.n_rows, left.energy + right.energy
        return left

"""A further read of a stored stream as a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.streams.mathematics import ProductSums
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class RefinementPass:
    """Exact products with the columns that the stream left, and the size of what was read.

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
        state.add(np.asarray(block.data), self.basis)
        return state

    def close(self, state: ProductSums) -> ProductSums:
        """All of it."""
        return state

    def merge(self, left: ProductSums, right: ProductSums) -> ProductSums:
        """The sums of both."""
        return replace(left, products=left.products.copy()).absorb(right)

    def absorb(self, left: ProductSums, right: ProductSums) -> ProductSums:
        """The same in the memory of the left one."""
        return left.absorb(right)

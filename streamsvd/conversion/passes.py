"""The passes of a conversion: blocks that are chunks are written as they come; tiles of columns go by way of files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.errors import SpecError
from streamsvd.store.writing.row_chunks import ColumnTiles, RowChunks


@dataclass(slots=True, eq=False)
class WritingState:
    """What a task has written.

    Attributes
    ----------
    device
        Where its blocks are.
    count
        Chunks, or rectangles.
    first, stop
        Of the streamed axis, what was seen.
    """

    device: Device
    count: int = 0
    first: int = -1
    stop: int = -1

    def see(self, start: int, stop: int) -> None:
        """A run of the streamed axis was written."""
        self.first = start if self.first < 0 else min(self.first, start)
        self.stop = max(self.stop, stop)
        self.count += 1


@dataclass(frozen=True, slots=True)
class ChunkWriting:
    """Blocks of whole rows, each a chunk; those that are there already are left.

    Attributes
    ----------
    chunks
        Where they are written.
    tiles
        What they are read from, if that goes once it was read.
    """

    chunks: RowChunks
    tiles: ColumnTiles | None = None

    def init(self, device: Device) -> WritingState:
        """No chunk."""
        return WritingState(device)

    def update(self, state: WritingState, block: Block) -> WritingState:
        """With the chunk of a block."""
        index = block.first // self.chunks.height
        if not self.chunks.is_there(index):
            rows = as_type(state.device.to_host(block.data), self.chunks.dtype)
            self.chunks.write(index, rows)
            state.count += 1
        if self.tiles is not None:
            self.tiles.remove(index)
        return state

    def close(self, state: WritingState) -> int:
        """Chunks that were written."""
        return state.count

    def merge(self, left: int, right: int) -> int:
        """Of both."""
        return left + right


@dataclass(frozen=True, slots=True)
class TileWriting:
    """Blocks of columns, whole or of some rows, each once; what a task has written is marked.

    Attributes
    ----------
    tiles
        Where they are written.
    along_columns
        Whether columns are streamed.
    """

    tiles: ColumnTiles
    along_columns: bool
    two_sided: bool = field(default=False, init=False)

    def init(self, device: Device) -> WritingState:
        """Nothing."""
        return WritingState(device)

    def update(self, state: WritingState, block: Block) -> WritingState:
        """With all rows of some columns."""
        values = as_type(state.device.to_host(block.data), self.tiles.dtype)
        self.tiles.write(0, block.first, values)
        state.see(block.first, block.first + values.shape[1])
        return state

    def forward(self, state: WritingState, block: Block) -> list[Any]:
        """Some rows of some columns."""
        values = as_type(state.device.to_host(block.data), self.tiles.dtype)
        self.tiles.write(block.first, block.columns.start, values)
        state.see(block.first, block.first + values.shape[0])
        return []

    def backward(self, state: WritingState, block: Block, products: Sequence[Any]) -> None:
        """Nothing."""

    def close(self, state: WritingState) -> int:
        """Rectangles that were written."""
        if state.count:
            self.tiles.done_path(state.first, state.stop).touch()
        return state.count

    def merge(self, left: int, right: int) -> int:
        """Of both."""
        return left + right


def as_type(values: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Entries in another type, rounded; what is finite stays so.

    Raises
    ------
    SpecError
        If an entry is beyond the type.
    """
    if values.dtype == dtype:
        return values
    try:
        with np.errstate(over="raise", under="ignore", invalid="ignore"):
            return values.astype(dtype)
    except FloatingPointError:
        largest = float(np.max(np.abs(values[np.isfinite(values)]).astype(np.float64)))
        raise SpecError(
            f"an entry of modulus {largest:.3g} is beyond {dtype}. Leave out_dtype= out, or pass a wider type."
        ) from None

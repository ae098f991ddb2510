"""A rectangle in parts that are read one after another, so that what each takes beside its place is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy.typing as npt

from streamsvd.store.sources.flatten import Box, box_shape


def pieces(
    box: Box, place: npt.NDArray[Any], most: int, grid: Sequence[int]
) -> Iterator[tuple[Box, npt.NDArray[Any]]]:
    """Parts of a rectangle, each with its place: of at most ``most`` entries, or within one chunk.

    Parameters
    ----------
    box, place
        A rectangle of an array, and where it goes.
    most
        Entries.
    grid
        Lengths of chunks: parts begin and end with them.
    """
    shape = box_shape(box)
    size = math.prod(shape)
    if size == 0:
        return
    axis = next((a for a, part in enumerate(box) if _cells(part, grid[a]) > 1), None)
    if size <= most or axis is None:
        yield box, place
        return
    cell = size // shape[axis] * grid[axis]
    step = grid[axis] * max(1, most // cell)
    part = box[axis]
    start = part.start
    while start < part.stop:
        stop = min(part.stop, (start // step + 1) * step)
        inside = (slice(None),) * axis + (slice(start - part.start, stop - part.start),)
        cut = (*box[:axis], slice(start, stop), *box[axis + 1 :])
        yield from pieces(cut, place[inside], most, grid)
        start = stop


def _cells(part: slice, length: int) -> int:
    """Chunks along one dimension that a run touches."""
    return -(-int(part.stop) // length) - int(part.start) // length

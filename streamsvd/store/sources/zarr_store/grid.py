"""Which stored chunks a rectangle touches: pure arithmetic of a regular grid."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from streamsvd.store.sources.flatten import Box


@dataclass(frozen=True)
class ChunkPiece:
    """The part of one chunk that a rectangle needs."""

    coords: tuple[int, ...]
    chunk_box: Box  # in the chunk
    target_box: Box  # in the rectangle


def chunk_pieces(box: Box, chunk_shape: Sequence[int]) -> Iterator[ChunkPiece]:
    """Cut a rectangle along the grid, in C order of the grid; nothing is listed in advance."""
    ranges = [
        range(part.start // chunk, (part.stop - 1) // chunk + 1)
        for part, chunk in zip(box, chunk_shape, strict=True)
    ]
    for coords in itertools.product(*ranges):
        within, placed = [], []
        for index, part, chunk in zip(coords, box, chunk_shape, strict=True):
            start = max(part.start, index * chunk)
            stop = min(part.stop, (index + 1) * chunk)
            within.append(slice(start - index * chunk, stop - index * chunk))
            placed.append(slice(start - part.start, stop - part.start))
        yield ChunkPiece(coords, tuple(within), tuple(placed))

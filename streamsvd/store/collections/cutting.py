"""One array cut along a dimension: its pieces are the members, and whole chunks are read at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streamsvd.errors import ShapeError, SpecError
from streamsvd.store.collections.arrays import StoredArray
from streamsvd.store.collections.members import CollectionPart, span_bytes

PART_BYTES = 4 << 20
"""Pieces are read together up to about this many bytes, and beyond to the end of a chunk."""
MOST_BYTES = 64 << 20
"""No part goes on beyond this for the sake of whole chunks."""


def cut_parts(
    stored: StoredArray, axis: int, width: int | None
) -> tuple[list[str], list[CollectionPart]]:
    """Names of the pieces, and the reads that deliver them.

    Parameters
    ----------
    stored
        The array.
    axis
        The dimension that is cut.
    width
        Indices of a piece; None for pieces of one index that lack the dimension.

    Raises
    ------
    ShapeError, SpecError
        If the array has no such dimension, or the width is no number of indices.
    """
    ndim = len(stored.shape)
    if not -ndim <= axis < ndim:
        raise ShapeError(
            f"{stored.where} of shape {stored.shape} has no dimension {axis} to cut along."
        )
    if width is not None and width < 1:
        raise SpecError(f"a piece of width {width} holds nothing. Pass 1 or more.")
    axis %= ndim
    length, step = stored.shape[axis], width or 1
    edges = [(a, min(a + step, length)) for a in range(0, length, step)]
    digits = len(str(max(len(edges) - 1, 0)))
    names = [f"{i:0{digits}d}" for i in range(len(edges))]
    return names, _parts_by_chunk(stored, axis, edges, width is None)


def _parts_by_chunk(
    stored: StoredArray, axis: int, edges: Sequence[tuple[int, int]], dropped: bool
) -> list[CollectionPart]:
    chunk, length = stored.chunks[axis], stored.shape[axis]
    slab = math.prod(stored.shape) // max(length, 1) * stored.dtype.itemsize
    out: list[CollectionPart] = []
    start = 0
    for i, (_, end) in enumerate(edges, start=1):
        held = (end - edges[start][0]) * slab
        whole = end % chunk == 0 and held >= PART_BYTES
        if i == len(edges) or whole or held >= MOST_BYTES:
            decoded = span_bytes(stored, axis, edges[start][0], end)
            out.append(CollectionPart(stored, start, axis, tuple(edges[start:i]), dropped, decoded))
            start = i
    return out

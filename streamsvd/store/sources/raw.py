"""Rectangles of an array that lies uncompressed in a file, read with plain reads.

A memory map would count in the resident memory of the process as far as it has been touched, so that it
grows with the file; a read goes straight into the caller's array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.sources.flatten import Box, box_shape

BLOCK_BYTES = 1 << 20  # transient memory of a read that cannot go straight into its place
_GATHER = 32  # runs transposed together: a cache line of each column and more
_PAGE_BYTES = 8192  # runs closer together than this are read as one


def read_box(
    file: IO[bytes],
    offset: int,
    extents: Sequence[int],
    dtype: np.dtype[Any],
    box: Box,
    place: npt.NDArray[Any],
) -> None:
    """Fill ``place`` with the rectangle ``box`` of a C-order array that starts at ``offset``.

    Raises
    ------
    EOFError
        If the file ends before the rectangle does.
    """
    if place.size == 0:
        return
    first, *rest = box
    slab = math.prod(extents[1:]) * dtype.itemsize
    covered = math.prod(box_shape(tuple(rest))) * dtype.itemsize
    start = offset + first.start * slab
    if covered == slab:
        _read_run(file, start, dtype, place)
    elif slab <= _PAGE_BYTES or (4 * covered >= slab and slab <= BLOCK_BYTES):
        step = max(1, BLOCK_BYTES // slab)
        for begin in range(0, len(place), step):
            part = place[begin : begin + step]
            slabs = np.empty((len(part), *extents[1:]), dtype)
            _read_run(file, start + begin * slab, dtype, slabs)
            part[...] = slabs[(slice(None), *rest)]
    else:  # one run after another; several at once where each would be written across its place
        gather = 1 if place[0].flags.c_contiguous else max(1, min(_GATHER, BLOCK_BYTES // covered))
        for begin in range(0, len(place), gather):
            part = place[begin : begin + gather]
            runs = np.empty(part.shape, dtype) if gather > 1 else part
            for index, run in enumerate(runs):
                position = start + (begin + index) * slab
                read_box(file, position, extents[1:], dtype, tuple(rest), run)
            if runs is not part:
                part[...] = runs


def _read_run(file: IO[bytes], start: int, dtype: np.dtype[Any], place: npt.NDArray[Any]) -> None:
    """Fill ``place`` with consecutive values of the file."""
    if place.flags.c_contiguous and place.dtype == dtype:
        _read_bytes(file, start, place)
        return
    slab = place[0].size * dtype.itemsize
    if slab > BLOCK_BYTES and place.ndim > 1:
        for index, part in enumerate(place):
            _read_run(file, start + index * slab, dtype, part)
        return
    step = max(1, BLOCK_BYTES // slab)
    for begin in range(0, len(place), step):
        part = place[begin : begin + step]
        values = np.empty(part.shape, dtype)
        _read_bytes(file, start + begin * slab, values)
        part[...] = values


def _read_bytes(file: IO[bytes], start: int, values: npt.NDArray[Any]) -> None:
    count = read_into(file, start, values.reshape(-1).view(np.uint8))
    if count < values.nbytes:
        raise EOFError(
            f"it ends at byte {start + count:,}, {values.nbytes - count:,} bytes too early"
        )


def read_into(file: IO[bytes], start: int, target: npt.NDArray[np.uint8]) -> int:
    """Fill ``target`` with the bytes of a file from ``start`` on; how many there were."""
    file.seek(start)
    view, done = target.data, 0
    while done < len(view) and (count := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += count
    return done

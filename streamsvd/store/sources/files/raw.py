"""Rectangles of an array that lies uncompressed in a file, read with plain reads.

A memory map would count in the resident memory of the process as far as it has been touched, so that it
grows with the file; a read goes straight into the caller's array.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.sources.border import WHOLE_BYTES
from streamsvd.store.sources.flatten import Box, box_shape

BLOCK_BYTES = 1 << 20  # transient memory of a read that cannot go straight into its place
_GATHER = 32  # runs transposed together: a cache line of each column and more
_GAPS = 8  # gaps of a smaller part of what is read than one in so many are read as well


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
    elif slab <= WHOLE_BYTES or _GAPS * (slab - covered) <= slab <= BLOCK_BYTES:
        step = max(1, BLOCK_BYTES // slab)
        for begin in range(0, len(place), step):
            part = place[begin : begin + step]
            slabs = np.empty((len(part), *extents[1:]), dtype)
            _read_run(file, start + begin * slab, dtype, slabs)
            part[...] = slabs[(slice(None), *rest)]
    else:  # one run after another; some at once where each would be written across its place
        across = not place[0].flags.c_contiguous
        together = max(1, min(_GATHER, BLOCK_BYTES // covered)) if across else len(place)
        inner = math.prod(extents[2:]) * dtype.itemsize
        apart = covered == (rest[0].stop - rest[0].start) * inner  # one run in each slab
        for begin in range(0, len(place), together):
            part, position = place[begin : begin + together], start + begin * slab
            runs = np.empty(part.shape, dtype) if across and together > 1 else part
            if apart and runs.dtype == dtype and runs[0].flags.c_contiguous:
                _read_apart(file, position + rest[0].start * inner, slab, runs)
            else:
                for index, run in enumerate(runs):
                    read_box(file, position + index * slab, extents[1:], dtype, tuple(rest), run)
            if runs is not part:
                part[...] = runs


def _read_apart(file: IO[bytes], start: int, stride: int, runs: npt.NDArray[Any]) -> None:
    """Fill each of ``runs``, contiguous each, with consecutive bytes that begin ``stride`` after the last."""
    try:
        number = file.fileno()
        read = os.preadv  # one call where seek and read are two
    except (OSError, AttributeError):
        read = None
    for index, run in enumerate(runs):
        position, values = start + index * stride, run.reshape(-1).view(np.uint8)
        if read is None or read(number, (values,), position) < values.size:
            _read_bytes(file, position, values)


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

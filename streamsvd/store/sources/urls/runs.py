"""Which bytes of a file hold a rectangle of an array, as few requests that are none of them large."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.objects.ranges import PIECE_BYTES, WHOLE_BYTES
from streamsvd.store.sources.flatten import Box, box_shape

GAP_BYTES = 128 << 10
"""What lies between two runs is read with them up to here: a request costs as much time."""


@dataclass(frozen=True, slots=True, eq=False)
class ByteRun:
    """Consecutive bytes of a file, and what they are.

    Attributes
    ----------
    start, length
        Where they lie.
    shape
        Of the values that they hold.
    box
        Which of these are wanted.
    place
        Where they belong.
    """

    start: int
    length: int
    shape: tuple[int, ...]
    box: Box
    place: npt.NDArray[Any]

    def put(self, data: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> None:
        """Write what is wanted to its place."""
        self.place[...] = data.view(dtype).reshape(self.shape)[self.box]


def byte_runs(
    offset: int, extents: Sequence[int], item: int, box: Box, place: npt.NDArray[Any]
) -> Iterator[ByteRun]:
    """The bytes of a rectangle of a C-order array that starts at ``offset``, of ``item`` bytes a value."""
    if place.size == 0:
        return
    first, *rest = box
    slab = math.prod(extents[1:]) * item
    wanted = math.prod(box_shape(tuple(rest))) * item
    if slab <= WHOLE_BYTES and (wanted == slab or slab - wanted <= GAP_BYTES):
        step = max(1, PIECE_BYTES // slab)
        for begin in range(first.start, first.stop, step):
            count = min(step, first.stop - begin)
            at = begin - first.start
            yield ByteRun(
                offset + begin * slab,
                count * slab,
                (count, *extents[1:]),
                (slice(0, count), *rest),
                place[at : at + count],
            )
        return
    for index in range(first.start, first.stop):  # one slab after another
        part = place[index - first.start]
        yield from byte_runs(offset + index * slab, extents[1:], item, tuple(rest), part)

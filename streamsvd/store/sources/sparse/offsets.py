"""Where the entries of each row begin: some of these offsets are kept, by which the size of any run is known before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.protocols import Source

Offsets = npt.NDArray[np.int64]

KEPT = 1 << 15
"""Offsets that are kept, at most."""

RUN = 1 << 20
"""Offsets that are read at once while they are checked."""


@dataclass(frozen=True, slots=True, eq=False)
class OffsetTable:
    """Some of the offsets of a compressed matrix, which are checked.

    Attributes
    ----------
    length
        Rows (of CSC: columns).
    step
        Rows between two that are kept.
    kept
        Offset of the first entry of every ``step``-th row, and the end.
    """

    length: int
    step: int
    kept: Offsets

    @property
    def entries(self) -> int:
        """Stored entries in all."""
        return int(self.kept[-1])

    def most_entries(self, length: int) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows."""
        windows = min(-(-max(length - 1, 0) // self.step) + 1, self.kept.size - 1)
        return int((self.kept[windows:] - self.kept[:-windows]).max())

    def last_within(self, start: int, stop: int, entries: int) -> int:
        """The last row up to which a run from a row on, at most to ``stop``, has at most so many entries, as far as is known."""
        first = int(self.kept[start // self.step])  # what lies before the run is counted too
        at = int(np.searchsorted(self.kept, first + entries, side="right")) - 1
        return max(start, min(stop, at * self.step))

    @classmethod
    def of(cls, offsets: npt.NDArray[Any], name: str) -> OffsetTable:
        """Of all offsets, which are in memory.

        Raises
        ------
        StoreError
            If they do not ascend from 0.
        """
        builder = _TableBuilder(offsets.size - 1, name)
        builder.add(offsets)
        return builder.table()

    @classmethod
    def read(cls, source: Source, name: str) -> OffsetTable:
        """Of offsets that are stored, ``(rows + 1, 1)``, read once in runs.

        Raises
        ------
        StoreError
            If they do not ascend from 0.
        """
        builder = _TableBuilder(source.shape[0] - 1, name)
        for start in range(0, source.shape[0], RUN):
            builder.add(read_vector(source, start, min(start + RUN, source.shape[0])))
        return builder.table()


class _TableBuilder:
    """Offsets as they come, checked, of which some are kept."""

    def __init__(self, length: int, name: str) -> None:
        self.length, self.name = length, name
        self.step = 1
        while -(-length // self.step) > KEPT:
            self.step *= 2
        self.at, self.last, self.kept = 0, 0, list[Offsets]()

    def add(self, offsets: npt.NDArray[Any]) -> None:
        """With the offsets that follow."""
        if offsets.dtype.kind not in "iu":
            raise StoreError(
                f"{self.name} is {offsets.dtype}, not integers. Write the matrix again."
            )
        if (
            offsets.dtype.kind == "u"
            and offsets.size
            and int(offsets.max()) > np.iinfo(np.int64).max
        ):
            raise StoreError(f"{self.name} has offsets beyond 2^63. Write the matrix again.")
        run = offsets.astype(np.int64)
        if self.at == 0 and run[0] != 0:
            raise StoreError(f"{self.name} starts at {run[0]}, not 0. Write the matrix again.")
        steps = np.diff(run, prepend=self.last)
        if (steps < 0).any():
            i = int(np.argmax(steps < 0))
            before = int(run[i] - steps[i])
            overflow = before > 2**30 and offsets.dtype.itemsize == 4
            why = (
                ": it was written in 32 bits and has overflowed. Write it again with int64 offsets."
                if overflow
                else ". It is damaged: write the matrix again."
            )
            raise StoreError(
                f"{self.name} falls from {before} to {run[i]} at row {self.at + i - 1}{why}"
            )
        first = -self.at % self.step
        self.kept.append(run[first :: self.step])
        self.at, self.last = self.at + run.size, int(run[-1])

    def table(self) -> OffsetTable:
        """The table, once all were added."""
        kept = np.concatenate(self.kept)
        if (self.at - 1) % self.step:
            kept = np.append(kept, np.int64(self.last))
        return OffsetTable(self.length, self.step, kept)


def read_vector(source: Source, start: int, stop: int) -> npt.NDArray[Any]:
    """A run of a stored array of one dimension, which is a matrix of one column."""
    out = np.empty((stop - start, 1), source.dtype)
    source.read(slice(start, stop), slice(0, 1), out)
    return out[:, 0]


def check_offset_count(
    offsets: Source, shape: tuple[int, int], axis: Literal["rows", "columns"], name: str
) -> None:
    """Refuse offsets that are not those of so many rows (of CSC: columns).

    Raises
    ------
    StoreError
        It says how many there are.
    """
    count = shape[0 if axis == "rows" else 1] + 1
    if offsets.shape[0] != count:
        raise StoreError(
            f"{name}/indptr has {offsets.shape[0]:,} entries, but the shape {shape} in {'csr' if axis == 'rows' else 'csc'} needs "
            f"{count:,}. It is damaged, or its attribute shape is wrong."
        )

"""Where the entries of each row begin: some of these offsets are kept, by which the size of any run is known before it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.errors import MissingChunkError, MissingEntriesError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources.sparse.vectors import check_integers, chunk_entries, read_vector

Offsets = npt.NDArray[np.int64]

MOST_OFFSETS = 1 << 15
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

    def row_of(self, entry: int, offsets: Source) -> int:
        """The row (of CSC: column) that a stored entry is in."""
        index = int(np.searchsorted(self.kept, entry, side="right")) - 1
        start = index * self.step
        run = read_vector(offsets, start, min(start + self.step, self.length) + 1)
        return start + int(np.searchsorted(run, entry, side="right")) - 1

    @classmethod
    def of(cls, offsets: npt.NDArray[Any], name: str, side: str = "row") -> OffsetTable:
        """Of all offsets, which are in memory.

        Raises
        ------
        StoreError
            If they do not ascend from 0.
        """
        builder = _TableBuilder(offsets.size - 1, name, side)
        builder.add(offsets)
        return builder.table()

    @classmethod
    def read(cls, source: Source, side: str = "row") -> OffsetTable:
        """Of offsets that are stored, ``(rows + 1, 1)``, read once in runs; a row may be called column.

        Raises
        ------
        StoreError
            If they do not ascend from 0, or a part of them is absent.
        """
        check_integers(source)
        count = source.shape[0]
        builder = _TableBuilder(count - 1, source.name, side)
        for start in range(0, count, RUN):
            stop = min(start + RUN, count)
            try:
                builder.add(read_vector(source, start, stop))
            except MissingChunkError as error:
                held = chunk_entries(source, error.key, start, stop)
                if held is None:
                    raise
                ends = held[0], min(held[1], count - 2)
                raise MissingEntriesError(error.key, error.where, side, *ends) from error
        return builder.table()


class _TableBuilder:
    """Offsets as they come, checked, of which some are kept."""

    def __init__(self, length: int, name: str, side: str) -> None:
        self.length, self.name, self.side = length, name, side
        self.step = 1
        while -(-length // self.step) > MOST_OFFSETS:
            self.step *= 2
        self.at, self.last, self.kept = 0, 0, list[Offsets]()

    def add(self, offsets: npt.NDArray[Any]) -> None:
        """With the offsets that follow."""
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
                f"{self.name} falls from {before} to {run[i]} at {self.side} {self.at + i - 1}{why}"
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


def checked_table(
    offsets: Source, shape: tuple[int, int], axis: Literal["rows", "columns"], name: str
) -> OffsetTable:
    """The table of stored offsets.

    Raises
    ------
    StoreError
        If there are not as many as the shape needs, or they do not ascend from 0.
    """
    check_offset_count(offsets, shape, axis, name)
    return OffsetTable.read(offsets, axis.removesuffix("s"))


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

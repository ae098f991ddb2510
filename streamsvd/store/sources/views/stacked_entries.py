"""How many entries are stored in rows of sparse matrices that lie one below another: known without opening them again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.protocols import Source, is_sparse

Counts = npt.NDArray[np.int64]
LENGTHS = 40
"""Powers of two, of rows, for which the most entries of a part are known."""
SAMPLE_ENTRIES = 1 << 20
"""Entries by which it is found what reading one more takes."""


@dataclass(frozen=True, slots=True, eq=False)
class StackedEntries:
    """Of each part, in their order.

    Attributes
    ----------
    ends
        Entries of all parts before each, and of all, ``(parts + 1,)``.
    most_of
        At most so many entries are stored in 1, 2, 4, ... consecutive rows of each, ``(parts, lengths)``.
    index_bytes
        Bytes of an index, the widest.
    read_bytes, entry_bytes
        What reading takes, beside and for each entry, at most.
    """

    ends: Counts
    most_of: Counts
    index_bytes: int
    read_bytes: int
    entry_bytes: int

    @property
    def count(self) -> int:
        """Entries of all."""
        return int(self.ends[-1])

    def most(self, starts: Counts, length: int) -> int:
        """At most so many entries are stored in any ``length`` consecutive rows: of two parts, and all between them.

        Parameters
        ----------
        starts
            Number of the first row of each part, and of the row after the last.
        length
            Rows.
        """
        power = min((max(length, 1) - 1).bit_length(), self.most_of.shape[1] - 1)
        in_one = self.most_of[:, power]
        last_row = np.minimum(starts[1:] - 1 + max(length, 1) - 1, starts[-1] - 1)
        last = np.searchsorted(starts, last_row, side="right") - 1
        first = np.arange(last.size)
        beyond = np.where(last > first, in_one[last] + self.ends[last] - self.ends[first + 1], 0)
        return min(int((in_one + beyond).max()), self.count)


@dataclass(slots=True, eq=False)
class PartCounts:
    """What is learnt of the parts as one after another is seen."""

    entries: list[int] = field(default_factory=list)
    most_of: list[list[int]] = field(default_factory=list)
    index_bytes: int = 4
    read_bytes: int = 0
    entry_bytes: int = 0

    def add(self, part: Source) -> bool:
        """See another; false where it is not sparse along rows."""
        stored: Any = part
        if not is_sparse(part) or stored.sparse_axis != "rows":
            return False
        rows = part.shape[0]
        lengths = (min(1 << power, rows) for power in range(min(LENGTHS, rows.bit_length() + 1)))
        self.entries.append(stored.entries)
        self.most_of.append([stored.most_entries(length) for length in lengths])
        index = stored.stored_bytes // max(1, stored.entries) - part.dtype.itemsize
        self.index_bytes = max(self.index_bytes, index)
        least = stored.sparse_bytes(0)
        self.read_bytes = max(self.read_bytes, least)
        each = -(-(stored.sparse_bytes(SAMPLE_ENTRIES) - least) // SAMPLE_ENTRIES)
        self.entry_bytes = max(self.entry_bytes, each)
        return True

    @property
    def totals(self) -> StackedEntries:
        """Of all that were seen."""
        wide = max(len(most) for most in self.most_of)
        most = [part + part[-1:] * (wide - len(part)) for part in self.most_of]
        ends = np.cumsum([0, *self.entries], dtype=np.int64)
        return StackedEntries(
            ends, np.array(most, np.int64), self.index_bytes, self.read_bytes, self.entry_bytes
        )

"""How entries of a sparse matrix become rows, within the memory.

Rows that come in their order are written as they come: one read. Else, where all entries fit, they are sorted in memory: one read too.
Where they do not, they are put into files, each of a run of rows, and each file is sorted by counting: two reads and two writes,
whatever the memory. A file that holds more than fits, since its rows are longer than others, is divided again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamsvd.conversion.entry_streams import LEAST_PIECE, MOST_PIECE, EntryStream
from streamsvd.conversion.sorting import sorting_bytes
from streamsvd.engine.memory import BASE_BYTES, MIB
from streamsvd.errors import BudgetError
from streamsvd.store.writing.sparse_groups import SparseForm

Way = Literal["copy", "sort", "buckets"]
MOST_BUCKETS = 4096
"""Files at once: more of them would be written to in pieces too small for a disk."""
LEAST_SORTED = 1 << 14
"""Entries that are sorted at once at least."""
ROW_BYTES = 48
"""Of counting a row of a file: how many entries it has, where they begin, and copies of these."""
_SCATTER = 64
"""Bytes of an entry while it is put into its file, beside itself: its file, its place, and copies of rows and columns."""


@dataclass(frozen=True, slots=True)
class SparsePlan:
    """How a sparse matrix is written.

    Attributes
    ----------
    way
        ``"copy"``: rows as they come; ``"sort"``: all entries in memory; ``"buckets"``: by way of files.
    piece
        Entries that are read at once, about.
    most
        Entries that are sorted at once.
    bucket_rows
        Rows of a file; 0 where there are none.
    needed
        Upper bound of the memory.
    scratch_bytes
        Of the files.
    """

    way: Way
    piece: int
    most: int
    bucket_rows: int
    needed: int
    scratch_bytes: int

    def edges(self, rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """First row of each file, and where the last ends."""
        starts = np.arange(0, rows, self.bucket_rows, dtype=np.int64)
        return np.append(starts, np.int64(rows))

    def buckets(self, rows: int) -> int:
        """Files."""
        return -(-rows // self.bucket_rows) if self.bucket_rows else 0


def plan_sparse(
    stream: EntryStream,
    form: SparseForm,
    budget: int,
    shared: int,
    *,
    may_copy: bool = True,
    what: str = "",
) -> SparsePlan:
    """The way of least reading that the memory allows.

    Parameters
    ----------
    stream
        What is read.
    form
        What is written.
    budget, shared
        Bytes allowed; of these, what labels take.
    may_copy
        Whether rows may be taken as they come, where they seem to be in order.
    what
        What an error says needs the memory; that, with its shape, if left out.

    Raises
    ------
    BudgetError
        If no way does; it names the least memory that works.
    """
    found = _fit(stream, form, budget, shared, may_copy)
    if found is not None:
        return found
    needed = _least(lambda memory: _fit(stream, form, memory, shared, may_copy) is not None, budget)
    m, n = form.shape
    raise BudgetError(
        what
        or f"converting {stream.name} ({m:,} x {n:,} {form.dtype}, {stream.most_entries:,} entries at most)",
        needed,
        budget,
        f"Pass memory={needed} or more.",
    )


def _fit(
    stream: EntryStream, form: SparseForm, budget: int, shared: int, may_copy: bool
) -> SparsePlan | None:
    base = BASE_BYTES + shared
    writing = base + writer_bytes(form)
    pieces = _piece_sizes(stream)
    if stream.is_ordered and may_copy:
        for piece in pieces:
            needed = writing + stream.piece_bytes(piece) + _ordered_bytes(stream, piece)
            if needed <= budget:
                return SparsePlan("copy", piece, 0, 0, needed, 0)
        return None
    m, total = form.shape[0], stream.most_entries
    item, index = form.dtype.itemsize, form.index_dtype.itemsize
    each = sorting_bytes(item, ascend=stream.columns_ascend) + 3 * (index - 4)
    for piece in pieces:
        size = max(piece, stream.least_piece)
        needed = writing + stream.piece_bytes(piece) + total * (each + 8 + item) + m * ROW_BYTES
        if needed <= budget:
            return SparsePlan("sort", piece, total, 0, needed, 0)
        scatter = base + stream.piece_bytes(piece) + size * (_SCATTER + 2 * item)
        free = budget - writing - size * (8 + item)
        most = int(free * 3 // 4) // each
        rows = int(free // 4) // ROW_BYTES
        if scatter > budget or most < LEAST_SORTED or rows < 1:
            continue
        count = max(-(-2 * total // most), -(-m // rows), 1)
        if count > MOST_BUCKETS:
            continue
        height = max(1, -(-m // count))
        sorting = writing + size * (8 + item) + most * each + min(m, height) * ROW_BYTES
        scratch = total * (2 * index + item)
        return SparsePlan("buckets", piece, most, height, max(scatter, sorting), scratch)
    return None


def _piece_sizes(stream: EntryStream) -> list[int]:
    """Entries of a piece, the most first."""
    size, found = min(MOST_PIECE, max(LEAST_PIECE, stream.most_entries)), []
    while True:
        found.append(size)
        if size <= max(LEAST_PIECE, min(stream.least_piece, MOST_PIECE)):
            return found
        size = max(LEAST_PIECE, size // 2)


def _ordered_bytes(stream: EntryStream, piece: int) -> int:
    """Of putting rows together that come in pieces, where they are not stored as rows."""
    if stream.columns_ascend:
        return 0
    size, item = 5 * max(piece, stream.least_piece), stream.dtype.itemsize
    return size * (sorting_bytes(item, ascend=False) + 16 + item)


def writer_bytes(form: SparseForm) -> int:
    """Upper bound on what writing takes: what waits for a chunk, and a chunk as it is packed."""
    items = (form.dtype.itemsize, form.index_dtype.itemsize, form.offset_dtype.itemsize)
    lengths = (form.most_entries, form.most_entries, form.shape[0] + 1)
    waiting = [min(form.chunk, max(1, n)) * item for n, item in zip(lengths, items, strict=True)]
    return sum(waiting) + 4 * max(waiting) + 2 * MIB


def _least(works: Callable[[int], bool], budget: int) -> int:
    """The least memory that works, to a MiB."""
    high = max(budget, MIB)
    while not works(high):
        high *= 2
    low = high // 2
    while high - low > MIB // 4:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high

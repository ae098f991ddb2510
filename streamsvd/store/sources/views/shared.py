"""One read of a matrix for several readers: what the first of them reads of the store, the others take from memory.

The readers go through the matrix side by side. A strip, which is a row of chunks (where columns are streamed: a column of
them), is read by whoever comes first, and stays until every reader has it. Who is ahead of the others by more than the memory
holds waits for them. What a reader gets is what it would have read.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from streamsvd.protocols import Source, SparseSource
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.views.sparse_view import EntriesView, entry_bytes

READ_BYTES = 4 << 20
"""Rows that one reader reads at once, about; what follows, the others read meanwhile."""

SMALL_BYTES = 1 << 20
"""All small reads that are remembered, and the largest of them an eighth of it: all readers look at the same few rows, to know the
matrix again, and each row costs a chunk."""

Strip = tuple[int, ...]
"""The axis that is streamed, 0 for rows, and the number of the strip along it; of stored entries 2, and the ends of their run."""

ENTRIES = 2
"""In the place of an axis, for what is read without its zeros."""


@dataclass(slots=True, eq=False)
class _StripInMemory:
    """A strip that waits for readers, or is on its way: then without data."""

    n_bytes: int
    takers: set[int]
    data: Any = None


class SharedReading:
    """Reads of one matrix by several readers at once.

    Parameters
    ----------
    whole
        The matrix.
    n_readers
        How many read it. Where the window does not hold the matrix, each reads it in order, one read after another.
    window_bytes
        Most memory of strips that wait for a reader. A strip that takes more than half of it is shared by nobody.

    Attributes
    ----------
    bytes_read
        Decoded bytes that were asked of the store, by all readers together.
    """

    def __init__(self, whole: Source, n_readers: int, window_bytes: int) -> None:
        self.whole = whole
        self.window_bytes = window_bytes
        self.bytes_read = 0
        self._present = set(range(n_readers))
        self._waiting: set[int] = set()
        self._strips: dict[Strip, _StripInMemory] = {}
        self._small_reads: dict[tuple[int, int, int, int], npt.NDArray[Any]] = {}
        self._next_strips: dict[tuple[int, int], int] = {}
        self._changed = threading.Condition()
        self._is_cancelled = False

    def source(self, reader: int) -> SharedSource:
        """The matrix, as one of the readers, a number from 0, reads it."""
        return SharedSource(self.whole, self, reader)

    def leave(self, reader: int) -> None:
        """Nobody waits for this reader any more."""
        with self._changed:
            self._present.discard(reader)
            for name in list(self._strips):
                self._drop_if_taken(name)
            self._tell_change()

    def cancel(self) -> None:
        """Interrupt every read that waits, and every one that begins from now on."""
        with self._changed:
            self._is_cancelled = True
            self._tell_change()

    def read(self, reader: int, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        """Fill ``out`` with a rectangle, from memory as far as it is there.

        Raises
        ------
        KeyboardInterrupt
            If the reading was cancelled.
        """
        (m, n), (high, wide) = self.whole.shape, self.whole.chunks
        has_rows, has_columns = rows.stop - rows.start == m, columns.stop - columns.start == n
        along_columns = has_rows and (not has_columns or n // wide > m // high)
        axis = 1 if along_columns else 0
        run, other, length = (rows, columns, m) if axis == 0 else (columns, rows, n)
        height = min(self.whole.chunks[axis], length)
        first, last = -(-run.start // height), run.stop // height
        if run.stop == length:  # the last strip may be shorter
            last = -(-length // height)
        start, stop = first * height, min(last * height, length)
        is_cut = (start, stop) != (run.start, run.stop)
        if first >= last:
            self._read_small(rows, columns, out)
            return
        if (
            other.stop - other.start < self.whole.shape[1 - axis]
            or (is_cut and axis == 1)
            or not self._is_shared(reader, axis, first, last, height)
        ):
            self._read_store(rows, columns, out)
            return
        if run.start < start:
            self._read_store(slice(run.start, start), columns, out[: start - run.start])
        missing = list(range(first, last))
        while missing:
            numbers, data = self._take_or_claim(reader, axis, missing, height)
            a, b = numbers[0] * height, min((numbers[-1] + 1) * height, length)
            part = slice(a - run.start, b - run.start)
            place = out[part] if axis == 0 else out[:, part]
            if data is None:
                self._read_claimed(reader, axis, numbers, slice(a, b), place, height)
            else:
                place[...] = data
            missing = [number for number in missing if number not in numbers]
        if stop < run.stop:
            self._read_store(slice(stop, run.stop), columns, out[stop - run.start :])

    def read_sparse(self, reader: int, run: slice) -> Any:
        """A run of rows (of CSC: columns) without zeros, from memory where another reader has read the same.

        Raises
        ------
        KeyboardInterrupt
            If the reading was cancelled.
        """
        whole = cast(SparseSource, self.whole)
        n_bytes = whole.most_entries(run.stop - run.start) * entry_bytes(whole)
        with self._changed:
            expected = self._next_strips.get((reader, ENTRIES), 0)
            self._next_strips[reader, ENTRIES] = run.stop
        if run.start not in (0, expected) or 2 * n_bytes > self.window_bytes:
            return self._read_entries(run)
        name = (ENTRIES, run.start, run.stop)
        found = self._take_or_claim_entries(reader, name, n_bytes)
        if found is not None:
            return found
        try:
            found = self._read_entries(run)
        except BaseException:
            with self._changed:
                del self._strips[name]
                self._tell_change()
            raise
        with self._changed:
            self._strips[name].data = found
            self._drop_if_taken(name)
            self._tell_change()
        return found

    def _take_or_claim_entries(self, reader: int, name: Strip, n_bytes: int) -> Any:
        """What is in memory of this name; None where this reader is to read it for all."""
        with self._changed:
            while True:
                if self._is_cancelled:
                    raise KeyboardInterrupt
                strip = self._strips.get(name)
                if strip is not None and strip.data is not None:
                    strip.takers.add(reader)
                    found = strip.data
                    self._drop_if_taken(name)
                    return found
                used = sum(strip.n_bytes for strip in self._strips.values())
                if strip is None and used + n_bytes <= self.window_bytes:
                    self._strips[name] = _StripInMemory(n_bytes, {reader})
                    return None
                if strip is None:
                    self._wait_for_room(reader)
                else:
                    self._changed.wait()  # another reads it

    def _read_entries(self, run: slice) -> Any:
        if self._is_cancelled:
            raise KeyboardInterrupt
        found = cast(SparseSource, self.whole).read_sparse(run)
        with self._changed:
            self.bytes_read += found.data.nbytes + found.indices.nbytes
        return found

    def _is_shared(self, reader: int, axis: int, first: int, last: int, height: int) -> bool:
        """Whether others will come to these strips soon: they follow what was read before. A sample is of its reader alone."""
        with self._changed:
            expected = self._next_strips.get((reader, axis), 0)
            self._next_strips[reader, axis] = last
        if 2 * self._strip_bytes(axis, height) > self.window_bytes:
            return False
        # between what was read and what is read now may lie a strip that is read in two parts
        follows = first in (0, expected, expected + 1)
        return follows or self.whole.nbytes <= self.window_bytes

    def _strip_bytes(self, axis: int, height: int) -> int:
        return height * self.whole.shape[1 - axis] * self.whole.dtype.itemsize

    def _take_or_claim(
        self, reader: int, axis: int, missing: list[int], height: int
    ) -> tuple[list[int], npt.NDArray[Any] | None]:
        """A strip that is in memory; or strips that this reader is to read for all: nobody else reads them meanwhile."""
        n_bytes = self._strip_bytes(axis, height)
        most = max(1, READ_BYTES // n_bytes) if axis == 0 else 1
        with self._changed:
            while True:
                if self._is_cancelled:
                    raise KeyboardInterrupt
                for number in missing:
                    strip = self._strips.get((axis, number))
                    if strip is not None and strip.data is not None:
                        strip.takers.add(reader)
                        self._drop_if_taken((axis, number))
                        return [number], strip.data
                absent = [number for number in missing if (axis, number) not in self._strips]
                claimed = [k for i, k in enumerate(absent[:most]) if k == absent[0] + i]
                used = sum(strip.n_bytes for strip in self._strips.values())
                claimed = claimed[: (self.window_bytes - used) // n_bytes]
                if claimed:
                    for number in claimed:
                        self._strips[axis, number] = _StripInMemory(n_bytes, {reader})
                    return claimed, None
                if not absent:
                    self._changed.wait()  # others are reading them
                else:
                    self._wait_for_room(reader)

    def _wait_for_room(self, reader: int) -> None:
        """Wait until others have taken what they need; where all of them wait, they have parted, and the oldest strip goes."""
        self._waiting.add(reader)
        ready = [name for name, strip in self._strips.items() if strip.data is not None]
        if self._waiting >= self._present and ready:
            del self._strips[ready[0]]
            self._tell_change()
        else:
            self._changed.wait()

    def _tell_change(self) -> None:
        """Wake all who wait: each looks anew, and until then counts as one who does not wait."""
        self._waiting.clear()
        self._changed.notify_all()

    def _read_claimed(
        self, reader: int, axis: int, numbers: list[int], run: slice, place: npt.NDArray[Any], height: int
    ) -> None:  # fmt: skip
        """Read strips of the store, and hand them to those who come later."""
        whole = slice(0, self.whole.shape[1 - axis])
        try:
            if axis == 0:
                self._read_store(run, whole, place)
            else:
                strip = np.empty(place.shape, place.dtype)
                self._read_store(whole, run, strip)
                place[...] = strip
        except BaseException:
            with self._changed:
                for number in numbers:
                    del self._strips[axis, number]
                self._tell_change()
            raise
        for index, number in enumerate(numbers):
            part = slice(index * height, (index + 1) * height)
            values = place[part] if axis == 0 else place[:, part]
            is_wanted = bool(self._present - {reader})
            data = values.copy() if is_wanted else None
            with self._changed:
                strip_in_memory = self._strips.pop((axis, number))
                if data is not None:
                    strip_in_memory.data = data
                    self._strips[axis, number] = strip_in_memory
                    self._drop_if_taken((axis, number))
                self._tell_change()

    def _drop_if_taken(self, name: Strip) -> None:
        """Forget a strip that every reader has."""
        strip = self._strips[name]
        if strip.data is not None and strip.takers >= self._present:
            del self._strips[name]
            self._tell_change()

    def _read_store(self, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        if self._is_cancelled:
            raise KeyboardInterrupt
        self.whole.read(rows, columns, out)
        with self._changed:
            self.bytes_read += out.nbytes

    def _read_small(self, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        """Less than a strip: of the store, or as it was read before."""
        place = (rows.start, rows.stop, columns.start, columns.stop)
        if place in self._small_reads:
            out[...] = self._small_reads[place]
            return
        self._read_store(rows, columns, out)
        with self._changed:
            remembered = sum(values.nbytes for values in self._small_reads.values())
            if out.nbytes <= min(SMALL_BYTES // 8, SMALL_BYTES - remembered):
                self._small_reads[place] = out.copy()


@dataclass(frozen=True, eq=False)
class SharedSource(EntriesView):
    """A matrix as one of several readers reads it.

    Attributes
    ----------
    whole, reading, reader
        The matrix as it is stored, who reads it together, and which of them this is.
    """

    __repr__ = matrix_text

    reading: SharedReading
    reader: int

    def __reduce__(self) -> Any:
        return _read_alone, (self.whole,)  # in another process

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        self.reading.read(self.reader, rows, columns, out)

    def read_sparse(self, run: slice, /) -> Any:
        """As of `streamsvd.protocols.SparseSource`."""
        return self.reading.read_sparse(self.reader, run)


def _read_alone(whole: Source) -> Source:
    return whole

"""The three stored arrays of a sparse matrix, each a matrix of one column: their types, and the last chunk that was read of each."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.protocols import Source
from streamsvd.store.sources.border import check_dtype, check_rectangle
from streamsvd.store.sources.views.view import SourceView

Array = npt.NDArray[Any]

KEPT_ENTRIES = 1 << 12
"""A chunk of fewer entries is decoded again rather than kept."""

CONVERTED_ENTRIES = 1 << 16
"""Entries that are converted at once."""


def read_vector(source: Source, start: int, stop: int) -> Array:
    """A run of a stored array of one dimension, which is a matrix of one column."""
    out = np.empty((stop - start, 1), source.dtype)
    source.read(slice(start, stop), slice(0, 1), out)
    return out[:, 0]


_thread = threading.local()
"""Whose chunks a thread has kept last."""


class KeptChunks:
    """The last chunk of each of the arrays of a sparse matrix, for each thread: the run that follows begins in it.

    A thread keeps those of one matrix. They are no part of it: a copy that is sent to another process has none.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptChunks, ()

    def read(self, source: Source, start: int, stop: int) -> Array:
        """A run of an array; chunks that it has a part of are decoded whole, and the last one is kept."""
        chunk, end = source.chunks[0], source.shape[0]
        if chunk < KEPT_ENTRIES or stop <= start:
            return read_vector(source, start, stop)
        chunks = self._chunks()
        first, kept = chunks.get(source.name, (0, None))
        out, at = np.empty(stop - start, source.dtype), start
        if kept is not None and first <= at < first + kept.size:
            count = min(stop, first + kept.size) - at
            out[:count] = kept[at - first : at - first + count]
            at += count
        whole = stop if stop == end else stop - stop % chunk
        if at < whole:
            kept = None
            chunks.pop(source.name, None)  # before more is read
            source.read(slice(at, whole), slice(0, 1), out[at - start : whole - start, None])
            at = whole
        if at < stop:
            first = at - at % chunk
            kept = read_vector(source, first, min(first + chunk, end))
            chunks[source.name] = first, kept
            out[at - start :] = kept[at - first : stop - first]
        return out

    def _chunks(self) -> dict[str, tuple[int, Array]]:
        """Those of this thread, by the names of arrays; those of the matrix that it read before are forgotten."""
        latest = getattr(_thread, "latest", None)
        before = None if latest is None else latest()
        if before is not self:
            if before is not None:
                before._local.__dict__.clear()
            _thread.latest = weakref.ref(self)
        found: dict[str, tuple[int, Array]] = self._local.__dict__
        return found


@dataclass(frozen=True, eq=False)
class NumberVector(SourceView):
    """Stored entries as numbers of another type: true and false as 1 and 0, halves as single precision."""

    @property
    def dtype(self) -> np.dtype[Any]:
        return number_dtype(self.whole.dtype)

    @property
    def read_bytes(self) -> int:
        step = max(CONVERTED_ENTRIES, self.chunks[0])
        return self.whole.read_bytes + step * self.whole.dtype.itemsize

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        if self.whole.dtype.kind == "b":
            self.whole.read(rows, columns, out.view(np.bool_))
            return
        step = max(CONVERTED_ENTRIES, self.chunks[0])
        start = rows.start
        while start < rows.stop:
            stop = min(rows.stop, (start // step + 1) * step)
            part = np.empty((stop - start, out.shape[1]), self.whole.dtype)
            self.whole.read(slice(start, stop), columns, part)
            out[start - rows.start : stop - rows.start] = part
            start = stop


def chunk_entries(part: Source, key: str, first: int, last: int) -> tuple[int, int] | None:
    """The first and last entry of the chunk of a name, among those that a run touches; None where none is called so."""
    chunk = part.chunks[0]
    edges = range(first - first % chunk, last, chunk)
    named = [start for start in edges if f"{part.locate(start, 0)},".startswith(f"{key},")]
    return (named[0], min(named[-1] + chunk, part.shape[0]) - 1) if named else None


def number_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which values of a type are delivered as entries of a sparse matrix."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize == 2:  # which no product of scipy takes
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


def as_numbers(values: Source) -> Source:
    """Stored entries as numbers.

    Raises
    ------
    SpecError
        If they are none.
    """
    found = number_dtype(values.dtype)
    check_dtype(found, values.name)
    return values if found == values.dtype else NumberVector(values)


def check_integers(indices: Source) -> None:
    """Refuse indices that are no integers.

    Raises
    ------
    StoreError
        It says what they are.
    """
    if indices.dtype.kind not in "iu":
        raise StoreError(
            f"{indices.name} is {indices.dtype}, not integers. Write the matrix again."
        )

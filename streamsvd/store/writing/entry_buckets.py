"""Entries of a sparse matrix on their way to another order: files, each of a run of rows, appended to as entries come.

Entries of a file stand in the order in which they came, so that what is made of it does not depend on how many files there are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.writing.whole_writes import write_all

Array = npt.NDArray[Any]

_HEAD = 8
"""Bytes before each run of entries: how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class EntryBuckets:
    """Files of entries.

    Attributes
    ----------
    folder
        Of the files; made when it is first written to.
    edges
        First row (or column) of each file, and where the last ends, ``(files + 1,)``.
    axis
        By what entries are told apart.
    index_dtype, dtype
        Of rows and columns, and of values.
    """

    folder: Path
    edges: npt.NDArray[np.int64]
    axis: Literal["rows", "columns"]
    index_dtype: np.dtype[Any]
    dtype: np.dtype[Any]

    @property
    def count(self) -> int:
        """Files."""
        return int(self.edges.size) - 1

    @property
    def entry_bytes(self) -> int:
        """Of an entry."""
        return 2 * self.index_dtype.itemsize + self.dtype.itemsize

    def path(self, index: int) -> Path:
        """Of a file."""
        return self.folder / f"{index}.entries"

    def _numbers(self, keys: Array) -> Array:
        """Which file each entry goes to."""
        step = int(self.edges[1] - self.edges[0])
        if self.count == 1:
            return np.zeros(keys.size, np.uint16)
        if (np.diff(self.edges[:-1]) == step).all():
            found = (keys - keys.dtype.type(self.edges[0])) // keys.dtype.type(step)
        else:
            found = np.searchsorted(self.edges[1:], keys, side="right")
        numbers: Array = found.astype(np.uint16)
        return numbers

    def scatter(self, rows: Array, columns: Array, values: Array) -> None:
        """Append entries to the files that they belong to.

        Raises
        ------
        AccessError
            If the disk is full, or it cannot be written.
        """
        numbers = self._numbers(rows if self.axis == "rows" else columns)
        counts = np.bincount(numbers, minlength=self.count)
        ends = np.concatenate(([0], np.cumsum(counts)))
        if counts.max() < numbers.size:
            order = np.argsort(numbers, kind="stable")  # by digits, as they have 16 bits
            rows, columns, values = rows[order], columns[order], values[order]
        kinds = (self.index_dtype, self.index_dtype, self.dtype)
        parts = [
            np.ascontiguousarray(each, dtype=kind)
            for each, kind in zip((rows, columns, values), kinds, strict=True)
        ]
        with explain_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
            for index in np.flatnonzero(counts):
                run = slice(int(ends[index]), int(ends[index + 1]))
                self._append(int(index), [each[run] for each in parts])

    def _append(self, index: int, parts: Sequence[Array]) -> None:
        head = int(parts[0].size).to_bytes(_HEAD, "little")
        with self.path(index).open("ab", buffering=0) as file:
            write_all(file.fileno(), memoryview(head))
            for part in parts:
                write_all(file.fileno(), part.view(np.uint8).data)

    def sizes(self) -> list[int]:
        """Bytes of each file; 0 of one that is not there."""
        found = []
        for index in range(self.count):
            try:
                found.append(self.path(index).stat().st_size)
            except FileNotFoundError:
                found.append(0)
        return found

    def cut(self, sizes: Sequence[int]) -> None:
        """Make each file as long as it was; what came after that comes again.

        Raises
        ------
        StoreError
            If one is shorter.
        """
        for index, (size, now) in enumerate(zip(sizes, self.sizes(), strict=True)):
            if now < size:
                raise StoreError(
                    f"{self.path(index)} has {now:,} bytes, and had {size:,}. Remove {self.folder.parent.parent}, and run again."
                )
            if not size:
                self.path(index).unlink(missing_ok=True)
            elif now > size:
                os.truncate(self.path(index), size)

    def entries(self, index: int) -> int:
        """Entries of a file."""
        return sum(count for count, _ in self._runs(index))

    def blocks(self, index: int) -> Iterator[tuple[Array, Array, Array]]:
        """Rows, columns and values of a file, as they were appended."""
        for count, file in self._runs(index):
            parts = []
            for kind in (self.index_dtype, self.index_dtype, self.dtype):
                part = np.empty(count, kind)
                if file.readinto(part.view(np.uint8).data) != part.nbytes:
                    raise StoreError(f"{self.path(index)} ends in the midst of its entries.")
                parts.append(part)
            yield parts[0], parts[1], parts[2]

    def _runs(self, index: int) -> Iterator[tuple[int, Any]]:
        with explain_errors(self.path(index), doing="read"), contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(self.path(index).open("rb"))
            except FileNotFoundError:
                return
            at = 0
            while head := file.read(_HEAD):
                count = int.from_bytes(head, "little")
                yield count, file
                at += _HEAD + count * self.entry_bytes
                file.seek(at)

    def load(self, index: int) -> tuple[Array, Array, Array]:
        """Rows, columns and values of a whole file."""
        count, at = self.entries(index), 0
        kinds = (self.index_dtype, self.index_dtype, self.dtype)
        found = [np.empty(count, kind) for kind in kinds]
        for block in self.blocks(index):
            for out, part in zip(found, block, strict=True):
                out[at : at + part.size] = part
            at += block[0].size
        return found[0], found[1], found[2]

    def remove(self, index: int) -> None:
        """Remove a file."""
        self.path(index).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""Chunks of whole rows of a zarr array, each written once, from memory as it is, with its checksum; and what is on the way to them.

zarr encodes a chunk by way of copies, in one event loop: three to ten times slower than the disk. A chunk without compression is
its bytes and four more, so it is written here; zarr writes the metadata, and reads it all.
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl
from streamsvd.store.explanations import access_error, explain_errors
from streamsvd.store.places import Location, location_of
from streamsvd.store.sight import Address, OutputAddress
from streamsvd.store.sources.border import check_rectangle
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box
from streamsvd.store.writing.resumable import JOURNAL
from streamsvd.store.writing.whole_writes import PARTIAL, write_all

Array = npt.NDArray[Any]
_ZEROS = memoryview(bytes(1 << 16))


@dataclass(frozen=True, slots=True)
class RowChunks:
    """The chunks of a zarr array of format 3: whole rows, without compression, with a checksum.

    Attributes
    ----------
    folder
        Of the array, with its ``zarr.json``.
    shape
        Of the matrix that it is.
    height
        Rows of a chunk; the last may have fewer, and is filled with zeros.
    dtype
        Of its entries.
    dimensions
        Of the array: that of rows, and those that make the columns.
    """

    folder: PathOrUrl
    shape: tuple[int, int]
    height: int
    dtype: np.dtype[Any]
    dimensions: int = 2

    @property
    def count(self) -> int:
        """Chunks."""
        return -(-self.shape[0] // self.height)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk in its file."""
        return self.height * self.shape[1] * self.dtype.itemsize + 4

    @property
    def _place(self) -> Location:
        return location_of(self.folder)

    def key(self, index: int) -> str:
        """Of a chunk."""
        return "/".join(("c", str(index), *["0"] * (self.dimensions - 1)))

    def path(self, index: int) -> PathOrUrl:
        """Where a chunk is."""
        return self.folder / self.key(index)

    def addresses(self) -> list[Address]:
        """Where other processes write."""
        return self._place.output_addresses("zarr.json", str(self.folder))

    def write(self, index: int, rows: Array) -> None:
        """Write the rows of a chunk: it is there whole, or not at all.

        Raises
        ------
        AccessError
            If the disk is full, or it cannot be written.
        """
        values = np.ascontiguousarray(rows, dtype=self.dtype.newbyteorder("<"))
        parts = [values.reshape(-1).view(np.uint8).data]
        check, left = google_crc32c.value(values), self.chunk_bytes - 4 - values.nbytes
        while left > 0:
            zeros = _ZEROS[:left]
            parts.append(zeros)
            check, left = google_crc32c.extend(check, bytes(zeros)), left - len(zeros)
        with explain_errors(self.path(index)):
            self._place.write(self.key(index), *parts, check.to_bytes(4, "little"))

    def is_there(self, index: int) -> bool:
        """Whether a chunk is there, in its length."""
        return self._place.size(self.key(index)) == self.chunk_bytes

    def is_intact(self, index: int) -> bool:
        """Whether its checksum is that of its bytes: one read of it."""
        if not self.is_there(index):
            return False
        check, left, end = 0, self.chunk_bytes - 4, b""
        try:
            for block in self._place.blocks(self.key(index), BLOCK_BYTES):
                check = google_crc32c.extend(check, block[:left])
                end, left = end + block[left:], max(0, left - len(block))
        except OSError:
            return False
        return end == check.to_bytes(4, "little")

    def remove(self, index: int) -> None:
        """Remove a chunk."""
        self._place.remove(self.key(index))

    def clear_partial(self) -> None:
        """Remove chunks that a kill left unfinished."""
        location_of(self.folder / "c").remove_ending(PARTIAL)


@dataclass(frozen=True, slots=True)
class ColumnTiles:
    """A matrix in files on its way from chunks of columns to chunks of rows: a file for each chunk of rows, in it tile after tile.

    Written a rectangle at a time, in any order, by several at once; then it is a source of whole rows.

    Attributes
    ----------
    folder
        Of the files.
    shape, height
        Of the matrix, and rows of a file.
    width
        Columns of a tile; the last may have fewer.
    dtype
        Of its entries.
    """

    folder: Path
    shape: tuple[int, int]
    height: int
    width: int
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        return str(self.folder)

    def addresses(self) -> list[Address]:
        """Where other processes write, and then read."""
        return [OutputAddress(self.folder.parent / JOURNAL, str(self.folder))]

    @property
    def chunks(self) -> tuple[int, int]:
        return self.height, self.shape[1]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return 2 * BLOCK_BYTES

    def path(self, index: int) -> Path:
        """The file of a run of rows."""
        return self.folder / f"{index}.tiles"

    def done_path(self, start: int, stop: int) -> Path:
        """The mark that says that all of a run along the streamed axis was written."""
        return self.folder / f"{start}-{stop}.done"

    def _extents(self, index: int, tile: int) -> tuple[int, int]:
        """Rows and columns of a tile in a file."""
        (m, n), r, w = self.shape, self.height, self.width
        return min(r, m - index * r), min(w, n - tile * w)

    def _offset(self, index: int, tile: int) -> int:
        return self._extents(index, 0)[0] * tile * self.width * self.dtype.itemsize

    def write(self, row: int, column: int, values: Array) -> None:
        """Write a rectangle that begins at a row, and with a tile at a column, as wide as the tile.

        Raises
        ------
        AccessError
            If the disk is full, or it cannot be written.
        """
        tile = column // self.width
        at = 0
        while at < values.shape[0]:
            index, first = divmod(row + at, self.height)
            rows, width = self._extents(index, tile)
            stop = min(values.shape[0], at + rows - first)
            part = np.ascontiguousarray(values[at:stop], dtype=self.dtype)
            with explain_errors(self.path(index)):
                handle = os.open(self.path(index), os.O_WRONLY | os.O_CREAT, 0o644)
                try:
                    start = self._offset(index, tile) + first * width * self.dtype.itemsize
                    write_all(handle, part.reshape(-1).view(np.uint8).data, start)
                finally:
                    os.close(handle)
            at = stop

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        row, last_tile = rows.start, -(-columns.stop // self.width)
        while row < rows.stop:
            index, first = divmod(row, self.height)
            stop = min(rows.stop, (index + 1) * self.height)
            run = slice(first, first + stop - row)
            try:
                with self.path(index).open("rb", buffering=0) as file:
                    for tile in range(columns.start // self.width, last_tile):
                        left = tile * self.width
                        a, b = max(columns.start, left), min(columns.stop, left + self.width)
                        place = out[
                            row - rows.start : stop - rows.start,
                            a - columns.start : b - columns.start,
                        ]
                        extents = self._extents(index, tile)
                        box = (run, slice(a - left, b - left))
                        read_box(file, self._offset(index, tile), extents, self.dtype, box, place)
            except EOFError as error:
                raise access_error(OSError(5, str(error)), "read", self.path(index)) from error
            except OSError as error:
                raise access_error(error, "read", self.path(index)) from error
            row = stop

    def locate(self, row: int, column: int, /) -> str:
        del column
        return str(self.path(row // self.height))

    def remove(self, index: int) -> None:
        """Remove the file of a run of rows."""
        with contextlib.suppress(OSError):
            self.path(index).unlink()

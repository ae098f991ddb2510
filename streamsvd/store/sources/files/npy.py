"""A ``.npy`` file, or any array that lies uncompressed in a file, read without mapping it."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeGuard

import numpy as np
import numpy.typing as npt

from streamsvd.errors import ShapeError, StoreError
from streamsvd.store.explanations import access_error, raise_access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.border import check_dtype, check_rectangle, stored_strips
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box
from streamsvd.store.sources.flatten import Flattening, Rows, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp


@dataclass(frozen=True)
class NpySource:
    """Address of an array in a file: path, place of its first byte, type and order."""

    __repr__ = matrix_text

    path: Path
    offset: int
    stored_dtype: np.dtype[Any]
    fortran: bool
    layout: Flattening
    stamp: FileStamp | None = None

    broken: ClassVar[str] = "is not a complete .npy file of numbers"
    remedy: ClassVar[str] = "Write it again with numpy.save."

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stored_dtype.newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, int]:
        return stored_strips(self.layout, self.dtype.itemsize, fortran=self.fortran)

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        return min(2 * BLOCK_BYTES, self.nbytes)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        extents = self.layout.extents
        try:
            with self.path.open("rb", buffering=0) as file:
                for box, place in self.layout.views(rows, columns, out):
                    if self.fortran:  # the same bytes are the transpose in C order
                        args = extents[::-1], self.stored_dtype, box[::-1], place.T
                    else:
                        args = extents, self.stored_dtype, box, place
                    read_box(file, self.offset, *args)
            if self.stamp is not None:
                self.stamp.check(self.path)
        except EOFError as error:
            raise StoreError(f"{self.path} {self.broken}: {error}. {self.remedy}") from error
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise access_error(error, "read", self.path) from error

    def locate(self, row: int, column: int, /) -> str:
        return self.name

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, self.offset)]


def open_npy(path: Path, request: OpenRequest) -> NpySource:
    """A ``.npy`` file as a source; only its header is read."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is not a complete .npy file of numbers: {error}. Write it again with numpy.save."
        ) from error
    if not isinstance(mapped, np.memmap):
        raise ShapeError(f"{path} is empty or has no dimensions: shape {np.shape(mapped)}.")
    return open_memmap(mapped, request.rows)


def open_memmap(mapped: np.memmap[Any, Any], rows: Rows) -> NpySource:
    """The file behind a whole memory map as a source."""
    path = Path(str(mapped.filename))
    check_dtype(mapped.dtype, str(path))
    layout = flattening(mapped.shape, None, rows, str(path))
    fortran = mapped.flags.f_contiguous and not mapped.flags.c_contiguous
    return NpySource(path, mapped.offset, mapped.dtype, fortran, layout, FileStamp.of(path))


def maps_whole_file(array: npt.NDArray[Any]) -> TypeGuard[np.memmap[Any, Any]]:
    """Whether an array is a memory map whose bytes are found in its file, not a slice or a private copy."""
    if not isinstance(array, np.memmap) or array.filename is None or array.mode == "c":
        return False
    base: object = array.base
    return isinstance(base, mmap.mmap) and (array.flags.c_contiguous or array.flags.f_contiguous)

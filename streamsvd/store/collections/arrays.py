"""Arrays where they lie: in memory, uncompressed in a file, or in the chunks of a zarr store."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_dense
from streamsvd.checks.masks import as_block, write_block
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.origin import Origin
from streamsvd.store.explanations import access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box
from streamsvd.store.sources.flatten import Box
from streamsvd.store.sources.zarr_store.chunked import ChunkedArray

Array = npt.NDArray[Any]


class StoredArray(Protocol):
    """An address of an array of any number of dimensions; small, picklable, of no data but what is in memory."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` delivers."""
        ...

    @property
    def kind(self) -> str:
        """Name of the type as stored; ``"bfloat16"`` is delivered as float32."""
        ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extents of what is decoded at once."""
        ...

    @property
    def read_bytes(self) -> int:
        """Most transient bytes of a read."""
        ...

    @property
    def where(self) -> str:
        """How messages call the place."""
        ...

    def read(self, box: Box) -> Array:
        """The values of a rectangle."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayInMemory:
    """An array in memory, or whatever one is made of when it is read; what is masked is NaN."""

    values: Any
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(extent) for extent in self.values.shape)

    @property
    def kind(self) -> str:
        return self.dtype.name

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(1 for _ in self.shape)

    @property
    def read_bytes(self) -> int:
        return 0 if isinstance(self.values, np.ndarray) else math.prod(self.shape) * 8

    @property
    def where(self) -> str:
        return type(self.values).__name__

    def read(self, box: Box) -> Array:
        block = self.values[box]
        block = block.compute() if hasattr(block, "compute") else block
        check_dense(block, self.where)
        block = as_block(block)
        if type(block) is np.ndarray and block.dtype == self.dtype:
            return block
        out = np.empty(block.shape, dtype=self.dtype)
        write_block(out, block, name=self.where)
        return out


@dataclass(frozen=True, slots=True)
class ArrayInFile:
    """An array that lies uncompressed in a file.

    Attributes
    ----------
    path, offset
        File, and its first byte there.
    shape, stored_dtype
        Extents, and type of the bytes.
    fortran
        Whether the first dimension runs fastest.
    is_bfloat16
        Whether 16 bits are the upper half of a float32.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    stored_dtype: np.dtype[Any]
    fortran: bool = False
    is_bfloat16: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32) if self.is_bfloat16 else self.stored_dtype.newbyteorder("=")

    @property
    def kind(self) -> str:
        return "bfloat16" if self.is_bfloat16 else self.dtype.name

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(1 for _ in self.shape)

    @property
    def read_bytes(self) -> int:
        whole = math.prod(self.shape) * self.stored_dtype.itemsize
        return min(2 * BLOCK_BYTES, whole) + (3 * whole if self.is_bfloat16 else 0)

    @property
    def where(self) -> str:
        return str(self.path)

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, self.offset)]

    def read(self, box: Box) -> Array:
        extents = tuple(part.stop - part.start for part in box)
        out = np.empty(
            extents, self.stored_dtype.newbyteorder("="), order="F" if self.fortran else "C"
        )
        try:
            with self.path.open("rb", buffering=0) as file:
                if self.fortran:  # the same bytes are the transpose in C order
                    read_box(
                        file, self.offset, self.shape[::-1], self.stored_dtype, box[::-1], out.T
                    )
                else:
                    read_box(file, self.offset, self.shape, self.stored_dtype, box, out)
        except EOFError as error:
            raise StoreError(f"{self.path} cannot be read: {error}. Restore the file.") from error
        except OSError as error:
            raise access_error(error, "read", self.path) from error
        return (out.astype(np.uint32) << 16).view(np.float32) if self.is_bfloat16 else out


@dataclass(frozen=True, slots=True, eq=False)
class ArrayInChunks:
    """An array of a zarr store; a missing or damaged chunk is an error that names it."""

    values: ChunkedArray
    shape: tuple[int, ...]
    origin: Origin | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.packing.dtype

    @property
    def kind(self) -> str:
        return self.dtype.name

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.values.decoder.shape)

    @property
    def read_bytes(self) -> int:
        return self.values.read_bytes

    @property
    def where(self) -> str:
        return self.values.name

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return self.values.addresses(self.shape)

    def read(self, box: Box) -> Array:
        out = np.empty(tuple(part.stop - part.start for part in box), self.dtype)
        if out.size:
            self.values.read(box, out)
        return out


@dataclass(frozen=True, slots=True)
class RefusedArray:
    """An array that no collection has, for its type or its attributes: an error that names it, unless it is left out.

    Attributes
    ----------
    shape, dtype, kind
        Extents, a type that is not one of real numbers, and its name as stored.
    where
        How messages call the place.
    reason
        Why it is refused, where that is not its type.
    is_sparse
        Whether it is a part of a sparse matrix.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    where: str
    reason: str = ""
    is_sparse: bool = False

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.shape

    @property
    def read_bytes(self) -> int:
        return 0

    def read(self, box: Box) -> Array:
        """Never reached: whoever opens the collection refuses it."""
        del box
        raise SpecError(f"{self.where} holds {self.kind}, which cannot be read. Leave it out.")

"""A DataArray, or a variable of a Dataset, as a matrix: in place where it is in memory, read part by part where it lies in a file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.foreign import check_object
from streamsvd.checks.masks import block_dtype
from streamsvd.checks.paths import is_url, local_path
from streamsvd.errors import ShapeError, SpecError, StoreError, StreamSVDError
from streamsvd.labels import Labels
from streamsvd.protocols import Source
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.beside import StoredVariable
from streamsvd.store.sources.border import check_dtype, check_rectangle, stored_strips
from streamsvd.store.sources.files.npy import NpySource, maps_whole_file
from streamsvd.store.sources.flatten import Flattening, box_shape, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.store.sources.objects.xarray_variables import (
    XarrayContext,
    variable_packing,
    xarray_context,
)
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.pieces import pieces
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp

PIECE_BYTES = 1 << 20
"""Of delivered values that are read at once, where no chunk holds more."""

COPIES = 6
"""Of such a part, while xarray reads and decodes it."""

LIBRARY_BYTES = 4 << 20
"""What the library of a file takes beside: its cache, and buffers."""


@dataclass(frozen=True, eq=False)
class LabelledArray(ArraySource):
    """A DataArray in memory."""

    __repr__ = matrix_text

    context: XarrayContext | None = field(default=None, repr=False)

    @property
    def labels(self) -> Labels:
        """What the DataArray says of its rows and columns."""
        return _labels(self)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array beside it; KeyError where there is none."""
        return _neighbour(self, name)

    def beside(self) -> list[StoredVariable]:
        """All arrays beside it."""
        return _beside(self)


@dataclass(frozen=True)
class LabelledFile(NpySource):
    """A DataArray whose values are a whole memory map, read through its file."""

    __repr__ = matrix_text

    context: XarrayContext | None = field(default=None, repr=False, compare=False)

    @property
    def labels(self) -> Labels:
        """What the DataArray says of its rows and columns."""
        return _labels(self)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array beside it; KeyError where there is none."""
        return _neighbour(self, name)

    def beside(self) -> list[StoredVariable]:
        """All arrays beside it."""
        return _beside(self)


def _labels(source: Any) -> Labels:
    context: XarrayContext = source.context
    return context.labels(source.layout)


def _neighbour(source: Any, name: str) -> NeighbourArray:
    context: XarrayContext = source.context
    return context.neighbour(name)


def _beside(source: Any) -> list[StoredVariable]:
    context: XarrayContext = source.context
    return context.variables()


@dataclass(frozen=True, eq=False)
class LazyXarraySource:
    """A variable that xarray reads from a file when it is asked, or that is in memory as it was packed.

    Attributes
    ----------
    variable
        The variable, of which no more is read than a part at a time.
    packing
        How its values are meant, beside what xarray does.
    stored_chunk
        Lengths of a chunk, as far as xarray tells; None where it does not.
    layout
        How it became a matrix.
    name
        How messages call it.
    path, stamp
        The file that it lies in, as far as that is told.
    context
        What lies beside it.
    """

    __repr__ = matrix_text

    variable: Any = field(repr=False)
    packing: Packing
    stored_chunk: tuple[int, ...] | None
    layout: Flattening
    name: str
    path: Path | None
    stamp: FileStamp | None
    context: XarrayContext = field(repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.packing.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        if self.stored_chunk is None:
            return stored_strips(self.layout, self.dtype.itemsize)
        return self.layout.chunks(self.stored_chunk)

    @property
    def has_no_chunks(self) -> bool:
        """Whether its chunks are only a way to read it."""
        return self.stored_chunk is None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        item = self.dtype.itemsize
        most = max(PIECE_BYTES // item, math.prod(self.stored_chunk or (1,)))
        most = min(most, math.prod(self.shape))
        return COPIES * most * item + self.packing.transient_bytes(most) + LIBRARY_BYTES

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        most = PIECE_BYTES // self.dtype.itemsize
        grid = self.stored_chunk or (1,) * len(self.layout.extents)
        try:
            for box, place in self.layout.views(rows, columns, out):
                for part, target in pieces(box, place, most, grid):
                    values = np.asarray(self.variable[part].values)
                    self._check(values, box_shape(part))
                    self.packing.unpack(values.view(self.packing.stored_dtype), target)
        except StreamSVDError:
            raise
        except Exception as error:  # whatever the library behind xarray trips over
            raise_access_error(error, self.path or self.name)
            raise StoreError(
                f"{self.name} cannot be read: {type(error).__name__}: {error}. Open the file again, or restore it from a copy."
            ) from error
        if self.stamp is not None and self.path is not None:
            self.stamp.check(self.path)

    def _check(self, values: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
        if values.shape != shape or values.dtype.newbyteorder("=") != np.dtype(
            self.variable.dtype
        ).newbyteorder("="):
            raise ShapeError(
                f"{self.name} promises {self.variable.dtype} {shape}, and gave {values.dtype} {values.shape}."
            )

    def locate(self, row: int, column: int, /) -> str:
        where = self.name if self.path is None else f"{self.name} of {self.path}"
        if self.stored_chunk is None:
            return where
        at = self.layout.index(row, column)
        chunk = tuple(i // length for i, length in zip(at, self.stored_chunk, strict=True))
        return f"chunk {chunk} of {where}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [] if self.path is None or not self.path.is_file() else [FileAddress(self.path, 0)]

    @property
    def originals(self) -> list[Path]:
        """The file that it is read from, as far as that is told."""
        return [] if self.path is None else [self.path]

    @property
    def labels(self) -> Labels:
        """What the data set says of its rows and columns."""
        return _labels(self)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array of the data set; KeyError where there is none."""
        return _neighbour(self, name)

    def beside(self) -> list[StoredVariable]:
        """All arrays beside it."""
        return _beside(self)


def open_xarray(given: Any, request: OpenRequest) -> Source:
    """A DataArray, or a variable of a Dataset, as a source; nothing is read.

    Raises
    ------
    SpecError, ShapeError
        If there is no such variable, or it is no matrix of numbers.
    """
    context = xarray_context(given, request.variable)
    variable, where = context.variable, context.place
    packing, layout = matrix_of(context, request)
    data = variable._data
    if variable.chunks is not None:
        raise SpecError(f"{where} is an array of dask: open it by streamsvd.open.")
    if isinstance(data, np.ndarray) and packing.is_plain:
        if maps_whole_file(data):
            return _labelled_file(data, layout, context)
        return LabelledArray(data, layout, block_dtype(data), where, context)
    if not isinstance(data, np.ndarray) and not type(data).__module__.startswith("xarray."):
        check_object(data, where)
        raise SpecError(
            f"{where} holds {type(data).__module__}.{type(data).__qualname__}, which is not read yet. Pass an array of numpy or dask."
        )
    path = _file_of(context)
    stamp = FileStamp.of(path) if path is not None and path.is_file() else None
    return LazyXarraySource(
        variable, packing, _chunk(variable), layout, where, path, stamp, context
    )


def _labelled_file(
    mapped: np.memmap[Any, Any], layout: Flattening, context: XarrayContext
) -> LabelledFile:
    """The file behind a whole memory map that is in a DataArray."""
    path = local_path(str(mapped.filename))
    turned = mapped.flags.f_contiguous and not mapped.flags.c_contiguous
    stamp = FileStamp.of(path)
    return LabelledFile(path, mapped.offset, mapped.dtype, turned, layout, stamp, context)


def matrix_of(context: XarrayContext, request: OpenRequest) -> tuple[Packing, Flattening]:
    """How the values of a variable are meant, and how it becomes a matrix."""
    variable, where = context.variable, context.place
    check_dtype(np.dtype(variable.dtype), where)
    dims = [str(dim) for dim in variable.dims]
    return variable_packing(context), flattening(variable.shape, dims, request.rows, where)


def _file_of(context: XarrayContext) -> Path | None:
    """The local file or folder that a variable was opened from and is read from."""
    if not context.source or is_url(context.source):
        return None
    path = local_path(context.source).absolute()
    return path if path.exists() and not isinstance(context.variable._data, np.ndarray) else None


def _chunk(variable: Any) -> tuple[int, ...] | None:
    """Lengths of the chunks that a variable is stored in, as xarray tells them."""
    told = variable.encoding
    found = told.get("chunksizes") or told.get("chunks")
    if not found and isinstance(told.get("preferred_chunks"), dict):
        found = [told["preferred_chunks"].get(dim) for dim in variable.dims]
    if isinstance(variable._data, np.ndarray) or not isinstance(found, list | tuple):
        return None
    if len(found) != variable.ndim or not all(isinstance(n, int) and n > 0 for n in found):
        return None
    return tuple(min(n, extent) for n, extent in zip(found, variable.shape, strict=True))

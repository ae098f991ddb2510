"""An array in a file of HDF5 or netCDF-4 as a matrix, read a chunk at a time; the file is open only while it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.libraries import optional_library
from streamsvd.checks.paths import local_path
from streamsvd.errors import CorruptChunkError, SpecError, StoreError
from streamsvd.labels import Labels
from streamsvd.protocols import Source
from streamsvd.store.explanations import access_error, is_access
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.beside import StoredVariable, variable_labels
from streamsvd.store.sources.border import check_rectangle, stored_strips
from streamsvd.store.sources.flatten import Box, Flattening, flattening
from streamsvd.store.sources.hdf5.chunks import ChunkFilters, chunk_filters
from streamsvd.store.sources.hdf5.files import reading_hdf5, reason_of
from streamsvd.store.sources.hdf5.variables import (
    attributes_of,
    check_numbers,
    conventions_of,
    dimension_names,
    find_dataset,
    plain_dtype,
    variable_beside,
    variables_of_group,
)
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.pieces import pieces
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp

PIECE_BYTES = 1 << 20
"""Of stored values that are read at once, where no chunk holds more."""

CHUNK_COPIES = 3
"""Of a chunk, while the library decodes it: as stored, and before and after a filter."""

LIBRARY_BYTES = 3 << 20
"""What the library takes beside chunks: its cache, and a buffer in which types are converted."""


@dataclass(frozen=True)
class Hdf5Source:
    """Address of an array in a file of HDF5.

    Attributes
    ----------
    path, variable
        The file, and the path of the array in it.
    packing
        How stored values are meant.
    stored_chunk
        Lengths of a chunk; None where it is stored without any.
    filters
        How chunks are decoded here; None where the library does it.
    layout
        How it became a matrix.
    stamp
        Of the file when it was opened.
    """

    __repr__ = matrix_text

    path: Path
    variable: str
    packing: Packing
    stored_chunk: tuple[int, ...] | None
    filters: ChunkFilters | None
    layout: Flattening
    stamp: FileStamp

    @property
    def name(self) -> str:
        return f"{self.path}:{self.variable}"

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.packing.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        if self.stored_chunk is not None:
            return self.layout.chunks(self.stored_chunk)
        return stored_strips(self.layout, self.packing.stored_dtype.itemsize)

    @property
    def has_no_chunks(self) -> bool:
        """Whether its chunks are only a way to read it."""
        return self.stored_chunk is None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        item = self.packing.stored_dtype.itemsize
        chunk = math.prod(self.stored_chunk or (0,))
        most = min(max(PIECE_BYTES // item, chunk), math.prod(self.shape))
        unpacked = self.packing.transient_bytes(most)
        return 2 * most * item + CHUNK_COPIES * chunk * item + unpacked + LIBRARY_BYTES

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        stored = self.packing.stored_dtype
        grid = self.stored_chunk or (1,) * len(self.layout.extents)
        most = PIECE_BYTES // stored.itemsize if self.filters is None else 0  # or chunk by chunk
        try:
            with reading_hdf5(self.path) as file:
                dataset = file[self.variable]
                for box, place in self.layout.views(rows, columns, out):
                    for part, target in pieces(box, place, most, grid):
                        self._read_piece(dataset, part, target)
            self.stamp.check(self.path)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise access_error(error, "read", self.path) from error

    def _read_piece(self, dataset: Any, part: Box, target: npt.NDArray[Any]) -> None:
        """A part of the array, straight into its place where that has its type and lies in one run.

        Raises
        ------
        CorruptChunkError
            If what is stored cannot be decoded.
        """
        if self.filters is not None:
            self._read_chunk(self.filters, dataset, part, target)
            return
        try:
            same = self.packing.stored_dtype.kind == dataset.dtype.kind  # else it would convert
            if self.packing.is_plain and same and target.flags.c_contiguous:
                dataset.read_direct(target, source_sel=part)
                return
            values = np.asarray(dataset[part])
        except OSError as error:
            if is_access(error) or self.stored_chunk is None:
                raise
            chunk = tuple(p.start // n for p, n in zip(part, self.stored_chunk, strict=True))
            raise CorruptChunkError(str(chunk), self.name, reason_of(error)) from error
        self.packing.unpack(values.view(self.packing.stored_dtype), target)

    def _read_chunk(
        self, filters: ChunkFilters, dataset: Any, part: Box, target: npt.NDArray[Any]
    ) -> None:
        """A part that lies in one chunk.

        Raises
        ------
        CorruptChunkError
            If what is stored cannot be decoded.
        """
        number = tuple(p.start // n for p, n in zip(part, filters.shape, strict=True))
        origin = tuple(i * n for i, n in zip(number, filters.shape, strict=True))
        try:
            values = filters.read(dataset, origin)
        except (ValueError, OSError, RuntimeError) as error:
            if is_access(error):
                raise
            reason = str(error) if isinstance(error, ValueError) else reason_of(error)
            raise CorruptChunkError(str(number), self.name, reason) from error
        inside = tuple(slice(p.start - o, p.stop - o) for p, o in zip(part, origin, strict=True))
        self.packing.unpack(values[inside].view(self.packing.stored_dtype), target)

    def locate(self, row: int, column: int, /) -> str:
        if self.stored_chunk is None:
            return self.name
        at = self.layout.index(row, column)
        chunk = tuple(i // length for i, length in zip(at, self.stored_chunk, strict=True))
        return f"chunk {chunk} of {self.name}"

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, 0)]

    @property
    def originals(self) -> list[Path]:
        """The file that it is read from."""
        return [self.path]

    @property
    def labels(self) -> Labels:
        """What the file says of its rows and columns."""
        with reading_hdf5(self.path) as file:
            attributes = attributes_of(file[self.variable])
        name = self.variable.rpartition("/")[2]
        return variable_labels(self.layout, name, attributes, self._beside)

    def neighbour(self, name: str) -> NeighbourArray:
        """An array of its group, or of one that holds it; KeyError where there is none."""
        return self._beside(name).as_neighbour()

    def beside(self) -> list[StoredVariable]:
        """All arrays of its group but itself."""
        return variables_of_group(self.path, self.variable)

    def _beside(self, name: str) -> StoredVariable:
        return variable_beside(self.path, self.variable, name)


def open_hdf5(path: Path, request: OpenRequest) -> Source:
    """An array, or the group of a sparse matrix, in a file of HDF5 or netCDF-4 as a source; of values, offsets of rows are read.

    Raises
    ------
    StoreError, SpecError, ShapeError
        As `open_hdf5_array`.
    """
    from streamsvd.store.sources.files.annotated import open_sparse_group  # which reads arrays so

    found = open_sparse_group(path.absolute(), request)
    return open_hdf5_array(path, request) if found is None else found


def open_hdf5_array(path: Path, request: OpenRequest) -> Hdf5Source:
    """An array in a file of HDF5 or netCDF-4 as a source; none of its values is read.

    Raises
    ------
    StoreError
        If h5py is not installed, or the file is not whole, is locked, or needs a filter that is not there.
    SpecError, ShapeError
        If there is no such array, or it is no matrix of numbers.
    """
    path = path.absolute()
    stamp = FileStamp.of(path)
    with reading_hdf5(path) as file:
        dataset = find_dataset(file, request.variable, path)
        where = f"{path}:{dataset.name}"
        if dataset.shape is None:
            raise SpecError(f"{where} is empty: it has no values at all.")
        layout = flattening(dataset.shape, dimension_names(dataset), request.rows, where)
        return _array_source(path, dataset, layout, stamp)


def vector_source(path: Path, dataset: Any, layout: Flattening) -> Hdf5Source:
    """An array of one dimension of a file that is open, as a matrix of one column; it may be of true and false."""
    return _array_source(path, dataset, layout, FileStamp.of(path))


def _array_source(path: Path, dataset: Any, layout: Flattening, stamp: FileStamp) -> Hdf5Source:
    """An array of a file that is open."""
    where = f"{path}:{dataset.name}"
    dtype = plain_dtype(dataset)
    if dtype.kind != "b" or len(dataset.shape) != 1:
        dtype = check_numbers(dataset, where)
    _check_filters(dataset, where)
    packing = Packing(conventions_of(dataset, dtype, where))
    chunk = None if dataset.chunks is None else tuple(int(c) for c in dataset.chunks)
    filters = chunk_filters(dataset, dtype)
    home, name = local_path(str(dataset.file.filename)).absolute(), str(dataset.name)
    if not home.samefile(path):  # a link led to another file
        path, stamp = home, FileStamp.of(home)
    return Hdf5Source(path, name, packing, chunk, filters, layout, stamp)


def _check_filters(dataset: Any, where: str) -> None:
    """Refuse an array that is compressed by what the library does not have.

    Raises
    ------
    StoreError
        It names the filter.
    """
    h5py = optional_library("h5py", "hdf5", f"{where} is an array of HDF5")
    listed = dataset.id.get_create_plist()
    for index in range(listed.get_nfilters()):
        code, _, _, name = listed.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            called = name.decode(errors="replace") or "without a name"
            raise StoreError(
                f"{where} is compressed by the filter {code} ({called}), which h5py does not have. Install the package "
                "hdf5plugin and import it before, or write the array again with gzip."
            )


def open_hdf5_object(given: Any, request: OpenRequest) -> Source:
    """An array, group or file of h5py, or a variable or file of netCDF4, by the file that it lies in.

    Raises
    ------
    SpecError
        If it lies in no file, or in one that is open for writing.
    """
    path, inside = _place_of(given)
    if not path.is_file():
        raise SpecError(
            f"{type(given).__name__} {inside or '/'} lies in memory, in no file ({path}). Pass its values: x[...]."
        )
    variable = inside.strip("/")
    if request.variable is not None:
        variable = f"{variable}/{request.variable.strip('/')}".strip("/")
    asked = OpenRequest(variable or None, request.rows, missing_value=request.missing_value)
    return open_hdf5(path, asked)


def _place_of(given: Any) -> tuple[Path, str]:
    """The file and the path in it."""
    if type(given).__module__.startswith("h5py"):
        if not given:
            raise SpecError(
                f"the file of this {type(given).__name__} of h5py is closed. Pass the path of the file."
            )
        return local_path(str(given.file.filename)).absolute(), str(given.name)
    group = given.group() if hasattr(given, "group") else given
    path = local_path(str(group.filepath())).absolute()
    parts = [] if group.path == "/" else [group.path.strip("/")]
    if group is not given:
        parts.append(str(given.name))
    return path, "/".join(parts)

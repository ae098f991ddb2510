"""An array in a file of netCDF-3 as a matrix: its values lie uncompressed in the file, those of a record dimension record by record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError
from streamsvd.labels import Labels
from streamsvd.store.explanations import access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.beside import (
    Candidate,
    StoredVariable,
    choose_variable,
    names_text,
    variable_labels,
)
from streamsvd.store.sources.border import WHOLE_BYTES, check_dtype, check_rectangle, stored_strips
from streamsvd.store.sources.conventions import read_conventions
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box
from streamsvd.store.sources.flatten import Box, Flattening, box_shape, flattening
from streamsvd.store.sources.matrix_text import matrix_text
from streamsvd.store.sources.neighbours import NeighbourArray
from streamsvd.store.sources.netcdf3.header import ClassicVariable, read_header
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.pieces import pieces
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp
from streamsvd.store.sources.text import joined_characters


def read_values(
    file: IO[bytes], variable: ClassicVariable, box: Box, place: npt.NDArray[Any]
) -> None:
    """Fill ``place`` with a rectangle of a variable, as it is stored.

    Raises
    ------
    EOFError
        If the file ends before it does.
    """
    shape, dtype, record = variable.shape, variable.dtype, variable.record_bytes
    if record is None:
        read_box(file, variable.offset, shape, dtype, box, place)
        return
    first, *rest = box
    start = variable.offset + first.start * record
    if record > WHOLE_BYTES:
        for index, target in enumerate(place):
            one = (slice(0, 1), *rest)
            read_box(file, start + index * record, (1, *shape[1:]), dtype, one, target[None])
        return
    own, step = math.prod(shape[1:]) * dtype.itemsize, max(1, BLOCK_BYTES // record)
    for begin in range(0, len(place), step):  # short records: a run of them is read at once
        part = place[begin : begin + step]
        length = (len(part) - 1) * record + own
        records = np.zeros((len(part), record), np.uint8)
        run, whole = records.reshape(-1)[:length], (slice(0, length),)
        read_box(file, start + begin * record, (length,), run.dtype, whole, run)
        values = np.ascontiguousarray(records[:, :own]).view(dtype)
        part[...] = values.reshape(len(part), *shape[1:])[(slice(None), *rest)]


@dataclass(frozen=True)
class NetCDF3Source:
    """Address of an array in a file of netCDF-3.

    Attributes
    ----------
    path, variable
        The file, and the name of the array.
    values
        Its type and shape, and where its values lie.
    packing, layout
        How they are meant, and how the array became a matrix.
    stamp
        Of the file when it was opened.
    """

    __repr__ = matrix_text

    path: Path
    variable: str
    values: ClassicVariable
    packing: Packing
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
        return stored_strips(self.layout, self.values.dtype.itemsize)

    @property
    def has_no_chunks(self) -> bool:
        """Its chunks are only a way to read it."""
        return True

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def read_bytes(self) -> int:
        """A block of the file in two forms, and one as it is stored while it is unpacked."""
        most = min(BLOCK_BYTES // self.values.dtype.itemsize, math.prod(self.shape))
        return 4 * BLOCK_BYTES + self.packing.transient_bytes(most)

    def read(self, rows: slice, columns: slice, out: npt.NDArray[Any], /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        try:
            with self.path.open("rb", buffering=0) as file:
                for box, place in self.layout.views(rows, columns, out):
                    self._read_box(file, box, place)
            self.stamp.check(self.path)
        except EOFError as error:
            raise StoreError(f"{self.path} is cut short: {error}. Copy it again.") from error
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise access_error(error, "read", self.path) from error

    def _read_box(self, file: IO[bytes], box: Box, place: npt.NDArray[Any]) -> None:
        stored = self.packing.stored_dtype
        if self.packing.is_plain and stored.kind == self.values.dtype.kind:
            read_values(file, self.values, box, place)
            return
        most = BLOCK_BYTES // stored.itemsize
        for part, target in pieces(box, place, most, (1,) * len(box)):
            held = np.empty(box_shape(part), self.values.dtype)
            read_values(file, self.values, part, held)
            self.packing.unpack(held.view(stored), target)

    def locate(self, row: int, column: int, /) -> str:
        return self.name

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, self.values.offset)]

    @property
    def originals(self) -> list[Path]:
        """The file that it is read from."""
        return [self.path]

    @property
    def labels(self) -> Labels:
        """What the file says of its rows and columns."""
        found = read_header(self.path)
        attributes = found[self.variable].attributes
        return variable_labels(self.layout, self.variable, attributes, partial(self._beside, found))

    def neighbour(self, name: str) -> NeighbourArray:
        """An array of the file; KeyError where there is none."""
        return self._beside(read_header(self.path), name).as_neighbour()

    def beside(self) -> list[StoredVariable]:
        """All arrays of the file but itself."""
        found = read_header(self.path)
        return [self._beside(found, name) for name in found if name != self.variable]

    def _beside(self, found: Mapping[str, ClassicVariable], name: str) -> StoredVariable:
        if name not in found:
            raise KeyError(f"; there are {names_text(n for n in found if n != self.variable)}")
        variable, place = found[name], f"{self.path}:{name}"
        shape, dims = variable.shape, variable.dims
        if variable.dtype == np.dtype("S1") and len(shape) > 1:  # texts of single characters
            shape, dims = shape[:-1], dims[:-1]
        read = partial(_read_all, self.path, place, variable)
        return StoredVariable(name, place, shape, dims, variable.attributes, read)


def _read_all(path: Path, place: str, variable: ClassicVariable) -> npt.NDArray[Any]:
    """All values of a small array as they are meant."""
    held = np.empty(variable.shape or (1,), variable.dtype)
    whole = tuple(slice(0, extent) for extent in held.shape)
    try:
        with path.open("rb", buffering=0) as file:
            read_values(file, replace(variable, shape=held.shape), whole, held)
    except EOFError as error:
        raise StoreError(f"{place} is cut short: {error}. Copy it again.") from error
    except OSError as error:
        raise access_error(error, "read", path) from error
    if variable.dtype.kind == "S":
        return joined_characters(held)
    packing = Packing(
        read_conventions(variable.dtype, variable.attributes, where=place, zarr_format=2)
    )
    out = np.empty(held.shape, packing.dtype)
    packing.unpack(held.view(packing.stored_dtype), out)
    return out.reshape(variable.shape)


def open_netcdf3(path: Path, request: OpenRequest) -> NetCDF3Source:
    """An array in a file of netCDF-3 as a source; only the header is read.

    Raises
    ------
    StoreError
        If the file is not whole.
    SpecError, ShapeError
        If there is no such array, or it is no matrix of numbers.
    """
    path = path.absolute()
    stamp, found = FileStamp.of(path), read_header(path)
    if request.variable is None:
        candidates = {
            key: Candidate(len(v.shape), v.dtype, v.attributes) for key, v in found.items()
        }
        name = choose_variable(candidates, str(path))
    else:
        name = request.variable.strip("/")
    if name not in found:
        raise SpecError(f"{path} has no variable {name!r}; it holds {names_text(found)}.")
    variable, where = found[name], f"{path}:{name}"
    check_dtype(variable.dtype, where)
    layout = flattening(variable.shape, variable.dims, request.rows, where)
    packing = Packing(
        read_conventions(variable.dtype, variable.attributes, where=where, zarr_format=2)
    )
    return NetCDF3Source(path, name, variable, packing, layout, stamp)

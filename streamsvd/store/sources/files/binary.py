"""A file of numbers without a header, whose type and extents its user knows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.explanations import access_error
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.flatten import flattening
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.stamp import FileStamp


@dataclass(frozen=True)
class BinarySource(NpySource):
    """Address of an array of a given type in a file, rows one after another."""

    broken: ClassVar[str] = "is shorter than it was"
    remedy: ClassVar[str] = "Open it again with the shape= that it has."


def open_binary(path: Path, request: OpenRequest) -> BinarySource:
    """A file of numbers in C order as a source; nothing of it is read.

    Raises
    ------
    SpecError
        If type or extents are not given, or not those of a matrix of numbers.
    StoreError
        If the file has another number of bytes than they take.
    """
    path = path.absolute()
    try:
        stamp = FileStamp.of(path)
    except OSError as error:
        raise access_error(error, "read", path) from error
    dtype, shape, offset = request.dtype, request.shape, request.offset
    if dtype is None or shape is None:
        lacking = " and ".join(
            name for name, value in (("dtype=", dtype), ("shape=", shape)) if value is None
        )
        raise SpecError(
            f"{path} is a file of {stamp.size:,} bytes without a header, of which nobody knows what they are: pass {lacking}, such as "
            "dtype='float32', shape=(1000, 50), and with which byte the numbers begin, where it is not the first. If it is text: "
            f"numpy.save('{path.stem}.npy', numpy.loadtxt('{path}'))"
        )
    check_dtype(dtype, str(path))
    layout = flattening(shape, None, request.rows, str(path))
    wanted, there = math.prod(shape) * dtype.itemsize, stamp.size - offset
    if wanted != there:
        raise StoreError(_size_text(path, request, wanted, there))
    return BinarySource(path, offset, dtype, False, layout, stamp)


def _size_text(path: Path, request: OpenRequest, wanted: int, there: int) -> str:
    """Why a shape is not that of a file, and which one would be."""
    dtype, shape = request.dtype, request.shape or ()
    said = f"{path} has {max(there, 0):,} bytes from byte {request.offset:,} on, and {dtype.name} values of shape {shape} take {wanted:,}."
    line = math.prod(shape[1:]) * dtype.itemsize
    if there > 0 and there % line == 0:
        fits = (there // line, *shape[1:])
        return f"{said} shape={fits} would fit: pass it if that is meant."
    return f"{said} Correct the type, the shape, or with which byte the numbers begin."

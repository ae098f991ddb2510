"""An array in a ``.npz`` file: as it lies there where the file was not compressed, and refused with a line where it was.

Sparse matrices of scipy are read from such files too.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from streamsvd.errors import SpecError, StoreError, StreamSVDError
from streamsvd.protocols import Source
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.sources.beside import Candidate, choose_variable, names_text
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.flatten import Flattening, flattening, vector_layout
from streamsvd.store.sources.request import OpenRequest
from streamsvd.store.sources.sparse.vectors import number_dtype
from streamsvd.store.sources.stamp import FileStamp

SPARSE_MEMBERS = {"format.npy", "shape.npy", "data.npy"}
"""What scipy.sparse.save_npz writes of every matrix."""

_LOCAL_HEADER, _PASSWORD_FLAG = struct.Struct("<4s5H3L2H"), 1
SUFFIX = ".npy"


@dataclass(frozen=True)
class NpzSource(NpySource):
    """Address of an array that lies uncompressed in a ``.npz`` file."""

    member: str = ""

    broken: ClassVar[str] = "is not a complete .npz file"
    remedy: ClassVar[str] = "Write it again with numpy.savez."

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}"


def open_npz(path: Path, request: OpenRequest) -> Source:
    """An array, or the sparse matrix, of a ``.npz`` file as a source; only headers are read, and the offsets of a sparse matrix.

    Raises
    ------
    StoreError
        If the file is not whole, or what is asked is compressed or encrypted: it gives the line that unpacks it.
    SpecError, ShapeError
        If there is no such array, or it is no matrix of numbers.
    """
    path = path.absolute()
    try:
        stamp = FileStamp.of(path)
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return _open_member(path, file, archive, request, stamp)
    except StreamSVDError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, struct.error, RuntimeError) as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is no whole .npz file: {error}. Copy it again, or write it again with numpy.savez."
        ) from error


def _open_member(
    path: Path, file: IO[bytes], archive: zipfile.ZipFile, request: OpenRequest, stamp: FileStamp
) -> Source:
    members = {i.filename: i for i in archive.infolist() if i.filename.endswith(SUFFIX)}
    if set(members) >= SPARSE_MEMBERS and request.variable is None:
        from streamsvd.store.sources.files.sparse_npz import (
            open_sparse_npz,
        )  # which reads members so

        return open_sparse_npz(path, file, archive, members, stamp)
    name = request.variable
    if name is None:
        found = {key.removesuffix(SUFFIX): _candidate(archive, i) for key, i in members.items()}
        name = choose_variable(found, str(path))
    member = members.get(f"{name.removesuffix(SUFFIX)}{SUFFIX}")
    if member is None:
        names = names_text(key.removesuffix(SUFFIX) for key in members)
        raise SpecError(f"{path} has no array {name!r}; it holds {names}.")
    where = f"{path}:{name}"
    check_open(member, where)
    if member.compress_type != zipfile.ZIP_STORED:
        raise StoreError(
            f"{where} is compressed, and can be read only from its beginning on. Unpack it, which takes no more memory than a block: "
            f"python -m zipfile -e '{path}' '{path.stem}', and open '{path.stem}/{member.filename}'; numpy.savez instead of "
            "savez_compressed writes what is read in place."
        )
    return stored_member(
        path, file, member, name, stamp, lambda shape: flattening(shape, None, request.rows, where)
    )


def check_open(member: zipfile.ZipInfo, where: str) -> None:
    """Refuse what is encrypted.

    Raises
    ------
    StoreError
        If it is.
    """
    if member.flag_bits & _PASSWORD_FLAG:
        raise StoreError(
            f"{where} is protected by a password. Unpack it, and open the .npy file that comes of it."
        )


def stored_member(
    path: Path,
    file: IO[bytes],
    member: zipfile.ZipInfo,
    name: str,
    stamp: FileStamp,
    layout_of: Callable[[tuple[int, ...]], Flattening],
) -> NpzSource:
    """A member that is not compressed, where it lies."""
    where = f"{path}:{name}"
    start = _first_byte(file, member)
    file.seek(start)
    shape, fortran, dtype, length = array_header(file)
    check_dtype(number_dtype(dtype) if layout_of is vector_of else dtype, where)
    layout = layout_of(shape)
    promised = length + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if promised > member.file_size:
        raise StoreError(
            f"{where} is cut short: it takes {promised:,} bytes and has {member.file_size:,}. Write it again with numpy.savez."
        )
    return NpzSource(path, start + length, dtype, fortran, layout, stamp, name)


def vector_of(shape: tuple[int, ...]) -> Flattening:
    """An array of one dimension as a matrix of one column.

    Raises
    ------
    ValueError
        If it has others.
    """
    if len(shape) != 1:
        raise ValueError(
            f"an array of a sparse matrix has the shape {shape}, and one dimension is needed"
        )
    return vector_layout(int(shape[0]))


def _candidate(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Candidate:
    """What a member says of itself; nothing where it is encrypted, so that it is asked for by name."""
    if member.flag_bits & _PASSWORD_FLAG:
        return Candidate(2, np.dtype(np.float64), {})
    with archive.open(member) as stream:
        shape, _, dtype, _ = array_header(stream)
    return Candidate(len(shape), dtype, {})


def _first_byte(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin, after its own header.

    Raises
    ------
    ValueError
        If there is none.
    """
    file.seek(member.header_offset)
    told = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    if told[0] != b"PK\x03\x04":
        raise ValueError(f"{member.filename} does not begin where the file says")
    return member.header_offset + _LOCAL_HEADER.size + int(told[-2]) + int(told[-1])


def array_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Extents, order and type of an array, and the bytes of its header."""
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"there is no version {version} of .npy that holds numbers")
    start = stream.tell()
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype, stream.tell() - start + np.lib.format.MAGIC_LEN

"""A sparse matrix in a ``.npz`` file of scipy: where it lies, or in memory where it was compressed and is small."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError, StoreError, StreamSVDError
from streamsvd.numerics.sentences import show_bytes
from streamsvd.protocols import Source
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.sight import Address, FileAddress
from streamsvd.store.sources.border import check_dtype, check_rectangle, stored_strips
from streamsvd.store.sources.files.npz import (
    SUFFIX,
    array_header,
    check_open,
    stored_member,
    vector_of,
)
from streamsvd.store.sources.flatten import Flattening
from streamsvd.store.sources.sparse.compressed import CompressedSource, checked_parts
from streamsvd.store.sources.sparse.vectors import number_dtype
from streamsvd.store.sources.stamp import FileStamp
from streamsvd.store.sources.zarr_store.anndata import PARTS, sparse_form

Array = npt.NDArray[Any]
MOST_UNPACKED = 256 << 20
"""Bytes of a sparse matrix that are unpacked into memory, at most."""
UNPACKED_AT_ONCE = 1 << 20
"""Bytes that the library unpacks at once, about."""


def open_sparse_npz(
    path: Path,
    file: IO[bytes],
    archive: zipfile.ZipFile,
    members: Mapping[str, zipfile.ZipInfo],
    stamp: FileStamp,
) -> CompressedSource:
    """A matrix that scipy.sparse.save_npz wrote: where it lies, or in memory where it was compressed and is small.

    Raises
    ------
    SpecError
        If it is neither CSR nor CSC.
    StoreError
        If it is not whole, or was compressed and is not small.
    """
    format_name, shape = (_small_member(archive, members, name) for name in ("format", "shape"))
    kind = format_name.item() if format_name.size == 1 else ""
    kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if kind not in ("csr", "csc"):
        raise SpecError(
            f"{path} is a sparse matrix of scipy in the format {kind!r}, of which no rows can be read. Write it as csr: "
            f"scipy.sparse.save_npz('{path.stem}-csr.npz', scipy.sparse.load_npz('{path}').tocsr(), compressed=False)"
        )
    extents, axis = sparse_form(f"{kind}_matrix", {"shape": shape}, str(path))
    parts: list[Source] = []
    for name in PARTS:
        member = members.get(f"{name}{SUFFIX}")
        if member is None:
            raise StoreError(
                f"{path} has no array {name!r}, which a sparse matrix needs. Write it again with scipy.sparse.save_npz."
            )
        check_open(member, f"{path}:{name}")
        if member.compress_type == zipfile.ZIP_STORED:
            parts.append(stored_member(path, file, member, name, stamp, vector_of))
            continue
        total = sum(i.file_size for i in members.values())
        if total > MOST_UNPACKED:
            raise StoreError(
                f"{path} is deflated: its {show_bytes(total)} must be unpacked whole. Save it with compressed=False, or as zarr: "
                f"scipy.sparse.save_npz('{path.stem}-plain.npz', scipy.sparse.load_npz('{path}'), compressed=False)"
            )
        with archive.open(member) as stream:
            dims, _, dtype, _ = array_header(stream)
        check_dtype(number_dtype(dtype), f"{path}:{name}")
        parts.append(UnpackedVector(path, name, dtype, vector_of(dims), stamp))
    values, indices, offsets = parts
    checked = checked_parts((values, indices, offsets), extents, axis, str(path))
    return CompressedSource(*checked, extents, axis, str(path))


def _small_member(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str
) -> Array:
    """An array of a few entries.

    Raises
    ------
    ValueError
        If it has many.
    """
    member = members[f"{name}{SUFFIX}"]
    if member.file_size > 1 << 16:
        raise ValueError(f"{name} takes {member.file_size:,} bytes")
    with archive.open(member) as stream:
        found: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return found


class _ProcessMemory:
    """An array that was unpacked, once in a process; a copy that is sent to another has none."""

    def __init__(self) -> None:
        self.lock, self.values = threading.Lock(), None

    values: Array | None

    def __reduce__(self) -> tuple[Any, ...]:
        return _ProcessMemory, ()


@dataclass(frozen=True, eq=False)
class UnpackedVector:
    """An array of one dimension that is compressed in a ``.npz`` file: unpacked when it is first read, and then in memory.

    Attributes
    ----------
    path, member
        The file, and the name of the array in it.
    stored_dtype
        Type, with its byte order.
    layout
        A matrix of one column.
    stamp
        Of the file when it was opened.
    """

    path: Path
    member: str
    stored_dtype: np.dtype[Any]
    layout: Flattening
    stamp: FileStamp
    _memory: _ProcessMemory = field(default_factory=_ProcessMemory, repr=False)

    has_no_chunks = True
    """Whether its chunks are only a way to read it."""

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member}"

    @property
    def shape(self) -> tuple[int, int]:
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.stored_dtype.newbyteorder("=")

    @property
    def chunks(self) -> tuple[int, int]:
        return stored_strips(self.layout, self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.dtype.itemsize

    @property
    def loaded_bytes(self) -> int:
        """Bytes that stay in memory once it was read."""
        return self.nbytes

    @property
    def read_bytes(self) -> int:
        """All of it while it is unpacked, and a part of that in the zip."""
        return self.nbytes + UNPACKED_AT_ONCE

    def read(self, rows: slice, columns: slice, out: Array, /) -> None:
        rows, columns = check_rectangle(self, rows, columns, out)
        out[...] = self._values()[rows, None][:, columns]

    def _values(self) -> Array:
        """All of it.

        Raises
        ------
        StoreError
            If the file is not what it was, or is damaged.
        """
        with self._memory.lock:
            if self._memory.values is None:
                try:
                    self.stamp.check(self.path)
                    with (
                        zipfile.ZipFile(self.path) as archive,
                        archive.open(f"{self.member}{SUFFIX}") as stream,
                    ):
                        found = np.lib.format.read_array(stream, allow_pickle=False)
                except StreamSVDError:
                    raise
                except (
                    OSError,
                    ValueError,
                    EOFError,
                    KeyError,
                    zipfile.BadZipFile,
                    zlib.error,
                ) as error:
                    raise_access_error(error, self.path)
                    raise StoreError(
                        f"{self.name} cannot be unpacked: {error}. Write it again with scipy.sparse.save_npz."
                    ) from error
                if found.shape != (self.shape[0],):
                    raise StoreError(f"{self.name} has another length than it had. Open it again.")
                self._memory.values = found
            return self._memory.values

    def locate(self, row: int, column: int, /) -> str:
        return self.name

    def addresses(self) -> list[Address]:
        """Where other processes read it."""
        return [FileAddress(self.path, 0)]

    @property
    def originals(self) -> list[Path]:
        """The file that it is read from."""
        return [self.path]

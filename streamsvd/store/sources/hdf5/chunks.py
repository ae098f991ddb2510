"""Chunks of HDF5 that are shuffled or compressed by gzip, decoded here: several threads do so at once.

The library decodes one chunk at a time in a process, for it holds a lock; here the lock is held only while the bytes of a chunk are read.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.libraries import optional_library

GZIP, SHUFFLE = 1, 2
"""Numbers of the filters, as the file format has them."""


@dataclass(frozen=True, slots=True)
class ChunkFilters:
    """How the chunks of an array are encoded.

    Attributes
    ----------
    shape, dtype
        Of a chunk, and of its values with their byte order.
    codes
        Filters in the order in which they were applied.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codes: tuple[int, ...]

    def read(self, dataset: Any, origin: tuple[int, ...]) -> npt.NDArray[Any]:
        """The chunk that begins at an index; one that is absent holds the fill value.

        Raises
        ------
        ValueError
            If it cannot be decoded; it says why.
        OSError, RuntimeError
            If it cannot be read.
        """
        try:
            skipped, data = dataset.id.read_direct_chunk(origin)
        except (OSError, RuntimeError) as error:
            absent = "not allocated" in str(
                error
            )  # else asked of the index, which takes a look at all chunks
            if not absent and dataset.id.get_chunk_info_by_coord(origin).byte_offset is not None:
                raise
            return np.full(self.shape, dataset.fillvalue, self.dtype)
        return self.decode(data, skipped)

    def decode(self, data: Any, skipped: int = 0) -> npt.NDArray[Any]:
        """The values in the bytes of a chunk; filters whose bit is set were not applied to it.

        Raises
        ------
        ValueError
            If they are not as many as there should be, or no bytes of gzip.
        """
        size = math.prod(self.shape) * self.dtype.itemsize
        for index in reversed(range(len(self.codes))):
            if skipped >> index & 1:
                continue
            if self.codes[index] == GZIP:
                data = _inflate(data, size)
            elif len(data) == size:
                lanes = np.frombuffer(data, np.uint8).reshape(self.dtype.itemsize, -1)
                data = np.ascontiguousarray(lanes.T).reshape(-1)
        if len(data) != size:
            raise ValueError(f"it holds {len(data):,} bytes, and {size:,} are promised")
        return np.frombuffer(data, self.dtype).reshape(self.shape)


def _inflate(data: Any, size: int) -> bytes:
    """Bytes of gzip, no more than there should be."""
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(found) == size and not unpacker.eof:  # the mark at the end, with its checksum
        found += unpacker.decompress(unpacker.unconsumed_tail, 1)
    if not unpacker.eof and len(found) <= size:
        raise ValueError("its end is not there")
    return found


def chunk_filters(dataset: Any, dtype: np.dtype[Any]) -> ChunkFilters | None:
    """How the chunks of an array are encoded; None where they are not, or by what the library alone decodes."""
    if dataset.chunks is None or dtype.kind not in "iufc":
        return None
    h5py = optional_library("h5py", "hdf5", f"{dataset.name} is an array of HDF5")
    listed = dataset.id.get_create_plist()
    codes = tuple(listed.get_filter(i)[0] for i in range(listed.get_nfilters()))
    same_type = dataset.id.get_type().equal(h5py.h5t.py_create(dtype))
    if not same_type or not codes or not set(codes) <= {GZIP, SHUFFLE}:
        return None
    return ChunkFilters(tuple(int(n) for n in dataset.chunks), dtype, codes)

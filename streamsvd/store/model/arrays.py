"""Arrays as zarr writes them, kept in memory on their way to and from the store.

Small arrays become one chunk and its metadata. They are encoded into memory, so that the store sees plain
objects whose checksums are known before the first byte is written, and checked before the first is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

Array = npt.NDArray[Any]
Stored = dict[str, bytes]
"""Objects of a group by key."""

_MOST_BYTES = 1 << 40


def encoded(arrays: Mapping[str, Array]) -> Stored:
    """A zarr group of the arrays, one chunk each, as objects."""
    buffers: dict[str, Any] = {}
    group = zarr.open_group(MemoryStore(buffers), mode="a", zarr_format=3)
    for name, value in arrays.items():
        array = group.create_array(
            name,
            shape=value.shape,
            chunks=tuple(max(1, extent) for extent in value.shape),
            dtype=value.dtype,
            serializer=BytesCodec(),
            compressors=[Crc32cCodec()],
            fill_value=0,
            config={"write_empty_chunks": True},
        )
        array[...] = value
    return {key: buffer.to_bytes() for key, buffer in buffers.items()}


def decoded(objects: Mapping[str, bytes]) -> Array:
    """One array from its objects, keys relative to it."""
    prototype = default_buffer_prototype().buffer
    buffers: dict[str, Any] = {k: prototype.from_bytes(v) for k, v in objects.items()}
    array = zarr.open_array(MemoryStore(buffers, read_only=True), mode="r")
    if array.nbytes > _MOST_BYTES or array.nbytes > 64 + 2 * sum(len(v) for v in objects.values()):
        raise ValueError(f"metadata promise {array.nbytes:,} bytes that are not there")
    return np.asarray(array[...])


def read_array(read: Callable[[str], bytes], folder: str, keys: list[str]) -> Array:
    """The array at a folder, of which ``keys`` are the objects."""
    return decoded({key.removeprefix(folder + "/"): read(key) for key in keys})

"""Arrays as zarr writes them, kept in memory on their way to and from the store.

Small arrays become one chunk and its metadata. They are encoded into memory, so that the store sees plain
objects whose checksums are known before the first byte is written, and checked before the first is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

Array = npt.NDArray[Any]
ObjectMap = dict[str, bytes]
"""Objects of a group by key."""

_CODECS = ["bytes", "crc32c"]
_CRC_BYTES = 4


def encode_arrays(arrays: Mapping[str, Array]) -> ObjectMap:
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


def decode_array(objects: Mapping[str, bytes]) -> Array:
    """One array from its objects, keys relative to it."""
    _check_metadata(objects)
    prototype = default_buffer_prototype().buffer
    buffers: dict[str, Any] = {k: prototype.from_bytes(v) for k, v in objects.items()}
    array = zarr.open_array(MemoryStore(buffers, read_only=True), mode="r")
    return np.asarray(array[...])


def _check_metadata(objects: Mapping[str, bytes]) -> None:
    """Refuse metadata that promise other bytes than are there, before anything is allocated for them."""
    meta = msgspec.json.decode(objects["zarr.json"])
    shape = [int(extent) for extent in meta["shape"]]
    chunk = [int(extent) for extent in meta["chunk_grid"]["configuration"]["chunk_shape"]]
    if chunk != [max(1, extent) for extent in shape]:
        raise ValueError(f"metadata cut an array of {shape} into chunks of {chunk}, not into one")
    codecs = [codec["name"] for codec in meta["codecs"]]
    if codecs != _CODECS:
        raise ValueError(f"metadata name codecs {codecs}, not {_CODECS}")
    promised = math.prod(shape) * np.dtype(str(meta["data_type"])).itemsize
    found = [len(data) - _CRC_BYTES for key, data in objects.items() if key != "zarr.json"]
    if found != ([promised] if promised else []):
        raise ValueError(f"metadata promise {promised:,} bytes, there are {sum(found):,}")


def read_array(read: Callable[[str], bytes], folder: str, keys: list[str]) -> Array:
    """The array at a folder, of which ``keys`` are the objects."""
    return decode_array({key.removeprefix(folder + "/"): read(key) for key in keys})

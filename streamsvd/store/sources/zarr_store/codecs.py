"""The bytes of a stored chunk, checked against what the metadata promise, and decoded into place.

zarr decodes whatever it finds: a truncated blosc chunk is read past its end, a chunk that inflates without
limit is inflated. Here the sizes that a frame declares are compared with the size of the chunk *before*
anything is allocated, and the last step decodes straight into the caller's array where it can.
The GIL is released while zstd and blosc decode, so that threads reading different chunks scale.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class DamagedError(ValueError):
    """Why a chunk cannot be decoded; its caller knows the key."""


@dataclass(frozen=True)
class DecodedSize:
    """What is known of the length of decoded bytes: the number, or the most it can honestly be."""

    nbytes: int
    exact: bool

    def admits(self, declared: int) -> bool:
        """Whether a frame may declare this many."""
        return declared == self.nbytes if self.exact else declared <= self.nbytes

    def __str__(self) -> str:
        return f"{self.nbytes:,}" if self.exact else f"at most {self.nbytes:,}"


class DecodeStep(Protocol):
    """One codec, backwards: stored bytes to the bytes it was given."""

    def held_bytes(self, nbytes: int, /) -> int:
        """Most bytes it holds, beside its input, to make ``nbytes``."""
        ...

    def decode(self, data: Bytes, size: DecodedSize, out: Bytes | None, /) -> Bytes:
        """The decoded bytes; in ``out``, which has the exact size, where the codec can."""
        ...


@dataclass(frozen=True)
class Checksum:
    """crc32c in the last four bytes."""

    def held_bytes(self, nbytes: int, /) -> int:
        del nbytes
        return 0

    def decode(self, data: Bytes, size: DecodedSize, out: Bytes | None, /) -> Bytes:
        del size, out
        if len(data) < 4:
            raise DamagedError(f"it holds {len(data)} bytes, too few for a checksum")
        verify_checksum(data[:-4], data[-4:])
        return data[:-4]


def verify_checksum(data: Bytes, checksum: Bytes) -> None:
    """Compare the crc32c of ``data`` with the one stored."""
    stored = int.from_bytes(checksum.tobytes(), "little")
    computed = google_crc32c.value(data)
    if stored != computed:
        raise DamagedError(f"its checksum is {computed:08x}, stored as {stored:08x}")


@dataclass(frozen=True)
class FrameDecompressor:
    """A compressor of numcodecs whose frames declare their size: zstd, blosc or lz4."""

    codec: str

    def held_bytes(self, nbytes: int, /) -> int:
        return nbytes

    def decode(self, data: Bytes, size: DecodedSize, out: Bytes | None, /) -> Bytes:
        declared = _SIZE_READERS[self.codec](data)
        if declared is None and size.exact:
            declared = size.nbytes  # a zstd stream; its decoder stops at the end of out
        if declared is None:
            raise DamagedError("its zstd frame does not say how long it is decoded")
        if not size.admits(declared):
            raise DamagedError(f"it would decode to {declared:,} bytes where the chunk has {size}")
        if out is None:
            out = np.empty(declared, np.uint8)
        numcodecs.get_codec({"id": self.codec}).decode(data, out)
        return out


@dataclass(frozen=True)
class StreamDecompressor:
    """A compressor of the standard library. Its streams declare no size, so decoding stops one byte late."""

    codec: str  # gzip, zlib, bz2 or lzma

    def held_bytes(self, nbytes: int, /) -> int:
        # Blocks as they come, then all in one; of lzma also the dictionary.
        return 2 * nbytes + (_LZMA_BYTES if self.codec == "lzma" else 0)

    def decode(self, data: Bytes, size: DecodedSize, out: Bytes | None, /) -> Bytes:
        del out
        decoder = _INFLATERS[self.codec]()
        decoded = decoder.decompress(data.data, size.nbytes + 1)
        if len(decoded) > size.nbytes:
            raise DamagedError(f"it decodes to more bytes than the chunk has, {size}")
        if not decoder.eof:
            raise DamagedError("its compressed stream ends too early")
        if decoder.unused_data:
            raise DamagedError("its compressed stream is followed by something else")
        return np.frombuffer(decoded, np.uint8)


_LZMA_BYTES = 80 << 20  # its strongest preset needs 65 MiB
_INFLATERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    "zlib": zlib.decompressobj,
    "bz2": bz2.BZ2Decompressor,
    "lzma": lambda: lzma.LZMADecompressor(memlimit=_LZMA_BYTES),
}


@dataclass(frozen=True)
class ForeignCodec:
    """Any other codec of numcodecs that only transforms numbers, by its configuration."""

    config: tuple[tuple[str, Any], ...]

    def held_bytes(self, nbytes: int, /) -> int:
        return 3 * nbytes

    def decode(self, data: Bytes, size: DecodedSize, out: Bytes | None, /) -> Bytes:
        del size, out
        return _as_bytes(numcodecs.get_codec(dict(self.config)).decode(data))


def _as_bytes(data: Any) -> Bytes:
    array = (
        np.frombuffer(data, np.uint8) if isinstance(data, bytes | bytearray) else np.asarray(data)
    )
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _zstd_size(data: Bytes) -> int | None:
    """Content size in the header of a zstd frame (RFC 8878, 3.1.1.1), None where it is left out."""
    head = data[:18].tobytes()
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        raise DamagedError("it does not begin as a zstd frame")
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        return None
    size = int.from_bytes(head[start : start + width], "little")
    return size + 256 if width == 2 else size


def _blosc_size(data: Bytes) -> int:
    if len(data) < 16:
        raise DamagedError(f"it holds {len(data)} bytes, too few for a blosc header")
    size, _, stored = struct.unpack("<III", data[4:16].tobytes())
    if stored != len(data):  # the decoder trusts the header and reads past the end
        raise DamagedError(f"its blosc header says {stored:,} bytes, it holds {len(data):,}")
    return int(size)


def _lz4_size(data: Bytes) -> int:
    if len(data) < 4:
        raise DamagedError(f"it holds {len(data)} bytes, too few for an lz4 header")
    return int.from_bytes(data[:4].tobytes(), "little")


_SIZE_READERS = {"zstd": _zstd_size, "blosc": _blosc_size, "lz4": _lz4_size}


# Codecs of numcodecs that only transform numbers. "pickle" is one of numcodecs too: a store could run code.
_FILTERS = "adler32 astype bitround crc32 crc32c delta fixedscaleoffset fletcher32 jenkins_lookup3"
_FOREIGN = frozenset(f"{_FILTERS} packbits pcodec quantize shuffle zfpy".split())


def decode_step(name: str, config: dict[str, Any]) -> DecodeStep:
    """The step that undoes a codec, by its id in numcodecs.

    Raises
    ------
    NotImplementedError
        Naming the codec, if it is not one that may be undone here.
    """
    if name == "crc32c" and config.get("location", "end") == "end":
        return Checksum()
    if name in _SIZE_READERS:
        return FrameDecompressor(name)
    if name in _INFLATERS and config.get("format", 1) == 1:  # of lzma only the .xz container
        return StreamDecompressor(name)
    if name not in _FOREIGN:
        raise NotImplementedError(f"the codec {name}")
    try:
        numcodecs.get_codec({"id": name, **config})
    except Exception as error:  # not installed, or a configuration it does not take
        raise NotImplementedError(f"the codec {name} ({error})") from error
    return ForeignCodec((("id", name), *config.items()))

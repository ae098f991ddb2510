"""The bytes of a stored chunk, checked against what the metadata promise, and decoded into place.

zarr decodes whatever it finds: a truncated blosc chunk is read past its end, a chunk that inflates without
limit is inflated. Here the sizes that a frame declares are compared with the size of the chunk *before*
anything is allocated, and the last step decodes straight into the caller's array where it can.
The GIL is released while zstd and blosc decode, so that threads reading different chunks scale.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import google_crc32c
import numcodecs
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class DamagedError(ValueError):
    """Why a chunk cannot be decoded; its caller knows the key."""


class Step(Protocol):
    """One codec, backwards: stored bytes to the bytes it was given."""

    def decode(self, data: Bytes, size: int | None, out: Bytes | None, /) -> Bytes:
        """The decoded bytes, ``size`` of them if that is known; in ``out`` where the codec can."""
        ...


@dataclass(frozen=True)
class Checksum:
    """crc32c in the last four bytes."""

    def decode(self, data: Bytes, size: int | None, out: Bytes | None, /) -> Bytes:
        del size, out
        if len(data) < 4:
            raise DamagedError(f"it holds {len(data)} bytes, too few for a checksum")
        verify(data[:-4], data[-4:])
        return data[:-4]


def verify(data: Bytes, checksum: Bytes) -> None:
    """Compare the crc32c of ``data`` with the one stored."""
    stored = int.from_bytes(checksum.tobytes(), "little")
    computed = google_crc32c.value(data)
    if stored != computed:
        raise DamagedError(f"its checksum is {computed:08x}, stored as {stored:08x}")


@dataclass(frozen=True)
class Compressed:
    """A compressor of numcodecs whose frames declare their size."""

    codec: str  # "zstd", "blosc" or "lz4"

    def decode(self, data: Bytes, size: int | None, out: Bytes | None, /) -> Bytes:
        declared = _DECLARED[self.codec](data)
        if declared is not None and size is not None and declared != size:
            raise DamagedError(
                f"it would decode to {declared:,} bytes where the chunk has {size:,}"
            )
        if out is None and size is not None:
            out = np.empty(size, np.uint8)
        decoder = numcodecs.get_codec({"id": self.codec})
        if out is None:
            return _as_bytes(decoder.decode(data))
        if (
            declared is None
        ):  # a stream: the decoder stops at the end of out, or says how far it came
            return _as_bytes(decoder.decode(data, out))
        decoder.decode(data, out)
        return out


@dataclass(frozen=True)
class Deflated:
    """gzip or zlib: no trustworthy size is declared, so inflating stops one byte after the expected end."""

    window_bits: int = 32 + zlib.MAX_WBITS  # either header

    def decode(self, data: Bytes, size: int | None, out: Bytes | None, /) -> Bytes:
        del out
        inflater = zlib.decompressobj(self.window_bits)
        limit = 0 if size is None else size + 1
        decoded = inflater.decompress(data.data, limit)
        if not inflater.eof and (size is None or len(decoded) <= size):
            raise DamagedError("its compressed stream ends too early")
        return np.frombuffer(decoded, np.uint8)


@dataclass(frozen=True)
class Foreign:
    """Any other codec of numcodecs, by its configuration."""

    config: tuple[tuple[str, Any], ...]

    def decode(self, data: Bytes, size: int | None, out: Bytes | None, /) -> Bytes:
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


_DECLARED = {"zstd": _zstd_size, "blosc": _blosc_size, "lz4": _lz4_size}


# Codecs of numcodecs that only transform numbers. "pickle" is one of numcodecs too: a store could run code.
_FOREIGN = frozenset(
    ["adler32", "astype", "bitround", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32", "jenkins_lookup3", "lzma", "packbits", "pcodec", "quantize", "shuffle", "zfpy"]
)


def step(name: str, config: dict[str, Any]) -> Step:
    """The step that undoes a codec, by its id in numcodecs.

    Raises
    ------
    NotImplementedError
        Naming the codec, if it is not one that may be undone here.
    """
    if name == "crc32c" and config.get("location", "end") == "end":
        return Checksum()
    if name in _DECLARED:
        return Compressed(name)
    if name in ("gzip", "zlib"):
        return Deflated()
    if name not in _FOREIGN:
        raise NotImplementedError(name)
    try:
        numcodecs.get_codec({"id": name, **config})
    except Exception as error:  # not installed, or a configuration it does not take
        raise NotImplementedError(f"{name} ({error})") from error
    return Foreign((("id", name), *config.items()))


@dataclass(frozen=True)
class Decoder:
    """How the bytes of one chunk become an array.

    Attributes
    ----------
    shape
        Shape of a chunk; chunks at the edge are stored whole.
    dtype
        Type of the stored values, with their byte order.
    axes
        Stored order of the dimensions, slowest first.
    steps
        Codecs in the order in which they are undone.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axes: tuple[int, ...]
    steps: tuple[Step, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of one decoded chunk."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_plain(self) -> bool:
        """Whether the stored bytes are the values themselves, but for a checksum behind them."""
        return self.steps in ((), (Checksum(),))

    @property
    def encoded_limit(self) -> int:
        """Most bytes that an honest encoder makes of one chunk; longer ones are refused unread."""
        if all(isinstance(step, Checksum) for step in self.steps):
            return self.nbytes + 4 * len(self.steps)
        return self.nbytes + self.nbytes // 16 + 4096

    @property
    def transient_bytes(self) -> int:
        """Most bytes held to decode one chunk, beside its encoded bytes and its place."""
        copies = sum(not isinstance(step, Checksum) for step in self.steps)
        return copies * self.nbytes

    def sizes(self) -> list[int | None]:
        """Size after each step, where it follows from the size of the chunk."""
        sizes: list[int | None] = [self.nbytes]
        for later in reversed(self.steps[1:]):
            known = sizes[0]
            sizes.insert(
                0, known + 4 if known is not None and isinstance(later, Checksum) else None
            )
        return sizes

    def fits(self, place: npt.NDArray[Any]) -> bool:
        """Whether a whole chunk can be decoded into ``place`` without a copy."""
        return (
            place.shape == self.shape
            and place.dtype == self.dtype
            and place.transpose(self.axes).flags.c_contiguous
        )

    def decode(self, data: Bytes, place: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """The values of one chunk; in ``place`` if that is given, and `fits`.

        Raises
        ------
        DamagedError
            If the bytes cannot be what the metadata promise.
        """
        if len(data) == 0:
            raise DamagedError("it holds no bytes")
        target = None if place is None else place.transpose(self.axes).reshape(-1).view(np.uint8)
        if len(data) > self.encoded_limit:
            raise DamagedError(
                f"it holds {len(data):,} bytes; a chunk of {self.nbytes:,} bytes is encoded in at most "
                f"{self.encoded_limit:,}"
            )
        sizes = self.sizes()
        last = len(self.steps) - 1
        try:
            for index, step in enumerate(self.steps):
                data = step.decode(data, sizes[index], target if index == last else None)
        except MemoryError:
            raise
        except Exception as error:  # each codec has its own way to say that its input is damaged
            raise DamagedError(str(error)) from error
        if data.nbytes != self.nbytes:
            raise DamagedError(
                f"it holds {data.nbytes:,} bytes decoded, the chunk has {self.nbytes:,}"
            )
        if target is not None and not np.may_share_memory(data, target):
            target[:] = data
        stored = [self.shape[axis] for axis in self.axes]
        return data.view(self.dtype).reshape(stored).transpose(np.argsort(self.axes))


def decoder_v2(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    order: str,
    compressor: dict[str, Any] | None,
    filters: Sequence[dict[str, Any]],
) -> Decoder:
    """Decoder of the chunks of a zarr v2 array, from the configurations of its codecs.

    Raises
    ------
    NotImplementedError
        Naming the codec that is not known here.
    """
    codecs = [*filters, *([] if compressor is None else [compressor])]
    axes = range(len(shape))
    return Decoder(
        tuple(shape),
        dtype,
        tuple(axes if order == "C" else reversed(axes)),
        tuple(step(config["id"], _without(config, "id")) for config in reversed(codecs)),
    )


def _without(config: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != key}


def decoder_v3(
    shape: Sequence[int], dtype: np.dtype[Any], codecs: Sequence[dict[str, Any]]
) -> Decoder:
    """Decoder of the chunks of a zarr v3 array, from the JSON of its codecs.

    Raises
    ------
    NotImplementedError
        Naming the codec that is not known here.
    """
    axes = tuple(range(len(shape)))
    steps: list[Step] = []
    for codec in codecs:
        name, config = codec["name"], codec.get("configuration", {})
        if name == "transpose" and not steps:
            axes = tuple(axes[axis] for axis in config["order"])
        elif name == "bytes":
            dtype = dtype.newbyteorder(">" if config.get("endian") == "big" else "<")
        elif name in ("crc32c", "zstd", "blosc", "gzip"):
            steps.append(step(name, config))
        elif name.startswith("numcodecs."):
            steps.append(step(name.removeprefix("numcodecs."), config))
        else:
            raise NotImplementedError(name)
    return Decoder(tuple(shape), dtype, axes, tuple(reversed(steps)))

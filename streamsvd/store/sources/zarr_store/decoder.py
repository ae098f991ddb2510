"""How the stored bytes of one chunk become an array: the chain of its codecs, undone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.sources.zarr_store.codecs import (
    Bytes,
    Checksum,
    DamagedError,
    DecodedSize,
    DecodeStep,
    decode_step,
)

# How much longer than the chunk the bytes between two of its codecs may be.
_MOST = 2


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
    steps: tuple[DecodeStep, ...]

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
        return sum(step.held_bytes(self.nbytes) for step in self.steps)

    def sizes(self) -> list[DecodedSize]:
        """Size after each step: it follows from the size of the chunk as far as only checksums follow."""
        sizes = [DecodedSize(self.nbytes, True)]
        for later in reversed(self.steps[1:]):
            known = sizes[0]
            if isinstance(later, Checksum):
                sizes.insert(0, DecodedSize(known.nbytes + 4, known.exact))
            else:
                sizes.insert(0, DecodedSize(_MOST * self.nbytes + 4096, False))
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
        tuple(decode_step(config["id"], _without(config, "id")) for config in reversed(codecs)),
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
    steps: list[DecodeStep] = []
    for codec in codecs:
        name, config = codec["name"], codec.get("configuration", {})
        if name == "transpose" and not steps:
            axes = tuple(axes[axis] for axis in config["order"])
        elif name == "bytes":
            dtype = dtype.newbyteorder(">" if config.get("endian") == "big" else "<")
        elif name in ("crc32c", "zstd", "blosc", "gzip"):
            steps.append(decode_step(name, config))
        elif name.startswith("numcodecs."):
            steps.append(decode_step(name.removeprefix("numcodecs."), config))
        else:
            raise NotImplementedError(f"the codec {name}")
    return Decoder(tuple(shape), dtype, axes, tuple(reversed(steps)))

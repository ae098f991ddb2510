"""Whole numbers of few bits as a string of bytes: each byte of them in a plane of its own, compressed by zstd."""

from __future__ import annotations

import math
from typing import Any

import numcodecs
import numpy as np
import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.store.sources.zarr_store.codecs import (
    Bytes,
    DamagedError,
    DecodedSize,
    FrameDecompressor,
)

FAST, STRONG = 1, 19
FEW_BITS = 3.5
"""Below so many bits a number the strong level saves much; above it one is as good as the other."""


def pack_codes(codes: npt.NDArray[Any]) -> Bytes:
    """Integers of 8 or 16 bits as bytes, the first of which says how many planes there are."""
    wide = codes.astype(np.int32)
    folded = np.where(wide < 0, -2 * wide - 1, 2 * wide)  # small numbers of either sign are small
    planes = [folded & 255]
    if folded.max(initial=0) > 255:
        planes.append(folded >> 8)
    data = np.concatenate([p.ravel() for p in planes]).astype(np.uint8)
    best: bytes = numcodecs.Zstd(level=FAST).encode(data)
    if 8 * len(best) < FEW_BITS * max(codes.size, 1):
        best = min(best, numcodecs.Zstd(level=STRONG).encode(data), key=len)
    return np.frombuffer(bytes([len(planes)]) + best, np.uint8)


def unpack_codes(data: Bytes, shape: tuple[int, int], where: str) -> npt.NDArray[np.int32]:
    """The integers again.

    Raises
    ------
    StoreError
        If the bytes are not those of so many.
    """
    count = math.prod(shape)
    if not count:
        return np.zeros(shape, np.int32)
    planes = int(data[0]) if data.size else 0
    try:
        if planes not in (1, 2):
            raise DamagedError(f"it has {planes} planes, not 1 or 2")
        raw = FrameDecompressor("zstd").decode(data[1:], DecodedSize(planes * count, True), None)
    except (DamagedError, RuntimeError, ValueError) as error:
        raise StoreError(f"{where} cannot be decoded: {error}. Restore it from a copy.") from error
    folded = raw[:count].astype(np.int32)
    if planes == 2:
        folded |= raw[count:].astype(np.int32) << 8
    return np.where(folded & 1, -(folded >> 1) - 1, folded >> 1).reshape(shape)

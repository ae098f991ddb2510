"""Where the inner chunks of a shard lie: its index, read once."""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.objects.ranges import ObjectStamp, Span
from streamsvd.store.sources.zarr_store.codecs import DamagedError, verify_checksum

Coords = tuple[int, ...]
Index = npt.NDArray[np.uint64]
ABSENT = 2**64 - 1

KEPT_BYTES = 2 << 20
MOST_KEPT = 64
"""Indices of an array that a process keeps, by their bytes and their number; one at least."""


@dataclass(frozen=True)
class Shards:
    """Layout of a shard: how many inner chunks it holds, and where their index lies."""

    counts: tuple[int, ...]
    index_at_end: bool
    index_checksum: bool

    @property
    def index_bytes(self) -> int:
        """Encoded length of the index: offset and length of every inner chunk."""
        return 16 * math.prod(self.counts) + 4 * self.index_checksum

    @property
    def index_span(self) -> Span:
        """Where it lies in the shard."""
        return Span(None if self.index_at_end else 0, self.index_bytes)

    @property
    def most_kept(self) -> int:
        """Indices of which `kept_indices` keeps the last ones."""
        return max(1, min(MOST_KEPT, KEPT_BYTES // self.index_bytes))

    def parse(self, data: npt.NDArray[np.uint8]) -> Index:
        """Offsets and lengths of the inner chunks.

        Raises
        ------
        DamagedError
            If it is not whole.
        """
        if len(data) != self.index_bytes:
            raise DamagedError(
                f"it holds {len(data):,} bytes, its index alone takes {self.index_bytes:,}"
            )
        if self.index_checksum:
            verify_checksum(data[:-4], data[-4:])
            data = data[:-4]
        return data.view("<u8").reshape(*self.counts, 2)

    def find(self, index: Index, coords: Coords, most: int) -> Span | None:
        """Where an inner chunk lies; None if it is absent.

        Raises
        ------
        DamagedError
            If the index says what cannot be.
        """
        begin, length = (int(number) for number in index[coords])
        if begin == ABSENT and length == ABSENT:
            return None
        if not 0 < length <= most or begin + length > np.iinfo(np.int64).max:
            raise DamagedError(f"the index of its shard says {length:,} bytes from byte {begin:,}")
        return Span(begin, length)


@dataclass(frozen=True, slots=True)
class ReadIndex:
    """The index of a shard, and of which object it is; None for a shard that is absent."""

    index: Index | None
    stamp: ObjectStamp | None


class KeptIndices:
    """The last indices of an array, so that each is read once while a pass goes through its shard."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Coords, ReadIndex] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, shard: Coords) -> ReadIndex | None:
        """The index of a shard, if it is kept."""
        with self._lock:
            return self._held.get(shard)

    def put(self, shard: Coords, found: ReadIndex) -> None:
        """Keep an index, in place of the oldest."""
        with self._lock:
            self._held[shard] = found
            while len(self._held) > self._most:
                self._held.popitem(last=False)


_index_stores: MutableMapping[Any, KeptIndices] = weakref.WeakKeyDictionary()
_index_lock = threading.Lock()


def kept_indices(array: Any, shards: Shards) -> KeptIndices:
    """What is kept of an array."""
    with _index_lock:
        return _index_stores.setdefault(array, KeptIndices(shards.most_kept))

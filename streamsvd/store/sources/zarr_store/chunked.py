"""Rectangles of a chunked array, read chunk by chunk; nothing missing or damaged goes unnoticed.

Chunks are fetched in groups of at most 8 MiB (or one chunk), decoded one after another in the calling
thread, and written to their places. In a sharded array the index of a shard is read first, and then only
the inner chunks that are needed.
"""

from __future__ import annotations

import itertools
import math
import os
import platform
import time
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from zarr.abc.store import Store
from zarr.storage import MemoryStore

from streamsvd.errors import CorruptChunkError, MissingChunkError, StoreError
from streamsvd.store.explanations import access_error
from streamsvd.store.objects.ranges import LongObjectError, Order, Span, remote_bytes
from streamsvd.store.sight import Address, store_address
from streamsvd.store.sources.files.raw import BLOCK_BYTES, read_box, read_into
from streamsvd.store.sources.flatten import Box
from streamsvd.store.sources.packing import Packing
from streamsvd.store.sources.zarr_store.codecs import DamagedError, verify_checksum
from streamsvd.store.sources.zarr_store.decoder import Decoder
from streamsvd.store.sources.zarr_store.fetch import (
    Request,
    TooLongError,
    explain_fetch,
    fetch,
    held_bytes,
    is_remote,
    key_exists,
    local_path,
    open_local,
    size_of,
)
from streamsvd.store.sources.zarr_store.grid import ChunkPiece, chunk_pieces
from streamsvd.store.sources.zarr_store.remote_chunks import (
    index_bytes,
    read_remote,
    window_bytes,
)
from streamsvd.store.sources.zarr_store.shards import Coords, Index, Shards

GROUP_BYTES = 8 << 20
GROUP_KEYS = 32
SEEN_SECONDS = 1.0
"""For so long an array that was there is taken to be there, in a store that is asked over a network."""

_times_seen: MutableMapping[ChunkedArray, float] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class ChunkedArray:
    """An N-dimensional array in a zarr store."""

    store: Store
    encode_key: Callable[[Coords], str]
    decoder: Decoder
    packing: Packing
    shards: Shards | None
    fill_value: Any
    fill_missing: bool  # deliver fill_value where a chunk is absent
    name: str
    metadata_keys: tuple[str, ...] = ()
    extents: tuple[int, ...] = ()

    @property
    def read_bytes(self) -> int:
        """Most bytes that `read` holds beside the place it fills."""
        chunk = self.decoder.nbytes
        unpacking = self.packing.transient_bytes(math.prod(self.decoder.shape))
        if self._reads_in_place:
            held = chunk if self._converts or self.decoder.steps else min(2 * BLOCK_BYTES, chunk)
            return held + unpacking
        if is_remote(self.store):
            index = 0 if self.shards is None else index_bytes(self.shards)
            fetched = remote_bytes(self.window)
            return fetched + self.decoder.transient_bytes + unpacking + index
        index = 0 if self.shards is None else 2 * self.shards.index_bytes
        encoded = held_bytes(self.store, self._per_group * self.decoder.encoded_limit)
        return encoded + self.decoder.transient_bytes + unpacking + index

    @property
    def window(self) -> int:
        """Most encoded bytes that are fetched from a network and not yet decoded."""
        chunks = [-(-e // c) for e, c in zip(self.extents, self.decoder.shape, strict=False)]
        most = math.prod(chunks) * self.decoder.encoded_limit if self.extents else None
        return window_bytes(self.decoder, most)

    @property
    def _reads_in_place(self) -> bool:
        path = local_path(self.store, "")
        return self.decoder.is_plain and self.shards is None and path is not None

    @property
    def _converts(self) -> bool:
        return self.packing.dtype != self.packing.stored_dtype.newbyteorder("=")

    def read(self, box: Box, place: npt.NDArray[Any]) -> None:
        """Fill ``place`` with the rectangle ``box``."""
        if is_remote(self.store):
            read_remote(self, box, place)
            return
        if self.shards is None:
            read = self._read_in_place if self._reads_in_place else self._read_chunks
            read(chunk_pieces(box, self.decoder.shape), place)
            return
        counts = self.shards.counts
        shape = [chunk * count for chunk, count in zip(self.decoder.shape, counts, strict=True)]
        for shard in chunk_pieces(box, shape):
            inner = chunk_pieces(shard.chunk_box, self.decoder.shape)
            self._read_chunks(inner, place[shard.target_box], shard.coords)

    def _read_chunks(
        self, wanted: Iterator[ChunkPiece], place: npt.NDArray[Any], shard: Coords | None = None
    ) -> None:
        index = None if shard is None else self._index(shard)
        while group := list(itertools.islice(wanted, self._per_group)):
            self._read_group(group, place, shard, index)

    def _read_group(
        self,
        group: list[ChunkPiece],
        place: npt.NDArray[Any],
        shard: Coords | None,
        index: Index | None,
    ) -> None:
        """Chunks fetched together; what is held of them is let go when this returns."""
        requests = [self._request(piece.coords, shard, index) for piece in group]
        answers = iter(self._fetch([request for request in requests if request is not None]))
        for piece, request in zip(group, requests, strict=True):
            data = None if request is None else next(answers)
            label = self.label(piece.coords, shard)
            if data is not None and request is not None and request[1] is not None:
                self.check_length(data, request[1], label)
            self.put_chunk(piece, data, label, place[piece.target_box])

    @property
    def _per_group(self) -> int:
        if local_path(self.store, "") is not None:
            return 1  # nothing is won by asking a disk for several at once
        return max(1, min(GROUP_KEYS, GROUP_BYTES // self.decoder.encoded_limit))

    def locate(self, index: Coords) -> str:
        """Key of the chunk (and inner chunk) that holds an entry."""
        coords = tuple(i // c for i, c in zip(index, self.decoder.shape, strict=True))
        if self.shards is None:
            return self.label(coords, None)
        pairs = [divmod(i, count) for i, count in zip(coords, self.shards.counts, strict=True)]
        return self.label(tuple(pair[1] for pair in pairs), tuple(pair[0] for pair in pairs))

    def label(self, coords: Coords, shard: Coords | None) -> str:
        """How messages call a chunk."""
        if shard is None:
            return self.encode_key(coords)
        return f"{self.encode_key(shard)}, inner chunk {coords}"

    def _fetch(self, requests: list[Request]) -> list[npt.NDArray[np.uint8] | None]:
        limit = max(self.decoder.encoded_limit, *(r[1].length for r in requests if r[1]), 0)
        try:
            return fetch(self.store, requests, limit)
        except TooLongError as error:
            raise CorruptChunkError(requests[0][0], self.name, str(error)) from error
        except StoreError:
            raise
        except OSError as error:
            keys = ", ".join(dict.fromkeys(key for key, _ in requests))
            raise access_error(error, "read", f"{keys} of {self.name}") from error

    def check_length(self, data: npt.NDArray[np.uint8], span: Span, label: str) -> None:
        """Refuse an inner chunk of which the shard has only a part."""
        if len(data) != span.length:
            reason = f"its shard ends {span.length - len(data):,} bytes before the chunk does"
            raise CorruptChunkError(label, self.name, reason)

    def put_chunk(
        self,
        piece: ChunkPiece,
        data: npt.NDArray[np.uint8] | None,
        label: str,
        place: npt.NDArray[Any],
    ) -> None:
        """Decode one chunk and write the part that is wanted to its place."""
        if data is None:
            self._put_missing(label, place)
            return
        direct = self.decoder.fits(place) and self.packing.stored_dtype == place.dtype
        try:
            values = self.decoder.decode(data, place if direct else None)
        except DamagedError as error:
            raise CorruptChunkError(label, self.name, str(error)) from error
        values = values[piece.chunk_box].view(self.packing.stored_dtype)
        self.packing.unpack(place if direct else values, place)

    def addresses(self, extents: Sequence[int]) -> list[Address]:
        """Where other processes read it; nothing where each has a copy of its own."""
        if isinstance(self.store, MemoryStore) or not self.metadata_keys:
            return []
        counts = [1] * len(extents) if self.shards is None else self.shards.counts
        stored = [c * n for c, n in zip(self.decoder.shape, counts, strict=True)]
        last = [max(0, extent - 1) // c for extent, c in zip(extents, stored, strict=True)]
        tried = {tuple(0 for _ in last): None, tuple(last): None, tuple(i // 2 for i in last): None}
        keys = [self.encode_key(coords) for coords in tried]
        return [store_address(self.name, self.store, self.metadata_keys, keys)]

    def check_absent(self, label: str) -> None:
        """A chunk is absent: it may be, if the array itself is there and absent chunks hold the fill value.

        Where a process does not see the array, every chunk is absent, and filling them would invent a matrix.
        """
        if self.metadata_keys:
            self._check_there(label)
        if not self.fill_missing:
            raise MissingChunkError(label, self.name)

    def _check_there(self, label: str) -> None:
        key = self.metadata_keys[0]
        path = local_path(self.store, key)
        if path is None and time.monotonic() - _times_seen.get(self, -np.inf) < SEEN_SECONDS:
            return
        try:
            there = key_exists(self.store, key) if path is None else path.is_file()
        except Exception as error:  # of a store of whatever kind
            raise StoreError(f"{key} of {self.name} cannot be read: {error}.") from error
        if not there:
            raise StoreError(
                f"chunk {label!r} of {self.name} is absent, and so is {key!r}: the process {os.getpid()} on "
                f"{platform.node()} does not see the array at all. It must be there under this name for every process that "
                "reads it: mount it there, or give the path that holds everywhere."
            )
        if path is None:
            _times_seen[self] = time.monotonic()

    def _put_missing(self, label: str, place: npt.NDArray[Any]) -> None:
        self.check_absent(label)
        fill = np.zeros((1,) * place.ndim, self.decoder.dtype)
        if self.fill_value is not None:
            fill[...] = self.fill_value
        unpacked = np.empty(fill.shape, place.dtype)
        self.packing.unpack(fill.view(self.packing.stored_dtype), unpacked)
        place[...] = unpacked

    def _read_in_place(self, wanted: Iterator[ChunkPiece], place: npt.NDArray[Any]) -> None:
        """Uncompressed chunks in local files, read straight into their places."""
        for piece in wanted:
            key, part = self.encode_key(piece.coords), place[piece.target_box]
            path = local_path(self.store, key)
            assert path is not None
            try:
                file = open_local(path)
                if file is None:
                    self._put_missing(key, part)
                    continue
                with file:
                    self._read_file(file, piece, part)
            except (EOFError, DamagedError) as error:
                raise CorruptChunkError(key, self.name, str(error)) from error
            except StoreError:
                raise
            except OSError as error:
                raise access_error(error, "read", f"{key} of {self.name}") from error

    def _read_file(self, file: IO[bytes], piece: ChunkPiece, place: npt.NDArray[Any]) -> None:
        decoder, size = self.decoder, size_of(file)
        if size != decoder.encoded_limit:
            reason = f"it holds {size:,} bytes, a chunk takes {decoder.encoded_limit:,}"
            raise DamagedError(reason)
        stored_shape = [decoder.shape[axis] for axis in decoder.axes]
        dtype, within = self.packing.stored_dtype, piece.chunk_box
        if decoder.steps:  # the checksum is of the whole chunk
            direct = decoder.fits(place) and not self._converts
            values = (
                place if direct else np.empty(stored_shape, dtype).transpose(self._inverse_axes)
            )
            data = values.transpose(decoder.axes).reshape(-1).view(np.uint8)
            read_into(file, 0, data)
            tail = np.empty(4, np.uint8)
            read_into(file, decoder.nbytes, tail)
            verify_checksum(data, tail)
            self.packing.unpack(place if direct else values[within], place)
            return
        values = np.empty(place.shape, dtype) if self._converts else place
        box = tuple(within[axis] for axis in decoder.axes)
        read_box(file, 0, stored_shape, dtype, box, values.transpose(decoder.axes))
        self.packing.unpack(values, place)

    @property
    def _inverse_axes(self) -> tuple[int, ...]:
        """Permutation that brings the stored order of dimensions back to theirs."""
        return tuple(int(axis) for axis in np.argsort(self.decoder.axes))

    def _request(self, coords: Coords, shard: Coords | None, index: Index | None) -> Request | None:
        """Where the bytes of a chunk lie; None for an inner chunk that is absent."""
        if shard is None:
            return self.encode_key(coords), None
        span = self.inner_span(index, coords, self.label(coords, shard))
        return None if span is None else (self.encode_key(shard), span)

    def inner_span(self, index: Index | None, coords: Coords, label: str) -> Span | None:
        """Where an inner chunk lies in its shard; None if it is absent."""
        if index is None or self.shards is None:
            return None
        try:
            return self.shards.find(index, coords, self.decoder.encoded_limit)
        except DamagedError as error:
            raise CorruptChunkError(label, self.name, str(error)) from error

    def _index(self, shard: Coords) -> Index | None:
        """Offsets and lengths of the inner chunks of a shard; None if the shard is absent."""
        assert self.shards is not None
        key = self.encode_key(shard)
        (data,) = self._fetch([(key, self.shards.index_span)])
        if data is None:
            self.check_absent(key)
            return None
        return self.parse_index(data, key)

    def parse_index(self, data: npt.NDArray[np.uint8], key: str) -> Index:
        """The index of a shard from its bytes."""
        assert self.shards is not None
        try:
            return self.shards.parse(data)
        except DamagedError as error:
            raise CorruptChunkError(key, self.name, f"in the index, {error}") from error

    def explain(self, order: Order, error: Exception) -> Exception:
        """What is raised for an error of a request."""
        if isinstance(error, LongObjectError):
            return CorruptChunkError(str(order.key), self.name, str(error))
        return explain_fetch(self.store, str(order.key), self.name, error)

"""Chunks of an array over a network, fetched ahead while those before them are decoded.

A chunk is one request, or, where it may be large, several ranges at once. Of a shard the index is read once, and inner
chunks that are wanted and lie side by side are one request.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from streamsvd.errors import StoreError
from streamsvd.store.objects.ranges import (
    PIECE_BYTES,
    WHOLE_BYTES,
    WINDOW_BYTES,
    Answer,
    Order,
    Span,
    answer_of,
    fetch_ahead,
    start,
)
from streamsvd.store.sources.flatten import Box
from streamsvd.store.sources.zarr_store.decoder import Decoder
from streamsvd.store.sources.zarr_store.grid import ChunkPiece, chunk_pieces
from streamsvd.store.sources.zarr_store.shards import Coords, ReadIndex, Shards, kept_indices

if TYPE_CHECKING:
    from streamsvd.store.sources.zarr_store.chunked import ChunkedArray

JOINED_GAP = 64 << 10
"""Bytes between two inner chunks that are fetched with them."""

TWICE_BYTES = 64 << 20
"""A chunk up to this size is fetched while another one is decoded."""

INDEX_BYTES = 1 << 20
MOST_INDICES = 4
"""Indices of shards that are fetched ahead."""


_last_sizes: MutableMapping[Any, int] = weakref.WeakKeyDictionary()
"""Bytes of the last chunk of an array: those of the next are asked for at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPart:
    """A piece of a chunk, where it belongs, and where it lies in its shard."""

    piece: ChunkPiece
    label: str
    place: npt.NDArray[Any]
    span: Span | None = None


def window_bytes(decoder: Decoder, all_bytes: int | None) -> int:
    """Most bytes fetched and not yet decoded, by one reader."""
    chunk = decoder.encoded_limit
    window = max(WINDOW_BYTES, 2 * chunk if chunk <= TWICE_BYTES else chunk)
    return window if all_bytes is None else max(min(window, all_bytes), chunk)


def index_bytes(shards: Shards) -> int:
    """Most bytes of indices that are read ahead, or kept."""
    return (2 + _indices_ahead(shards) + shards.most_kept) * shards.index_bytes


def _indices_ahead(shards: Shards) -> int:
    return max(1, min(MOST_INDICES, INDEX_BYTES // shards.index_bytes))


def read_remote(array: ChunkedArray, box: Box, place: npt.NDArray[Any]) -> None:
    """Fill ``place`` with the rectangle ``box``."""
    shards = array.shards
    orders = (
        _whole_chunks(array, box, place)
        if shards is None
        else _inner_chunks(array, shards, box, place)
    )
    with closing(fetch_ahead(orders, array.window, array.explain)) as answers:
        for order, answer in answers:
            if answer is not None and answer.stamp.size is not None:
                _last_sizes[array] = answer.stamp.size
            for wanted in order.purpose:
                data = _part_of(array, order, answer, wanted)
                array.put_chunk(wanted.piece, data, wanted.label, wanted.place)


def _whole_chunks(array: ChunkedArray, box: Box, place: npt.NDArray[Any]) -> Iterator[Order]:
    most, is_plain = array.decoder.encoded_limit, array.decoder.is_plain
    for piece in chunk_pieces(box, array.decoder.shape):
        key = array.encode_key(piece.coords)
        wanted = ChunkPart(piece, key, place[piece.target_box])
        likely = most if is_plain else _last_sizes.get(array, 0)
        yield Order(array.store, key, None, most, likely, (wanted,))


def _inner_chunks(
    array: ChunkedArray, shards: Shards, box: Box, place: npt.NDArray[Any]
) -> Iterator[Order]:
    shape = [c * n for c, n in zip(array.decoder.shape, shards.counts, strict=True)]
    for shard, found in _with_indices(array, shards, chunk_pieces(box, shape)):
        if found.index is None:
            array.check_absent(array.encode_key(shard.coords))
        target = place[shard.target_box]
        batch: list[ChunkPart] = []
        for piece in chunk_pieces(shard.chunk_box, array.decoder.shape):
            label = array.label(piece.coords, shard.coords)
            span = array.inner_span(found.index, piece.coords, label)
            batch.append(ChunkPart(piece, label, target[piece.target_box], span))
            if sum(w.span.length for w in batch if w.span) >= PIECE_BYTES:
                yield from _neighbour_orders(array, shard.coords, found, batch)
                batch = []
        yield from _neighbour_orders(array, shard.coords, found, batch)


def _with_indices(
    array: ChunkedArray, shards: Shards, wanted: Iterator[ChunkPiece]
) -> Iterator[tuple[ChunkPiece, ReadIndex]]:
    """Shards with their indices, of which those that follow are fetched ahead."""
    kept = kept_indices(array, shards)
    pending: deque[tuple[ChunkPiece, ReadIndex | None, Order, Future[Answer | None] | None]]
    pending = deque()

    def next_pair() -> tuple[ChunkPiece, ReadIndex]:
        shard, found, order, future = pending.popleft()
        if found is None:
            found = kept.get(shard.coords)
        if found is None:
            answer = answer_of(order, future, array.explain)
            if answer is None:
                found = ReadIndex(None, None)
            else:
                found = ReadIndex(array.parse_index(answer.data, str(order.key)), answer.stamp)
            kept.put(shard.coords, found)
        return shard, found

    try:
        for shard in wanted:
            key = array.encode_key(shard.coords)
            found = kept.get(shard.coords)
            order = Order(array.store, key, shards.index_span, shards.index_bytes)
            pending.append((shard, found, order, None if found else start(order)))
            if len(pending) > _indices_ahead(shards):
                yield next_pair()
        while pending:
            yield next_pair()
    finally:
        for _, _, _, future in pending:
            if future is not None:
                future.cancel()


def _neighbour_orders(
    array: ChunkedArray, shard: Coords, found: ReadIndex, batch: Sequence[ChunkPart]
) -> Iterator[Order]:
    """Requests for inner chunks of one shard: neighbours in one, in the order in which they lie."""
    absent = tuple(wanted for wanted in batch if wanted.span is None)
    if absent:
        yield Order(array.store, None, None, 0, purpose=absent)
    run: list[ChunkPart] = []
    begin = end = 0
    for wanted in sorted((w for w in batch if w.span), key=_begin_of):
        assert wanted.span is not None
        first = _begin_of(wanted)
        stop = first + wanted.span.length
        if run and (first > end + JOINED_GAP or stop - begin > WHOLE_BYTES):
            yield _run_order(array, shard, found, run, begin, end)
            run = []
        if not run:
            begin, end = first, stop
        run.append(wanted)
        end = max(end, stop)
    if run:
        yield _run_order(array, shard, found, run, begin, end)


def _begin_of(wanted: ChunkPart) -> int:
    return 0 if wanted.span is None else wanted.span.start or 0


def _run_order(
    array: ChunkedArray,
    shard: Coords,
    found: ReadIndex,
    run: Iterable[ChunkPart],
    begin: int,
    end: int,
) -> Order:
    span = Span(begin, end - begin)
    return Order(
        array.store, array.encode_key(shard), span, span.length, 0, _Run(tuple(run), found)
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Inner chunks of one request, and the index that led to them."""

    parts: tuple[ChunkPart, ...]
    found: ReadIndex

    def __iter__(self) -> Iterator[ChunkPart]:
        return iter(self.parts)


def _part_of(
    array: ChunkedArray, order: Order, answer: Answer | None, wanted: ChunkPart
) -> npt.NDArray[Any] | None:
    """The bytes of one chunk within an answer; None for a chunk that is absent."""
    if answer is None or order.key is None:
        return None
    if wanted.span is None or order.span is None:
        return answer.data
    stamp = order.purpose.found.stamp
    if stamp is not None and stamp.differs(answer.stamp):
        raise StoreError(
            f"{order.key} of {array.name} has changed while it was read. Run again once nobody writes there."
        )
    first = _begin_of(wanted) - (order.span.start or 0)
    data = answer.data[first : first + wanted.span.length]
    array.check_length(data, wanted.span, wanted.label)
    return data

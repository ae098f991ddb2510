"""Bytes of objects over a network: many requests in flight, none of them large.

A process has at most 16 in flight, whoever asks. An object that may be larger than a request is fetched by ranges in
parallel, and put together as they come. The order in which answers come changes nothing of what is handed out.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from zarr.abc.store import ByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import _get_loop
from zarr.storage import ObjectStore

from streamsvd.errors import StoreError
from streamsvd.store.objects.faults import is_absent

IN_FLIGHT = 16
"""Requests of a process at one moment."""

WHOLE_BYTES = 3 << 20
"""An object that cannot be larger is fetched by one request."""

PIECE_BYTES = 2 << 20
"""Of a larger one, what a request asks for."""

WINDOW_BYTES = 32 << 20
"""Of objects that are fetched ahead by one reader, at most, or one of them."""


def remote_bytes(window: int) -> int:
    """Most bytes held for so many that are fetched and not yet used: what comes is in the client's hands before it is in ours."""
    return window + min(window, 2 * IN_FLIGHT * PIECE_BYTES)


Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Span:
    """Part of a stored object: ``length`` bytes from ``start``, or the last ``length`` if that is None."""

    start: int | None
    length: int

    def request(self) -> ByteRequest:
        """The same in the words of zarr."""
        if self.start is None:
            return SuffixByteRequest(self.length)
        return RangeByteRequest(self.start, self.start + self.length)


@dataclass(frozen=True, slots=True)
class ObjectStamp:
    """What tells that an object is another one: its size, and the mark that its store gives it; None where not known."""

    size: int | None
    tag: str | None

    def differs(self, other: ObjectStamp) -> bool:
        """Whether two are of objects that are not the same."""
        sizes, tags = (self.size, other.size), (self.tag, other.tag)
        return any(None not in pair and pair[0] != pair[1] for pair in (sizes, tags))


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes of an object, and what it was."""

    data: Bytes
    stamp: ObjectStamp


@dataclass(frozen=True, eq=False)
class Order:
    """Something to be fetched.

    Attributes
    ----------
    store
        Of obstore, or of zarr.
    key
        Of the object; None where nothing is to be fetched.
    span
        What is wanted of it; None for all.
    most
        Bytes that it has at most.
    likely
        How many it has, if that is known or a guess; 0 for no guess.
    purpose
        Whatever the caller wants back with the answer.
    """

    store: Any
    key: str | None
    span: Span | None
    most: int
    likely: int = 0
    purpose: Any = None


class LongObjectError(ValueError):
    """An object longer than anything it could honestly hold."""


Explain = Callable[[Order, Exception], Exception]
"""What to raise for an error of an order."""


def fetch_ahead(
    orders: Iterable[Order], window: int, explain: Explain
) -> Generator[tuple[Order, Answer | None]]:
    """Each order with its answer, in their order; None for an absent object. While one is used, those after it are fetched.

    What is fetched and not yet used has at most ``window`` bytes, or is one order. To be closed: requests that nobody waits
    for end then.
    """
    pending: deque[tuple[Order, Future[Answer | None] | None]] = deque()
    held = 0
    try:
        for order in orders:
            while pending and held + order.most > window:
                first, future = pending.popleft()
                yield first, answer_of(first, future, explain)
                held -= first.most
                del future
            pending.append((order, None if order.key is None else start(order)))
            held += order.most
        while pending:
            first, future = pending.popleft()
            yield first, answer_of(first, future, explain)
            del future
    finally:
        for _, future in pending:
            if future is not None:
                future.cancel()


def start(order: Order) -> Future[Answer | None]:
    """The answer to come of an order that is on its way from now on."""
    return asyncio.run_coroutine_threadsafe(_download(order), _get_loop())


def answer_of(
    order: Order, future: Future[Answer | None] | None, explain: Explain
) -> Answer | None:
    """The answer to an order, once it is there."""
    if future is None:
        return None
    try:
        return future.result()
    except Exception as error:
        raise explain(order, error) from error
    except BaseException:
        future.cancel()  # this was interrupted
        raise


async def _download(order: Order) -> Answer | None:
    """What an order asks for; None for an absent object."""
    key, span, most = order.key, order.span, order.most
    assert key is not None
    by_ranges = not isinstance(order.store, Store) or isinstance(order.store, ObjectStore)
    try:
        if span is not None:
            if span.start is None or span.length <= WHOLE_BYTES or not by_ranges:
                return await _get(order.store, key, span)
            return await _assemble(order.store, key, span.start, span.start + span.length)
        if most <= WHOLE_BYTES or not by_ranges:
            return await _get(order.store, key, None, most)
        stop = min(most, max(PIECE_BYTES, order.likely))
        head = await _assemble(order.store, key, 0, stop)
        _check_size(head.stamp, most)
        size = head.stamp.size or 0
        return head if size <= stop else await _assemble(order.store, key, 0, size, head)
    except Exception as error:
        if is_absent(error):
            return None
        raise


def _check_size(stamp: ObjectStamp, most: int) -> None:
    if stamp.size is not None and stamp.size > most:
        raise LongObjectError(f"it holds {stamp.size:,} bytes; at most {most:,} can be honest")


async def _assemble(
    store: Any, key: str, first: int, stop: int, head: Answer | None = None
) -> Answer:
    """Bytes of an object from ``first`` to ``stop``, or to its end, by ranges in parallel."""
    whole = np.empty(stop - first, np.uint8)
    done = 0 if head is None else len(head.data)
    stamps: list[ObjectStamp] = []
    if head is not None:
        whole[:done] = head.data
        stamps.append(head.stamp)

    async def put(begin: int) -> None:
        length = min(PIECE_BYTES, stop - begin)
        try:
            part = await _get(store, key, Span(begin, length))
        except Exception as error:
            if is_past_end(error):
                return
            raise
        whole[begin - first : begin - first + len(part.data)] = part.data
        stamps.append(part.stamp)

    begins = range(first + done, stop, PIECE_BYTES)
    failed = await asyncio.gather(*(put(begin) for begin in begins), return_exceptions=True)
    for error in failed:  # all are awaited, so that none runs on behind the back of the caller
        if error is not None:
            raise error
    if not stamps:
        return Answer(whole[:0], ObjectStamp(None, None))
    for stamp in stamps:
        if stamp.differs(stamps[0]):
            raise StoreError(f"{key} has changed while it was read. Run again once nobody writes.")
    size = stamps[0].size
    return Answer(whole if size is None else whole[: max(0, size - first)], stamps[0])


async def _get(store: Any, key: str, span: Span | None, most: int | None = None) -> Answer:
    """One request.

    Raises
    ------
    FileNotFoundError
        If there is no such object.
    LongObjectError
        If all of it is asked for and it is longer than ``most``; then it is not fetched.
    """
    async with _turns(asyncio.get_running_loop()):
        if isinstance(store, Store) and not isinstance(store, ObjectStore):
            found = await store.get(key, default_buffer_prototype(), span and span.request())
            if found is None:
                raise FileNotFoundError(key)
            data = np.asarray(found.as_numpy_array()).reshape(-1).view(np.uint8)
            return Answer(data, ObjectStamp(None, None))
        return await _get_object(getattr(store, "store", store), key, span, most)


async def _get_object(store: Any, key: str, span: Span | None, most: int | None) -> Answer:
    """One request of obstore."""
    import obstore
    from obstore.exceptions import NotSupportedError

    options: dict[str, Any] = {}
    if span is not None:
        options["range"] = (
            {"suffix": span.length}
            if span.start is None
            else (span.start, span.start + span.length)
        )
    try:
        reply = await obstore.get_async(store, key, options=options)
    except NotSupportedError:
        if span is None or span.start is not None:
            raise
        size = (await obstore.head_async(store, key))["size"]  # Azure knows no last bytes
        begin = max(0, size - span.length)
        reply = await obstore.get_async(store, key, options={"range": (begin, size)})
    stamp = ObjectStamp(reply.meta["size"], reply.meta["e_tag"])
    if most is not None:
        _check_size(stamp, most)
    return Answer(np.frombuffer(await reply.bytes_async(), np.uint8), stamp)


def is_past_end(error: BaseException) -> bool:
    """Whether an error says that a range begins behind the end of its object."""
    return (
        re.search(r"status code: 416|Wanted range starting at|StartTooLarge", str(error))
        is not None
    )


@lru_cache(maxsize=8)
def _turns(loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
    """What lets so many requests through at once."""
    return asyncio.Semaphore(IN_FLIGHT)


def fetch_now(orders: Iterable[Order], explain: Explain) -> list[Answer | None]:
    """The answers to some orders, all at once."""
    pending = [(order, start(order)) for order in orders]
    try:
        return [answer_of(order, future, explain) for order, future in pending]
    finally:
        for _, future in pending:
            future.cancel()

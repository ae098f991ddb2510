"""The bytes behind a key: from a local file directly, from any other store through zarr.

A local file is read in the calling thread, and an uncompressed one straight into its place; other stores
are asked through zarr's event loop, several keys at once so that a slow network is not waited for key by
key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

from streamsvd.errors import StoreError
from streamsvd.store.explanations import access_error, is_access, means_absent
from streamsvd.store.objects.faults import is_fault, store_error
from streamsvd.store.objects.ranges import Order, Span, fetch_now
from streamsvd.store.sources.files.raw import read_into

Bytes = npt.NDArray[np.uint8]


Request = tuple[str, Span | None]


class TooLongError(ValueError):
    """An object longer than anything it could honestly hold."""


def local_path(store: Store, key: str) -> Path | None:
    """File of a key, where the store is a plain local folder."""
    return store.root / key if type(store) is LocalStore else None


def open_local(path: Path) -> IO[bytes] | None:
    """The file, or None where there is none."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError as error:
        if means_absent(error, path):
            return None
        raise


def size_of(file: IO[bytes]) -> int:
    """Bytes in an open file."""
    return file.seek(0, 2)


def is_remote(store: Store) -> bool:
    """Whether a store is asked over a network, so that several requests are to be on their way."""
    return isinstance(store, ObjectStore | FsspecStore)


def explain_fetch(store: Store, key: str, name: str, error: Exception) -> Exception:
    """What is raised for an error of a request to a store over a network, for an array of this name."""
    if isinstance(error, StoreError):
        return error
    if isinstance(store, ObjectStore) and (is_fault(error) or isinstance(error, FileNotFoundError)):
        from streamsvd.store.sources.zarr_store.url_store import url_of

        return store_error(error, "read", url_of(store), key)
    if is_access(error):
        assert isinstance(error, OSError)
        return access_error(error, "read", f"{key} of {name}")
    return StoreError(f"cannot read {key!r} of {name}: {type(error).__name__}: {error}")


def held_bytes(store: Store, fetched: int) -> int:
    """Most bytes held by `fetch` for so many fetched, and by the allocator on its behalf."""
    if type(store) is LocalStore:
        return fetched
    if type(store) is MemoryStore:
        return 0  # it hands out its own
    # zarr reads in threads of its own, two when asked one key at a time; the allocator of each keeps the
    # last buffer for the next. Measured on zarr 3.1.6 and 3.4.2 with glibc.
    return 3 * fetched


def key_exists(store: Store, key: str) -> bool:
    """Whether there is something under a key."""
    return bool(sync(store.exists(key)))


def fetch(store: Store, requests: Sequence[Request], limit: int) -> list[Bytes | None]:
    """Bytes of each request, in order; None for an absent key.

    Raises
    ------
    TooLongError
        If a local file asked for whole is longer than ``limit``; it is not read.
    """
    if type(store) is LocalStore:
        return [_fetch_local(store.root / key, span, limit) for key, span in requests]
    if isinstance(store, ObjectStore):
        orders = [Order(store, key, span, span.length if span else limit) for key, span in requests]
        found = fetch_now(orders, lambda o, e: explain_fetch(store, str(o.key), str(store), e))
        return [None if answer is None else answer.data for answer in found]
    answers: list[Bytes | None] = sync(_fetch_all(store, requests))
    return answers


def _fetch_local(path: Path, span: Span | None, limit: int) -> Bytes | None:
    file = open_local(path)
    if file is None:
        return None
    with file:
        size = size_of(file)
        if span is None:
            start, length = 0, size
        elif span.start is None:
            start, length = max(0, size - span.length), min(size, span.length)
        else:
            start, length = span.start, span.length
        if length > limit:
            raise TooLongError(f"it holds {length:,} bytes; at most {limit:,} can be honest")
        data = np.empty(max(0, min(length, size - start)), np.uint8)
        return data[: read_into(file, start, data)]


async def _fetch_all(store: Store, requests: Sequence[Request]) -> list[Bytes | None]:
    prototype = default_buffer_prototype()

    async def one(key: str, span: Span | None) -> Bytes | None:
        found = await store.get(key, prototype, None if span is None else span.request())
        if found is None:
            return None
        return np.asarray(found.as_numpy_array()).reshape(-1).view(np.uint8)

    if len(requests) == 1:
        return [await one(*requests[0])]
    # All are awaited even if one fails, so that none runs on behind the back of the caller.
    answers = await asyncio.gather(*(one(*request) for request in requests), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]

"""The requests of an object store that places are made of, each tried again where that is harmless, and refused in words."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.places.provider import Doing, provider_error

AT_ONCE = 16
"""Requests in flight."""
RETRIES = {"max_retries": 6, "retry_timeout": timedelta(seconds=180)}
TIMES = {"timeout": timedelta(seconds=60), "connect_timeout": timedelta(seconds=10)}
"""Of one request, whose body may be a large chunk on a slow line; and of its connection."""
CREATION_TRIES = 4
"""Of an exclusive put that got no answer: the client library does not try it again."""
KEYS_AT_ONCE = 1000
"""Of a request that removes several objects."""

T = TypeVar("T")


class Bucket:
    """The objects of one bucket, by their whole keys.

    Parameters
    ----------
    root
        Scheme and name, as ``s3://bucket``.
    store
        What `obstore` opened there.
    """

    def __init__(self, root: str, store: Any) -> None:
        self.root, self._store = root, store

    def read(self, key: str) -> bytes:
        """An object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        with self._in_words("read", key):
            return bytes(self._store.get(key).bytes())

    def size(self, key: str) -> int | None:
        """Bytes of an object; None if there is none."""
        with self._in_words("read", key), contextlib.suppress(FileNotFoundError):
            return int(self._store.head(key)["size"])
        return None

    def write(self, key: str, data: Any) -> None:
        """An object, or a whole new one in its place: one put, so that trying it again is harmless."""
        with self._in_words("write", key):
            self._store.put(key, data, use_multipart=False)

    def create(self, key: str, data: bytes) -> bool:
        """An object that must not be there yet; False if it is, with other contents.

        A put that succeeded and whose answer was lost is tried again: then the object is our own.
        """
        from obstore.exceptions import AlreadyExistsError, GenericError, PreconditionError

        with self._in_words("write", key):
            for left in reversed(range(CREATION_TRIES)):
                try:
                    self._store.put(key, data, mode="create")
                    return True
                except (FileExistsError, AlreadyExistsError, PreconditionError):
                    break
                except GenericError:
                    if not left:
                        raise
        try:
            return self.read(key) == data
        except FileNotFoundError:  # removed meanwhile
            return False

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Objects under other keys, without their bytes coming here."""

        def copy(pair: tuple[str, str]) -> None:
            with self._in_words("copy", pair[0]):
                self._store.copy(*pair)

        in_flight(copy, pairs)

    def remove(self, keys: Sequence[str]) -> None:
        """Objects away; absent ones are no error."""

        def remove(some: Sequence[str]) -> None:
            with self._in_words("remove", some[0]), contextlib.suppress(FileNotFoundError):
                self._store.delete(list(some))

        in_flight(remove, [keys[i : i + KEYS_AT_ONCE] for i in range(0, len(keys), KEYS_AT_ONCE)])

    def keys(self, prefix: str) -> list[str]:
        """Keys of all objects below a prefix."""
        with self._in_words("list", prefix):
            return sorted(m["path"] for batch in self._store.list(f"{prefix}/") for m in batch)

    def has_keys(self, prefix: str) -> bool:
        """Whether there is any object below a prefix."""
        with self._in_words("list", prefix):
            return any(len(batch) for batch in self._store.list(f"{prefix}/", chunk_size=1))

    def names(self, prefix: str) -> list[str]:
        """Names directly below a prefix."""
        with self._in_words("list", prefix):
            found = self._store.list_with_delimiter(f"{prefix}/" if prefix else None)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    @contextlib.contextmanager
    def _in_words(self, doing: Doing, key: str) -> Iterator[None]:
        with in_words(doing, Url(self.root, key)):
            yield


@contextlib.contextmanager
def in_words(doing: Doing, place: Url) -> Iterator[None]:
    """What obstore raises as `StoreError`; an object that is not there as FileNotFoundError."""
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except StoreError:
        raise
    except (NotFoundError, FileNotFoundError) as error:
        if "NoSuchBucket" in str(error):
            raise provider_error(doing, place, error) from None
        raise FileNotFoundError(2, "No such object", str(place)) from None
    except (BaseError, PermissionError, NotImplementedError) as error:
        raise provider_error(doing, place, error) from None


def in_flight(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something for all items, several at once; the first error is raised when what had begun is over."""
    items = list(items)
    if len(items) < 2:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def bucket_of(place: Url) -> Bucket:
    """The bucket that a place lies in, by the credentials of this process."""
    return Bucket(place.root, open_store(Url(place.root)))


def open_store(place: Url) -> Any:
    """What `obstore` makes of a place.

    Raises
    ------
    StoreError
        If the package is not there, or the address cannot be opened.
    """
    asked = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_PREFIXES)))
    return _opened(str(place), asked)


_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")


@lru_cache(maxsize=64)
def _opened(text: str, environment: tuple[tuple[str, str], ...]) -> Any:
    """One client for a place and credentials, so that its connections are used again."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise StoreError(
            f"{text} is in an object store, which needs obstore. Install it with: pip install 'streamsvd[object-stores]'"
        ) from None
    endpoints = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    plain = any(k in endpoints and v.lower().startswith("http://") for k, v in environment)
    options = {**TIMES, **({"allow_http": True} if plain else {})}
    try:
        return from_url(text, client_options=options, retry_config=RETRIES)
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise StoreError(f"{text} cannot be opened: {reason}. Check the address.") from None

"""The requests of an object store that places are made of, each tried again where that is harmless, and refused in words."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.objects.faults import Action, is_absent, is_fault, store_error
from streamsvd.store.objects.where import object_store

AT_ONCE = 16
"""Requests in flight."""
TRIES = 4
"""Of a request that got no answer and is none that the client library tries again, as exclusive puts and removals of several."""
PART_BYTES = 16 << 20
"""Of a file that is put in parts."""
PATIENCE_S = 60.0
"""After which nothing is tried again."""
_TRIES_TAKEN = re.compile(r"after (\d+) retries, max_retries: (\d+)")
ITEMS_AT_ONCE = 4096
"""That wait for one of the requests in flight."""
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

    def write_parts(self, key: str, file: Any, size: int) -> None:
        """An object from a file, in parts; it is there when all are.

        That the last request succeeded and its answer was lost is seen by the object that is there.
        """
        try:
            with self._in_words("write", key):
                self._store.put(key, file, use_multipart=True, chunk_size=PART_BYTES)
        except (StoreError, FileNotFoundError):
            if self.size(key) != size:
                raise

    def create(self, key: str, data: bytes) -> bool:
        """An object that must not be there yet; False if it is, with other contents.

        A put that succeeded and whose answer was lost is tried again: then the object is our own.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._in_words("write", key):
            try:
                _until_answered(lambda: self._store.put(key, data, mode="create"))
                return True
            except (FileExistsError, AlreadyExistsError, PreconditionError):
                pass
        try:
            return self.read(key) == data
        except FileNotFoundError:  # removed meanwhile
            return False

    def copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Objects under other keys, without their bytes coming here."""

        def copy(pair: tuple[str, str]) -> None:
            with self._in_words("write", pair[1]):
                self._store.copy(*pair)

        in_flight(copy, pairs)

    def remove(self, keys: Sequence[str]) -> None:
        """Objects away; absent ones are no error."""

        def remove(some: Sequence[str]) -> None:
            with self._in_words("remove", some[0]), contextlib.suppress(FileNotFoundError):
                _until_answered(lambda: self._store.delete(list(some)))

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
    def _in_words(self, doing: Action, key: str) -> Iterator[None]:
        with in_words(doing, Url(self.root, key)):
            yield


def _until_answered(request: Callable[[], object]) -> None:
    """Make a request that may be made twice, and again if the connection broke off before the client had used up its tries."""
    from obstore.exceptions import GenericError

    began = time.monotonic()
    for left in reversed(range(TRIES)):
        try:
            request()
            return
        except GenericError as error:
            used = _TRIES_TAKEN.search(str(error))
            spent = used is not None and used[1] == used[2]
            if (
                not left
                or spent
                or "status code" in str(error)
                or time.monotonic() - began > PATIENCE_S
            ):
                raise


@contextlib.contextmanager
def in_words(doing: Action, place: Url) -> Iterator[None]:
    """What obstore raises as `StoreError`; an object that is not there as FileNotFoundError."""
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        if is_absent(error):
            raise FileNotFoundError(2, "No such object", str(place)) from None
        if is_fault(error):
            raise store_error(error, doing, place.root, place.key) from None
        raise


def in_flight(work: Callable[[T], None], items: Iterable[T]) -> None:
    """Do something for all items, several at once; the first error is raised when what had begun is over."""
    left = iter(items)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := list(islice(left, ITEMS_AT_ONCE)):
            futures = [pool.submit(work, item) for item in some]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def bucket_at(place: Url) -> Bucket:
    """The bucket that a place lies in, by the credentials of this process."""
    return Bucket(place.root, object_store(place.root))

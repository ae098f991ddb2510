"""A store of zarr at a URL: it travels as the URL, and says what goes wrong in sentences."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from streamsvd.errors import StoreError
from streamsvd.store.objects import object_store
from streamsvd.store.objects.faults import (
    Action,
    is_absent,
    is_denial,
    is_fault,
    raise_fault,
    store_error,
)
from streamsvd.store.sources.kinds import ZARR_METADATA


class UrlStore(ObjectStore):  # type: ignore[misc]  # zarr is Any to mypy
    """What lies at a URL, for reading; another process opens it by its own environment.

    Parameters
    ----------
    url
        Of a kind that `object_store` opens.

    Attributes
    ----------
    denial
        The first refusal of metadata by which zarr tells formats apart: a bucket that may not be listed refuses what it has not.
    """

    def __init__(self, url: str) -> None:
        super().__init__(object_store(url), read_only=True)
        self.url = url.rstrip("/")
        self.denial: StoreError | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return UrlStore, (self.url,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UrlStore) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __str__(self) -> str:
        return self.url

    def with_read_only(self, read_only: bool = True) -> UrlStore:
        """The same: there is no other."""
        del read_only
        return self

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object or a part of it; None if there is none."""
        try:
            with self._in_words("read", key):
                import obstore

                if byte_range is not None:
                    return await super().get(key, prototype, byte_range)
                found = await obstore.get_async(self.store, key)  # tells a bucket that is not there
                return prototype.buffer.from_bytes(await found.bytes_async())
        except FileNotFoundError:
            return None
        except StoreError as error:
            if key.rpartition("/")[2] not in ZARR_METADATA or not is_denial(error.__cause__):
                raise
            self.denial = self.denial or error
            return None

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        with self._in_words("read", key):
            return bool(await super().exists(key))

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Names below a prefix."""
        with self._in_words("list", prefix):
            async for name in super().list_dir(prefix):
                yield name

    @contextlib.contextmanager
    def _in_words(self, doing: Action, key: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if is_absent(error):
                raise FileNotFoundError(f"{key} of {self.url}") from error
            if isinstance(error, FileNotFoundError) or is_fault(error):
                raise store_error(error, doing, self.url, key) from error
            raise


def explain_url(url: str, error: BaseException) -> None:
    """Raise what went wrong on the way to a URL, if it was that, and not what was found there.

    Raises
    ------
    StoreError
        A sentence that names the URL, and what to install or to check.
    """
    if "://" not in url:
        return
    raise_fault(error, "read", url)
    kind = url.partition("://")[0]
    said = str(error).partition("\n")[0].rstrip(".")
    if isinstance(error, ValueError) and "protocol not known" in said.lower():
        raise StoreError(
            f"{url} is a URL of the unknown kind {kind}://. Check the address; s3://, gs://, az:// and https:// are known."
        ) from error
    if isinstance(error, ImportError):
        raise StoreError(
            f"{url} needs a package that is not installed: {said}. Install it with pip and run again."
        ) from error
    if isinstance(error, OSError | TimeoutError):
        raise StoreError(
            f"cannot read {url}: {type(error).__name__}: {said}. Check the address, the network and the credentials."
        ) from error


def url_of(store: ObjectStore) -> str:
    """How messages call a store of obstore that somebody else opened."""
    if isinstance(store, UrlStore):
        return store.url
    inner = store.store
    if isinstance(found := getattr(inner, "url", None), str):  # of a web server
        return found
    config = dict(getattr(inner, "config", None) or {})
    scheme = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}.get(type(inner).__name__)
    place = config.get("bucket") or config.get("container_name")
    prefix = str(getattr(inner, "prefix", None) or "").strip("/")
    if scheme is None or place is None:
        return (prefix and f"/{prefix}") or type(inner).__name__
    return "/".join(part for part in (f"{scheme}://{place}", prefix) if part)

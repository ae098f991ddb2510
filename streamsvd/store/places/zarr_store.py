"""A store of zarr at a place in an object store: small enough to be sent, opened where it is used, with errors in words."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.objects.where import object_store
from streamsvd.store.places.bucket import in_words

_CHUNK = re.compile(r"(^|/)c(/[0-9]+)*$")


class PlaceStore(ObjectStore):  # type: ignore[misc]  # zarr is Any to mypy
    """What lies below a place, as zarr reads and writes it.

    Parameters
    ----------
    place
        Where.
    read_only
        Whether writing is refused.
    is_whole
        Whether every chunk is there: one that is not is an error then, where zarr would read zeros.
    """

    def __init__(self, place: Url, *, read_only: bool = False, is_whole: bool = False) -> None:
        super().__init__(object_store(str(place), writes=not read_only), read_only=read_only)
        self.root, self.is_whole = place, is_whole

    def __reduce__(self) -> tuple[Any, ...]:
        return _place_store, (self.root, self.read_only, self.is_whole)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, PlaceStore)
            and self.root == other.root
            and self.read_only == other.read_only
        )

    def __hash__(self) -> int:
        return hash((self.root, self.read_only))

    def __str__(self) -> str:
        return str(self.root)

    def with_read_only(self, read_only: bool = False) -> PlaceStore:
        """The same, for reading alone or not."""
        return PlaceStore(self.root, read_only=read_only, is_whole=self.is_whole)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """An object or a part of it; None if there is none."""
        try:
            with in_words("read", self.root / key):
                found = await super().get(key, prototype, byte_range)
        except FileNotFoundError:
            found = None
        if found is None and self.is_whole and _CHUNK.search(key):
            raise StoreError(
                f"{self.root} lacks chunk {key}: it was replaced since it was opened, or is damaged. Open it again."
            )
        return found

    async def set(self, key: str, value: Buffer) -> None:
        """An object: one put, so that trying it again is harmless."""
        import obstore

        self._check_writable()
        with in_words("write", self.root / key):
            await obstore.put_async(self.store, key, value.as_buffer_like(), use_multipart=False)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Metadata of a group above an array, unless they are there; nobody else writes below the place."""
        if not await self.exists(key):
            await self.set(key, value)

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        with in_words("read", self.root / key):
            return bool(await super().exists(key))

    async def _list(self, prefix: str | None = None) -> AsyncGenerator[Any, None]:
        with in_words("list", self.root):
            async for found in super()._list(prefix):
                yield found

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """Names directly below a prefix."""
        with in_words("list", self.root):
            async for name in super().list_dir(prefix):
                yield name


def _place_store(place: Url, read_only: bool, is_whole: bool) -> PlaceStore:
    return PlaceStore(place, read_only=read_only, is_whole=is_whole)

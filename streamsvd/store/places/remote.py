"""A prefix of an object store, or one object there, as a place."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.explanations import Action
from streamsvd.store.places.bucket import Bucket, bucket_of
from streamsvd.store.places.remote_work import RemoteWork, finish_publication, work_folder
from streamsvd.store.sight import Address, StoreAddress

IN_MEMORY = 64 << 20
"""Bytes of a file on its way that are kept in memory; more are in a file without a name."""
READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class RemoteLocation:
    """A URL as a place; see `Location`."""

    address: Url

    @property
    def _bucket(self) -> Bucket:
        return bucket_of(self.address)

    def _key(self, key: str = "") -> str:
        return (self.address / key).key

    def exists(self, doing: Action = "read") -> bool:
        """See `Location.exists`."""
        del doing
        return self.is_file() or self.is_folder()

    def is_present(self) -> bool:
        """See `Location.is_present`."""
        return self.exists()

    def is_folder(self) -> bool:
        """See `Location.is_folder`."""
        return self._bucket.has_keys(self.address.key)

    def is_file(self) -> bool:
        """See `Location.is_file`."""
        return self._bucket.size(self.address.key) is not None

    def is_link(self) -> bool:
        """See `Location.is_link`: there are none."""
        return False

    def read(self, key: str = "", *, most: int | None = None) -> bytes:
        """See `Location.read`."""
        data = self._bucket.read(self._key(key))
        return data if most is None else data[:most]

    def size(self) -> int:
        """See `Location.size`."""
        return self._bucket.size(self.address.key) or 0

    def write(self, key: str, data: bytes) -> None:
        """See `Location.write`."""
        self._bucket.write(self._key(key), data)

    def keys(self, key: str = "") -> list[str]:
        """See `Location.keys`."""
        above = self._key(key)
        return [found[len(above) + 1 :] for found in self._bucket.keys(above)]

    def names(self) -> list[str]:
        """See `Location.names`."""
        return self._bucket.names(self.address.key)

    def entries(self, key: str = "") -> list[str]:
        """See `Location.entries`: there are no folders."""
        return self.keys(key)

    def is_plain_folder(self, name: str) -> bool:
        """See `Location.is_plain_folder`."""
        return self._bucket.has_keys(self._key(name))

    def clear(self, key: str) -> None:
        """See `Location.clear`."""
        self._bucket.remove(self._bucket.keys(self._key(key)))

    def store(self, key: str = "", *, read_only: bool = False, is_whole: bool = False) -> Any:
        """See `Location.store`."""
        from streamsvd.store.places.zarr_store import PlaceStore  # imports zarr

        return PlaceStore(self.address / key, read_only=read_only, is_whole=is_whole)

    def addresses(self, key: str) -> list[Address]:
        """See `Location.addresses`: whether a process may read there, by its own credentials."""
        return [StoreAddress(str(self.address), self.store(read_only=True), (key,), None)]

    def above(self) -> Iterator[RemoteLocation]:
        """See `Location.above`."""
        return map(RemoteLocation, (above for above in self.address.parents if above.key))

    def settle(self) -> None:
        """See `Location.settle`."""
        finish_publication(self.address)

    def try_writing(self) -> None:
        """See `Location.try_writing`; a store that ignores conditions would let two writers replace each other unseen."""
        bucket, token = self._bucket, uuid.uuid4().hex
        key = f"{work_folder(self.address).key}/trial-{token}"
        if not bucket.create(key, token.encode()):
            raise StoreError(f"cannot write {self.address}: its objects change by themselves.")
        try:
            held = not bucket.create(key, b"another")
        finally:
            bucket.remove([key])
        if not held:
            raise StoreError(
                f"{self.address.root} ignores conditional puts, so that two writers could mix what they write. Use a store that "
                "honours If-None-Match, or a local folder."
            )

    def check_parent(self) -> None:
        """See `Location.check_parent`: there are no folders."""

    def begin(self) -> RemoteWork:
        """See `Location.begin`."""
        self.try_writing()
        return RemoteWork(self.address)

    @contextlib.contextmanager
    def replacement(self, *, overwrite: bool = True) -> Iterator[BinaryIO]:
        """See `Location.replacement`: one put."""
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            yield file  # type: ignore[misc]  # a BinaryIO in all but its name
            file.seek(0)
            data = file.read()
        bucket, key = self._bucket, self.address.key
        if overwrite:
            bucket.write(key, data)
        elif not bucket.create(key, data):
            raise StoreError(
                f"{self.address} was made by another run meanwhile. Pass overwrite=True (--overwrite) to replace it."
            )

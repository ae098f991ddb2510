"""A prefix of an object store, or one object there, as a place."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.explanations import Action
from streamsvd.store.places.bucket import Bucket, bucket_at
from streamsvd.store.places.owners import current_owner, lay_down
from streamsvd.store.places.publication import finish_publication, work_folder
from streamsvd.store.places.remote_work import TRIAL, RemoteResumableWork, RemoteWork
from streamsvd.store.sight import Address, StoreAddress

IN_MEMORY = 64 << 20
"""Bytes of a file on its way that are kept in memory; more are in a file without a name."""


@dataclass(frozen=True, slots=True)
class RemoteLocation:
    """A URL as a place; see `Location`."""

    address: Url

    @property
    def _bucket(self) -> Bucket:
        return bucket_at(self.address)

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

    def size(self, key: str = "") -> int | None:
        """See `Location.size`."""
        return self._bucket.size(self._key(key))

    def blocks(self, key: str, most: int) -> Iterator[bytes]:
        """See `Location.blocks`."""
        del most
        yield self._bucket.read(self._key(key))

    def write(self, key: str, *parts: Any) -> None:
        """See `Location.write`."""
        self._bucket.write(self._key(key), parts[0] if len(parts) == 1 else b"".join(parts))

    def remove(self, key: str) -> None:
        """See `Location.remove`."""
        self._bucket.remove([self._key(key)])

    @property
    def free_bytes(self) -> int:
        """See `Location.free_bytes`: nobody knows."""
        return 0

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

    @property
    def has_folders(self) -> bool:
        """See `Location.has_folders`."""
        return False

    def make_parent(self) -> None:
        """See `Location.make_parent`: there are no folders."""

    def remove_ending(self, suffix: str) -> None:
        """See `Location.remove_ending`."""
        self._bucket.remove([k for k in self._bucket.keys(self.address.key) if k.endswith(suffix)])

    def output_addresses(self, key: str, place: str) -> list[Address]:
        """See `Location.output_addresses`: whether a process may read there, by its own credentials."""
        name = f"the place of the results {place}"
        return [StoreAddress(name, self.store(read_only=True), (key,), None)]

    def above(self) -> Iterator[RemoteLocation]:
        """See `Location.above`."""
        return map(RemoteLocation, (above for above in self.address.parents if above.key))

    def settle(self) -> None:
        """See `Location.settle`."""
        finish_publication(self.address)

    def try_writing(self) -> None:
        """See `Location.try_writing`; a store that ignores conditions would let two writers replace each other unseen."""
        bucket, owner = self._bucket, current_owner()
        key = f"{work_folder(self.address).key}/{TRIAL}{owner.token}"
        try:
            if not bucket.create(key, msgspec.json.encode(owner)):
                raise StoreError(f"cannot write {self.address}: its objects change by themselves.")
            try:
                held = not bucket.create(key, b"another")
            finally:
                bucket.remove([key])
        finally:
            lay_down(owner)
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

    def resume(self, purpose: dict[str, Any]) -> RemoteResumableWork:
        """See `Location.resume`."""
        return RemoteResumableWork(self.address, purpose)

    @contextlib.contextmanager
    def replacement(self, *, overwrite: bool = True) -> Iterator[BinaryIO]:
        """See `Location.replacement`: one put; of a large file one of parts, which appears when all are there."""
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            yield file  # type: ignore[misc]  # a BinaryIO in all but its name
            size = file.tell()
            file.seek(0)
            bucket, key = self._bucket, self.address.key
            if size > IN_MEMORY and (overwrite or bucket.size(key) is None):
                bucket.write_parts(key, file, size)
                return
            if size <= IN_MEMORY and overwrite:
                bucket.write(key, file.read())
                return
            if size <= IN_MEMORY and bucket.create(key, file.read()):
                return
        raise StoreError(
            f"{self.address} was made by another run meanwhile. Pass overwrite=True (--overwrite) to replace it."
        )

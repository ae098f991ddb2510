"""Objects in an S3-like store, where a conditional put is what makes a commit exclusive."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from streamsvd.errors import StoreError
from streamsvd.store.objects.protocol import checked_key


class RemoteObjects:
    """Objects below a prefix of a store that `obstore` opens.

    Parameters
    ----------
    store
        An obstore store, rooted at the prefix.
    name
        How messages call it: its address.
    """

    def __init__(self, store: Any, name: str) -> None:
        self._store, self._name = store, name
        self._conditional = False

    @property
    def name(self) -> str:
        """The address."""
        return self._name

    def read(self, key: str) -> bytes:
        """See `Objects.read`."""
        return bytes(self._store.get(checked_key(key)).bytes())

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """See `Objects.write`; an acknowledged put is durable."""
        for name, data in files.items():
            self._store.put(checked_key(f"{folder}/{name}"), data)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self._require_conditions()
        try:
            self._store.put(checked_key(key), data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            # A put that succeeded and whose answer was lost is tried again: then the object is our own.
            return self.read(key) == data
        return True

    def _require_conditions(self) -> None:
        """Refuse stores that ignore the condition: they would lose acknowledged updates silently."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if self._conditional:
            return
        probe = f"probe-{uuid.uuid4().hex}"
        self._store.put(probe, b"first", mode="create")
        try:
            self._store.put(probe, b"second", mode="create")
        except (AlreadyExistsError, PreconditionError):
            self._conditional = True
            return
        finally:
            self._store.delete(probe)
        raise StoreError(
            f"{self._name} ignores conditional puts, so that two writers could overwrite each other. "
            "Use a store that honours If-None-Match, or a local folder."
        )

    def replace(self, key: str, data: bytes) -> None:
        """See `Objects.replace`."""
        self._store.put(checked_key(key), data)

    def names(self, folder: str) -> list[str]:
        """See `Objects.names`."""
        prefix = checked_key(folder) + "/"
        found = self._store.list_with_delimiter(prefix)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def keys(self, folder: str) -> list[str]:
        """See `Objects.keys`."""
        batches = self._store.list(checked_key(folder) + "/")
        return sorted(meta["path"] for batch in batches for meta in batch)

    def remove(self, keys: Iterable[str]) -> None:
        """See `Objects.remove`."""
        for key in keys:
            try:
                self._store.delete(checked_key(key))
            except FileNotFoundError:
                continue

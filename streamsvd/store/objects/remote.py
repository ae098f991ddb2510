"""Objects in an S3-like store, where a conditional put is what makes a commit exclusive."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from streamsvd.errors import StoreError
from streamsvd.store.objects.faults import Action, is_absent, store_error
from streamsvd.store.objects.protocol import checked_key, is_key

PROBE = "conditional-put"
"""An object whose second creation must fail, or else the store ignores the condition."""


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
        with self._translate_errors("read", key):
            return bytes(self._store.get(checked_key(key)).bytes())

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """See `Objects.write`; an acknowledged put is durable."""
        for name, data in files.items():
            self.replace(f"{folder}/{name}", data)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`."""
        self._require_conditions()
        # A put that succeeded and whose answer was lost is tried again: then the object is our own.
        return self._put_new(checked_key(key), data) or self.read(key) == data

    def _put_new(self, key: str, data: bytes) -> bool:
        """One conditional put; False if there is such an object."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._translate_errors("write", key):
            try:
                self._store.put(key, data, mode="create")
            except (FileExistsError, AlreadyExistsError, PreconditionError):
                return False
        return True

    def _require_conditions(self) -> None:
        """Refuse stores that ignore the condition: they would lose acknowledged updates silently."""
        if self._conditional:
            return
        if self._put_new(PROBE, b"first") and self._put_new(PROBE, b"second"):
            self.remove([PROBE])
            raise StoreError(
                f"{self._name} ignores conditional puts, so that two writers could overwrite each other. "
                "Use a store that honours If-None-Match, or a local folder."
            )
        self._conditional = True

    def replace(self, key: str, data: bytes) -> None:
        """See `Objects.replace`."""
        with self._translate_errors("write", key):
            self._store.put(checked_key(key), data)

    def names(self, folder: str) -> list[str]:
        """See `Objects.names`."""
        prefix = checked_key(folder) + "/"
        with self._translate_errors("list", folder):
            found = self._store.list_with_delimiter(prefix)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def keys(self, folder: str) -> list[str]:
        """See `Objects.keys`; what is no name of an object is left out."""
        with self._translate_errors("list", folder):
            batches = self._store.list(checked_key(folder) + "/")
            found = [meta["path"] for batch in batches for meta in batch]
        return sorted(key for key in found if is_key(key))

    def remove(self, keys: Iterable[str]) -> None:
        """See `Objects.remove`."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError), self._translate_errors("remove", key):
                self._store.delete(checked_key(key))

    def clear(self, folder: str, keep: Container[str] = ()) -> int:
        """See `Objects.clear`."""
        doomed = [key for key in self.keys(folder) if key not in keep]
        self.remove(doomed)
        return len(doomed)

    def remove_root(self) -> None:
        """See `Objects.remove_root`: a prefix without objects is nothing."""

    def settle(self, folder: str) -> None:
        """See `Objects.settle`: what a store shows is durable."""

    def strays(self, seconds: float) -> list[str]:
        """See `Objects.strays`: a put leaves nothing behind."""
        del seconds
        return []

    def __reduce__(self) -> tuple[Any, ...]:
        from streamsvd.store.objects.where import objects_at  # which makes these

        return objects_at, (self._name,)

    @contextlib.contextmanager
    def _translate_errors(self, doing: Action, key: str) -> Iterator[None]:
        """What obstore says, as what to do about it."""
        from obstore.exceptions import BaseError

        try:
            yield
        except StoreError:
            raise
        except (BaseError, FileNotFoundError, PermissionError, NotImplementedError) as error:
            if is_absent(error):
                raise FileNotFoundError(f"{key} of {self._name}") from error
            raise store_error(error, doing, self._name, key) from error

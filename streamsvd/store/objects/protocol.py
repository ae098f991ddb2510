"""The few operations that exactly-once stands on, whatever holds the objects."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Protocol

from streamsvd.errors import StoreError

_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Objects(Protocol):
    """Named immutable objects below one root.

    Keys are relative, with ``/`` between names of letters, digits, dots, dashes and underscores.
    """

    @property
    def name(self) -> str:
        """How messages call the root."""
        ...

    def read(self, key: str) -> bytes:
        """An object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        ...

    def write(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Objects in a folder that nobody else writes; when it returns, all survive a power cut."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """An object that must not exist yet; False if it does. On True it is whole, visible and durable."""
        ...

    def replace(self, key: str, data: bytes) -> None:
        """An object, or a whole new one in its place."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names directly below a folder, sorted; none if there is no such folder."""
        ...

    def keys(self, folder: str) -> list[str]:
        """Keys of all objects below a folder, sorted."""
        ...

    def remove(self, keys: Iterable[str]) -> None:
        """Objects that nobody needs any more; absent ones are no error."""
        ...

    def clear(self, folder: str, keep: Container[str] = ()) -> int:
        """All objects below a folder except those to keep, and what held them; how many went."""
        ...

    def remove_root(self) -> None:
        """What holds the objects away, where there is none left."""
        ...

    def settle(self, folder: str) -> None:
        """Make the names in a folder survive a power cut, whoever made them."""
        ...

    def strays(self, seconds: float) -> list[str]:
        """Keys of what writers that were killed this long ago left beside the objects."""
        ...


def is_key(key: str) -> bool:
    """Whether a key follows the grammar and stays below the root."""
    return all(_NAME.fullmatch(name) and name not in (".", "..") for name in key.split("/"))


def checked_key(key: str) -> str:
    """The key, if it follows the grammar and stays below the root.

    Raises
    ------
    StoreError
        If it does not: a damaged or hostile manifest.
    """
    if not is_key(key):
        raise StoreError(
            f"key {key!r} would leave the model or is no name. Restore it from a copy."
        )
    return key

"""What a place can do for those who write and read there; which kind it is, nobody else asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Protocol

from streamsvd.checks.paths import PathOrUrl, Url
from streamsvd.store.explanations import Action
from streamsvd.store.sight import Address

ROOT_METADATA = "zarr.json"
"""What says what an array or a group is: where it is not there, nothing is."""


class Scratch(Protocol):
    """Runs of bytes that are on their way, under names with slashes; small and picklable, so that tasks put and take them.

    Writing a name again is harmless: it is replaced as a whole.
    """

    @property
    def folder(self) -> Any:
        """Where they are."""
        ...

    def put(self, name: str, data: Any) -> None:
        """Bytes under a name, or whole new ones in their place."""
        ...

    def take(self, prefix: str) -> Iterator[bytes]:
        """Bytes of the names below a prefix, in the order of the names, one after another."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Names below a prefix, sorted."""
        ...

    def remove(self, prefix: str) -> None:
        """All names below a prefix away; absent ones are no error."""
        ...


class PartialWork(Protocol):
    """What is being written for a place, beside it, by one process; others remove it if that process dies.

    Attributes
    ----------
    folder
        Where it is written: what is there takes the place.
    """

    folder: Any

    @property
    def location(self) -> Location:
        """The same, as a place to write to."""
        ...

    @property
    def scratch(self) -> Scratch:
        """What is on its way, and is gone when the rest takes its place."""
        ...

    def publish(self, *, overwrite: bool) -> None:
        """Take the place: a reader sees nothing, or all of it.

        Raises
        ------
        StoreError
            If something came there meanwhile that may not be replaced, or the place cannot be written.
        OSError
            If the disk is full.
        """
        ...

    def remove(self) -> None:
        """Remove what was written so far."""
        ...


class ResumableWork(PartialWork, Protocol):
    """A work that a run goes on with which writes the same: what it is to become is written in it.

    Attributes
    ----------
    is_continued
        Whether something of the same purpose was there.
    is_same_boot
        Whether all that was written is there, without a look at it.
    was_another
        Whether something of another purpose was there, which is gone.
    """

    is_continued: bool
    is_same_boot: bool
    was_another: bool

    @property
    def home(self) -> Any:
        """Where all of it is, for messages."""
        ...

    def begin(self) -> None:
        """What comes from now on can be continued."""
        ...

    def leave(self) -> None:
        """Leave what was written for another run."""
        ...


class Location(Protocol):
    """A place by its address. Keys are relative, with slashes; an empty one is the place itself."""

    @property
    def address(self) -> PathOrUrl:
        """Where, as users are told."""
        ...

    def exists(self, doing: Action = "read") -> bool:
        """Whether something is there.

        Raises
        ------
        StoreError
            If that cannot be seen.
        """
        ...

    def is_present(self) -> bool:
        """Whether something has its name, be it a link that leads nowhere."""
        ...

    def is_folder(self) -> bool:
        """Whether there is something below it."""
        ...

    def is_file(self) -> bool:
        """Whether it is one object, or a regular file."""
        ...

    def is_link(self) -> bool:
        """Whether it is a link to something."""
        ...

    def read(self, key: str = "", *, most: int | None = None) -> bytes:
        """An object; of a longer one as many bytes as are asked for.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        ...

    def size(self, key: str = "") -> int | None:
        """Bytes of an object; None if there is none."""
        ...

    def blocks(self, key: str, most: int) -> Iterator[bytes]:
        """Bytes of an object, as many at once as are asked for, or all."""
        ...

    def write(self, key: str, *parts: Any) -> None:
        """An object of several runs of bytes, or a whole new one in its place; it is there whole, or not at all."""
        ...

    def remove(self, key: str) -> None:
        """An object away; one that is absent is no error."""
        ...

    @property
    def free_bytes(self) -> int:
        """Bytes that may be written there; 0 where that is not known."""
        ...

    def keys(self, key: str = "") -> list[str]:
        """Keys of all objects below a key, relative to it, sorted."""
        ...

    def names(self) -> list[str]:
        """Names directly below it, sorted."""
        ...

    def entries(self, key: str = "") -> list[str]:
        """The same with folders between, where the place has such."""
        ...

    def is_plain_folder(self, name: str) -> bool:
        """Whether a name directly below it is a folder, and no link."""
        ...

    def clear(self, key: str) -> None:
        """All objects below a key away."""
        ...

    def store(self, key: str = "", *, read_only: bool = False, is_whole: bool = False) -> Any:
        """What zarr takes for an array or a group at a key.

        Where it is whole, a chunk that is not there is an error, as far as the place can tell.
        """
        ...

    @property
    def has_folders(self) -> bool:
        """Whether it is of folders and files, which are written in parts; else of objects, which are written as wholes."""
        ...

    def make_parent(self) -> None:
        """The folder that it is in, where there are folders."""
        ...

    def remove_ending(self, suffix: str) -> None:
        """All objects below it whose names end so away."""
        ...

    def output_addresses(self, key: str, place: str) -> list[Address]:
        """What processes may see differently of an object that is on its way to a place."""
        ...

    def above(self) -> Iterator[Location]:
        """The places that it lies in, the nearest first."""
        ...

    def settle(self) -> None:
        """Finish, or put back, what a process that is gone has left half done at this very place.

        Raises
        ------
        StoreError
            If another process is about to take the place.
        """
        ...

    def try_writing(self) -> None:
        """Refuse a place that cannot be written; nothing is replaced, and nothing left.

        Raises
        ------
        StoreError
            With what the system, or the provider, says.
        """
        ...

    def check_parent(self) -> None:
        """Refuse a file whose folder is not there.

        Raises
        ------
        StoreError
            It names the folder.
        """
        ...

    def begin(self) -> PartialWork:
        """Something new for this place."""
        ...

    def resume(self, purpose: dict[str, Any]) -> ResumableWork:
        """Something for this place that a run which was stopped may have begun; see `ResumableWork`.

        Raises
        ------
        StoreError
            If another process is writing it.
        """
        ...

    def replacement(self, *, overwrite: bool = True) -> AbstractContextManager[BinaryIO]:
        """A file to write, which is there as a whole at the end of the block, or not at all.

        Raises
        ------
        StoreError
            If it cannot be written, or came there meanwhile and may not be replaced.
        """
        ...


def location_of(address: PathOrUrl) -> Location:
    """The place at an address."""
    if isinstance(address, Url):
        from streamsvd.store.places.remote import RemoteLocation

        return RemoteLocation(address)
    from streamsvd.store.places.local import LocalLocation

    return LocalLocation(address)

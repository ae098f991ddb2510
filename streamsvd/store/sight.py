"""What a process sees of a stored matrix: whether it is there, what it says of itself, and the first bytes of a chunk.

Two processes that see the same of an address read the same matrix, as far as a look can tell that reads next to nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from streamsvd.store.objects.protocol import Objects

LOOK_BYTES = 64 << 10
"""Of a chunk, or of a file."""

MOST_METADATA = 64 << 20
MOST_ADDRESSES = 16
"""Of a collection: the first and the last of its arrays, and some between."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen.

    Attributes
    ----------
    metadata
        Digest of what it says of itself; None where there is nothing.
    chunk
        Digest of the first bytes of one chunk; None where there is none.
    error
        Why nothing can be seen; empty if it can.
    """

    metadata: str | None = None
    chunk: str | None = None
    error: str = ""


class Address(Protocol):
    """Something that processes may see differently; small and picklable."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    @property
    def metadata_name(self) -> str:
        """What holds the metadata, such as ``zarr.json``."""
        ...

    @property
    def chunk_name(self) -> str:
        """What else is looked at, such as the key of a chunk."""
        ...

    def look(self) -> Sight:
        """What this process sees there, now."""
        ...


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A file that holds an array from some byte on."""

    path: Path
    offset: int

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def metadata_name(self) -> str:
        return self.path.name

    @property
    def chunk_name(self) -> str:
        return f"bytes from {self.offset:,} on"

    def look(self) -> Sight:
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(self.offset)
                data = file.read(LOOK_BYTES)
        except FileNotFoundError:
            return Sight()
        except OSError as error:
            return Sight(error=str(error))
        return Sight(digest(str(size).encode()), digest(data))


@dataclass(frozen=True, slots=True)
class OutputAddress:
    """A file in what is being written.

    Attributes
    ----------
    path
        The file.
    place
        What it is to become.
    """

    path: Path
    place: str

    @property
    def name(self) -> str:
        return f"the place of the results {self.place}"

    @property
    def metadata_name(self) -> str:
        return str(self.path)

    @property
    def chunk_name(self) -> str:
        return "its first bytes"

    def look(self) -> Sight:
        return FileAddress(self.path, 0).look()


@dataclass(frozen=True, slots=True, eq=False)
class ObjectAddress:
    """An object below a place of objects.

    Attributes
    ----------
    objects
        The place.
    key
        Of an object that is never changed.
    is_output
        Whether something is written there.
    """

    objects: Objects
    key: str
    is_output: bool = False

    @property
    def name(self) -> str:
        return (
            f"the place of the results {self.objects.name}" if self.is_output else self.objects.name
        )

    @property
    def metadata_name(self) -> str:
        return self.key

    @property
    def chunk_name(self) -> str:
        return self.key

    def look(self) -> Sight:
        try:
            return Sight(digest(self.objects.read(self.key)))
        except FileNotFoundError:
            return Sight()
        except Exception as error:  # whatever a store of whatever kind trips over
            return Sight(error=f"{type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True, eq=False)
class StoreAddress:
    """An array in a zarr store.

    Attributes
    ----------
    name
        How messages call it.
    store
        As the process reads it.
    keys
        Of its metadata; the first must be there.
    chunk
        Key of a chunk; None for none.
    """

    name: str
    store: Any
    keys: tuple[str, ...]
    chunk: str | None

    @property
    def metadata_name(self) -> str:
        return self.keys[0].rpartition("/")[2]

    @property
    def chunk_name(self) -> str:
        return f"chunk {self.chunk!r}"

    def look(self) -> Sight:
        from streamsvd.store.objects.ranges import Span
        from streamsvd.store.sources.zarr_store.fetch import fetch

        try:
            own = fetch(self.store, [(key, None) for key in self.keys], MOST_METADATA)
            if own[0] is None:
                return Sight()
            parts = [b"-" if part is None else part.tobytes() for part in own]
            metadata = digest(*parts)
            if self.chunk is None:
                return Sight(metadata)
            (data,) = fetch(self.store, [(self.chunk, Span(0, LOOK_BYTES))], LOOK_BYTES)
        except Exception as error:  # whatever a store of whatever kind trips over
            return Sight(error=f"{type(error).__name__}: {error}")
        return Sight(metadata, None if data is None else digest(data.tobytes()))


def digest(*parts: bytes) -> str:
    """Of several runs of bytes."""
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def store_address(
    name: str, store: Any, keys: tuple[str, ...], chunks: Sequence[str]
) -> StoreAddress:
    """An array in a store, and the first of some of its chunks that is there."""
    from streamsvd.store.objects.ranges import Span
    from streamsvd.store.sources.zarr_store.fetch import fetch

    there = chunks[0] if chunks else None
    for key in chunks:
        with suppress(Exception):  # who reads it for good says what is wrong with it
            if fetch(store, [(key, Span(0, 1))], 1)[0] is not None:
                there = key
                break
    return StoreAddress(name, store, keys, there)


def addresses(value: Any) -> list[Address]:
    """Everything that processes may see differently in what tasks are given: those of its sources, and of what they write to."""
    return list(islice(_addresses_within(value, 6), MOST_ADDRESSES))


def _addresses_within(value: Any, depth: int) -> Iterator[Address]:
    if not type(value).__module__.startswith("streamsvd"):
        return
    if callable(getattr(value, "addresses", None)):
        yield from value.addresses()
    elif is_dataclass(value) and depth:
        for field in fields(value):
            yield from _addresses_within(getattr(value, field.name, None), depth - 1)

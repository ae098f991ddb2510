"""zarr stores that watch or disturb another store: how passes are counted, and how promises are broken.

Both wrap any zarr store and can be given to zarr and to streamsvd wherever a store can::

    store = CountingStore(LocalStore("matrix.zarr"))
    streamsvd.svd(store, rank=10)
    store.chunk_bytes / stored_bytes  # passes, as the store saw them

They are safe to use from several threads. Pickled to another process they count and fail there by
themselves, from where they were.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class _WatchedStore(WrapperStore[Store]):  # type: ignore[misc] # zarr is not followed
    """Every reading and writing of whole values, or parts of them, passes through one method each."""

    # zarr 3.4 would read past `get` otherwise.
    _supports_sync_io = False
    if hasattr(Store, "get_ranges"):
        get_ranges = Store.get_ranges

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, part) for key, part in key_ranges]


@dataclass
class _Tally:
    """Counts shared by a store and its read-only copies."""

    gets: Counter[str] = field(default_factory=Counter)
    nbytes: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            return {name: value for name, value in vars(self).items() if name != "lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.Lock())


class CountingStore(_WatchedStore):
    """A store that counts what is asked of it, key by key.

    Attributes
    ----------
    gets, sets
        How often each key was read and written.
    nbytes
        Bytes delivered for each key.
    """

    def __init__(self, store: Store, tally: _Tally | None = None) -> None:
        super().__init__(store)
        self._tally = _Tally() if tally is None else tally

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, self._tally)  # zarr opens a read-only copy; its reads count here

    @property
    def gets(self) -> Counter[str]:
        return self._tally.gets

    @property
    def sets(self) -> Counter[str]:
        return self._tally.sets

    @property
    def nbytes(self) -> Counter[str]:
        return self._tally.nbytes

    @property
    def chunk_gets(self) -> int:
        """Reads of chunks; metadata do not count."""
        return sum(count for key, count in self.gets.items() if _is_chunk(key))

    @property
    def chunk_bytes(self) -> int:
        """Bytes of chunks delivered; metadata do not count."""
        return sum(count for key, count in self.nbytes.items() if _is_chunk(key))

    def reset(self) -> None:
        """Begin again at zero."""
        with self._tally.lock:
            self.gets.clear()
            self.sets.clear()
            self.nbytes.clear()

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        value = await self._store.get(key, prototype, byte_range)
        with self._tally.lock:
            self.gets[key] += 1
            self.nbytes[key] += 0 if value is None else len(value)
        return value

    async def set(self, key: str, value: Buffer) -> None:
        await self._store.set(key, value)
        with self._tally.lock:
            self.sets[key] += 1


def _is_chunk(key: str) -> bool:
    return key.rsplit("/", 1)[-1] not in _METADATA


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at one operation on one key.

    Attributes
    ----------
    operation
        ``"get"``, ``"set"`` or ``"delete"``.
    key
        Regular expression that the whole key matches.
    kind
        ``"EIO"`` or ``"ENOSPC"``: that `OSError` is raised. ``"flip"``: bit ``amount`` of the value is
        changed. ``"truncate"``: ``amount`` bytes of it are left. ``"drop"``: the key reads as absent, or
        the write is acknowledged and not made. ``"delay"``: it takes ``amount`` seconds longer.
    attempts
        Which attempts on a key are struck, counted from 0; all if left out. Attempts are counted for
        each operation and key by themselves, so that the order of concurrent requests does not matter.
    amount
        Bit, bytes or seconds.
    """

    operation: Literal["get", "set", "delete"]
    key: str
    kind: Literal["EIO", "ENOSPC", "flip", "truncate", "drop", "delay"]
    attempts: tuple[int, ...] | None = None
    amount: float = 0

    def strikes(self, operation: str, key: str, attempt: int) -> bool:
        """Whether this attempt goes wrong."""
        return (
            operation == self.operation
            and re.fullmatch(self.key, key) is not None
            and (self.attempts is None or attempt in self.attempts)
        )


@dataclass
class _Attempts:
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def __getstate__(self) -> dict[str, Any]:
        with self.lock:
            return {"made": self.counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lock=threading.Lock())


class FaultyStore(_WatchedStore):
    """A store in which planned things go wrong.

    >>> from zarr.storage import MemoryStore
    >>> broken = FaultyStore(MemoryStore(), Fault("get", r"c/3/0", "EIO", attempts=(0,)))
    """

    def __init__(self, store: Store, *faults: Fault, attempts: _Attempts | None = None) -> None:
        super().__init__(store)
        self.faults: Sequence[Fault] = faults
        self._attempts = _Attempts() if attempts is None else attempts

    def _with_store(self, store: Store) -> Self:
        return type(self)(store, *self.faults, attempts=self._attempts)

    @property
    def attempts(self) -> Counter[tuple[str, str]]:
        """How often each operation was tried on each key."""
        return self._attempts.counts

    async def _struck(self, operation: str, key: str) -> list[Fault]:
        """The faults of this attempt, once delays have passed and errors were raised."""
        with self._attempts.lock:
            attempt = self.attempts[operation, key]
            self.attempts[operation, key] += 1
        struck = [fault for fault in self.faults if fault.strikes(operation, key, attempt)]
        for fault in struck:
            if fault.kind == "delay":
                await asyncio.sleep(fault.amount)
            elif fault.kind in ("EIO", "ENOSPC"):
                number = getattr(errno, fault.kind)
                raise OSError(number, os.strerror(number), key)
        return struck

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        struck = await self._struck("get", key)
        value = await self._store.get(key, prototype, byte_range)
        if value is None or any(fault.kind == "drop" for fault in struck):
            return None
        return (
            prototype.buffer.from_bytes(_damage_bytes(value.to_bytes(), struck))
            if struck
            else value
        )

    async def set(self, key: str, value: Buffer) -> None:
        struck = await self._struck("set", key)
        if any(fault.kind == "drop" for fault in struck):
            return
        await self._store.set(
            key,
            type(value).from_bytes(_damage_bytes(value.to_bytes(), struck)) if struck else value,
        )

    async def delete(self, key: str) -> None:
        struck = await self._struck("delete", key)
        if not any(fault.kind == "drop" for fault in struck):
            await self._store.delete(key)


def _damage_bytes(data: bytes, faults: Sequence[Fault]) -> bytes:
    for fault in faults:
        if fault.kind == "flip" and data:
            byte, bit = divmod(int(fault.amount) % (8 * len(data)), 8)
            data = data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]
        elif fault.kind == "truncate":
            data = data[: int(fault.amount)]
    return data

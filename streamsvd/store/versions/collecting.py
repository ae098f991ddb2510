"""What nobody needs any more, and leases that say what somebody does."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable

from streamsvd.errors import MissingObjectError, StoreError
from streamsvd.store.versions.model_store import ENTRY, FOLDER, LEASES, LOG, VERSIONS, ModelStore
from streamsvd.store.versions.records import BlockEntry, Lease, seal, unseal

LEASE_SECONDS = 3600.0


def lease(store: ModelStore, version: int, seconds: float = LEASE_SECONDS) -> str:
    """Protect a version from being collected for a while; returns the key of the lease."""
    key = f"{LEASES}/{version:012d}-{uuid.uuid4().hex[:12]}.json"
    with store.explain_writes():
        store.objects.create(key, seal(Lease(version, time.time() + seconds)))
    return key


def release(store: ModelStore, key: str) -> None:
    """End a lease."""
    with contextlib.suppress(OSError):
        store.objects.remove([key])


def leased_versions(store: ModelStore) -> set[int]:
    """Versions that someone reads; leases that have run out are removed."""
    held = set()
    for name in store.names(LEASES):
        key = f"{LEASES}/{name}"
        if not ENTRY.fullmatch(name[:12] + name[25:]):  # half made, or a stranger
            continue
        try:
            lease = unseal(store.read(key), Lease, key)
        except (StoreError, FileNotFoundError):
            continue
        if lease.expires > time.time():
            held.add(lease.version)
        else:
            release(store, key)
    return held


def collect(store: ModelStore, *, back: int | None = None) -> int:
    """Remove what no kept version, no lease and no block needs; returns how many objects went.

    Parameters
    ----------
    store
        The model.
    back
        Look at so many versions below those kept, where older ones were looked at before; all if left out.

    A folder is collected only if its number is not above the newest version: a draft of a writer at work
    has a number above it, and one that lost or was killed can never be committed any more.

    Raises
    ------
    StoreError
        If a version that must be kept cannot be read, so that nobody knows what it needs; or if the store
        does not let go.
    """
    newest = store.newest()
    if not newest:
        return 0
    floor = max(store.manifest(newest).floor, 1)
    needed, own = _needed_objects(store, range(floor, newest + 1), leased_versions(store))
    removed = 0
    with store.explain_writes():
        for name in store.names(VERSIONS):
            folder = f"{VERSIONS}/{name}"
            if folder in own or not FOLDER.fullmatch(name) or int(name[:12]) > newest:
                continue
            if back is not None and int(name[:12]) < floor - back:
                continue
            with contextlib.suppress(StoreError):  # a link: not ours to follow or to remove
                removed += store.objects.clear(folder, needed)
        doomed = [
            f"{LOG}/{name}"
            for name in store.names(LOG)
            if name.endswith(".tmp") and ENTRY.fullmatch(name[:17]) and int(name[:12]) <= newest
        ]
        doomed += [key for key in store.objects.strays(LEASE_SECONDS) if key not in doomed]
        store.objects.remove(doomed)
    return removed + len(doomed)


def _needed_objects(
    store: ModelStore, kept: Iterable[int], beside: set[int]
) -> tuple[set[str], set[str]]:
    """Objects, and whole folders, that these versions need.

    A lease on a version that is gone, or never was, protects nothing.
    """
    needed: set[str] = set()
    own: set[str] = set()
    segments: dict[str, list[BlockEntry]] = {}
    certain = set(kept)
    for version in sorted(certain | beside):
        if version not in certain and not store.exists(version):
            continue
        entry = store.entry(version)
        if not entry.folder:  # lost, and repaired over
            continue
        try:
            manifest = store.manifest(version)
        except MissingObjectError:
            if version in certain:
                raise
            continue
        own.add(entry.folder)
        needed |= set(manifest.files) | {s.key for s in manifest.segments}
        # Left vectors of blocks outlive the versions that absorbed them.
        for s in manifest.segments:
            if s.key not in segments:
                segments[s.key] = store.segment(s)
            needed.update(key for block in segments[s.key] for key in block.files)
        needed.update(key for block in manifest.tail for key in block.files)
    return needed, own

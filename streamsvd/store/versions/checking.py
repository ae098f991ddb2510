"""Every stored object held against its checksum; and the way back to the newest version that is whole."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import msgspec

from streamsvd.errors import ConflictError, CorruptChunkError, StoreError
from streamsvd.store.versions.model_store import (
    DEFAULT_KEEP,
    HEAD,
    LEASES,
    LOG,
    SETTINGS,
    ModelStore,
    log_key,
    version_numbers,
)
from streamsvd.store.versions.records import (
    FORMAT,
    Head,
    Lease,
    LogEntry,
    Manifest,
    Mark,
    ModelSettings,
    NewerFormatError,
    VersionKind,
    VersionSummary,
    plain_record,
    seal,
    unseal,
)

TRIES = 5
"""Checks beside writers that are never idle, before what is still missing counts."""
MOST_MISSING = 10_000
"""Log entries that may be missing before a model is beyond repair."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what was written.

    Attributes
    ----------
    key
        Of the object, below the root of the model.
    reason
        What is wrong with it.
    version
        The version that needs it; 0 if it belongs to none.
    """

    key: str
    reason: str
    version: int

    def __str__(self) -> str:
        where = f" (version {self.version})" if self.version else ""
        return f"{self.key}: {self.reason}{where}"


def check_store(store: ModelStore) -> tuple[list[Damage], int]:
    """Every damage, and the newest version that is whole; 0 if none is.

    Notes
    -----
    Cost: reads every object of every kept version once; again, if writers have gone on and something is
    missing: they collect what is no longer kept.
    """
    for _ in range(TRIES):
        found, whole, last = _check_all(store)
        later = max(version_numbers(store.names(LOG)), default=0)
        if not found or later <= last:
            break
        with contextlib.suppress(StoreError):
            floor = store.manifest(later).floor
            found = [d for d in found if not 0 < d.version < floor]
    return found, whole


def _check_all(store: ModelStore) -> tuple[list[Damage], int, int]:
    """As above, and the newest version that there was when it began."""
    found: list[Damage] = []
    try:
        store.settings()
    except NewerFormatError:
        raise
    except StoreError as error:
        reason = "missing" if _absent(store, SETTINGS) else str(error)
        found.append(Damage(SETTINGS, reason, 0))
    entries, last = _entries(store, found)
    manifests = {v: m for v in entries if (m := _manifest(store, entries[v], found)) is not None}
    newest = max(manifests, default=0)
    # What a lost newest version allowed to be collected is not known: nothing below its neighbour's is damage.
    floor = manifests[newest].floor if newest else 1
    sound: dict[tuple[str, Mark], str | None] = {}
    whole = 0
    for version in sorted(manifests):
        damaged = _objects(store, manifests[version], sound)
        if version < floor and damaged:
            continue  # collected, or on the way
        found += damaged
        if not damaged:
            whole = version
    # Every version that was lost may have let one more be collected.
    gone = min(floor + last - newest, newest)
    found = [
        d
        for d in found
        if not (d.key.endswith("manifest.json") and 0 < d.version < floor)
        and not (d.key.endswith("manifest.json") and 0 < d.version < gone and d.reason == "missing")
    ]
    return found, whole, last


def _reason(error: Exception) -> str:
    if isinstance(error, CorruptChunkError):
        return error.reason
    text = str(error)
    return "missing" if "missing" in text or isinstance(error, FileNotFoundError) else text


def _entries(store: ModelStore, found: list[Damage]) -> tuple[dict[int, LogEntry], int]:
    """Log entries that can be read; gaps, strangers and a head that is ahead are damage."""
    # The head before the log: what a writer commits meanwhile must not look like a head that is ahead.
    head = _head(store, found)
    numbers = version_numbers(store.names(LOG))
    if numbers and head is None:
        found.append(Damage(HEAD, "missing", 0))
    last = max([head or 0, *numbers[-1:]])
    missing = last - len(numbers)
    if missing > MOST_MISSING:
        raise StoreError(
            f"{store.name} has {len(numbers):,} log entries, the last of them would be version {last:,}. Too much "
            "of it is missing: restore it from a copy."
        )
    entries = {}
    for version in range(1, last + 1):
        try:
            entries[version] = store.entry(version)
        except NewerFormatError:
            raise
        except StoreError as error:
            reason = str(error) if store.exists(version) else "missing"
            found.append(Damage(log_key(version), reason, 0))
    for name in store.names(LEASES):
        key = f"{LEASES}/{name}"
        if name.endswith(".tmp"):
            continue
        try:
            unseal(store.read(key), Lease, key)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.append(Damage(key, str(error), 0))
    return entries, last


def _absent(store: ModelStore, key: str) -> bool:
    try:
        store.read(key)
    except FileNotFoundError:
        return True
    except StoreError:
        return False
    return False


def _head(store: ModelStore, found: list[Damage]) -> int | None:
    """The version that the head names; 0 if it cannot be read, None if it is missing."""
    try:
        return unseal(store.read(HEAD), Head, HEAD).version
    except FileNotFoundError:
        return None
    except OSError as error:
        found.append(Damage(HEAD, str(error), 0))
        return 0


def _manifest(store: ModelStore, entry: LogEntry, found: list[Damage]) -> Manifest | None:
    key = f"{entry.folder}/manifest.json"
    if entry.kind == "repair" and not entry.folder:
        return None
    try:
        return plain_record(store.read_checked(key, entry.manifest), Manifest, key)
    except NewerFormatError:
        raise
    except StoreError as error:
        found.append(Damage(key, _reason(error), entry.version))
        return None


def _objects(
    store: ModelStore, manifest: Manifest, sound: dict[tuple[str, Mark], str | None]
) -> list[Damage]:
    """Damage among the objects that a version needs; each is read once for all versions."""
    marks = dict(manifest.files) | {s.key: (s.hash, s.length) for s in manifest.segments}
    damaged = [
        d for d in (_object(store, k, m, manifest.version, sound) for k, m in marks.items()) if d
    ]
    if not damaged:
        try:
            blocks = store.blocks(manifest)
        except StoreError as error:  # not JSON of ours, although the checksum is right
            return [Damage(manifest.segments[-1].key, str(error), manifest.version)]
        for block in blocks:
            hits = (_object(store, k, m, manifest.version, sound) for k, m in block.files.items())
            damaged += [d for d in hits if d]
    return damaged


def _object(
    store: ModelStore,
    key: str,
    expected: Mark,
    version: int,
    sound: dict[tuple[str, Mark], str | None],
) -> Damage | None:
    if (key, expected) not in sound:
        try:
            store.read_checked(key, expected)
            sound[key, expected] = None
        except StoreError as error:
            sound[key, expected] = _reason(error)
    reason = sound[key, expected]
    return None if reason is None else Damage(key, reason, version)


def repair(store: ModelStore) -> tuple[int, list[Damage]]:
    """Make the newest whole version the newest one; returns its number and what was damaged.

    Versions that are damaged are given up: their log entries, and those that cannot be read, are replaced by ones
    that say so. What is left of them is collected later.

    Raises
    ------
    StoreError
        If no version is whole.
    """
    found, whole = check_store(store)
    if not found:
        return whole, []
    if not whole:
        raise StoreError(
            f"{store.name} has no version that is whole: {'; '.join(str(d) for d in found[:3])}. "
            "Restore it from a copy."
        )
    good = store.manifest(whole)
    with store.explain_writes():
        last = _mend_log(store, found, good.summary)
        with contextlib.suppress(OSError):
            store.objects.remove([d.key for d in found if d.key.startswith(LEASES)])
        if any(d.key == SETTINGS for d in found):
            store.objects.replace(SETTINGS, seal(_settings(store, good)))
        floor = _first_kept_version(store, good)
        for version in {d.version for d in found} - {0, whole}:
            _give_up(store, version)
        if last > whole:
            good = msgspec.structs.replace(good, floor=floor)
            republish(store, good, last, "repair")
            last += 1
        store.objects.replace(HEAD, seal(Head(last)))
    return whole, found


def _give_up(store: ModelStore, version: int) -> None:
    """Say in the log that a version is lost; what it had absorbed stays on record."""
    lost = msgspec.structs.replace(store.entry(version), kind="repair", folder="", manifest=(0, 0))
    store.objects.replace(log_key(version), seal(lost))


def _settings(store: ModelStore, good: Manifest) -> ModelSettings:
    """What the model was created with, as far as a version tells."""
    keep = good.version - good.floor + 1 if good.floor > 1 else DEFAULT_KEEP
    blocks = store.blocks(good)
    # Rows before the first block are those of a batch result.
    base = blocks[0].start > 0 if blocks else good.n_rows > 0
    return ModelSettings(FORMAT, good.spec, max(keep, 2), base)


def _first_kept_version(store: ModelStore, good: Manifest) -> int:
    """The earliest version from which on all are there up to a good one: those before it were collected.

    How far they were, only the versions that were lost know.
    """
    floor = good.version
    with contextlib.suppress(StoreError):
        while floor > good.floor:
            store.manifest(floor - 1)
            floor -= 1
    return floor


def _mend_log(store: ModelStore, found: list[Damage], summary: VersionSummary) -> int:
    """Replace entries that are lost; the number of the last entry."""
    numbers = version_numbers(store.names(LOG))
    for damage in found:
        if not damage.key.startswith(LOG):
            continue
        version = int(damage.key.removeprefix(f"{LOG}/")[:12])
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lost = LogEntry(FORMAT, version, "repair", "", (0, 0), "", "lost", now, summary)
        if damage.reason != "missing":
            store.objects.replace(damage.key, seal(lost))
        elif not store.objects.create(damage.key, seal(lost)):
            raise _conflict(store)
        numbers.append(version)
    return max(numbers, default=0)


def republish(store: ModelStore, good: Manifest, last: int, kind: VersionKind) -> Manifest:
    """The state of an earlier version as the next one; its objects stay where they are.

    Raises
    ------
    ConflictError
        If another writer was first.
    """
    draft = store.draft(last + 1)
    manifest = msgspec.structs.replace(good, version=last + 1, kind=kind)
    if not store.publish(draft, manifest):
        raise _conflict(store)
    return manifest


def _conflict(store: ModelStore) -> ConflictError:
    return ConflictError(f"{store.name} was changed by another writer meanwhile. Run it again.")

"""Every stored object held against its checksum; and the way back to the newest version that is whole."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import msgspec

from streamsvd.errors import StoreError
from streamsvd.store.model.records import (
    FORMAT,
    Head,
    Kind,
    Lease,
    LogEntry,
    Manifest,
    Settings,
    Summary,
    plain_record,
    sealed,
    unsealed,
)
from streamsvd.store.model.versions import (
    DEFAULT_KEEP,
    HEAD,
    LEASES,
    LOG,
    SETTINGS,
    ModelStore,
    explained,
    log_key,
)


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


def check(store: ModelStore) -> tuple[list[Damage], int]:
    """Every damage, and the newest version that is whole; 0 if none is.

    Notes
    -----
    Cost: reads every object of every kept version once.
    """
    found: list[Damage] = []
    try:
        store.settings()
    except StoreError as error:
        found.append(Damage("model.json", _reason(error), 0))
    entries = _entries(store, found)
    manifests = {v: m for v in entries if (m := _manifest(store, entries[v], found)) is not None}
    newest = max(manifests, default=0)
    # What a lost newest version allowed to be collected is not known: nothing below its neighbour's is damage.
    floor = manifests[newest].floor if newest else 1
    sound: dict[str, str | None] = {}
    whole = 0
    for version in sorted(manifests):
        damaged = _objects(store, manifests[version], sound)
        if version < floor and damaged:
            continue  # collected, or on the way
        found += damaged
        if not damaged:
            whole = version
    found = [
        d
        for d in found
        if not (d.version and d.version < floor and d.key.endswith("manifest.json"))
    ]
    return found, whole


def _reason(error: Exception) -> str:
    text = str(error)
    return "missing" if "missing" in text or isinstance(error, FileNotFoundError) else text


def _entries(store: ModelStore, found: list[Damage]) -> dict[int, LogEntry]:
    """Log entries that can be read; gaps, strangers and a head that is ahead are damage."""
    names = store.objects.names(LOG)
    numbers = sorted(
        int(n[:12]) for n in names if n[:12].isdigit() and n.endswith(".json") and len(n) == 17
    )
    last = numbers[-1] if numbers else 0
    try:
        head = unsealed(store.objects.read(HEAD), Head, HEAD).version
        last = max(last, head)
    except FileNotFoundError:
        if numbers:
            found.append(Damage(HEAD, "missing", 0))
    except StoreError as error:
        found.append(Damage(HEAD, str(error), 0))
    entries = {}
    for version in range(1, last + 1):
        try:
            entries[version] = store.entry(version)
        except StoreError as error:
            reason = "missing" if version not in numbers else str(error)
            found.append(Damage(log_key(version), reason, 0))
    for name in store.objects.names(LEASES):
        key = f"{LEASES}/{name}"
        if name.endswith(".tmp"):
            continue
        try:
            unsealed(store.objects.read(key), Lease, key)
        except FileNotFoundError:
            continue
        except StoreError as error:
            found.append(Damage(key, str(error), 0))
    return entries


def _manifest(store: ModelStore, entry: LogEntry, found: list[Damage]) -> Manifest | None:
    key = f"{entry.folder}/manifest.json"
    if entry.kind == "repair" and not entry.folder:
        return None
    try:
        return plain_record(store.checked(key, entry.manifest), Manifest, key)
    except StoreError as error:
        found.append(Damage(key, _reason(error), entry.version))
        return None


def _objects(store: ModelStore, manifest: Manifest, sound: dict[str, str | None]) -> list[Damage]:
    """Damage among the objects that a version needs; each is read once for all versions."""
    marks = dict(manifest.files) | {s.key: (s.crc, s.length) for s in manifest.segments}
    damaged = [
        d for d in (_object(store, k, m, manifest.version, sound) for k, m in marks.items()) if d
    ]
    if not damaged:
        for block in store.blocks(manifest):
            hits = (_object(store, k, m, manifest.version, sound) for k, m in block.files.items())
            damaged += [d for d in hits if d]
    return damaged


def _object(
    store: ModelStore,
    key: str,
    expected: tuple[int, int],
    version: int,
    sound: dict[str, str | None],
) -> Damage | None:
    if key not in sound:
        try:
            store.checked(key, expected)
            sound[key] = None
        except StoreError as error:
            sound[key] = _reason(error)
    reason = sound[key]
    return None if reason is None else Damage(key, reason, version)


def repair(store: ModelStore) -> tuple[int, list[Damage]]:
    """Make the newest whole version the newest one; returns its number and what was damaged.

    What is damaged stays where it is; log entries that cannot be read are replaced by ones that say so.

    Raises
    ------
    StoreError
        If no version is whole.
    """
    found, whole = check(store)
    if not found:
        return whole, []
    if not whole:
        raise StoreError(
            f"{store.name} has no version that is whole: {'; '.join(str(d) for d in found[:3])}. "
            "Restore it from a copy."
        )
    good = store.manifest(whole)
    with explained(store.name):
        last = _mend_log(store, found, good.summary)
        with contextlib.suppress(OSError):
            store.objects.remove([d.key for d in found if d.key.startswith(LEASES)])
        if any(d.key == SETTINGS for d in found):
            spec = good.spec
            store.objects.replace(SETTINGS, sealed(Settings(FORMAT, spec, DEFAULT_KEEP, False)))
        if last > whole:
            republish(store, good, last, "repair")
            last += 1
        store.objects.replace(HEAD, sealed(Head(last)))
    return whole, found


def _mend_log(store: ModelStore, found: list[Damage], summary: Summary) -> int:
    """Replace entries that are lost; the number of the last entry."""
    numbers = [int(n[:12]) for n in store.objects.names(LOG) if n[:12].isdigit() and len(n) == 17]
    for damage in found:
        if not damage.key.startswith(LOG):
            continue
        version = int(damage.key.removeprefix(f"{LOG}/")[:12])
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lost = LogEntry(FORMAT, version, "repair", "", (0, 0), "", "lost", now, summary)
        store.objects.replace(damage.key, sealed(lost))
        numbers.append(version)
    return max(numbers, default=0)


def republish(store: ModelStore, good: Manifest, last: int, kind: Kind) -> Manifest:
    """The state of an earlier version as the next one; its objects stay where they are.

    Raises
    ------
    StoreError
        If another writer was first.
    """
    draft = store.draft(last + 1)
    manifest = msgspec.structs.replace(good, version=last + 1, kind=kind)
    if not store.publish(draft, manifest):
        raise StoreError(f"{store.name} was changed by another writer meanwhile. Run it again.")
    return manifest

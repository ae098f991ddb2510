"""Versions of a model: reading the newest, and committing the next one exactly once.

A version is written whole, and synced, into a folder that carries a random name; it exists from the moment at
which ``log/N.json`` is created, which can succeed once. Whoever comes second has lost nothing but time. A kill
before that moment leaves a folder that nobody refers to, and that is collected later.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from streamsvd.errors import AccessError, CorruptChunkError, MissingObjectError, StoreError
from streamsvd.store.explanations import access_error, explain_errors, path_exists
from streamsvd.store.objects import Objects
from streamsvd.store.versions.arrays import Array, decode_array
from streamsvd.store.versions.draft import Draft
from streamsvd.store.versions.records import (
    FORMAT,
    REPAIR_REMEDY,
    BlockEntry,
    FactorRecord,
    Head,
    LogEntry,
    Manifest,
    Mark,
    ModelSettings,
    ModelSpec,
    Segment,
    VersionKind,
    VersionSummary,
    mark,
    plain_record,
    seal,
    unseal,
)

SETTINGS, HEAD, LOG, VERSIONS, LEASES = "model.json", "head.json", "log", "versions", "leases"
SEGMENT_ENTRIES = 64
"""Block entries of a segment; as many segments of one size are joined to a larger one."""
DEFAULT_KEEP = 10
ENTRY = re.compile(r"[0-9]{12}\.json")
FOLDER = re.compile(r"[0-9]{12}-[0-9a-f]{12}")


def log_key(version: int) -> str:
    """Key of a log entry."""
    return f"{LOG}/{version:012d}.json"


def version_numbers(names: Iterable[str]) -> list[int]:
    """Versions that these names of log entries stand for, ascending."""
    return sorted(int(name[:12]) for name in names if ENTRY.fullmatch(name))


def is_model(objects: Objects) -> bool:
    """Whether there is a model, not merely something."""
    try:
        objects.read(SETTINGS)
    except AccessError:  # nobody can say
        raise
    except OSError:
        return False
    return True


@dataclass(slots=True, eq=False)
class ModelStore:
    """The versions below one root.

    Parameters
    ----------
    objects
        Where they are kept.
    remedy
        What mends them, at the end of messages.
    """

    objects: Objects
    remedy: str = REPAIR_REMEDY

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.objects.name

    def explain_writes(self) -> explain_errors:
        """Words for what goes wrong in writing."""
        return explain_errors(self.name, "the last version is intact, so that you can run again.")

    # Reading ------------------------------------------------------------------------------------------

    def read(self, key: str) -> bytes:
        """An object; whatever the place says of it, but that it is absent, is an error that names it."""
        try:
            return self.objects.read(key)
        except (FileNotFoundError, StoreError):
            raise
        except OSError as error:
            raise access_error(error, "read", f"{self.name}/{key}") from error

    def names(self, folder: str) -> list[str]:
        try:
            return self.objects.names(folder)
        except StoreError:
            raise
        except OSError as error:
            raise access_error(error, "list", f"{self.name}/{folder}") from error

    def exists(self, version: int) -> bool:
        """Whether the log has an entry of this number, whatever it says."""
        try:
            self.read(log_key(version))
        except FileNotFoundError:
            return False
        except StoreError:
            return True
        return True

    def settings(self) -> ModelSettings:
        """What the model was created with.

        Raises
        ------
        StoreError
            If this is no model, or one of a newer format.
        """
        try:
            data = self.read(SETTINGS)
        except FileNotFoundError:
            root = getattr(self.objects, "root", None)
            if root is not None and not path_exists(root):
                raise StoreError(f"{self.name} does not exist. Check the path.") from None
            raise StoreError(
                f"{self.name} is not a model: it has no {SETTINGS}. Pass a folder that streamsvd update made."
            ) from None
        return unseal(data, ModelSettings, f"{self.name}/{SETTINGS}", self.remedy)

    def log_versions(self) -> list[int]:
        """Numbers of the log's entries.

        Raises
        ------
        StoreError
            If one is missing, naming it.
        """
        found = version_numbers(self.names(LOG))
        for expected, version in enumerate(found, start=1):
            # A folder that is written to while it is listed may show a name and not an older one.
            if version != expected and not self.exists(expected):
                raise StoreError(
                    f"{self.name}/{log_key(expected)} is missing although version {version} follows it. "
                    f"{self.remedy}"
                )
            if version != expected:
                return self.log_versions()
        return found

    def newest(self) -> int:
        """Number of the newest version; 0 if there is none yet.

        Raises
        ------
        StoreError
            If an entry of the log was lost.
        """
        head = self.head()
        versions = self.log_versions()
        newest = versions[-1] if versions else 0
        if head > newest:
            raise StoreError(
                f"{self.name}/{log_key(newest + 1)} is missing although version {head} was committed. "
                f"{self.remedy}"
            )
        return newest

    def moved_beyond(self, version: int) -> bool:
        """Whether there is a newer version than this one: two reads, however long the log is."""
        return self.head() > version or self.exists(version + 1)

    def head(self) -> int:
        """The version that the hint names; 0 without a hint."""
        try:
            data = self.read(HEAD)
        except FileNotFoundError:
            return 0
        return unseal(data, Head, f"{self.name}/{HEAD}", self.remedy).version

    def entry(self, version: int) -> LogEntry:
        """The log entry of a version."""
        key = log_key(version)
        try:
            data = self.read(key)
        except FileNotFoundError:
            raise StoreError(f"{self.name} has no version {version}. Run streamsvd log.") from None
        entry = unseal(data, LogEntry, f"{self.name}/{key}", self.remedy)
        if entry.version != version:
            raise StoreError(f"{self.name}/{key} is of version {entry.version}. {self.remedy}")
        return entry

    def manifest(self, version: int) -> Manifest:
        """The manifest of a version, checked against its log entry."""
        entry = self.entry(version)
        if not entry.folder:
            raise StoreError(
                f"version {version} of {self.name} was lost, and repaired over. Run streamsvd log."
            )
        key = f"{entry.folder}/manifest.json"
        return plain_record(
            self.read_checked(key, entry.manifest), Manifest, f"{self.name}/{key}", self.remedy
        )

    def read_checked(self, key: str, expected: Mark) -> bytes:
        """An object whose length and checksum are as recorded.

        Raises
        ------
        MissingObjectError, CorruptChunkError
            Naming the key.
        """
        try:
            data = self.read(key)
        except FileNotFoundError:
            raise MissingObjectError(key, self.name, self.remedy) from None
        if len(data) != expected[1]:
            raise CorruptChunkError(
                key, self.name, f"{len(data):,} bytes instead of {expected[1]:,}"
            )
        if mark(data) != tuple(expected):
            raise CorruptChunkError(key, self.name, "its checksum does not match")
        return data

    def array(self, folder: str, files: Mapping[str, Mark]) -> Array:
        """The array at a folder, every object of it checked."""
        prefix = folder + "/"
        own = {key: m for key, m in files.items() if key.startswith(prefix)}
        try:
            return decode_array(
                {key.removeprefix(prefix): self.read_checked(key, m) for key, m in own.items()}
            )
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(
                f"{self.name}/{folder} cannot be decoded: {error}. {self.remedy}"
            ) from error

    def blocks(self, manifest: Manifest) -> list[BlockEntry]:
        """Every block that the version has absorbed, in order."""
        found: list[BlockEntry] = []
        for s in manifest.segments:
            found += self.segment(s)
        return found + manifest.tail

    def segment(self, s: Segment) -> list[BlockEntry]:
        """The blocks of one segment."""
        data = self.read_checked(s.key, (s.hash, s.length))
        return plain_record(data, list[BlockEntry], f"{self.name}/{s.key}", self.remedy)

    # Writing ------------------------------------------------------------------------------------------

    def create(self, settings: ModelSettings) -> None:
        """Make the model.

        Raises
        ------
        StoreError
            If there is one already.
        """
        with self.explain_writes():
            if not self.objects.create(SETTINGS, seal(settings)):
                raise StoreError(
                    f"{self.name} is a model already. Open it, or choose another place."
                )
            # From now on a head that is missing was lost.
            self.objects.create(HEAD, seal(Head(0)))

    def begin(self, settings: ModelSettings) -> ModelSettings:
        """Make the model, unless there is one; what it was made with, by whoever was first."""
        if not is_model(self.objects):
            try:
                self.create(settings)
            except StoreError:
                if not is_model(self.objects):
                    raise
        return self.settings()

    def resettle(self, settings: ModelSettings) -> None:
        """Other settings, of a model that has no version yet."""
        with self.explain_writes():
            self.objects.replace(SETTINGS, seal(settings))

    def draft(self, version: int) -> Draft:
        """A place for the version after the newest."""
        return Draft(version, f"{VERSIONS}/{version:012d}-{uuid.uuid4().hex[:12]}")

    def flush(self, draft: Draft) -> None:
        """Write, and sync, what the draft holds so far.

        A draft whose number another writer has taken may be collected while it is written. That is no error:
        `commit` will say so.
        """
        try:
            with self.explain_writes():
                self.objects.write(draft.folder, draft.pending)
        except StoreError:
            self.discard(draft)
            if not self.exists(draft.version):
                raise
        draft.pending = {}

    def commit(
        self,
        draft: Draft,
        *,
        kind: VersionKind,
        spec: ModelSpec,
        parent: Manifest | None,
        factor: FactorRecord,
        nodes: dict[str, FactorRecord],
        first: int,
        n_rows: int,
        added: list[BlockEntry],
        summary: VersionSummary,
        keep: int,
    ) -> Manifest | None:
        """The version, if it is still the next one; None if another writer was first.

        Returns
        -------
        manifest
            What was committed: it survives a power cut from here on.
        """
        segments = list(parent.segments) if parent else []
        tail = [*(parent.tail if parent else []), *added]
        try:
            segments, tail = self._fold_entries(draft, segments, tail)
        except StoreError:
            self.discard(draft)
            if self.exists(draft.version):  # the parent may have been collected since
                return None
            raise
        manifest = Manifest(
            format=FORMAT,
            version=draft.version,
            kind=kind,
            spec=spec,
            floor=max(parent.floor if parent else 1, draft.version - keep + 1),
            factor=factor,
            nodes=nodes,
            first=first,
            n_blocks=(parent.n_blocks if parent else 0) + len(added),
            n_rows=n_rows,
            arrays=draft.arrays,
            files=draft.files,
            segments=segments,
            tail=tail,
            summary=summary,
        )
        return manifest if self.publish(draft, manifest) else None

    def publish(self, draft: Draft, manifest: Manifest) -> bool:
        """Write the manifest and create the log entry; False, and nothing left behind, if it exists.

        Raises
        ------
        StoreError
            If it cannot be written, or could not be read again: JSON has no NaN and no Inf.
        """
        data = msgspec.json.encode(manifest)
        draft.pending["manifest.json"] = data
        try:
            self._require_finite(data, draft.version)
            self.flush(draft)
        except BaseException:
            self.discard(draft)
            raise
        entry = LogEntry(
            FORMAT,
            draft.version,
            manifest.kind,
            draft.folder,
            mark(data),
            manifest.spec.digest,
            draft.mark,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            manifest.summary,
        )
        try:
            with self.explain_writes():
                created = self.objects.create(log_key(draft.version), seal(entry))
        except StoreError:
            # The entry may exist or not, so that the folder must stay; unless another writer's is there. A
            # writer that was stopped may find that others have collected what it was about to link.
            if not self.exists(draft.version) or self.entry(draft.version).folder == draft.folder:
                raise
            created = False
        if not created:
            self.discard(draft)
            return False
        with contextlib.suppress(OSError):  # a hint: the version is committed
            self._move_head(draft.version)
        return True

    def _require_finite(self, manifest: bytes, version: int) -> None:
        """Refuse a manifest that could not be read again."""
        try:
            msgspec.json.decode(manifest, type=Manifest)
        except msgspec.ValidationError as error:
            raise StoreError(
                f"version {version} of {self.name} is not finite ({error}), and was not written; the last version "
                "is intact. Leave the block out, or scale the data."
            ) from error

    def _move_head(self, version: int) -> None:
        """Let the head name the newest version.

        Whoever writes the head last looks whether the log has gone on since: so it never stays behind, although
        writers replace it in any order.
        """
        while True:
            with self.explain_writes():
                self.objects.replace(HEAD, seal(Head(version)))
            newest = version
            while self.exists(newest + 1):
                newest += 1
            if newest == version:
                return
            version = newest

    def settle(self) -> None:
        """Make the newest version survive a power cut, if its writer was killed, or failed, before it did.

        To be called before a block is acknowledged that was found in the model.
        """
        newest = self.newest()
        if newest and self.head() < newest:
            with self.explain_writes():
                self.objects.settle(LOG)
            with contextlib.suppress(OSError):
                self._move_head(newest)

    def discard(self, draft: Draft) -> None:
        """Remove what a draft has written, as far as the store lets us."""
        with contextlib.suppress(OSError):
            self.objects.clear(draft.folder)

    def _fold_entries(
        self, draft: Draft, segments: list[Segment], tail: list[BlockEntry]
    ) -> tuple[list[Segment], list[BlockEntry]]:
        """Entries beyond a run go to segments, so that a commit writes little however many there are."""
        while len(tail) >= SEGMENT_ENTRIES:
            segments.append(self._segment(draft, len(segments), tail[:SEGMENT_ENTRIES]))
            tail = tail[SEGMENT_ENTRIES:]
        while (
            len(segments) >= SEGMENT_ENTRIES
            and segments[-SEGMENT_ENTRIES].count == segments[-1].count
        ):
            joined: list[BlockEntry] = []
            for s in segments[-SEGMENT_ENTRIES:]:
                data = draft.pending.pop(s.key.removeprefix(draft.folder + "/"), None)
                data = self.read_checked(s.key, (s.hash, s.length)) if data is None else data
                joined += plain_record(data, list[BlockEntry], s.key, self.remedy)
            segments = [*segments[:-SEGMENT_ENTRIES], self._segment(draft, len(segments), joined)]
        return segments, tail

    @staticmethod
    def _segment(draft: Draft, number: int, entries: list[BlockEntry]) -> Segment:
        name = f"blocks-{number:06d}-{len(entries)}.json"
        data = msgspec.json.encode(entries)
        draft.pending[name] = data
        return Segment(f"{draft.folder}/{name}", *mark(data), len(entries))

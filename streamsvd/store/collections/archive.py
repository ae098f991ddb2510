"""A compressed collection on disk: bases and coefficients as zarr arrays, and versions that exist once or not at all.

A version is written, and synced, into a folder with a random name; it exists from the moment at which ``log/N.json`` is
created, which can succeed once, as versions of a model do. Later versions refer to arrays of earlier ones.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from streamsvd.errors import AccessError, ConflictError, SpecError, StoreError
from streamsvd.store.collections.origin import Origin
from streamsvd.store.objects import objects_at
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.objects.protocol import Objects
from streamsvd.store.sight import Address, ObjectAddress
from streamsvd.store.versions.arrays import Array, encode_arrays
from streamsvd.store.versions.draft import Draft
from streamsvd.store.versions.model_store import FOLDER, HEAD, VERSIONS, ModelStore, log_key
from streamsvd.store.versions.records import (
    FORMAT,
    Head,
    Mark,
    mark,
    plain_record,
    seal,
    unseal,
)
from streamsvd.store.writing.trial import try_objects

MARKER = "collection.json"
FLUSH_BYTES = 8 << 20
STRAY_SECONDS = 3600.0
REMEDY = "Open it again if it was replaced meanwhile; else restore it from a copy."
"""What mends a collection: it is restored or written again."""


class Marker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``collection.json``: that this is a compressed collection."""

    format: int


class RequestRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was asked when the collection was made; additions are held to it.

    ``principal`` is the error of what blocks share, where residuals make up for the rest.
    """

    error: float
    rank: int | None
    mode: str
    method: str
    principal: float | None = None


class ClusterRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cluster; ``basis`` is the folder of its basis, empty if its blocks are kept as they are."""

    rank: int
    raw: bool
    error_lower: float
    error_upper: float
    basis: str


class MemberRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A block: shape and type as they were, how it is seen as a matrix, and where its coefficients, or values, are.

    Error and norm are weighted where ``weighted`` says that the block has weights, or inputs, of its own, or rows have. ``codes``
    is the folder of a residual in whole numbers, times ``step`` in all columns or what is in the folder ``steps``; ``array`` is
    empty where there are no coefficients beside it. ``origin`` says how values were stored where they were.
    """

    shape: list[int]
    columns: int | None
    transposed: bool
    dtype: str
    kind: str
    cluster: int
    array: str
    exponent: int
    error: float
    norm: float
    zeros: int
    weighted: bool = False
    codes: str = ""
    steps: str = ""
    step: float = 0.0
    origin: Origin | None = None


class Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that a version consists of; ``files`` has every stored object of its arrays, ``row_weights`` is the folder of theirs."""

    format: int
    version: int
    asked: RequestRecord
    rows: int
    members: dict[str, MemberRecord]
    clusters: list[ClusterRecord]
    files: dict[str, Mark]
    row_weights: str = ""


class Edition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``log/N.json``: that version N exists, and where."""

    format: int
    version: int
    folder: str
    contents: Mark
    time: str


@dataclass(slots=True, eq=False)
class CompressedStore:
    """Versions of a compressed collection below one root.

    Parameters
    ----------
    versions
        Reading and writing of objects that a log refers to.
    """

    versions: ModelStore

    @classmethod
    def from_address(cls, address: str | os.PathLike[str]) -> CompressedStore:
        """Below a path, or a URL of an object store."""
        return cls(ModelStore(objects_at(address), REMEDY))

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.versions.name

    def anywhere(self) -> CompressedStore:
        """The same for a process of another folder."""
        objects = self.versions.objects
        if not isinstance(objects, LocalObjects):
            return self
        return CompressedStore(ModelStore(LocalObjects(objects.root.absolute()), REMEDY))

    def addresses(self, version: int) -> list[Address]:
        """Where other processes read a version."""
        return [ObjectAddress(self.anywhere().versions.objects, log_key(version))]

    def is_there(self) -> bool:
        """Whether this is a compressed collection, maybe one without a version."""
        try:
            self.versions.read(MARKER)
        except AccessError:  # nobody can say
            raise
        except OSError:
            return False
        return True

    def check_free(self, *, overwrite: bool) -> None:
        """Refuse a place that holds something else, or a collection that may not be replaced.

        Raises
        ------
        StoreError
            It says what to do.
        """
        if self.is_there():
            if self.versions.newest() and not overwrite:
                raise StoreError(
                    f"{self.name} is a compressed collection already. Pass overwrite=True to replace it, append=True to "
                    "add to it, or choose another place."
                )
            try_objects(self.versions.objects)
            return
        there = [n for n in self._root_names() if not n.endswith(".tmp")]
        if there:
            raise StoreError(
                f"{self.name} holds something else ({there[0]}), which is never replaced. Choose another place."
            )
        try_objects(self.versions.objects)

    def _root_names(self) -> list[str]:
        root = getattr(self.versions.objects, "root", None)
        if root is None:
            return []
        if root.exists() and not root.is_dir():
            return [root.name]
        return sorted(path.name for path in root.iterdir()) if root.exists() else []

    def newest(self) -> Contents:
        """What the newest version holds, checked against its log entry.

        Raises
        ------
        StoreError
            If there is no whole version.
        """
        if not self.is_there():
            raise StoreError(
                f"{self.name} is no compressed collection: it has no {MARKER}. Pass a place that streamsvd compress made."
            )
        unseal(self.versions.read(MARKER), Marker, f"{self.name}/{MARKER}", REMEDY)
        version = self.versions.newest()
        if not version:
            raise StoreError(
                f"{self.name} has no version: the run that made it was stopped. Compress again."
            )
        edition = self._edition(version)
        key = f"{edition.folder}/manifest.json"
        return plain_record(
            self.versions.read_checked(key, edition.contents),
            Contents,
            f"{self.name}/{key}",
            REMEDY,
        )

    def _edition(self, version: int) -> Edition:
        key = log_key(version)
        return unseal(self.versions.read(key), Edition, f"{self.name}/{key}", REMEDY)

    def array(self, contents: Contents, folder: str) -> Array:
        """An array of a version, every object of it checked."""
        keys = (f"{folder}/zarr.json", f"{folder}/c/0/0", f"{folder}/c/0", f"{folder}/c")
        files = {key: contents.files[key] for key in keys if key in contents.files}
        if len(files) < 2:  # of other dimensions, or of no values
            files = {k: m for k, m in contents.files.items() if k.startswith(f"{folder}/")}
        return self.versions.array(folder, files)

    def begin(self, *, overwrite: bool) -> EditionWriter:
        """A version to be written after the newest.

        Raises
        ------
        StoreError
            If the place is taken.
        """
        self.check_free(overwrite=overwrite)
        is_new = self.mark()
        newest = self.versions.newest()
        if newest and not overwrite:  # since the look above: the first version is made by one alone
            self.check_free(overwrite=False)
        return EditionWriter(self, self.versions.draft(newest + 1), is_new)

    def mark(self) -> bool:
        """Say what this place is; whether nothing had said so."""
        with self.versions.explain_writes():
            is_new = self.versions.objects.create(MARKER, seal(Marker(FORMAT)))
            # From now on a head that is missing was lost.
            self.versions.objects.create(HEAD, seal(Head(0)))
        return is_new

    def begin_after(self, version: int) -> EditionWriter:
        """A version to be written after this one."""
        return EditionWriter(self, self.versions.draft(version + 1))

    def _publish(self, draft: Draft, edition: Edition) -> bool:
        """Create the log entry; False if another writer was first."""
        try:
            with self.versions.explain_writes():
                return self.versions.objects.create(log_key(draft.version), seal(edition))
        except StoreError:
            # The entry may exist or not, so that the folder must stay; unless another writer's is there.
            exists = self.versions.exists(draft.version)
            if not exists or self._edition(draft.version).folder == draft.folder:
                raise
            return False

    def collect(self) -> None:
        """Remove folders that the newest version does not need: those replaced, and of writers that were killed."""
        contents = self.newest()
        needed = {"/".join(key.split("/")[:2]) for key in contents.files}
        needed.add(self._edition(contents.version).folder)
        for name in self.versions.names(VERSIONS):
            folder = f"{VERSIONS}/{name}"
            if (
                FOLDER.fullmatch(name)
                and int(name[:12]) <= contents.version
                and folder not in needed
            ):
                self.versions.objects.clear(folder)
        self.versions.objects.remove(self.versions.objects.strays(STRAY_SECONDS))


@dataclass(frozen=True, slots=True)
class WrittenArray:
    """An array that a task has written into the folder of a version that is not finished.

    Attributes
    ----------
    folder, marks
        Of the array, and what was written in it.
    nbytes
        Of its values.
    """

    folder: str
    marks: dict[str, Mark]
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class EditionSink:
    """Takes arrays of a version from tasks. Small and picklable.

    Whoever tries a second time writes under another name, and the client keeps what it was told of: nothing is written twice.
    """

    objects: Objects
    folder: str

    def addresses(self) -> list[Address]:
        """Where other processes write."""
        return [ObjectAddress(self.objects, f"{self.folder}/zarr.json", is_output=True)]

    def write(self, array: Array) -> WrittenArray:
        """Write an array.

        Raises
        ------
        StoreError
            If it cannot be written, or the version is given up.
        """
        name = f"t{uuid.uuid4().hex}"
        files = {k: v for k, v in encode_arrays({name: array}).items() if k != "zarr.json"}
        with ModelStore(self.objects, REMEDY).explain_writes():
            try:
                self.objects.read(f"{self.folder}/zarr.json")
            except FileNotFoundError:
                raise StoreError(f"{self.objects.name} is not written any more.") from None
            self.objects.write(self.folder, files)
        marks = {f"{self.folder}/{key}": mark(data) for key, data in files.items()}
        return WrittenArray(f"{self.folder}/{name}", marks, array.nbytes)


@dataclass(slots=True, eq=False)
class EditionWriter:
    """A version while it is written: nobody sees it before `commit`.

    Attributes
    ----------
    store, draft
        Where, and what.
    is_new
        Whether nothing was there when it began.
    waiting_bytes
        Of arrays that are not written yet.
    has_sink
        Whether tasks write too.
    files
        Objects of earlier versions.
    """

    store: CompressedStore
    draft: Draft
    is_new: bool = False
    waiting_bytes: int = 0
    has_sink: bool = False
    files: dict[str, Mark] = field(default_factory=dict)

    def sink(self) -> EditionSink:
        """Takes arrays from tasks; those that are to stay are handed to `add`."""
        self.draft.add({})
        self.flush()
        self.has_sink = True
        return EditionSink(self.store.anywhere().versions.objects, self.draft.folder)

    def add(self, arrays: Mapping[str, Array | WrittenArray]) -> dict[str, str]:
        """Arrays by short name, at hand or written by a task; returns their folders."""
        here = {name: a for name, a in arrays.items() if not isinstance(a, WrittenArray)}
        self.draft.add(here)
        self.waiting_bytes += sum(a.nbytes for a in here.values()) + 4096 * len(here)
        if self.waiting_bytes > FLUSH_BYTES:
            self.flush()
        folders = {name: self.draft.arrays[name] for name in here}
        for name, a in arrays.items():
            if isinstance(a, WrittenArray):
                self.draft.files |= a.marks
                folders[name] = a.folder
        return folders

    def flush(self) -> None:
        """Write, and sync, what waits."""
        self.store.versions.flush(self.draft)
        self.waiting_bytes = 0

    def keep(self, earlier: Contents) -> None:
        """Arrays of an earlier version, where they are."""
        self.files |= earlier.files

    def commit(
        self,
        asked: RequestRecord,
        rows: int,
        members: dict[str, MemberRecord],
        clusters: list[ClusterRecord],
        row_weights: str = "",
    ) -> Contents:
        """The version: when this returns, it survives a power cut.

        Raises
        ------
        ConflictError
            If another writer was first; what it wrote is there, and nothing of this.
        StoreError
            If it cannot be written; the version before is whole.
        SpecError
            If an error is no number; the same.
        """
        numbers = [
            *(n for c in clusters for n in (c.error_lower, c.error_upper)),
            *(n for m in members.values() for n in (m.error, m.norm)),
        ]
        if not all(math.isfinite(n) for n in numbers):
            raise SpecError(
                f"errors of {self.store.name} are beyond float64 with these matrices: sizes are too far apart. Multiply all by a "
                "power of two, or compress them to a place of their own."
            )
        versions, draft = self.store.versions, self.draft
        files = {**self.files, **draft.files}
        contents = Contents(
            FORMAT, draft.version, asked, rows, members, clusters, files, row_weights
        )
        data = msgspec.json.encode(contents)
        draft.pending["manifest.json"] = data
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self.store.mark()
            self.flush()
            self._remove_unused(files)
            edition = Edition(FORMAT, draft.version, draft.folder, mark(data), now)
            created = self.store._publish(draft, edition)
        except BaseException:
            if not versions.exists(draft.version):
                self.discard()
            raise
        if not created:
            self.discard()
            raise ConflictError(
                f"another writer changed {self.store.name} meanwhile: its version {draft.version} is there, and nothing of "
                "this run. Run again."
            )
        with contextlib.suppress(OSError):  # a hint: the version is committed
            versions._move_head(draft.version)
        with contextlib.suppress(OSError):
            self.store.collect()
        return contents

    def _remove_unused(self, files: Mapping[str, Mark]) -> None:
        """Remove what tasks have written that is not to stay, and what those that were killed have left."""
        if self.has_sink:
            versions, folder = self.store.versions, self.draft.folder
            needed = {*files, f"{folder}/manifest.json"}
            with versions.explain_writes():
                versions.objects.clear(folder, needed)

    def abandon(self) -> None:
        """Remove what was written, unless it has become a version."""
        versions = self.store.versions
        if versions.exists(self.draft.version):
            return
        self.discard()
        if self.is_new and not versions.names(VERSIONS):
            with contextlib.suppress(OSError):
                versions.objects.remove([HEAD, MARKER])
                versions.objects.remove_root()

    def discard(self) -> None:
        """Remove what was written."""
        self.store.versions.discard(self.draft)

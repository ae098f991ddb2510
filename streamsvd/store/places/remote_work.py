"""What is on its way to a prefix of an object store, and how it takes its place.

Everything that belongs to a place ``P`` before it is there lies below ``P.partial``:

- ``P.partial/TOKEN/owner.json`` says which process writes, ``content/`` below it is what it writes, and ``scratch/`` what it
  needs meanwhile. Nobody else has that token, so that writers never meet before they publish.
- ``P.partial/claims/NUMBER.json`` is made exclusively by who publishes: one at a time.

To publish is to copy the content to ``P`` within the store, chunks first, then metadata, last the ``zarr.json`` at the root, made
exclusively: a reader finds nothing until all is there. Where something is replaced its root goes first. A publication that was
killed is finished by the next run on that machine, as the content is whole: it is the same copies again.

That a claim is the only one is seen after it was made: who made one lists them again, and takes it back unless all others are those
of the dead that it had seen before. Listings of object stores show what was put before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.places.bucket import Bucket, bucket_of
from streamsvd.store.places.location import ROOT_METADATA
from streamsvd.store.places.owners import Owner, current_owner

OWNER, CONTENT, SCRATCH, CLAIMS = "owner.json", "content", "scratch", "claims"
TRIES = 5
"""Of a claim, each of which met another that was gone when it was read."""
METADATA_NAMES = frozenset(("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"))


class Claim(msgspec.Struct, frozen=True):
    """Who publishes, which work, and whether it replaces what is there."""

    owner: Owner
    token: str
    replaces: bool


class RemoteWork:
    """Objects below ``P.partial/TOKEN``; see `PartialWork`."""

    def __init__(self, place: Url) -> None:
        self.place, self._bucket, owner = place, bucket_of(place), current_owner()
        sweep_prefixes(place)
        self._token = owner.token
        self._all = work_folder(place) / owner.token
        self.folder = self._all / CONTENT
        self._bucket.write((self._all / OWNER).key, msgspec.json.encode(owner))

    @property
    def location(self) -> Any:
        """See `PartialWork.location`."""
        from streamsvd.store.places.remote import RemoteLocation

        return RemoteLocation(self.folder)

    @property
    def scratch(self) -> RemoteScratch:
        """See `PartialWork.scratch`."""
        return RemoteScratch(self._all / SCRATCH)

    def publish(self, *, overwrite: bool) -> None:
        """See `PartialWork.publish`."""
        with _claimed(self.place, self._token, overwrite):
            if not overwrite and _is_taken(self._bucket, self.place):
                raise StoreError(
                    f"{self.place} was made by another run meanwhile; it will not be replaced. Pass overwrite=True (--overwrite) "
                    "to replace it, or choose another place."
                )
            _move(self._bucket, self.place, self._token)
        self.remove()

    def remove(self) -> None:
        """See `PartialWork.remove`: the owner last, so that what a kill leaves can still be told."""
        _remove_work(self._bucket, self._all)


@dataclass(frozen=True, slots=True)
class RemoteScratch:
    """Objects on their way; see `Scratch`."""

    folder: Url

    def put(self, name: str, data: Any) -> None:
        """See `Scratch.put`."""
        bucket_of(self.folder).write((self.folder / name).key, data)

    def take(self, prefix: str) -> Iterator[bytes]:
        """See `Scratch.take`."""
        bucket = bucket_of(self.folder)
        for name in self.names(prefix):
            yield bucket.read((self.folder / name).key)

    def names(self, prefix: str) -> list[str]:
        """See `Scratch.names`."""
        first = len(self.folder.key) + 1
        found = bucket_of(self.folder).keys((self.folder / prefix).key)
        return [key[first:] for key in found]

    def remove(self, prefix: str) -> None:
        """See `Scratch.remove`."""
        bucket = bucket_of(self.folder)
        bucket.remove(bucket.keys((self.folder / prefix).key))


def work_folder(place: Url) -> Url:
    """Below what everything lies that is on its way to a place."""
    return place.with_name(f"{place.name}.partial")


def sweep_prefixes(place: Url) -> list[Url]:
    """Remove what processes of this machine that are gone have left on its way to a place, and say what."""
    bucket, above, swept = bucket_of(place), work_folder(place), []
    kept = {claim.token for _, claim in _claims(bucket, place)}
    for name in bucket.names(above.key):
        owner = _decoded(bucket, above / name / OWNER, Owner) if name != CLAIMS else None
        if owner is not None and name not in kept and owner.is_gone:
            _remove_work(bucket, above / name)
            swept.append(above / name)
    return swept


def finish_publication(place: Url) -> None:
    """Finish what a process that is gone was about to publish.

    Raises
    ------
    StoreError
        If another process is about to, as far as is known.
    """
    bucket = bucket_of(place)
    found = _claims(bucket, place)
    if not found:
        return
    dead = found[-1][1]
    if not dead.owner.is_gone:
        raise _busy(place, dead)
    with _claimed(place, dead.token, dead.replaces):
        pass  # who takes over the claim of the dead finishes it


@contextlib.contextmanager
def _claimed(place: Url, token: str, replaces: bool) -> Iterator[None]:
    """The right to publish at a place, for as long as the block; what the dead have begun is finished first.

    Raises
    ------
    StoreError
        If another process has it.
    """
    bucket, mine = bucket_of(place), Claim(current_owner(), token, replaces)
    for _ in range(TRIES):
        before = _claims(bucket, place)
        living = next((claim for _, claim in before if not claim.owner.is_gone), None)
        if living is not None:
            raise _busy(place, living)
        name = f"{int(before[-1][0].partition('.')[0]) + 1 if before else 1:06d}.json"
        key = (work_folder(place) / CLAIMS / name).key
        if not bucket.create(key, msgspec.json.encode(mine)):
            continue
        if _claims(bucket, place) != [*before, (name, mine)]:
            bucket.remove([key])
            continue
        try:
            for each, dead in before:
                _finish(bucket, place, dead)
                bucket.remove([(work_folder(place) / CLAIMS / each).key])
            yield
        finally:
            bucket.remove([key])
        return
    raise StoreError(f"{place} is being published by others all the time. Choose another place.")


def _finish(bucket: Bucket, place: Url, dead: Claim) -> None:
    """Finish a publication, if its work is still there and nothing else has taken the place."""
    work = work_folder(place) / dead.token
    root = _root_of(bucket, work / CONTENT)
    if root is not None:
        there = _root_of(bucket, place)
        if there != root and (there is None or dead.replaces):
            _move(bucket, place, dead.token)
    _remove_work(bucket, work)


def _move(bucket: Bucket, place: Url, token: str) -> None:
    """Copy a work to its place, its root last; what was there goes before, its root first."""
    content = work_folder(place) / token / CONTENT
    root, first = place / ROOT_METADATA, len(content.key) + 1
    data = bucket.read((content / ROOT_METADATA).key)
    keys = [key[first:] for key in bucket.keys(content.key)]
    old = bucket.keys(place.key)
    for doomed in ([k for k in old if k == root.key], [k for k in old if _is_metadata(k)], old):
        if doomed:
            bucket.remove(doomed)
    inner = [key for key in keys if key != ROOT_METADATA]
    for some in (
        [key for key in inner if not _is_metadata(key)],
        [key for key in inner if _is_metadata(key)],
    ):
        bucket.copy([((content / key).key, (place / key).key) for key in some])
    if not bucket.create(root.key, data):
        raise StoreError(
            f"{place} was made by something else meanwhile, and what it holds may be of both. Remove it and run again."
        )


def _is_metadata(key: str) -> bool:
    return key.rpartition("/")[2] in METADATA_NAMES


def _root_of(bucket: Bucket, place: Url) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return bucket.read((place / ROOT_METADATA).key)
    return None


def _is_taken(bucket: Bucket, place: Url) -> bool:
    return bucket.has_keys(place.key) or bucket.size(place.key) is not None


def _claims(bucket: Bucket, place: Url) -> list[tuple[str, Claim]]:
    """Claims by name, in order; one that is gone when it is read is none."""
    folder = work_folder(place) / CLAIMS
    found = [(name, _decoded(bucket, folder / name, Claim)) for name in bucket.names(folder.key)]
    return [(name, claim) for name, claim in found if claim is not None]


def _decoded(bucket: Bucket, place: Url, kind: Any) -> Any:
    """A signature; None where there is none.

    Raises
    ------
    StoreError
        If it cannot be understood.
    """
    try:
        return msgspec.json.decode(bucket.read(place.key), type=kind)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreError(f"{place} is not what streamsvd writes there. Remove it.") from error


def _busy(place: Url, claim: Claim) -> StoreError:
    return StoreError(
        f"{claim.owner} is about to publish {place}. Wait until it has; if it is gone, remove all below {work_folder(place)} and run "
        "again, or choose another place."
    )


def _remove_work(bucket: Bucket, work: Url) -> None:
    keys = bucket.keys(work.key)
    owner = (work / OWNER).key
    bucket.remove([key for key in keys if key != owner])
    if owner in keys:
        bucket.remove([owner])

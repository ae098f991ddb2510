"""What is on its way to a prefix ``P`` of an object store.

- ``P.partial/TOKEN/owner.json`` says which process writes, ``content/`` beside it is what it writes, and ``scratch/`` what it needs
  meanwhile. Nobody else has that token, so that writers never meet before they publish.
- ``P.unfinished/`` is the same of a work that another run goes on with, with its ``journal.json``.
- ``P.partial/trial-TOKEN`` is of who sees whether the place can be written. Nothing else below these names is ours, nor ever removed.
- ``P.partial/claims/`` are of those who publish; see `streamsvd.store.places.claims`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.places.bucket import Bucket, bucket_at
from streamsvd.store.places.claims import SignedClaim, claims_in, make_claim, signature
from streamsvd.store.places.owners import Owner, current_owner, lay_down
from streamsvd.store.places.publication import (
    CLAIMS,
    CONTENT,
    OWNER,
    SCRATCH,
    publish,
    remove_work,
    work_folder,
    works_to_finish,
)
from streamsvd.store.writing.resumable import taken_error

JOURNAL = "journal.json"
TRIAL = "trial-"
_TOKEN = re.compile("[0-9a-f]{32}")


class RemoteWork:
    """Objects below ``P.partial/TOKEN``; see `PartialWork`."""

    def __init__(self, place: Url) -> None:
        self.place, self._bucket, self._is_moving = place, bucket_at(place), False
        sweep_prefixes(place)
        self._owner = owner = current_owner()
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
        publish(self.place, self._all, overwrite=overwrite, begin=self._begin_move)
        lay_down(self._owner)

    def _begin_move(self) -> None:
        self._is_moving = True

    def remove(self) -> None:
        """See `PartialWork.remove`; of what was about to take the place nothing, as the next run finishes that."""
        lay_down(self._owner)
        if not self._is_moving:
            remove_work(self._bucket, self._all)


class RemoteResumableWork(RemoteWork):
    """Objects below ``P.unfinished``; see `ResumableWork`. An acknowledged put is durable, whatever became of machines."""

    def __init__(self, place: Url, purpose: dict[str, Any]) -> None:
        self.place, self._bucket, self._is_moving = place, bucket_at(place), False
        self._owner = current_owner()
        self._all = place.with_name(f"{place.name}.unfinished")
        self.folder = self._all / CONTENT
        self.is_continued, self.is_same_boot, self.was_another = False, True, False
        self._purpose = msgspec.json.decode(msgspec.json.encode(purpose))
        claims = self._all / CLAIMS
        if self._bucket.has_keys(self._all.key) and not self._is_ours():
            lay_down(self._owner)
            raise taken_error(place, self._all)
        self._claim, dead = make_claim(
            self._bucket, claims, SignedClaim(self._owner), f"write {place}"
        )
        self._bucket.remove([(claims / name).key for name, _ in dead])
        try:
            found = self._journal()
            self.is_continued = found == self._purpose
            if not self.is_continued:
                self.was_another = self._bucket.has_keys(self.folder.key)
                self._clear()
            self._bucket.write((self._all / OWNER).key, msgspec.json.encode(self._owner))
        except BaseException:
            self.leave()
            raise

    def _is_ours(self) -> bool:
        """Whether a process has signed what is there."""
        if _owner_at(self._bucket, self._all / OWNER) is not None:
            return True
        with contextlib.suppress(StoreError):
            return bool(claims_in(self._bucket, self._all / CLAIMS))
        return False

    def _journal(self) -> Any:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode(self._bucket.read((self._all / JOURNAL).key))
        return None

    def _clear(self) -> None:
        """All but the claim away."""
        keys = self._bucket.keys(self._all.key)
        self._bucket.remove([key for key in keys if key != self._claim.key])

    def begin(self) -> None:
        """See `ResumableWork.begin`."""
        self._bucket.write((self._all / JOURNAL).key, msgspec.json.encode(self._purpose))

    @property
    def home(self) -> Url:
        """See `ResumableWork.home`."""
        return self._all

    def leave(self) -> None:
        """See `ResumableWork.leave`."""
        lay_down(self._owner)
        self._bucket.remove([self._claim.key])

    def remove(self) -> None:
        """See `PartialWork.remove`."""
        if not self._is_moving:
            self._clear()
        self.leave()


@dataclass(frozen=True, slots=True)
class RemoteScratch:
    """Objects on their way; see `Scratch`."""

    folder: Url

    def put(self, name: str, data: Any) -> None:
        """See `Scratch.put`."""
        bucket_at(self.folder).write((self.folder / name).key, data)

    def take(self, prefix: str) -> Iterator[bytes]:
        """See `Scratch.take`."""
        bucket = bucket_at(self.folder)
        for name in self.names(prefix):
            yield bucket.read((self.folder / name).key)

    def names(self, prefix: str) -> list[str]:
        """See `Scratch.names`."""
        first = len(self.folder.key) + 1
        found = bucket_at(self.folder).keys((self.folder / prefix).key)
        return [key[first:] for key in found]

    def remove(self, prefix: str) -> None:
        """See `Scratch.remove`."""
        bucket = bucket_at(self.folder)
        bucket.remove(bucket.keys((self.folder / prefix).key))


def sweep_prefixes(place: Url) -> list[Url]:
    """Remove what processes of this machine that are gone have left on its way to a place, and say what.

    Only what has a token for its name is ours. Of that, what has no owner was put by a task that ran on after its run was over: the
    owner is written first and removed last. A trial that could not be removed is, when it can.
    """
    bucket, above, swept = bucket_at(place), work_folder(place), []
    found = bucket.names(above.key)
    for name in found:
        if name.startswith(TRIAL) and _TOKEN.fullmatch(name.removeprefix(TRIAL)):
            owner = _owner_at(bucket, above / name)
            if owner is not None and owner.is_gone:
                bucket.remove([(above / name).key])
    names = [name for name in found if _TOKEN.fullmatch(name)]
    kept = works_to_finish(place) if names else set()
    for name in names:
        if f"{above.name}/{name}" in kept:
            continue
        keys = bucket.keys((above / name).key)
        owner = _owner_at(bucket, above / name / OWNER)
        if owner.is_gone if owner is not None else _are_ours(keys, above / name):
            remove_work(bucket, above / name)
            swept.append(above / name)
    return swept


def _are_ours(keys: list[str], work: Url) -> bool:
    """Whether there are only such objects as tasks put."""
    ours = tuple(f"{(work / name).key}/" for name in (CONTENT, SCRATCH))
    return bool(keys) and all(key.startswith(ours) for key in keys)


def _owner_at(bucket: Bucket, place: Url) -> Owner | None:
    """Who has signed it; None if it is not there, or no signature."""
    with contextlib.suppress(StoreError):
        found: Owner | None = signature(bucket, place, Owner)
        return found
    return None

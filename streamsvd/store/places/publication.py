"""How what was written beside a place of an object store takes it: copies within the store, the root last.

A reader takes what is at ``P`` for an array or a group if there is a ``zarr.json`` at its root. So chunks are copied first, then the
metadata of arrays within, last the root, made exclusively: until then there is nothing. Where something is replaced its root goes
first, and the rest of it before the new comes; between the two there is nothing either, and never a mixture.

One process publishes at a place at a time, by a claim. A publication that was killed, or failed, is finished by who comes next on
that machine, as what is published is whole: the same copies again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.places.bucket import Bucket, bucket_at
from streamsvd.store.places.claims import (
    SignedClaim,
    claim_error,
    claims_in,
    living_claim,
    make_claim,
)
from streamsvd.store.places.location import ROOT_METADATA
from streamsvd.store.places.owners import current_owner, lay_down
from streamsvd.store.writing.shield import defer_interrupts

OWNER, CONTENT, SCRATCH, CLAIMS = "owner.json", "content", "scratch", "claims"
METADATA_NAMES = frozenset(("zarr.json", ".zgroup", ".zarray", ".zattrs", ".zmetadata"))


def work_folder(place: Url) -> Url:
    """Below what everything lies that is on its way to a place."""
    return place.with_name(f"{place.name}.partial")


def publish(place: Url, work: Url, *, overwrite: bool, begin: Callable[[], None]) -> None:
    """Copy the content of a work to a place, and remove the work.

    Parameters
    ----------
    place, work
        Where to, and what.
    overwrite
        Whether something that is there is replaced.
    begin
        Is called when copies begin: from then on the work is to be left, if they fail, for whoever finishes them.

    Raises
    ------
    StoreError
        If something came there meanwhile, another process is about to publish there, or the store refuses.
    """
    bucket = bucket_at(place)
    with _right_to_publish(place, work, overwrite) as right:
        if not overwrite and (bucket.has_keys(place.key) or bucket.size(place.key) is not None):
            raise StoreError(
                f"{place} was made by another run meanwhile; it will not be replaced. Pass overwrite=True (--overwrite) "
                "to replace it, or choose another place."
            )
        begin()
        right.is_left = True
        with defer_interrupts():  # between what goes and what comes there is nothing at the place
            _move(bucket, place, work)
            right.is_left = False
            remove_work(bucket, work)


def finish_publication(place: Url) -> None:
    """Finish what a process that is gone was about to publish.

    Raises
    ------
    StoreError
        If another process is about to, as far as is known.
    """
    bucket, folder = bucket_at(place), work_folder(place) / CLAIMS
    found = claims_in(bucket, folder)
    if not found:
        return
    if (living := living_claim(found)) is not None:
        raise claim_error(folder, living, f"publish {place}")
    dead = found[-1][1]
    with _right_to_publish(place, place.with_name(dead.work), dead.replaces):
        pass  # who takes over the right of the dead finishes what they began


def works_to_finish(place: Url) -> set[str]:
    """Names, beside a place, of works that somebody is publishing, or was."""
    return {claim.work for _, claim in claims_in(bucket_at(place), work_folder(place) / CLAIMS)}


def remove_work(bucket: Bucket, work: Url) -> None:
    """Remove all of a work, whose it is last, so that what a kill leaves can still be told."""
    keys = bucket.keys(work.key)
    whose = [k for k in keys if k == (work / OWNER).key or k.startswith((work / CLAIMS).key)]
    bucket.remove([key for key in keys if key not in whose])
    bucket.remove(whose)


@dataclass(slots=True)
class Right:
    """Whether a claim is left for the next when the block ends, which finishes what was begun then."""

    is_left: bool = False


@contextlib.contextmanager
def _right_to_publish(place: Url, work: Url, replaces: bool) -> Iterator[Right]:
    """The right to publish, for as long as the block; what the dead have begun is finished first."""
    bucket, folder = bucket_at(place), work_folder(place) / CLAIMS
    name = work.key.removeprefix(place.parent.key).strip("/")
    mine, right = SignedClaim(current_owner(), name, replaces), Right()
    try:
        claim, before = make_claim(bucket, folder, mine, f"publish {place}")
        try:
            for each, dead in before:
                _finish(bucket, place, dead)
                bucket.remove([(folder / each).key])
            yield right
        finally:
            if not right.is_left:
                bucket.remove([claim.key])
    finally:
        lay_down(mine.owner)


def _finish(bucket: Bucket, place: Url, dead: SignedClaim) -> None:
    """Finish a publication, if its work is still there and nothing else has taken the place."""
    work = place.parent / dead.work
    root = _root_of(bucket, work / CONTENT)
    if root is not None:
        there = _root_of(bucket, place)
        if there != root and (there is None or dead.replaces):
            _move(bucket, place, work)
    remove_work(bucket, work)


def _move(bucket: Bucket, place: Url, work: Url) -> None:
    """Copy a work to its place, its root last; what was there goes before, its root first."""
    content, root = work / CONTENT, place / ROOT_METADATA
    first, data = len(content.key) + 1, bucket.read((content / ROOT_METADATA).key)
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

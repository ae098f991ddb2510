"""The right to something that one process has at a time, in a store that keeps no locks.

A claim is an object ``NUMBER.json`` in a folder of claims, made exclusively by who signs it. That it is the only one is seen after
it was made: who made one lists them again, and takes it back unless all others are those of the dead that it had seen before.
Listings of object stores show what was put before. Who comes after the dead is told of them, and removes their claims.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError
from streamsvd.store.places.bucket import Bucket
from streamsvd.store.places.owners import Owner

_NAME = re.compile(r"\d{6}\.json")
TRIES = 5
"""Of a claim, each of which met another that was gone when it was read."""


class SignedClaim(msgspec.Struct, frozen=True):
    """Who has the right, to publish which work, and whether that replaces what is there.

    Attributes
    ----------
    owner
        The process.
    work
        Name of what it publishes, beside the place; empty of another right.
    replaces
        Whether it replaces what is there.
    """

    owner: Owner
    work: str = ""
    replaces: bool = False


NamedClaim = tuple[str, SignedClaim]


def claims_in(bucket: Bucket, folder: Url) -> list[NamedClaim]:
    """Claims by name, in order; one that is gone when it is read is none."""
    found = [
        (n, signature(bucket, folder / n, SignedClaim))
        for n in bucket.names(folder.key)
        if _NAME.fullmatch(n)
    ]
    return [(name, claim) for name, claim in found if claim is not None]


def living_claim(claims: list[NamedClaim]) -> SignedClaim | None:
    """The first whose process is not known to be gone."""
    return next((claim for _, claim in claims if not claim.owner.is_gone), None)


def make_claim(
    bucket: Bucket, folder: Url, mine: SignedClaim, what: str
) -> tuple[Url, list[NamedClaim]]:
    """Make a claim.

    Parameters
    ----------
    bucket, folder
        Where claims are.
    mine
        What is signed.
    what
        Is claimed, for messages: what such a process does.

    Returns
    -------
    place, dead
        Of the claim, which is to be removed in the end; and claims of processes that are gone, to be removed before.

    Raises
    ------
    StoreError
        If another process has the right, as far as is known.
    """
    for _ in range(TRIES):
        before = claims_in(bucket, folder)
        if (living := living_claim(before)) is not None:
            raise claim_error(folder, living, what)
        number = int(before[-1][0].partition(".")[0]) + 1 if before else 1
        name = f"{number:06d}.json"
        if not bucket.create((folder / name).key, msgspec.json.encode(mine)):
            continue
        if claims_in(bucket, folder) == [*before, (name, mine)]:
            return folder / name, before
        bucket.remove([(folder / name).key])
    raise StoreError(f"others {what} all the time. Wait, or choose another place.")


def claim_error(folder: Url, claim: SignedClaim, what: str) -> StoreError:
    """That another process has a right."""
    return StoreError(
        f"{claim.owner} is at work: others may not {what} meanwhile. Wait until it is done; if it is gone, remove all below {folder} "
        "and run again, or choose another place."
    )


def signature(bucket: Bucket, place: Url, kind: Any) -> Any:
    """What a process has signed; None where there is nothing.

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

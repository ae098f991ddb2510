"""What in the folder of a result is its own: all else there is somebody's, and is not removed with it."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import Location, location_of
from streamsvd.store.results.earlier import EARLIER_FORMAT, FACTORS, OPTION_ARRAYS
from streamsvd.store.results.reader import DIGESTS, METADATA, is_result, raw_record
from streamsvd.store.results.values import ARRAY

_PART_OF_ARRAY = re.compile(r"zarr\.json|c(/[0-9]+)*")
NAMED_AT_MOST = 3


def check_own(path: PathOrUrl) -> None:
    """Refuse to replace a result in whose folder there is more than the result.

    Raises
    ------
    StoreError
        It names what is there.
    """
    place = location_of(path)
    if place.is_link():  # the link alone is replaced
        return
    arrays = _array_names(raw_record(path))
    with explain_errors(path, doing="list"):
        entries = place.names()
        others = [n for n in entries if n != METADATA and not _is_array(place, n, arrays)]
    if not others:
        return
    more = len(others) - NAMED_AT_MOST
    names = ", ".join(others[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    be, them = ("is", "it") if len(others) == 1 else ("are", "them")
    raise StoreError(
        f"{path} holds {names}, which {be} no part of a result; it will not be replaced. Move {them} away, or choose "
        "another place."
    )


def check_outside(path: PathOrUrl) -> None:
    """Refuse a place within a result.

    Raises
    ------
    StoreError
        It names the result.
    """
    for folder in location_of(path).above():
        found = False
        with contextlib.suppress(StoreError):  # what may not be read is no result of ours
            found = is_result(folder.address)
        if found:
            raise StoreError(
                f"{path} lies in {folder.address}, which is a result of streamsvd. Choose another place."
            )


def _is_array(place: Location, name: str, arrays: set[str]) -> bool:
    """Whether it is an array of the result, and nothing but that."""
    return (
        name in arrays
        and place.is_plain_folder(name)
        and all(_PART_OF_ARRAY.fullmatch(key) for key in place.entries(name))
    )


def _array_names(record: dict[str, Any]) -> set[str]:
    """Those that a record says of, be it damaged or not."""
    if record.get("format") == EARLIER_FORMAT:
        return {*FACTORS, *OPTION_ARRAYS, "U"}
    digests = record.get(DIGESTS)
    return _named_below(record) | (set(digests) if isinstance(digests, dict) else set())


def _named_below(plain: Any) -> set[str]:
    if isinstance(plain, list):
        return set().union(*map(_named_below, plain))
    if not isinstance(plain, dict):
        return set()
    name = plain.get(ARRAY)
    if isinstance(name, str):
        return {name}
    return set().union(*map(_named_below, plain.values()))

"""A stored result, read again: what it says of itself is held against what this release knows, and against what is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import CorruptChunkError, SpecError, StoreError
from streamsvd.store.explanations import raise_access_error
from streamsvd.store.places import location_of
from streamsvd.store.results.earlier import EARLIER_FORMAT, decode_earlier
from streamsvd.store.results.kinds import result_class
from streamsvd.store.results.lazy import lazy_array
from streamsvd.store.results.values import ResultDecoder
from streamsvd.store.versions.arrays import decode_array

FORMAT = 3
"""Of a result; older ones are read, newer ones refused."""
DIGESTS_SINCE = 3
"""The first format that says what the metadata of every array were."""
NAME = "streamsvd"
"""Attribute of the group that holds the record."""
METADATA = "zarr.json"
DIGESTS = "digests"
"""What a record says of the metadata of every array: a digest by the name of the array."""
HEAD = ("kind", "format", "streamsvd", "source", DIGESTS, "checksum")
"""What a record says beside the fields of the result."""
MOST_RECORD = 64 << 20
"""Bytes of a record that are read at most."""


@dataclass(frozen=True, slots=True)
class StoredArrays:
    """The arrays of a stored result.

    Parameters
    ----------
    path
        The result.
    digests
        Of the metadata of every array; None of a format that did not keep them.
    """

    path: PathOrUrl
    digests: Mapping[str, str] | None = None

    def array(self, name: str) -> Any:
        """One in memory.

        Raises
        ------
        StoreError
            If it is missing or damaged; it names the array.
        """
        place, keys = location_of(self.path / name), []
        try:
            keys = place.keys()
            objects = {key: place.read(key) for key in keys}
            self._check(name, objects[METADATA])
            return decode_array(objects)
        except StoreError:
            raise
        except Exception as error:
            raise_access_error(error, self.path)
            if not place.is_folder():
                raise StoreError(f"{self.path} lacks {name}. Restore it from a copy.") from error
            if keys == [METADATA]:  # an array that is not empty is one chunk
                raise StoreError(
                    f"{self.path} lacks 1 of the 1 chunks of {name}. Restore it from a copy."
                ) from error
            raise CorruptChunkError(name, str(self.path), _words(error)) from error

    def lazy_array(self, name: str) -> Any:
        """One that is read where it is used.

        Raises
        ------
        StoreError
            If its metadata are damaged, or chunks are missing, which would read as zeros.
        """
        try:
            self._check(name, location_of(self.path).read(f"{name}/{METADATA}"))
            array = lazy_array(self.path, name)
            absent = array.nchunks - array.nchunks_initialized
        except StoreError:
            raise
        except Exception as error:
            raise_access_error(error, self.path)
            raise CorruptChunkError(name, str(self.path), _words(error)) from error
        if absent:
            raise StoreError(
                f"{self.path} lacks {absent} of the {array.nchunks} chunks of {name}. Restore it from a copy."
            )
        return array

    def _check(self, name: str, metadata: bytes) -> None:
        """Refuse metadata of an array that are not those that were written: they say what its bytes mean."""
        if self.digests is not None and self.digests.get(name) != digest(metadata):
            raise StoreError(
                f"{self.path} is damaged: {name}/{METADATA}, the metadata of {name}, is not what was written. Restore it "
                "from a copy."
            )


def read_lazy_array(path: PathOrUrl, name: str) -> Any:
    """One array of a stored result, read where it is used.

    Raises
    ------
    StoreError
        If the result, or the array, is damaged.
    """
    raw = raw_record(path)
    try:
        return StoredArrays(path, _checked_digests(raw)).lazy_array(name)
    except StoreError:
        raise
    except Exception as error:
        raise StoreError(f"{path} is damaged: {_words(error)}. Restore it from a copy.") from error


def read_result(path: PathOrUrl, *kinds: str) -> Any:
    """A stored result of any kind, or of some alone; arrays of many rows stay lazy.

    Raises
    ------
    StoreError
        If the path holds no result, or one that is damaged, of another kind or an unknown one, or of a newer format.
    """
    location_of(path).exists()
    raw = raw_record(path)
    try:
        number = raw["format"]
        if not isinstance(number, int) or number < EARLIER_FORMAT:
            raise ValueError(f"its format is {number!r}")
        if number > FORMAT:
            raise StoreError(
                f"{path} has format {number}, this version reads up to {FORMAT}. Upgrade streamsvd."
            )
        digests = _checked_digests(raw)
        kind = raw["kind"] if number > EARLIER_FORMAT else "svd"
        wanted, arrays = result_class(kind, path), StoredArrays(path, digests)
        if kinds and kind not in kinds:
            raise StoreError(
                f"{path} holds a result of {kind}, not of {' or '.join(kinds)}. streamsvd.load opens it."
            )
        if number == EARLIER_FORMAT:
            return decode_earlier(raw, wanted, arrays)
        fields = {name: value for name, value in raw.items() if name not in HEAD}
        return ResultDecoder(wanted, arrays).result(fields)
    except StoreError:
        raise
    except SpecError as error:  # an option that this release does not know, or takes otherwise
        raise StoreError(f"{path} cannot be read: {error}") from error
    except Exception as error:
        raise_access_error(error, path)
        raise StoreError(f"{path} is damaged: {_words(error)}. Restore it from a copy.") from error


def is_result(path: PathOrUrl) -> bool:
    """Whether a result of any kind is there."""
    try:
        return location_of(path).is_folder() and isinstance(_attribute(path), dict)
    except StoreError:
        raise
    except Exception as error:
        raise_access_error(error, path)
        return False


def checksum(record: dict[str, Any]) -> str:
    """Of all that a record says, but for the checksum itself."""
    rest = {name: value for name, value in record.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return digest(text.encode())


def digest(data: bytes) -> str:
    """Of bytes that were written."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _checked_digests(raw: dict[str, Any]) -> dict[str, str] | None:
    """What a record says of the metadata of its arrays, once it is what was written; None of an earlier format."""
    number = raw["format"]
    if (number > EARLIER_FORMAT or "checksum" in raw) and raw["checksum"] != checksum(raw):
        raise ValueError(f"what {METADATA} says is not what was written")
    return msgspec.convert(raw[DIGESTS], dict[str, str]) if number >= DIGESTS_SINCE else None


def raw_record(path: PathOrUrl) -> dict[str, Any]:
    """What the group's attributes say of a result, as it stands there.

    Raises
    ------
    StoreError
        If the path holds no result.
    """
    try:
        raw = _attribute(path)
    except StoreError:
        raise
    except Exception as error:
        raise_access_error(error, path)
        raise StoreError(
            f"{path} is not a result of streamsvd ({_words(error)}). Pass a folder that svd, or the save of a result, wrote."
        ) from error
    if not isinstance(raw, dict):
        raise StoreError(
            f"{path} is not a result of streamsvd. Pass a folder that svd, or the save of a result, wrote."
        )
    return raw


def _attribute(path: PathOrUrl) -> Any:
    text = location_of(path).read(METADATA, most=MOST_RECORD + 1)
    if len(text) > MOST_RECORD:
        raise ValueError(f"{METADATA} has more than {MOST_RECORD:,} bytes")
    return msgspec.json.decode(text)["attributes"][NAME]


def _words(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return f"it has no {METADATA}"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return (str(error) or type(error).__name__).rstrip(".")

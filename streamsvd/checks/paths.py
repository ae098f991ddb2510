"""A path as a user writes it, turned into the place he means; every path that is taken comes through here.

``~`` is his home folder, and an empty text is no path: it would be the current folder, which nobody means.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from streamsvd.errors import SpecError

FILE_SCHEME = "file://"
WRITABLE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")
"""Of object stores that can be written."""
SAME_SCHEMES = {"s3a": "s3", "azure": "az", "adl": "az"}
"""Other spellings."""
_LOST_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?:/+|$)")


@dataclass(frozen=True, slots=True, order=True)
class Url(os.PathLike[str]):
    """A place in an object store, with what a path has that needs no look: names, parents, joining by ``/``.

    Attributes
    ----------
    root
        Scheme and bucket, as ``s3://bucket``.
    key
        Names below it, separated by slashes; empty for the bucket.
    """

    root: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __fspath__(self) -> str:
        return str(self)

    def __truediv__(self, below: str | os.PathLike[str]) -> Url:
        text = os.fspath(below).strip("/")
        return Url(self.root, "/".join(part for part in (self.key, text) if part))

    @property
    def name(self) -> str:
        """The last name; empty of a bucket."""
        return self.key.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The end of the last name from its last dot on."""
        return Path(self.name).suffix

    @property
    def stem(self) -> str:
        """The last name without its suffix."""
        return Path(self.name).stem

    @property
    def parent(self) -> Url:
        """What it is directly below; a bucket is below itself."""
        return Url(self.root, self.key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[Url, ...]:
        """All that it is below, the nearest first."""
        return () if not self.key else (self.parent, *self.parent.parents)

    def with_name(self, name: str) -> Url:
        """Another name beside it."""
        return self.parent / name

    def absolute(self) -> Url:
        """Itself: it is the same from everywhere."""
        return self


PathOrUrl: TypeAlias = Path | Url
"""A place, on a disk or in an object store."""


def is_url(place: Any) -> bool:
    """Whether a place is an address such as ``s3://bucket/name``, and none of the local file system."""
    return "://" in place_text(place) and not place_text(place).startswith(FILE_SCHEME)


def place_text(place: Any) -> str:
    """A path or a URL as text; empty for what is neither."""
    return os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else ""


def local_path(place: Any, name: str = "path") -> Path:
    """The path that a user means.

    Parameters
    ----------
    place
        Text or path, relative or absolute, that may begin with ``~`` or ``file://``.
    name
        Of the argument, for messages.

    Raises
    ------
    SpecError
        If it is empty or no path, or names the home of nobody.
    """
    if not isinstance(place, str | bytes | os.PathLike):
        raise SpecError(f"{name}={place!r} is no path. Pass a text or a path.")
    text = place_text(place).removeprefix(FILE_SCHEME)
    if not text.strip():
        raise SpecError(
            f"{name} is empty, and the current folder is not meant by that. Pass a path; the current folder is '.'."
        )
    if "\0" in text:
        raise SpecError(f"{name}={text!r} has a null character, which no path may have. Remove it.")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no such user, or one without a home
        if "/" not in text or Path(text.partition("/")[0]).exists():  # a name that begins so
            return Path(text)
        raise SpecError(
            f"{name}={text!r} begins with ~, and there is no such home folder. Pass the whole path."
        ) from None


def place_of(place: Any, name: str = "path") -> PathOrUrl:
    """The place that a user means to write to, or read a result from: a path, or the URL of a place in an object store.

    Parameters
    ----------
    place
        A path as `local_path` takes it, or a URL such as ``s3://bucket/folder/R.zarr``.
    name
        Of the argument, for messages.

    Raises
    ------
    SpecError
        If it is neither, or a URL of something that is not written to.
    """
    if isinstance(place, Url):
        return place
    text = place_text(place)
    if not is_url(place):
        path = local_path(place, name)
        found = _LOST_SLASH.match(str(path))
        if found and not path.exists():
            url = f"{found[1]}://{str(path)[found.end() :]}"
            raise SpecError(
                f"{name}={str(path)!r} is a URL that has lost a slash, as pathlib leaves it. Pass the text {url!r}; a folder of that "
                f"name is './{path}'."
            )
        return path
    scheme, _, rest = text.strip().partition("://")
    bucket, _, key = rest.partition("/")
    if scheme.lower() not in WRITABLE_SCHEMES:
        raise SpecError(
            f"{name}={text!r}: nothing is written to {scheme}://. Pass a path, or a place in an object store: s3://, gs://, az:// "
            "or abfss://."
        )
    parts = key.strip("/").split("/")
    if not bucket or not parts[0]:
        raise SpecError(
            f"{name}={text!r} is a whole bucket. Name a place in it, such as {scheme}://{bucket or 'bucket'}/R.zarr."
        )
    wrong = next((part for part in parts if part in ("", ".", "..") or unquote(part) != part), None)
    if wrong is not None or any(sign in key for sign in "?#") or not text.isprintable():
        raise SpecError(
            f"{name}={text!r} has a name that object stores do not take as it stands. Pass names of letters, digits, dots, dashes "
            "and underscores, separated by single slashes."
        )
    known = SAME_SCHEMES.get(scheme.lower(), scheme.lower())
    return Url(f"{known}://{bucket}", "/".join(parts))


def split_inside(path: Path) -> tuple[Path, str | None]:
    """``x.h5:/group/data`` as the file, or folder, and the name of an array in it; a path that is there, or has no such end, as it is."""
    head, sign, inside = str(path).rpartition(":/")
    if not sign or not inside or head.endswith("/") or path.exists() or not Path(head).exists():
        return path, None
    return Path(head), inside

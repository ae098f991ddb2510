"""A path as a user writes it, turned into the place he means; every path that is taken comes through here.

``~`` is his home folder, and an empty text is no path: it would be the current folder, which nobody means.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from streamsvd.errors import SpecError

FILE_SCHEME = "file://"


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


def split_inside(path: Path) -> tuple[Path, str | None]:
    """``x.h5:/group/data`` as the file, or folder, and the name of an array in it; a path that is there, or has no such end, as it is."""
    head, sign, inside = str(path).rpartition(":/")
    if not sign or not inside or head.endswith("/") or path.exists() or not Path(head).exists():
        return path, None
    return Path(head), inside

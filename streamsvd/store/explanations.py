"""What an operating system says of a read or a write, with the path and what to do about it.

An error of the system is none of the data: it keeps its own sentence, and nothing is called damaged because of it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from streamsvd.errors import AccessError, StoreError

Action = Literal["read", "write", "list"]

DISK_REMEDY = "Check the disk, or the network, that it is on."
REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ELOOP: "Its links lead in a circle: mend them, or pass the path of what they were to lead to.",
    errno.EMFILE: "Close files, or raise the limit with ulimit -n.",
    errno.ENFILE: "Close files, or raise the limit with ulimit -n.",
    errno.ENOSPC: "Free space or choose another place.",
    errno.EDQUOT: "Free space or choose another place.",
    errno.EFBIG: "Choose another place, whose files may be larger.",
    errno.EROFS: "Choose another place, which may be written.",
    errno.EIO: DISK_REMEDY,
    errno.ESTALE: DISK_REMEDY,
    errno.ENXIO: DISK_REMEDY,
    errno.ETIMEDOUT: DISK_REMEDY,
}
READ_REMEDIES = REMEDIES | {errno.ENAMETOOLONG: "Check the path."}
WRITE_REMEDIES = REMEDIES | {
    errno.ENOENT: "Make the folder it is to be in, or choose another place."
}
DENIAL_CODES = (errno.EACCES, errno.EPERM)
PATH_CODES = (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST)
HAS_EFFECTIVE_IDS = os.access in os.supports_effective_ids
PLACE_CODES = frozenset((*READ_REMEDIES, *DENIAL_CODES, *PATH_CODES))
"""Errors that say something of the place, and nothing of what is in a file."""


def is_access(error: BaseException | None) -> bool:
    """Whether an error is one of the operating system about a place, and no error of ours or of a format."""
    return (
        isinstance(error, OSError)
        and not isinstance(error, StoreError)
        and error.errno in PLACE_CODES
    )


def access_error(error: OSError, doing: Action, place: object, intact: str = "") -> AccessError:
    """The same error as `AccessError`.

    Parameters
    ----------
    error
        What the system raised.
    doing
        What was tried.
    place
        How messages call it, where the error names no path of its own.
    intact
        What was not lost, as a part of a sentence.
    """
    where = str(place)
    path = _path_of(error, place)
    if doing != "write":  # what is written beside it has a name of no use
        whole = str(Path(where).absolute())
        if path.startswith(where):
            where = path
        elif path.startswith(f"{whole}/"):  # the place as it was given, and what is below it
            where += path.removeprefix(whole)
    reason, remedy = _reason(error, doing, path)
    if intact:
        remedy = f"{remedy.rstrip('.')}; {intact}"
    return AccessError(doing, where, reason, remedy, error.errno or 0)


def raise_access_error(error: BaseException, place: object) -> None:
    """Raise what the system said of a place, if that is what an error, or the one that it came of, is.

    Raises
    ------
    AccessError
        With the sentence of the system.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, AccessError):
            raise found
        if isinstance(found, OSError) and is_access(found) and not means_absent(found, place):
            raise access_error(found, "read", place) from error
        found = found.__cause__ or found.__context__


def _reason(error: OSError, doing: Action, where: str) -> tuple[str, str]:
    said = error.strerror or str(error) or type(error).__name__
    part, kind = first_fault(Path(where))
    here = "" if part is None or str(part) == where else f" ({part})"
    number = error.errno
    other = "check the path" if doing != "write" else "choose another place"
    if kind == "link":
        target = Path(str(part)).readlink()
        named = "it is" if not here else f"{part} is"
        return (
            f"{said}: {named} a link to {target}, which is not there",
            "Mend the link, or pass the path of what it was to lead to.",
        )
    if kind == "file" and number in (errno.ENOTDIR, errno.ENOENT, errno.EEXIST):
        return f"{said}{here}", f"A file stands where a folder should be: {other}."
    if number == errno.EISDIR:
        return said, f"A folder stands where a file should be: {other}."
    if number in (errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
        return said, f"Something else stands there: {other}."
    if number in DENIAL_CODES:
        right = "enter that folder" if kind == "closed" else f"{doing} it"
        if doing == "write":
            right = right if kind == "closed" else "write in that folder"
            return f"{said}{here}", f"Give this user the right to {right}, or choose another place."
        return f"{said}{here}", f"Give this user the right to {right}."
    table = WRITE_REMEDIES if doing == "write" else READ_REMEDIES
    default = "Free space or mend access, or choose another place."
    fallback = default if doing == "write" else "Mend access to it and run again."
    return said, table.get(number or 0, fallback)


def first_fault(path: Path) -> tuple[Path | None, str]:
    """The first part of a path, from the top, at which the way ends, and why.

    Returns
    -------
    part, kind
        ``"link"``: a link without a target; ``"file"``: a file above the last part; ``"closed"``: a folder that may not
        be entered. None and ``""`` where nothing of the kind is seen.
    """
    for part in (*reversed(path.parents), path):
        try:
            seen = part.lstat()
        except (OSError, ValueError):
            return None, ""
        if stat.S_ISLNK(seen.st_mode):
            try:
                seen = part.stat()
            except FileNotFoundError:
                return part, "link"
            except OSError:
                return None, ""
        if part != path and not stat.S_ISDIR(seen.st_mode):
            return part, "file"
        if part != path and not os.access(part, os.X_OK, effective_ids=HAS_EFFECTIVE_IDS):
            return part, "closed"
    return None, ""


def means_absent(error: OSError, place: object) -> bool:
    """Whether an error says that nothing is at a place, and no more: a link without a target is something."""
    return (
        isinstance(error, FileNotFoundError)
        and first_fault(Path(_path_of(error, place)))[1] != "link"
    )


def _path_of(error: OSError, place: object) -> str:
    """The path that the system names, or the place."""
    named = error.filename
    return os.fsdecode(named) if isinstance(named, str | bytes | os.PathLike) else str(place)


def path_exists(path: Path, doing: Action = "read") -> bool:
    """Whether something is at a path.

    Raises
    ------
    AccessError
        If that cannot be seen: a link without a target, links in a circle, a file above it, no permission.
    """
    try:
        path.stat()
    except OSError as error:
        if means_absent(error, path):
            return False
        raise access_error(error, doing, path) from error
    return True


class explain_errors(AbstractContextManager[None]):
    """An error of the system in writing becomes an `AccessError` that names the place and the remedy.

    Parameters
    ----------
    place
        How messages call it.
    intact
        What was not lost, as a part of a sentence.
    doing
        In reading, only errors that say something of the place are turned; the format's own are left to the caller.
    """

    def __init__(self, place: object, intact: str = "", doing: Action = "write") -> None:
        self._place, self._intact, self._doing = place, intact, doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, StoreError):
            return
        if self._doing == "write" or is_access(error):
            raise access_error(error, self._doing, self._place, self._intact) from error

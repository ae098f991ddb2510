"""A folder that is whole takes its place in one step; what was there before is removed only then.

Where something is replaced the two trade names, so that a kill at any moment leaves one of them there. Without that step
there is a moment between two renames at which neither is; what was put aside in it comes back with the next run.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.writing.exchange import exchange_paths
from streamsvd.store.writing.partial import Partial, remove_replaced

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?:/+|$)")


def check_local(path: PathOrUrl | str) -> None:
    """Refuse a URL where only folders are written; taken for a path it is a folder named after its scheme.

    Raises
    ------
    SpecError
        It says where results can be written.
    """
    found = _URL.match(str(path))
    if found:
        url = f"{found[1]}://{str(path)[found.end() :]}"
        raise SpecError(
            f"{url} is a URL, and this is written to local folders alone. Pass a path, and copy what is written there."
        )


def put_in_place(partial: Partial, path: Path, *, overwrite: bool) -> None:
    """Sync what was written and rename it into place.

    Raises
    ------
    StoreError
        If something came there meanwhile that may not be replaced.
    OSError
        If the disk is full or the place cannot be written.
    """
    sync_tree(partial.folder)
    if not path.exists():
        partial.close().rename(path)
        return
    if not overwrite:
        raise StoreError(
            f"{path} was made by another run meanwhile; it will not be replaced. "
            "Pass overwrite=True (--overwrite) to replace it, or choose another place."
        )
    whole = partial.close()
    if not exchange_paths(whole, path):
        _exchange_by_renames(whole, path)
    remove_replaced(whole)  # the name is that of what was there before, by now


def _exchange_by_renames(whole: Path, path: Path) -> None:
    """The same as an exchange, in three steps."""
    old = path.with_name(f"{path.name}.old-{uuid.uuid4().hex[:8]}")
    path.rename(old)
    try:
        whole.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(whole)


def put_back(path: Path) -> None:
    """Give what a kill has left aside between two renames its place again, if nothing has taken it."""
    if os.path.lexists(path):
        return
    pattern = re.compile(re.escape(path.name) + r"\.old-[0-9a-f]{8}")
    with contextlib.suppress(OSError):  # no folder yet, or one that may not be changed
        left = [each for each in path.parent.iterdir() if pattern.fullmatch(each.name)]
        if len(left) == 1:
            left[0].rename(path)


def sync_tree(folder: Path) -> None:
    """Everything below the folder to disk, so that the rename never outruns the data."""
    for path in [folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

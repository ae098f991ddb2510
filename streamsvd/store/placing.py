"""A folder that is whole takes its place by one rename; what was there before is removed only then."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from streamsvd.errors import StoreError
from streamsvd.store.partial import Partial


def put_in_place(partial: Partial, path: Path, *, overwrite: bool) -> None:
    """Sync what was written and rename it into place.

    Raises
    ------
    StoreError
        If something came there meanwhile that may not be replaced.
    OSError
        If the disk is full or the place cannot be written.
    """
    synced(partial.folder)
    if not path.exists():
        partial.close().rename(path)
        return
    if not overwrite:
        raise StoreError(
            f"{path} was made by another run meanwhile; it will not be replaced. "
            "Pass overwrite=True (--overwrite) to replace it, or choose another place."
        )
    old = path.with_name(f"{path.name}.old-{uuid.uuid4().hex[:8]}")
    whole = partial.close()
    path.rename(old)
    whole.rename(path)
    if old.is_symlink():  # the link made way; what it led to is left alone
        old.unlink()
    else:
        shutil.rmtree(old)


def synced(folder: Path) -> None:
    """Everything below the folder to disk, so that the rename never outruns the data."""
    for path in [folder, *folder.rglob("*")]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

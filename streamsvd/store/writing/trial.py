"""Places are tried before the first read: what a run of hours, or of a stream that comes once, is to leave must find room.

A small file is written and removed again where the run will write. Nothing is replaced, and nothing is left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from pathlib import Path

from streamsvd.store.explanations import explain_errors, path_exists
from streamsvd.store.objects import Objects

TRIAL_SUFFIX = ".partial-00000000"
"""As long as what is put behind a name while its folder is written."""
PARTS = ("log", "versions", "saves")
"""Folders that a model or a checkpoint writes to."""
PROBE = bytes(4096)


def try_place(path: Path) -> None:
    """Refuse a local place that cannot be written, whether it is there or not.

    Parameters
    ----------
    path
        File or folder that will be written beside its name and renamed.

    Raises
    ------
    AccessError
        With the sentence of the system.
    """
    with explain_errors(path):
        path_exists(path, "write")
        path_exists(path.with_name(path.name + TRIAL_SUFFIX), "write")
        _write_in(_nearest_folder(path.absolute().parent))


def try_objects(objects: Objects) -> None:
    """The same of the root of a model, a checkpoint or a compressed collection; an object store is not tried.

    Raises
    ------
    AccessError
        With the sentence of the system.
    """
    root = getattr(objects, "root", None)
    if not isinstance(root, Path):
        return
    with explain_errors(root):
        path_exists(root, "write")
        if not root.exists():
            _write_in(_nearest_folder(root.absolute().parent))
            return
        _write_in(root)
        if path_exists(root / "log", "write"):  # something was written to it before
            for name in PARTS:
                if path_exists(root / name, "write"):
                    _write_in(root / name)


def look_at_objects(objects: Objects) -> None:
    """The same as far as it is known without writing: a file that stands there, a folder that may not be written.

    Raises
    ------
    AccessError
        With the sentence of the system.
    """
    root = getattr(objects, "root", None)
    if not isinstance(root, Path):
        return
    with explain_errors(root):
        folder = root if path_exists(root, "write") else _nearest_folder(root.absolute().parent)
        number = errno.EACCES if folder.is_dir() else errno.ENOTDIR
        if number == errno.ENOTDIR or not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(number, os.strerror(number), str(folder))


def _nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there already."""
    while not path_exists(folder, "write") and folder != folder.parent:
        folder = folder.parent
    return folder


def _write_in(folder: Path) -> None:
    """A file there and away again; one that a kill leaves has the name of what a model is made through, and is swept."""
    name = f"model.json.{int(time.time()):010d}-{uuid.uuid4().hex[:12]}.tmp"
    path = folder / name
    try:
        with path.open("xb") as file:
            file.write(PROBE)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()

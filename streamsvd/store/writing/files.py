"""Single files: arrays that are read with words for what goes wrong, and files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.explanations import explain_errors, path_exists, raise_access_error


def array_in(path: Path, name: str) -> Any:
    """The array in a ``.npy`` file that an option names.

    Raises
    ------
    AccessError, StoreError
        If it cannot be read, or is not there.
    SpecError
        If it holds none, or more than one.
    """
    if not path_exists(path):
        raise StoreError(f"{name}={path} does not exist. Check the path.")
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise_access_error(error, path)
        raise SpecError(
            f"{name}={path} is no .npy file of numbers. Write it with numpy.save."
        ) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise SpecError(
            f"{name}={path} holds several arrays. Write the one that is meant with numpy.save."
        )
    return found


def check_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a file that is taken or cannot be written, before any work.

    Raises
    ------
    StoreError
        If something is there that may not be replaced, or its folder is not there.
    AccessError
        If the system refuses the place.
    """
    from streamsvd.store.writing.trial import try_place

    if path_exists(path, "write"):
        if not overwrite:
            raise StoreError(
                f"{path} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if not path.is_file():
            raise StoreError(
                f"{path} is no regular file; it will not be replaced. Choose another place."
            )
    if path_exists(path.parent, "write") and not path.parent.is_dir():
        raise StoreError(f"{path.parent} is no folder. Choose another place.")
    if not path.parent.exists():
        raise StoreError(f"{path.parent} is no folder. Make it, or choose another place.")
    try_place(path)


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays beside a file and rename it into place.

    Raises
    ------
    AccessError
        If it cannot be written; what was there before is untouched.
    """
    with replacement_file(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def replacement_file(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of another; it is gone if anything fails.

    Raises
    ------
    AccessError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with explain_errors(path, "nothing was replaced."):
            yield partial
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

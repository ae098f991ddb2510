"""Single files: arrays that are read with words for what goes wrong, and files that are there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.explanations import path_exists, raise_access_error
from streamsvd.store.places import location_of


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


def check_file(path: PathOrUrl, *, overwrite: bool) -> None:
    """Refuse a place for a file that is taken or cannot be written, before any work.

    Raises
    ------
    StoreError
        If something is there that may not be replaced, or its folder is not there.
    AccessError
        If the system refuses the place.
    """
    place = location_of(path)
    if place.exists("write"):
        if not overwrite:
            raise StoreError(
                f"{path} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if not place.is_file():
            raise StoreError(
                f"{path} is no regular file; it will not be replaced. Choose another place."
            )
    place.check_parent()
    place.try_writing()


def write_npz(path: PathOrUrl, arrays: Mapping[str, Any], *, overwrite: bool = True) -> None:
    """Write arrays to a file, which is there whole or not at all.

    Raises
    ------
    StoreError
        If it cannot be written; what was there before is untouched.
    """
    with replacement_file(path, overwrite=overwrite) as file:
        np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def replacement_file(path: PathOrUrl, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A file to write, which then takes the place of another; it is gone if anything fails.

    Raises
    ------
    StoreError
        If it cannot be written, or another came there meanwhile that may not be replaced.
    """
    with location_of(path).replacement(overwrite=overwrite) as file:
        yield file

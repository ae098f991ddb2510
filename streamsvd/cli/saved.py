"""Files that are there whole or not at all: arrays in a ``.npz`` file, figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.explained import explained
from streamsvd.store.placing import check_local


def written(out: Path, arrays: Mapping[str, Any]) -> None:
    """Write them beside the file and rename it into place.

    Raises
    ------
    StoreError
        If the folder is not there, or has no room.
    """
    with beside(out) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A file to write, which then takes the place of another; it is gone if anything fails.

    Raises
    ------
    StoreError
        If the folder is not there, or has no room.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        with explained(out, "Choose a folder that has room."):
            yield partial
            partial.replace(out)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_place(out: Path | None, *, overwrite: bool) -> None:
    """Refuse a place that cannot be written, before any work.

    Raises
    ------
    StoreError
        If the file is there and may not be replaced, or its folder is not.
    """
    if out is None:
        return
    check_local(out)
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists already. Pass --overwrite to replace it.")
    if out.exists() and not out.is_file():
        raise StoreError(
            f"{out} is no regular file; it will not be replaced. Choose another place."
        )
    if not out.absolute().parent.is_dir():
        raise StoreError(f"{out.absolute().parent} is no folder. Make it, or choose another place.")


def weights(rows: Path | None, columns: Mapping[str, str] | None) -> dict[str, Any]:
    """Arguments that files of weights of rows, and of the columns of blocks by pattern, stand for.

    Raises
    ------
    SpecError
        If one is no ``.npy`` file of numbers.
    """
    found: dict[str, Any] = {}
    if rows is not None:
        found["row_weights"] = loaded("--row-weights", rows)
    if columns is not None:
        found["column_weights"] = {
            pattern: loaded("--column-weights", Path(place)) for pattern, place in columns.items()
        }
    return found


def loaded(name: str, path: Path) -> Any:
    """The array in the ``.npy`` file that an option names.

    Raises
    ------
    SpecError
        If there is none, or more than one.
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SpecError(
            f"{name}={path} is no .npy file of numbers. Write it with numpy.save."
        ) from error
    if not isinstance(found, np.ndarray):
        found.close()
        raise SpecError(
            f"{name}={path} holds several arrays. Write the one that is meant with numpy.save."
        )
    return found

"""Files that the command line reads and writes: arrays of weights, ``.npz`` files, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import PathOrUrl, local_path
from streamsvd.store.results.saving import Result
from streamsvd.store.writing.files import array_in, check_file, replacement_file, write_npz

__all__ = [
    "check_place",
    "check_result_place",
    "read_npy",
    "replacement_file",
    "save_result",
    "weight_arguments",
]

NPZ = ".npz"


def check_place(
    out: PathOrUrl | None, *read: Any, mask: Any = None, overwrite: bool, name: str = "out="
) -> None:
    """Refuse a place that cannot be written, or is not apart from what is read, before any work.

    Raises
    ------
    SpecError
        If the place and something that is read are the same, or lie in one another.
    StoreError
        If the file is there and may not be replaced, or its folder is not, or cannot be written.
    """
    if out is not None:
        from streamsvd.store.writing.separation import check_apart, mask_places  # imports zarr

        check_apart(out, *read, *(mask_places(each, mask) for each in read), name=name)
        check_file(out, overwrite=overwrite)


def check_result_place(
    out: PathOrUrl | None, *read: Any, mask: Any = None, overwrite: bool, name: str = "out="
) -> None:
    """The same for a result, which goes to a ``.npz`` file or a folder.

    Raises
    ------
    SpecError, StoreError
        As `check_place`.
    """
    if out is None or out.suffix == NPZ:
        check_place(out, *read, mask=mask, overwrite=overwrite, name=name)
        return
    from streamsvd.store.results.writer import ResultWriter  # these two import zarr
    from streamsvd.store.writing.separation import check_apart, mask_places

    check_apart(out, *read, *(mask_places(each, mask) for each in read), name=name)
    ResultWriter(out, overwrite=overwrite).discard()


def save_result(
    out: PathOrUrl | None,
    result: Result,
    arrays: Callable[[], Mapping[str, Any]],
    *,
    overwrite: bool,
) -> None:
    """Write a result: as a whole to a folder, or these arrays of it to a ``.npz`` file.

    Raises
    ------
    StoreError
        If it cannot be written; what was there before is untouched.
    """
    if out is not None and out.suffix == NPZ:
        write_npz(out, arrays(), overwrite=overwrite)
    elif out is not None:
        result.save(out, overwrite=overwrite)


def weight_arguments(rows: Path | None, columns: Mapping[str, str] | None) -> dict[str, Any]:
    """Arguments that files of weights of rows, and of the columns of blocks by pattern, stand for.

    Raises
    ------
    SpecError
        If one is no ``.npy`` file of numbers.
    """
    found: dict[str, Any] = {}
    if rows is not None:
        found["row_weights"] = read_npy("--row-weights", rows)
    if columns is not None:
        found["column_weights"] = {
            pattern: read_npy("--column-weights", local_path(place))
            for pattern, place in columns.items()
        }
    return found


def read_npy(name: str, path: Path) -> Any:
    """The array in the ``.npy`` file that an option names.

    Raises
    ------
    SpecError
        If there is none, or more than one.
    """
    return array_in(path, name)

"""Files of HDF5, and so of netCDF-4: opened to be read, and what the library says of one that cannot be, in words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from streamsvd.checks.libraries import optional_library
from streamsvd.errors import StoreError, StreamSVDError
from streamsvd.store.explanations import raise_access_error


@contextlib.contextmanager
def reading_hdf5(path: Path) -> Iterator[Any]:
    """A file that is open while it is read; its errors are ours.

    Raises
    ------
    StoreError
        If it is none, is not whole, is being written, or cannot be read.
    """
    h5py = optional_library("h5py", "hdf5", f"{path} is a file of HDF5")
    try:
        with _open(h5py, path) as file:
            yield file
    except StreamSVDError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        _explain(path, error)


def _open(h5py: Any, path: Path) -> Any:
    """The file, read as whoever has it open in this process already reads it."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


def _explain(path: Path, error: Exception) -> NoReturn:
    """An error of the library as one of ours."""
    said = str(error)
    if isinstance(error, BlockingIOError) or "unable to lock" in said or "already open" in said:
        raise StoreError(
            f"{path} is open for writing, so that it is locked ({reason_of(error)}). Wait until it is closed; a file that was "
            "left open by a crash is freed by: h5clear -s FILE"
        ) from error
    raise_access_error(error, path)
    if "truncated file" in said:
        why = re.search(r"eof = (\d+).*stored_eof = (\d+)", said)
        sizes = f": it has {int(why[1]):,} bytes of {int(why[2]):,}" if why else ""
        raise StoreError(
            f"{path} is cut short{sizes}. Copy it again, or restore it from a copy."
        ) from error
    if "file signature not found" in said:
        raise StoreError(
            f"{path} is no file of HDF5 or netCDF: it does not begin as one. Check the path; a file that is encrypted or "
            "compressed as a whole is to be unpacked before."
        ) from error
    raise StoreError(
        f"{path} cannot be read: {reason_of(error)}. Restore it from a copy, or write it again."
    ) from error


def reason_of(error: Exception) -> str:
    """What stands in the parentheses of the library's sentence, which is the reason."""
    said = str(error)
    inside = re.search(r"\((.*)\)", said, re.DOTALL)
    return (inside[1] if inside else said).rstrip(".")

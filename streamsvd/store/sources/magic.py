"""Files known by their first bytes, whatever their names."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from streamsvd.errors import StoreError

HDF5 = b"\x89HDF\r\n\x1a\n"
NETCDF3 = b"CDF"

OTHER_HDF5 = (".h5ad", ".mat")
"""Ends of names of files of HDF5 that are read, or refused, by other rules."""
_MOST_USER_BLOCK = 1 << 20


def check_not_empty(path: Path) -> None:
    """Refuse a file without a byte, which has no first ones.

    Raises
    ------
    StoreError
        If it is one.
    """
    try:
        found = path.stat()
    except OSError:  # said by what reads it
        return
    if stat.S_ISREG(found.st_mode) and found.st_size == 0:
        raise StoreError(f"{path} is empty: the file has no bytes. Write it again.")


def is_netcdf3(source: Any) -> bool:
    """Whether a path is a file that begins as netCDF-3 does."""
    return _bytes_at(source, 0, len(NETCDF3)) == NETCDF3


def is_hdf5(source: Any) -> bool:
    """Whether a path is a file that begins as HDF5 does, after a block of the user's own or not."""
    if not isinstance(source, Path) or source.name.lower().endswith(OTHER_HDF5):
        return False
    start = 0
    while start <= _MOST_USER_BLOCK:
        head = _bytes_at(source, start, len(HDF5))
        if head == HDF5:
            return True
        if len(head) < len(HDF5):
            return False
        start = max(512, 2 * start)
    return False


def _bytes_at(source: Any, start: int, count: int) -> bytes:
    """Bytes of a file; none of what is no file that can be read."""
    if not isinstance(source, Path):
        return b""
    try:
        with source.open("rb") as file:
            file.seek(start)
            return file.read(count)
    except OSError:
        return b""

"""One door for every kind of stored matrix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.foreign import check_file_kind, check_object
from streamsvd.checks.paths import local_path
from streamsvd.errors import SpecError, StoreError
from streamsvd.protocols import Source
from streamsvd.store.explanations import path_exists
from streamsvd.store.sources.arrays import open_array
from streamsvd.store.sources.flatten import Rows
from streamsvd.store.sources.npy import maps_whole_file, open_memmap, open_npy
from streamsvd.store.sources.reader import open_reader

_ACCEPTED_KINDS = (
    "a path to a zarr folder, .zip or .npy file, a zarr store, array or group, a numpy array, "
    "or an object with shape, dtype, chunks and read(rows)"
)


def open_source(
    source: Any, variable: str | None = None, rows: Rows = None, missing: str = "error"
) -> Source:
    """A stored matrix, ready to be read a rectangle at a time; none of its values is read here.

    Parameters
    ----------
    source
        A path to a zarr folder, a zarr ``.zip`` or a ``.npy`` file; the URL of a zarr store, where fsspec
        knows its kind; a zarr store, array or group; a numpy array; an object with ``shape``, ``dtype``, ``chunks`` and ``read(rows)``; or a `Source`, which is
        returned as it is.
    variable
        Name of the array within a group; needed if the group holds more than one matrix.
    rows
        Dimension or dimensions, by name or number, whose C-order index is the row of the matrix; all
        others make its columns. The first of a two-dimensional array if left out.
    missing
        ``"error"``: an absent chunk is a `MissingChunkError`. ``"fill"``: it holds the fill value, as
        zarr has it; damaged chunks are errors nevertheless.

    Returns
    -------
    source
        Values are those that ``xarray.open_zarr`` decodes: NaN where they equal ``_FillValue`` or
        ``missing_value`` (integers of at most 16 bits are float32 then, others float64), and float64 with
        ``scale_factor`` or ``add_offset``. In zarr v2 with xarray's ``_ARRAY_DIMENSIONS``, the fill value of
        the array marks missing values.

    Raises
    ------
    StoreError
        If there is nothing there, or it cannot be read.
    ShapeError
        If it is not a matrix with at least one entry.
    SpecError
        If a name is unknown, the values are not numbers, or an attribute says what xarray does not read.
    """
    if missing not in ("error", "fill"):
        raise SpecError(f'missing={missing!r} must be "error" or "fill".')
    if isinstance(source, str | os.PathLike) and "://" not in os.fspath(source):
        return _open_path(local_path(source, "source"), variable, rows, missing)
    if isinstance(source, str) or _is_zarr(source):
        from streamsvd.store.sources.zarr_array import open_zarr  # half a second of imports

        return open_zarr(source, variable, rows, missing)
    _refuse_variable(variable, source)
    if isinstance(source, np.ndarray):
        return open_memmap(source, rows) if maps_whole_file(source) else open_array(source, rows)
    if isinstance(source, Source):
        _refuse_rows(rows, source)
        if missing != "error":
            raise SpecError(
                f"missing={missing!r} was asked of {source.name}, which is open already. Pass it where the path is opened."
            )
        return source
    if all(hasattr(source, name) for name in ("shape", "dtype", "read")):
        _refuse_rows(rows, source)
        return open_reader(source)
    check_object(source)
    raise SpecError(f"{_kind_text(source)} is not a source; accepted are {_ACCEPTED_KINDS}.")


def _open_path(path: Path, variable: str | None, rows: Rows, missing: str) -> Source:
    if not path_exists(path):
        raise StoreError(f"{path} does not exist. Check the path.")
    if path.is_dir() or path.suffix == ".zip":
        from streamsvd.store.sources.zarr_array import open_zarr

        return open_zarr(path, variable, rows, missing)
    if path.suffix == ".npy":
        _refuse_variable(variable, path)
        return open_npy(path, rows)
    check_file_kind(path)
    raise StoreError(
        f"{path} is a file of a kind that cannot be read; files must end in .npy or .zip, "
        "or be the folder of a zarr array or group."
    )


def _is_zarr(source: Any) -> bool:
    return any(base.__module__.split(".")[0] == "zarr" for base in type(source).__mro__)


def _refuse_variable(variable: str | None, source: Any) -> None:
    if variable is not None:
        raise SpecError(
            f"variable={variable!r} names an array in a zarr group; {_kind_text(source)} has none."
        )


def _refuse_rows(rows: Rows, source: Any) -> None:
    if rows not in (None, 0):
        raise SpecError(
            f"rows={rows!r} flattens an array; {_kind_text(source)} is a matrix already."
        )


def _kind_text(source: Any) -> str:
    if isinstance(source, Path):
        return str(source)
    return f"{type(source).__module__}.{type(source).__qualname__}"

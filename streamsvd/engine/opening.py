"""One door for every kind of matrix."""

from __future__ import annotations

from typing import Any

from streamsvd.engine.dask_source import DaskSource, dask_source, is_dask_array, mark_dask_missing
from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources import open_source
from streamsvd.store.sources.request import OpenRequest


def open(
    source: Any,
    variable: str | None = None,
    rows: str | int | tuple[str | int, ...] | None = None,
    missing: str = "error",
    *,
    missing_value: float | None = None,
    dtype: Any = None,
    shape: tuple[int, ...] | None = None,
    offset: int = 0,
) -> Source:
    """A stored matrix, lazily: its shape and chunks are known, none of its values is read.

    Parameters
    ----------
    source
        A path, a URL or an object of one of the kinds in the list of sources: zarr, ``.npy``, ``.npz``, netCDF and HDF5 files,
        safetensors, bytes without a header, objects of xarray and h5py, arrays of numpy and dask, whose masked cells are read as
        NaN, and others; or an object with ``shape``, ``dtype``, ``chunks`` and ``read(rows)``. ``FILE:/NAME`` is a file and its
        ``variable``.
    variable
        Name of the array within a group, a file or a data set; needed where it holds more than one matrix.
    rows
        Dimension or dimensions of an N-dimensional array that make the rows; the others make the columns.
    missing
        ``"error"`` (default): an absent chunk is an error that names it. ``"fill"``: it holds the fill value.
    missing_value
        A number that stands for a missing value, where the source cannot say so itself: it is read as NaN.
    dtype, shape, offset
        Type, extents and first byte of numbers that lie in a file without a header.

    Returns
    -------
    A
        With ``A.shape``, ``A.dtype``, ``A.chunks``, ``A.nbytes``.

    Raises
    ------
    StoreError, ShapeError, SpecError
        If there is no such thing, it is no matrix, it does not hold numbers, or what is asked does not belong to its kind.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> A = streamsvd.open(np.eye(4, 3))
    >>> A.shape, A.nbytes
    ((4, 3), 96)
    """
    asked = OpenRequest(variable, rows, missing, missing_value, dtype, shape, offset)
    if is_dask_array(source):
        if given := [name for name in asked.non_defaults() if name != "missing_value"]:
            raise SpecError(
                f"{', '.join(f'{name}=' for name in given)} belongs to stored arrays; a dask array is taken as the matrix it is. "
                "Select and reshape it before."
            )
        return _marked_dask(dask_source(source), missing_value)
    if is_xarray(source):
        from streamsvd.engine.xarray_source import dask_variable  # what other sources never need

        if (chunked := dask_variable(source, asked)) is not None:
            return _marked_dask(chunked, missing_value)
    return open_source(
        source, variable, rows, missing, missing_value=missing_value, dtype=dtype, shape=shape,
        offset=offset,
    )  # fmt: skip


def is_xarray(source: object) -> bool:
    """Whether this is an object of xarray, without importing it to ask."""
    return any(
        base.__module__.startswith("xarray.") and base.__name__ in ("DataArray", "Dataset")
        for base in type(source).__mro__
    )


def _marked_dask(source: DaskSource, number: float | None) -> DaskSource:
    return source if number is None else mark_dask_missing(source, number)


def as_source(A: Any) -> Source:
    """A source, opened if it is not one yet."""
    return A if isinstance(A, Source) and hasattr(A, "locate") else open(A)

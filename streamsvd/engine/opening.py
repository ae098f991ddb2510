"""One door for every kind of matrix."""

from __future__ import annotations

from typing import Any

from streamsvd.engine.dask_source import dask_source, is_dask_array
from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.sources import open_source


def open(
    source: Any,
    variable: str | None = None,
    rows: str | int | tuple[str | int, ...] | None = None,
    missing: str = "error",
) -> Source:
    """A stored matrix, lazily: its shape and chunks are known, none of its values is read.

    Parameters
    ----------
    source
        Path of a zarr folder, a zarr ``.zip`` or a ``.npy`` file; a zarr store, array or group; a numpy or
        dask array, whose masked cells are read as NaN; or an object with ``shape``, ``dtype``, ``chunks`` and ``read(rows)``.
    variable
        Name of the array within a group.
    rows
        Dimension or dimensions of an N-dimensional array that make the rows; the others make the columns.
    missing
        ``"error"`` (default): an absent chunk is an error that names it. ``"fill"``: it holds the fill value.

    Returns
    -------
    A
        With ``A.shape``, ``A.dtype``, ``A.chunks``, ``A.nbytes``.

    Raises
    ------
    StoreError, ShapeError, SpecError
        If there is no such thing, it is no matrix, or it does not hold numbers.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> A = streamsvd.open(np.eye(4, 3))
    >>> A.shape, A.nbytes
    ((4, 3), 96)
    """
    if is_dask_array(source):
        if variable is not None or rows is not None:
            raise SpecError(
                "variable= and rows= belong to stored arrays; a dask array is taken as the matrix it is. "
                "Select and reshape it before."
            )
        return dask_source(source)
    return open_source(source, variable=variable, rows=rows, missing=missing)


def as_source(A: Any) -> Source:
    """A source, opened if it is not one yet."""
    return A if isinstance(A, Source) and hasattr(A, "locate") else open(A)

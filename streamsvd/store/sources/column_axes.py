"""The dimensions that columns come from, with the numbers along them: what makes an image or a map of a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import zarr

from streamsvd.protocols import Source
from streamsvd.store.sources.columns import column_extents
from streamsvd.store.sources.coordinates import stored_array
from streamsvd.store.sources.zarr_array import dimension_names
from streamsvd.typing import Real

MOST_NUMBERS = 100_000
"""Numbers along a dimension that are read."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnAxis:
    """A dimension of the columns.

    Attributes
    ----------
    length
        Its extent.
    name
        Its name; empty where it has none.
    numbers
        What stands in the array of its name, ``(length,)``; None where there is none.
    """

    length: int
    name: str = ""
    numbers: Real | None = None


def column_axes(source: Source) -> tuple[ColumnAxis, ...]:
    """The dimensions of the columns of a source, in C order; of what is no array of a zarr store their extents alone."""
    extents = column_extents(source)
    stored = stored_array(source)
    if stored is None:
        return tuple(ColumnAxis(int(n)) for n in extents)
    store, prefix = stored.array.store, getattr(stored.array.encode_key, "prefix", "")
    data = zarr.open_array(store=store, path=prefix, mode="r")
    names = dimension_names(data, dict(data.attrs)) or [None] * data.ndim
    parent = prefix.rpartition("/")[0]
    return tuple(
        ColumnAxis(
            int(length), names[axis] or "", _numbers(store, parent, names[axis], int(length))
        )
        for axis, length in zip(stored.layout.column_axes, extents, strict=True)
    )


def _numbers(store: object, parent: str, name: str | None, length: int) -> Real | None:
    """The array of a dimension beside that of the data, if it is one of as many real numbers."""
    if name is None or length > MOST_NUMBERS:
        return None
    try:
        found = zarr.open_array(store=store, path=f"{parent}/{name}" if parent else name, mode="r")
        if found.shape != (length,) or found.dtype.kind not in "iuf":
            return None
        values = np.asarray(found[...], dtype=np.float64)
    except Exception:  # numbers along a dimension are a help, and no more
        return None
    return values if np.isfinite(values).all() else None

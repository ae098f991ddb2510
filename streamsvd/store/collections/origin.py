"""What an archive remembers of where an array came from, so that it comes back as it was: type, attributes, dimensions."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from streamsvd.store.sources.conventions import NAMES, Conventions, read_conventions
from streamsvd.store.sources.packing import Packing

Array = npt.NDArray[Any]


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An array of a zarr store, but for its values.

    Attributes
    ----------
    dtype
        Type of what is stored, with its byte order.
    attributes
        Of the array, as JSON.
    dimensions
        Their names, if they have any.
    """

    dtype: str
    attributes: str
    dimensions: list[str | None] | None = None

    @property
    def packing(self) -> Packing | None:
        """How values are packed; None where they are what is stored."""
        found = _packing(self.dtype, self.attributes)
        return None if found.is_plain else found

    def pack(self, values: Array) -> Array:
        """Values as they are stored."""
        found = _packing(self.dtype, self.attributes)
        codes = (
            values.astype(found.stored_dtype.newbyteorder("="))
            if found.is_plain
            else found.pack(values)
        )
        return codes.view(np.dtype(self.dtype).newbyteorder("="))

    def without_axis(self, axis: int) -> Origin:
        """Of a piece that lacks a dimension."""
        if self.dimensions is None:
            return self
        names = list(self.dimensions)
        del names[axis]
        return msgspec.structs.replace(self, dimensions=names)


@lru_cache(maxsize=1024)
def _packing(dtype: str, attributes: str) -> Packing:
    record = read_conventions(np.dtype(dtype), json.loads(attributes), where="the archive")
    return Packing(record)


def origin_of(
    dtype: np.dtype[Any],
    attributes: Mapping[str, Any],
    dimensions: Sequence[str | None] | None,
    record: Conventions,
    fill_value: Any,
    *,
    zeros: bool,
) -> Origin | None:
    """What is to be remembered of an array; None where there is nothing.

    Parameters
    ----------
    dtype, attributes, dimensions
        Of the array.
    record
        What its attributes say.
    fill_value
        The fill value of zarr where it marks missing values, else None.
    zeros
        Whether missing values count as zero: packed values must have one then.

    Notes
    -----
    Where packing loses digits (more than 32 bits, or floats that are scaled), values come back as they were read, without
    the attributes that say how they were packed.
    """
    kept = dict(attributes)
    if dimensions is not None:
        kept.pop("_ARRAY_DIMENSIONS", None)
    if fill_value is not None:
        kept["_FillValue"] = _encode_fill(np.asarray(fill_value).item())
    names = None if dimensions is None else list(dimensions)
    if not kept and names is None:
        return None
    packing, origin = Packing(record), Origin(np.dtype(dtype).str, json.dumps(kept), names)
    if _packing(origin.dtype, origin.attributes) == packing and (
        packing.is_plain or (packing.is_exact and (packing.has_zero or not zeros))
    ):
        return origin
    kept = {name: value for name, value in kept.items() if name not in NAMES}
    return Origin(packing.dtype.str, json.dumps(kept), names)


def _encode_fill(fill: Any) -> Any:
    """A fill value as xarray writes it in the attributes of zarr v3."""
    if isinstance(fill, float):
        return base64.standard_b64encode(struct.pack("<d", fill)).decode()
    return [_encode_fill(fill.real), _encode_fill(fill.imag)] if isinstance(fill, complex) else fill

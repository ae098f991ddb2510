"""Packed and masked values, by the conventions of NetCDF (CF-1.11, section 8.1 and 2.5.1).

Values equal to ``_FillValue`` or ``missing_value`` are delivered as NaN, then ``scale_factor`` and
``add_offset`` are applied. A float array keeps its type; an integer array with any of these attributes is
delivered as float32 if its values have at most 16 bits, else as float64. ``valid_range`` and its like are
left alone, as xarray does.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError

_BLOCK_ITEMS = 1 << 17


@dataclass(frozen=True)
class Packing:
    """How stored values become delivered ones; ``fills`` are missing."""

    stored: np.dtype[Any]
    fills: tuple[complex | float | int, ...] = ()
    scale: float = 1.0
    offset: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether values are delivered as they are stored."""
        return not self.fills and self.scale == 1.0 and self.offset == 0.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the delivered values."""
        if self.is_plain or self.stored.kind in "fc":
            return self.stored.newbyteorder("=")
        return np.dtype(np.float32 if self.stored.itemsize <= 2 else np.float64)

    def transient_bytes(self, items: int) -> int:
        """Most bytes held by `unpack` beside so many values and their place."""
        return 0 if self.is_plain else 32 * min(items, _BLOCK_ITEMS)

    def unpack(self, values: npt.NDArray[Any], place: npt.NDArray[Any]) -> None:
        """Write the delivered values to ``place``, which may be ``values`` itself."""
        if self.is_plain:
            if values is not place:
                place[...] = values
            return
        in_place = values is place
        slab = max(1, values[:1].size)
        if slab > _BLOCK_ITEMS and values.ndim > 1:
            for part, target in zip(values, place, strict=True):
                self.unpack(target if in_place else part, target)
            return
        step = max(1, _BLOCK_ITEMS // slab)
        for start in range(0, len(values), step):
            target = place[start : start + step]
            self._unpack_block(target if in_place else values[start : start + step], target)

    def _unpack_block(self, values: npt.NDArray[Any], place: npt.NDArray[Any]) -> None:
        missing = np.zeros(values.shape, bool)
        for fill in self.fills:
            missing |= values == np.asarray(fill, values.dtype)
        if self.scale != 1.0 or self.offset != 0.0:
            wide = values.astype(np.result_type(values.dtype, np.float64))
            wide *= self.scale
            wide += self.offset
            values = wide
        if values is not place:
            place[...] = values
        np.copyto(place, np.nan, where=missing)


def packing(
    dtype: np.dtype[Any],
    attributes: Mapping[str, Any],
    fill_value: Any,
    *,
    fill_is_missing: bool,
    where: str,
) -> Packing:
    """What the attributes of an array say of its values.

    Parameters
    ----------
    dtype
        Type of the stored values.
    attributes
        Attributes of the array; ``_Unsigned = "true"`` makes signed integers unsigned.
    fill_value
        zarr's own fill value.
    fill_is_missing
        Whether that also marks missing values: xarray keeps ``_FillValue`` there in zarr v2.
    where
        Name of the array, for messages.

    Raises
    ------
    SpecError
        If an attribute cannot be read as a number.
    """
    if dtype.kind == "i" and str(attributes.get("_Unsigned", "")).lower() == "true":
        dtype = np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
    found: list[Any] = []
    for name in ("_FillValue", "missing_value"):
        if attributes.get(name) is not None:
            found.extend(_numbers(attributes[name], dtype, f"{name} of {where}"))
    if fill_is_missing and fill_value is not None and fill_value != 0:
        found.append(np.asarray(fill_value).item())
    fills = tuple(dict.fromkeys(fill for fill in found if _can_be_stored(fill, dtype)))
    scale, offset = (
        _numbers(attributes.get(name, default), np.dtype(float), f"{name} of {where}")[0]
        for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if scale == 0 or not math.isfinite(scale) or not math.isfinite(offset):
        raise SpecError(
            f"{where} has scale_factor {scale} and add_offset {offset}; "
            "unpacking needs a finite offset and a finite scale other than 0."
        )
    return Packing(dtype, fills, float(scale), float(offset))


def _numbers(value: Any, dtype: np.dtype[Any], where: str) -> list[Any]:
    """Numbers of an attribute: plain, a list, ``"NaN"``, or as xarray encodes them (base64)."""
    try:
        if dtype.kind == "c" and isinstance(value, list | tuple) and len(value) == 2:
            return [complex(*(_number(part) for part in value))]
        values = value if isinstance(value, list | tuple) else [value]
        return [_number(part) for part in values] or [_number(None)]
    except (TypeError, ValueError, struct.error) as error:
        raise SpecError(
            f"{where} is {value!r}, which is not a number. Correct the attribute."
        ) from error


def _number(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return struct.unpack("<d", base64.standard_b64decode(value))[0]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool) or not isinstance(value, int | float | complex):
        raise TypeError(f"{type(value).__name__} is not a number")
    return value


def _can_be_stored(fill: Any, dtype: np.dtype[Any]) -> bool:
    """Whether some stored value can equal this one, and is not NaN already."""
    if fill != fill:
        return False
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        whole = not isinstance(fill, complex) and math.isfinite(fill) and fill == int(fill)
        return whole and limits.min <= fill <= limits.max
    return abs(fill) <= float(np.finfo(dtype).max) or not math.isfinite(abs(fill))

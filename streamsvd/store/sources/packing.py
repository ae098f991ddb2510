"""Stored values as what they mean, and back: a record of conventions applied to blocks.

Missing values are delivered as NaN, others as ``stored * scale + offset`` in float64, rounded as xarray rounds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.store.sources.conventions import Conventions

_BLOCK_ITEMS = 1 << 17


@dataclass(frozen=True, slots=True)
class Packing:
    """How stored values become delivered ones."""

    record: Conventions

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the stored values, with their sign and byte order."""
        return self.record.stored_dtype

    @property
    def fills(self) -> tuple[complex | float | int, ...]:
        """Stored values that are missing."""
        return self.record.fills

    @property
    def is_plain(self) -> bool:
        """Whether values are delivered as they are stored."""
        return self.record.is_plain

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the delivered values."""
        return self.record.delivered_dtype

    @property
    def is_exact(self) -> bool:
        """Whether `pack` finds every stored value again in what `unpack` made of it."""
        record = self.record
        if record.stored_dtype.kind not in "iu":
            return record.stored_dtype.kind == "f" and not record.scales
        if not record.scales:
            return record.stored_dtype.itemsize <= 4
        scale = abs(record.scale)
        steps = abs(record.offset) / scale if scale > 1e-290 else np.inf
        return record.stored_dtype.itemsize <= 4 and scale < 1e290 and steps < 2.0**50

    @property
    def has_zero(self) -> bool:
        """Whether a stored value that is not missing stands for zero."""
        return not self.nearest(np.zeros(1)).any()

    def nearest(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of the values that stored ones stand for, those nearest to these; none is missing."""
        codes = self._codes(values)
        if self.record.scales:
            codes *= self.record.scale
            codes += self.record.offset
        return codes.astype(self.dtype, copy=False)

    def pack(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The stored values, in native byte order, that stand for those `nearest` to these."""
        return self._codes(values).astype(self.stored_dtype.newbyteorder("="))

    def _codes(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Stored values in float64."""
        codes, stored = np.array(values, dtype=np.float64), self.stored_dtype.newbyteorder("=")
        if self.record.scales:
            codes -= self.record.offset
            codes /= self.record.scale
        if stored.kind == "f":
            limits = np.finfo(stored)
            np.clip(codes, float(limits.min), float(limits.max), out=codes)
            codes = codes.astype(stored).astype(np.float64)
        else:
            np.rint(codes, out=codes)
            np.clip(codes, np.iinfo(stored).min, np.iinfo(stored).max, out=codes)
        for fill in self.fills:
            np.copyto(codes, self._nearest_present(fill), where=codes == fill)
        return codes

    def _nearest_present(self, fill: Any) -> float:
        """The nearest stored value that is not missing."""
        stored, sides = self.stored_dtype.newbyteorder("="), (np.inf, -np.inf)
        for side in sides:
            other = float(fill)
            while other in self.fills:
                step = (
                    np.nextafter(stored.type(other), stored.type(side)) if stored.kind == "f" else 0
                )
                other = float(step) if stored.kind == "f" else other + np.sign(side)
            if stored.kind == "f" or np.iinfo(stored).min <= other <= np.iinfo(stored).max:
                return other
        return float(fill)

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
        record = self.record
        if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
            values = values.astype(np.float64)  # xarray compares what it delivers
        missing = np.zeros(values.shape, bool)
        for fill in record.fills:
            missing |= values == np.asarray(fill, values.dtype)
        if record.scales:
            wide = values.astype(record.work_dtype)
            with np.errstate(over="ignore", under="ignore"):  # Inf is refused by whoever asked
                wide *= record.work_dtype.type(record.scale)
                wide += record.work_dtype.type(record.offset)
            values = wide
        if values is not place:
            place[...] = values
        if record.fills:
            np.copyto(place, np.nan, where=missing)

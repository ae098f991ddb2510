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
    def stored(self) -> np.dtype[Any]:
        """Type of the stored values, with their sign and byte order."""
        return self.record.stored

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
        return self.record.delivered

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
            wide = values.astype(record.work)
            with np.errstate(over="ignore", under="ignore"):  # Inf is refused by whoever asked
                wide *= record.work.type(record.scale)
                wide += record.work.type(record.offset)
            values = wide
        if values is not place:
            place[...] = values
        if record.fills:
            np.copyto(place, np.nan, where=missing)

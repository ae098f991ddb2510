"""A field in memory as a matrix, until `streamsvd.open` takes one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsvd.labels import NO_LABELS, Coordinate, Dimension, Labels
from streamsvd.store.sources.arrays import ArraySource
from streamsvd.store.sources.border import check_dtype
from streamsvd.store.sources.flatten import flattening
from streamsvd.store.sources.neighbours import NeighbourArray


@dataclass(frozen=True, eq=False)
class MemoryField(ArraySource):
    """A DataArray whose values are in memory."""

    labels: Labels = field(default=NO_LABELS, repr=False)
    neighbours: Any = field(default=None, repr=False)

    def neighbour(self, name: str) -> NeighbourArray:
        found = self.neighbours[name]
        return NeighbourArray(name, name, found.to_numpy(), found.dims, found.attrs)


def memory_field(da: Any, rows: tuple[str, ...]) -> MemoryField:
    """The matrix of a field."""
    values = da.to_numpy()
    check_dtype(values.dtype, "field")
    names = [str(n) for n in da.dims]
    layout = flattening(values.shape, names, rows, "field")
    coordinates = tuple(
        Coordinate.of(str(n), [str(d) for d in c.dims], c.to_numpy(), c.attrs)
        for n, c in da.coords.items()
        if c.dims
    )
    labels = Labels(
        str(da.name or ""),
        dict(da.attrs),
        tuple(Dimension(n, da.sizes[n]) for n in rows),
        tuple(Dimension(n, da.sizes[n]) for n in names if n not in rows),
        coordinates,
    )
    return MemoryField(values, layout, np.dtype(values.dtype), "field", labels, dict(da.coords))

"""Where what belongs to rows, columns and components stands in a Dataset: dimensions, coordinates and names that do not collide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from streamsvd.factor.exports.coordinates import coordinate_variables
from streamsvd.factor.exports.labelled import free_name
from streamsvd.factor.exports.lazy_matrix import PartialMatrix, lazy_variable
from streamsvd.labels import MODE, Labels
from streamsvd.typing import Matrix


@dataclass(frozen=True, slots=True, eq=False)
class DatasetLayout:
    """Dimensions of a Dataset of components.

    Attributes
    ----------
    labels
        Of the matrix.
    rows, columns
        Names of the dimensions of either; no rows where nothing belongs to them.
    coordinates
        By name, with the numbers of the components.
    mode
        Name of the dimension of the components.
    """

    labels: Labels
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    coordinates: dict[str, Any]
    mode: str

    @classmethod
    def of(cls, labels: Labels, rank: int, *, has_rows: bool) -> DatasetLayout:
        """Of as many components."""
        rows = tuple(d.name for d in labels.rows) if has_rows else ()
        columns = tuple(d.name for d in labels.columns)
        here = [c for c in labels.coordinates if c.dims and set(c.dims) <= {*rows, *columns}]
        coordinates = coordinate_variables(here)
        mode = free_name(MODE, rows, columns, coordinates)
        numbers = np.arange(1, rank + 1)
        coordinates[mode] = xr.Variable((mode,), numbers, {"long_name": "number of the component"})
        return cls(labels, rows, columns, coordinates, mode)

    def along_columns(self, values: Matrix, attributes: Mapping[str, Any]) -> Any:
        """What has one entry for each column, ``(n,)``."""
        extents = tuple(d.length for d in self.labels.columns)
        return xr.Variable(self.columns, values.reshape(extents), attributes)

    def along_rows(self, values: Matrix, attributes: Mapping[str, Any]) -> Any:
        """What has one entry for each row, ``(m,)``."""
        extents = tuple(d.length for d in self.labels.rows)
        return xr.Variable(self.rows, values.reshape(extents), attributes)

    def along_modes(self, values: Matrix, title: str) -> Any:
        """What has one entry for each component, ``(k,)``."""
        return xr.Variable((self.mode,), values, {"long_name": title})

    def components(self, values: Matrix, title: str) -> Any:
        """Components, ``(k, n)``."""
        extents = tuple(d.length for d in self.labels.columns)
        cube = values.reshape(len(values), *extents)
        return xr.Variable((self.mode, *self.columns), cube, {"long_name": title})

    def scores(self, matrix: PartialMatrix, title: str, *, is_lazy: bool) -> Any:
        """Scores, ``(m, k)``, read where they are used or now."""
        extents = tuple(d.length for d in self.labels.rows)
        values = (
            lazy_variable(matrix, extents, matrix.shape[1:])
            if is_lazy
            else matrix.read(slice(None), slice(None)).reshape(*extents, matrix.shape[1])
        )
        return xr.Variable((*self.rows, self.mode), values, {"long_name": title})

    def dataset(self, variables: Mapping[str, Any], attributes: Mapping[str, Any]) -> Any:
        """Variables together, under names that no dimension or coordinate has."""
        taken = (self.rows, self.columns, self.coordinates)
        named = {free_name(name, *taken): v for name, v in variables.items()}
        return xr.Dataset(named, self.coordinates, attributes)

"""The accessor ``.streamsvd`` of a DataArray."""

from __future__ import annotations

from typing import Any

import xarray as xr

from streamsvd.factor.pca import pca
from streamsvd.factor.result import PCA
from streamsvd.xarray.analysis import EOFAnalysis
from streamsvd.xarray.fields import Dims, open_field
from streamsvd.xarray.verb import eof


@xr.register_dataarray_accessor("streamsvd")
class FieldAccessor:
    """What `streamsvd` does with a DataArray, once ``streamsvd.xarray`` is imported.

    Parameters
    ----------
    field
        The DataArray.
    """

    def __init__(self, field: Any) -> None:
        self._field = field

    def eof(self, dim: Dims = "time", modes: int | None = 10, **options: Any) -> EOFAnalysis:
        """`streamsvd.xarray.eof` of the field."""
        return eof(self._field, dim, modes, **options)

    def pca(self, rank: int | None = None, *, dim: Dims = "time", **options: Any) -> PCA:
        """`streamsvd.pca` of the matrix whose rows are along ``dim``."""
        return pca(open_field(self._field, dim), rank, **options)

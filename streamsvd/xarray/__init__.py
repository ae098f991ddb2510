"""Empirical orthogonal functions of fields of xarray: `eof`, and the accessor ``.streamsvd`` of a DataArray."""

from __future__ import annotations

from streamsvd.checks.libraries import optional_library

optional_library("xarray", "xarray", "streamsvd.xarray works on fields of xarray")

from streamsvd.xarray.accessor import FieldAccessor  # noqa: E402
from streamsvd.xarray.analysis import EOFAnalysis  # noqa: E402
from streamsvd.xarray.verb import eof  # noqa: E402

__all__ = ["EOFAnalysis", "FieldAccessor", "eof"]

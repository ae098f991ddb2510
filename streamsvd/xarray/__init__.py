"""Empirical orthogonal functions of fields of xarray: `eof`, and the accessor ``.streamsvd`` of a DataArray."""

from __future__ import annotations

try:
    import xarray  # noqa: F401  # an extra; asked for here, so that the message can name it
except ImportError as error:
    raise ImportError(
        "streamsvd.xarray works on fields of xarray, which is not installed. "
        "Run: pip install 'streamsvd[xarray]'"
    ) from error

from streamsvd.xarray.accessor import FieldAccessor
from streamsvd.xarray.analysis import EOFAnalysis
from streamsvd.xarray.verb import eof

__all__ = ["EOFAnalysis", "FieldAccessor", "eof"]

"""Annotated matrices: principal components, as ``scanpy.pp.pca`` is called, `pca`; and all from raw counts on, `cells`."""

from __future__ import annotations

from streamsvd.anndata.counts import cells
from streamsvd.anndata.verb import pca

__all__ = ["cells", "pca"]

"""Principal components of annotated matrices, as ``scanpy.pp.pca`` is called: `pca`."""

from __future__ import annotations

from streamsvd.anndata.verb import pca

__all__ = ["pca"]

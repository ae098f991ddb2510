"""Sparse matrices written part by part, as AnnData writes them, into a store of zarr or a file of HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from scipy import sparse

PARTS = ("data", "indices", "indptr")
SHAPE = (60, 40)


def counts(form: str = "csr", dtype: str = "f4") -> Any:
    """Small whole numbers in a third of the places."""
    rng = np.random.default_rng(3)
    dense = np.where(rng.random(SHAPE) < 0.3, rng.integers(1, 9, SHAPE), 0)
    return getattr(sparse, f"{form}_array")(dense.astype(dtype))


def put_parts(
    path: Path,
    parts: dict[str, Any],
    form: str,
    shape: Any,
    *,
    chunk: int | None = None,
    **layout: Any,
) -> Path:
    """A matrix ``X`` of these arrays; ``None`` in the place of an array, or of the shape, leaves it out."""
    said = {"encoding-type": f"{form}_matrix", "encoding-version": "0.1.0"}
    if shape is not None:
        said["shape"] = list(shape) if isinstance(shape, tuple) else shape
    if path.suffix == ".zarr":
        group = zarr.create_group(path, attributes={"encoding-type": "anndata"}).create_group("X")
    else:
        file = h5py.File(path, "w")
        file.attrs["encoding-type"] = "anndata"
        group = file.create_group("X")
    group.attrs.update(said)
    for name, values in parts.items():
        if values is None:
            continue
        values = np.asarray(values)
        most = chunk if "shards" in layout else max(1, values.size)
        chunks = (min(chunk, most),) if chunk else None
        if path.suffix == ".zarr":
            group.create_array(
                name, data=values, **({"chunks": chunks} if chunks else {}), **layout
            )
        else:
            group.create_dataset(name, data=values, chunks=chunks, **layout)
    if path.suffix != ".zarr":
        group.file.close()
    return path


def put_matrix(path: Path, matrix: Any, **layout: Any) -> Path:
    """A matrix of scipy as ``X``."""
    parts = {name: getattr(matrix, name) for name in PARTS}
    return put_parts(path, parts, matrix.format, matrix.shape, **layout)

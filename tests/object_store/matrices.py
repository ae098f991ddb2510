"""Small matrices in all the ways in which they lie in a store, and what puts them there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.store.objects import object_store

SHAPE = (240, 60)
LAYOUTS: dict[str, dict[str, Any]] = {
    "v3": {"chunks": (40, 60)},
    "v2": {"chunks": (40, 30), "zarr_format": 2},
    "plain": {"chunks": (40, 60), "compressors": None},
    "sharded": {"chunks": (10, 20), "shards": (80, 60)},
}


def values() -> npt.NDArray[np.float64]:
    """The entries."""
    rng = np.random.default_rng(7)
    return rng.standard_normal(SHAPE) @ np.diag(0.8 ** np.arange(SHAPE[1]))


def write_array(path: Path, layout: str) -> npt.NDArray[np.float64]:
    """A zarr array in a folder."""
    A = values()
    array = zarr.create_array(str(path), shape=A.shape, dtype=A.dtype, **LAYOUTS[layout])
    array[:] = A
    return A


def upload(folder: Path, url: str) -> None:
    """All files below a folder, as objects below a URL."""
    store = object_store(url)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        store.put(path.relative_to(folder).as_posix(), path.read_bytes())

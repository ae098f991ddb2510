"""What is read is never replaced by what is made of it: where a source lies, and whether a place is apart from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import FsspecStore, LocalStore, WrapperStore, ZipStore

from streamsvd.errors import SpecError
from streamsvd.store.explained import there
from streamsvd.store.sources.arrays import ArraySource
from streamsvd.store.sources.columns import KeptColumns
from streamsvd.store.sources.npy import NpySource
from streamsvd.store.sources.zarr_array import ZarrSource


def check_apart(out: Path, source: Any) -> None:
    """Refuse a place that is the source, is inside it, or holds it.

    Parameters
    ----------
    out
        Where a result is to be.
    source
        A source, or an array that one is made of; what lies in no local file is apart from every place.

    Raises
    ------
    AccessError
        If the place cannot be seen.
    SpecError
        It names both.
    """
    taken = there(out, "write")
    place = out.resolve()
    for found in places(source):
        here = found.resolve()
        same = place == here or (taken and here.exists() and place.samefile(here))
        if same or place in here.parents or here in place.parents:
            raise SpecError(
                f"out={str(out)!r} and the matrix {str(found)!r} that is read are the same, or lie in one another. Choose "
                "another place."
            )


def places(source: Any) -> Iterator[Path]:
    """The files and folders that a source is read from, as far as they are local and known."""
    if isinstance(source, KeptColumns):
        yield from places(source.whole)
        return
    if isinstance(source, NpySource):
        yield source.path
    elif isinstance(source, ZarrSource):
        prefix = getattr(source.array.encode_key, "prefix", "")
        yield from _of_store(source.array.store, prefix)
    elif isinstance(source, zarr.Array):
        yield from _of_store(source.store, source.path)
    elif isinstance(source, ArraySource):
        yield from places(source.array)
    elif isinstance(source, np.memmap):
        if source.filename is not None:
            yield Path(str(source.filename))
    elif isinstance(source, np.ndarray) and isinstance(source.base, np.memmap):
        yield from places(source.base)
    for original in getattr(source, "originals", ()):
        yield from places(original)


def _of_store(store: Any, path: str) -> Iterator[Path]:
    if isinstance(store, WrapperStore):
        yield from _of_store(store._store, path)
    elif isinstance(store, LocalStore):
        yield Path(store.root) / path
    elif isinstance(store, ZipStore):
        yield Path(store.path)
    elif isinstance(store, FsspecStore):
        kinds = getattr(store.fs, "protocol", ())
        if "file" in kinds or "local" in kinds:
            yield Path(store.path) / path

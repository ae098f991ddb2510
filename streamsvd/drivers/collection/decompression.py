"""The verb ``decompress``: matrices of a compressed collection, written as a collection of the same kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from streamsvd.drivers.collection.opened import open_compressed
from streamsvd.errors import SpecError
from streamsvd.store.collection import write_collection
from streamsvd.store.collection.names import patterns, wanted


def decompress(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    names: str | Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write matrices of a compressed collection, with their names, shapes and types.

    Parameters
    ----------
    path
        The compressed collection.
    out
        ``NAME.zarr``: a group; ``NAME.safetensors``: one file; else a folder of ``.npy`` files, where bfloat16 is float32.
    names
        Names or patterns of those wanted; all if left out.
    overwrite
        Replace what is at ``out`` once the new one is whole.

    Returns
    -------
    written
        Their names.

    Raises
    ------
    SpecError
        If a pattern matches nothing, or a name cannot be one at such a place.
    StoreError
        If the collection is damaged, or the place is taken or cannot be written.

    Notes
    -----
    Cost: one matrix in memory at a time, with the basis of its cluster.
    """
    held = open_compressed(path)
    if Path(out).resolve() == Path(path).resolve():
        raise SpecError(
            f"out={os.fspath(out)!r} is the compressed collection itself. Choose another place."
        )
    given = patterns(names)
    chosen = wanted(list(held), given)
    shapes = {name: (held.kind(name), held.shape(name)) for name in chosen}
    write_collection(Path(out), shapes, ((n, held[n]) for n in chosen), overwrite=overwrite)
    return tuple(chosen)

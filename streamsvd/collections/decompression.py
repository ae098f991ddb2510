"""The verb ``decompress``: matrices of a compressed collection, written as a collection of the same kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from streamsvd.checks.paths import local_path
from streamsvd.collections.compressed import open_compressed
from streamsvd.store.collections import write_collection
from streamsvd.store.collections.names import pattern_tuple, select_names
from streamsvd.store.writing.placing import check_local
from streamsvd.store.writing.separation import check_apart


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
        ``NAME.zarr``: a group, in which packed values are packed as they were, and arrays have their attributes and names of
        dimensions; ``NAME.safetensors``: one file; else a folder of ``.npy`` files, where bfloat16 is float32.
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
        If a pattern matches nothing, a name cannot be one at such a place, or the places lie in one another.
    StoreError
        If the collection is damaged, or the place is taken or cannot be written.

    Notes
    -----
    Cost: one matrix in memory at a time, with the basis of its cluster.
    """
    held = open_compressed(path)
    place = local_path(out, "out")
    check_local(place)
    check_apart(place, path)
    given = pattern_tuple(names)
    chosen = select_names(list(held), given, option="name")
    shapes = {name: (held.kind(name), held.shape(name)) for name in chosen}
    origins = {name: origin for name in chosen if (origin := held.origin(name)) is not None}
    write_collection(
        place, shapes, ((n, held[n]) for n in chosen), overwrite=overwrite, origins=origins
    )
    return tuple(chosen)

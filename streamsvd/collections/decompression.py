"""The verb ``decompress``: matrices of a compressed collection, written as a collection of the same kinds."""

from __future__ import annotations

import os
from collections.abc import Sequence

from streamsvd.checks.paths import place_of
from streamsvd.collections.compressed import open_compressed
from streamsvd.collections.planning import fewest_workers, workers_within
from streamsvd.collections.restoring import ArrayWriting, CompressedReader, restoring_bytes
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.store.collections import check_target, new_collection
from streamsvd.store.collections.names import pattern_tuple, select_names
from streamsvd.store.writing.separation import check_apart


def decompress(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    names: str | Sequence[str] | None = None,
    *,
    memory: int | float | str | None = None,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> tuple[str, ...]:
    """Write matrices of a compressed collection, with their names, shapes and types.

    Tasks run on threads or on a cluster, as in every pass, and each writes whole matrices.

    Parameters
    ----------
    path
        The compressed collection.
    out
        ``NAME.zarr``: a group, in which packed values are packed as they were, and arrays have their attributes and names of
        dimensions; ``NAME.safetensors``: one file; else a folder of ``.npy`` files, where bfloat16 is float32.
    names
        Names or patterns of those wanted; all if left out.
    memory
        Bytes this process, or a worker, may use above its imports; half of what is free if left out.
    overwrite
        Replace what is at ``out`` once the new one is whole.
    callback
        Receives events.

    Returns
    -------
    written
        Their names.

    Raises
    ------
    SpecError
        If a pattern matches nothing, a name cannot be one at such a place, or the places lie in one another.
    BudgetError
        If a matrix does not fit into the memory; it names the least that works.
    StoreError
        If the collection is damaged, or the place is taken or cannot be written.

    Notes
    -----
    Cost: one read of what is stored of them; a matrix at a time in memory in each task, with the basis of its cluster.
    """
    held = open_compressed(path)
    place = place_of(out, "out")
    check_apart(place, path)
    given = pattern_tuple(names)
    chosen = select_names(list(held), given, option="name")
    shapes = {name: (held.kind(name), held.shape(name)) for name in chosen}
    origins = {name: origin for name in chosen if (origin := held.origin(name)) is not None}
    check_target(place, shapes, overwrite=overwrite)
    reader, each = CompressedReader.of(held, chosen), restoring_bytes(held, chosen)
    most = max(1, min(concurrency()[1], len(reader.spans)))
    workers, needed = workers_within(
        most, min(fewest_workers(), most), BASE_BYTES, each, allowed_bytes(memory), f"decompressing {held.name}"
    )  # fmt: skip
    with new_collection(place, shapes, origins, overwrite=overwrite) as sink:
        run = Run(reader, workers, "cpu", needed, needed, callback)
        with in_run(run):
            run(ArrayWriting(sink), "matrices")
    callback(ResultWritten(str(place)))
    return tuple(chosen)

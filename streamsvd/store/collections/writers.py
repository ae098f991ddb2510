"""A new collection: laid out by the client, filled by whoever has its arrays, and there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from streamsvd.checks.paths import PathOrUrl
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.safetensors import lay_out_tensors, plan_tensors
from streamsvd.store.collections.sinks import (
    ArraySink,
    FileSink,
    GroupSink,
    TensorPartSink,
    TensorSink,
    part_name,
)
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import Location, PartialWork, location_of
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.store.writing.whole_writes import PARTIAL

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
INTACT = "nothing was replaced."
BRAIN = "bfloat16"


@contextmanager
def new_collection(
    place: PathOrUrl, shapes: Shapes, origins: Mapping[str, Origin], *, overwrite: bool
) -> Iterator[ArraySink]:
    """Where the arrays of a collection are written; at the end of the block it takes its place.

    Parameters
    ----------
    place
        ``NAME.zarr``, ``NAME.safetensors``, or a folder for ``.npy`` files, which was found to be free.
    shapes
        Type as stored and shape of each array, by name; all of them are to be written.
    origins
        What is remembered of arrays by name: in a zarr group they are packed again, with their attributes.
    overwrite
        Whether what is there is replaced.

    Raises
    ------
    StoreError
        If something came there meanwhile, or it cannot be written; then nothing of it is left.
    SpecError
        If a type has no name in the format.
    """
    here = location_of(place)
    with explain_errors(place, INTACT):
        here.make_parent()
    if place.suffix == ".safetensors":
        new_file = _new_file if here.has_folders else _new_object
        yield from new_file(here, shapes, overwrite)
        return
    begun: list[PartialWork] = []
    try:
        with explain_errors(place, INTACT), defer_interrupts():
            begun.append(here.begin())
            lay_out = _lay_out_group if place.suffix == ".zarr" else _lay_out_folders
            sink = lay_out(place, begun[0].folder.absolute(), shapes, origins)
        yield sink
        with explain_errors(place, INTACT), defer_interrupts():
            begun[0].location.remove_ending(PARTIAL)  # of workers that were killed
            begun[0].publish(overwrite=overwrite)
    except BaseException:
        for partial in begun:
            partial.remove()
        raise


def _lay_out_group(
    place: PathOrUrl, folder: PathOrUrl, shapes: Shapes, origins: Mapping[str, Origin]
) -> ArraySink:
    """A zarr group, and its arrays without values."""
    group = zarr.open_group(location_of(folder).store(), mode="a", zarr_format=3)
    for name, (kind, shape) in shapes.items():
        origin = origins.get(name)
        group.create_array(
            name,
            shape=shape,
            chunks=tuple(max(1, extent) for extent in shape),
            dtype=_delivered_type(kind) if origin is None else np.dtype(origin.dtype),
            attributes=None if origin is None else json.loads(origin.attributes),
            dimension_names=None if origin is None else origin.dimensions,
            config={"write_empty_chunks": True},
        )
    return GroupSink(str(place), folder, origins)


def _lay_out_folders(
    place: PathOrUrl, folder: Any, shapes: Shapes, origins: Mapping[str, Origin]
) -> ArraySink:
    """The folders of files."""
    del origins
    for parent in {(folder / name).parent for name in shapes}:
        parent.mkdir(parents=True, exist_ok=True)
    return FileSink(str(place), folder)


def _new_object(here: Location, shapes: Shapes, overwrite: bool) -> Iterator[ArraySink]:
    """A file of tensors where files are written as wholes: its parts lie beside it until all are there."""
    head, _, tensors = plan_tensors(shapes)
    work = here.begin()
    try:
        yield TensorPartSink(str(here.address), work.scratch, tensors)
        with here.replacement(overwrite=overwrite) as file:
            file.write(head)
            for tensor in sorted(tensors.values(), key=lambda tensor: tensor.start):
                for data in work.scratch.take(part_name(tensor)):
                    file.write(data)
    finally:
        work.remove()


def _new_file(here: Location, shapes: Shapes, overwrite: bool) -> Iterator[ArraySink]:
    """A file of tensors, which has its header and its length from the beginning."""
    del overwrite  # it was looked at
    place = here.address
    assert isinstance(place, Path)
    partial = place.absolute().with_name(f"{place.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        with explain_errors(place, INTACT), defer_interrupts():
            tensors = lay_out_tensors(partial, shapes)
        yield TensorSink(str(place), partial, tensors)
        with explain_errors(place, INTACT), defer_interrupts():
            _sync(partial)
            partial.replace(place)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _delivered_type(kind: str) -> np.dtype[Any]:
    """Type in which arrays of a stored type are delivered."""
    return np.dtype(np.float32 if kind == BRAIN else kind)

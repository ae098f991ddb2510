"""Collections written as they are read: a zarr group, a folder of ``.npy`` files, or one safetensors file."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collection.safetensors import write_tensors
from streamsvd.store.explained import explained
from streamsvd.store.partial import Partial
from streamsvd.store.placing import put_in_place

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
Pairs = Iterable[tuple[str, npt.NDArray[Any]]]


def check_target(place: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse a place, or names, that cannot be written, before any work.

    Raises
    ------
    StoreError
        If something is there that may not be replaced.
    SpecError
        If a name would leave the place, or be a folder of another.
    """
    if "://" in str(place):
        raise SpecError(f"out={str(place)!r} is a URL; matrices are written to a local place.")
    if (place.exists() or place.is_symlink()) and not overwrite:
        raise StoreError(f"{place} exists already. Pass overwrite=True to replace it.")
    if place.suffix == ".safetensors":
        return
    known = set(names)
    for name in known:
        parts = name.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise SpecError(
                f"block {name!r} is no name of an array in {place}. Write a .safetensors."
            )
        above = ("/".join(parts[:i]) for i in range(1, len(parts)))
        if place.suffix == ".zarr" and (inside := next((a for a in above if a in known), None)):
            raise SpecError(
                f"block {name!r} would lie inside the array {inside!r}. Write a .safetensors or a folder of .npy files."
            )


def write_collection(place: Path, shapes: Shapes, pairs: Pairs, *, overwrite: bool = False) -> Path:
    """A collection that is there whole or not at all.

    Parameters
    ----------
    place
        ``NAME.zarr``, ``NAME.safetensors``, or a folder for ``.npy`` files.
    shapes
        Type as stored and shape of each block, by name.
    pairs
        Names and values in that order.
    overwrite
        Whether what is there is replaced.

    Raises
    ------
    StoreError
        If the place is taken or cannot be written.
    SpecError
        If a name is none in that kind of place.
    """
    check_target(place, shapes, overwrite=overwrite)
    with explained(place, "Free space or choose another place."):
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".safetensors":
            return _file(place, shapes, pairs)
        partial = Partial(place)
        try:
            if place.suffix == ".zarr":
                _group(partial.folder, pairs)
            else:
                _folder(partial.folder, pairs)
            put_in_place(partial, place, overwrite=overwrite)
        except BaseException:
            partial.remove()
            raise
    return place


def _file(place: Path, shapes: Shapes, pairs: Pairs) -> Path:
    partial = place.with_name(f"{place.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        write_tensors(partial, dict(shapes), (values for _, values in pairs))
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def _group(folder: Path, pairs: Pairs) -> None:
    group = zarr.open_group(str(folder), mode="a", zarr_format=3)
    for name, values in pairs:
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=tuple(max(1, extent) for extent in values.shape),
            dtype=values.dtype,
            config={"write_empty_chunks": True},
        )
        array[...] = values


def _folder(folder: Path, pairs: Pairs) -> None:
    for name, values in pairs:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            np.save(file, values, allow_pickle=False)

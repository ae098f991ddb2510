"""Collections written as they are read: a zarr group, a folder of ``.npy`` files, or one safetensors file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.safetensors import write_tensors
from streamsvd.store.explanations import explain_errors
from streamsvd.store.writing.partial import Partial
from streamsvd.store.writing.placing import check_local, put_back, put_in_place

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
    check_local(place)
    put_back(place)
    if (place.exists() or place.is_symlink()) and not overwrite:
        raise StoreError(f"{place} exists already. Pass overwrite=True to replace it.")
    if place.exists() and not _is_output(place):
        raise StoreError(
            f"{place} exists and holds something else than decompressed matrices, which is never replaced. Choose another place."
        )
    known = set(names)
    for name in known:
        _check_name(place, name, known)


RESERVED_NAMES = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata", "writing.lock")
LONGEST_NAME = 200
"""Bytes of a part of a name that every file system takes."""


def _check_name(place: Path, name: str, known: set[str]) -> None:
    """Refuse a name that is none in that kind of place."""
    advice = "Rename it before compressing."
    try:
        name.encode()
        bad = place.suffix == ".safetensors" and name == "__metadata__"
    except UnicodeEncodeError:
        bad = True
    parts = name.split("/")
    if place.suffix != ".safetensors" and not bad:
        advice = "Write a .safetensors."
        bad = any(
            part in ("", ".", "..", *RESERVED_NAMES)
            or "\0" in part
            or "\\" in part
            or len(part.encode()) > LONGEST_NAME
            for part in parts
        )
    if bad:
        raise SpecError(f"block {name!r} is no name of an array in {place}. {advice}")
    if place.suffix == ".safetensors":
        return
    above = ["/".join(parts[:i]) for i in range(1, len(parts))]
    file = "" if place.suffix == ".zarr" else ".npy"
    if inside := next(
        (a for a in above if a.removesuffix(file) in known and a.endswith(file)), None
    ):
        raise SpecError(
            f"block {name!r} would lie inside the array {inside!r}. Write a .safetensors, or a folder of .npy files."
        )


def _is_output(place: Path) -> bool:
    """Whether it looks like what was written here before, or an empty folder."""
    if place.suffix == ".safetensors":
        return place.is_file()
    if not place.is_dir():
        return False
    if place.suffix == ".zarr":
        return (place / "zarr.json").is_file() or not any(place.iterdir())
    return all(path.suffix == ".npy" for path in place.rglob("*") if not path.is_dir())


def write_collection(
    place: Path,
    shapes: Shapes,
    pairs: Pairs,
    *,
    overwrite: bool = False,
    origins: Mapping[str, Origin] | None = None,
) -> Path:
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
    origins
        What is remembered of blocks by name: in a zarr group they are packed again, with their attributes.

    Raises
    ------
    StoreError
        If the place is taken or cannot be written.
    SpecError
        If a name is none in that kind of place.
    """
    check_target(place, shapes, overwrite=overwrite)
    with explain_errors(place, "nothing was replaced."):
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".safetensors":
            return _write_file(place, shapes, pairs)
        partial = Partial(place)
        try:
            if place.suffix == ".zarr":
                _write_group(partial.folder, pairs, origins or {})
            else:
                _write_folder(partial.folder, pairs)
            put_in_place(partial, place, overwrite=overwrite)
        except BaseException:
            partial.remove()
            raise
    return place


def _write_file(place: Path, shapes: Shapes, pairs: Pairs) -> Path:
    partial = place.with_name(f"{place.name}.partial-{uuid.uuid4().hex[:8]}")
    try:
        write_tensors(partial, dict(shapes), (values for _, values in pairs))
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)
    return place


def _write_group(folder: Path, pairs: Pairs, origins: Mapping[str, Origin]) -> None:
    group = zarr.open_group(str(folder), mode="a", zarr_format=3)
    for name, values in pairs:
        origin = origins.get(name)
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=tuple(max(1, extent) for extent in values.shape),
            dtype=values.dtype if origin is None else np.dtype(origin.dtype),
            attributes=None if origin is None else json.loads(origin.attributes),
            dimension_names=None if origin is None else origin.dimensions,
            config={"write_empty_chunks": True},
        )
        array[...] = values if origin is None else origin.pack(values)


def _write_folder(folder: Path, pairs: Pairs) -> None:
    for name, values in pairs:
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            np.save(file, values, allow_pickle=False)

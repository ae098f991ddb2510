"""Collections written as they are read: a zarr group, a folder of ``.npy`` files, or one safetensors file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.collections.origin import Origin
from streamsvd.store.collections.writers import Shapes, new_collection
from streamsvd.store.places import Location, location_of

Pairs = Iterable[tuple[str, npt.NDArray[Any]]]


def check_target(place: PathOrUrl, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse a place, or names, that cannot be written, before any work.

    Raises
    ------
    StoreError
        If something is there that may not be replaced.
    SpecError
        If a name would leave the place, or be a folder of another.
    """
    here = location_of(place)
    if place.suffix not in (".zarr", ".safetensors") and not here.has_folders:
        raise SpecError(
            f"{place} would be a folder of .npy files, and nothing in an object store says whether such a folder is whole. Name it "
            "NAME.zarr or NAME.safetensors."
        )
    here.settle()
    taken = here.is_present()
    if taken and not overwrite:
        raise StoreError(f"{place} exists already. Pass overwrite=True to replace it.")
    if taken and here.exists() and not _is_output(here):
        raise StoreError(
            f"{place} exists and holds something else than decompressed matrices, which is never replaced. Choose another place."
        )
    known = set(names)
    for name in known:
        _check_name(place, name, known)


RESERVED_NAMES = (
    "zarr.json",
    ".zarray",
    ".zgroup",
    ".zattrs",
    ".zmetadata",
    "writing.lock",
    "writing.scratch",
)
LONGEST_NAME = 200
"""Bytes of a part of a name that every file system takes."""


def _check_name(place: PathOrUrl, name: str, known: set[str]) -> None:
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


def _is_output(place: Location) -> bool:
    """Whether it looks like what was written here before, or an empty folder."""
    if place.address.suffix == ".safetensors":
        return place.is_file()
    if not place.is_folder():
        return False
    if place.address.suffix == ".zarr":
        names = place.names()
        return "zarr.json" in names or not names
    return all(key.endswith(".npy") for key in place.keys(""))


def write_collection(
    place: PathOrUrl,
    shapes: Shapes,
    pairs: Pairs,
    *,
    overwrite: bool = False,
    origins: Mapping[str, Origin] | None = None,
) -> PathOrUrl:
    """A collection of arrays at hand, that is there whole or not at all.

    Parameters
    ----------
    place
        ``NAME.zarr``, ``NAME.safetensors``, or a folder for ``.npy`` files.
    shapes
        Type as stored and shape of each block, by name.
    pairs
        Names and values.
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
    with new_collection(place, shapes, origins or {}, overwrite=overwrite) as sink:
        for name, values in pairs:
            sink.write(name, values)
    return place

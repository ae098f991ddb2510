"""Where a conversion writes: refused before any work if it may not be, or has no room."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import local_path
from streamsvd.conversion.planning import ConversionPlan
from streamsvd.engine.memory import show_bytes
from streamsvd.errors import StoreError
from streamsvd.store.explanations import path_exists
from streamsvd.store.results.belongings import check_outside
from streamsvd.store.writing.labelled_array import is_replaceable
from streamsvd.store.writing.placing import check_local, put_back
from streamsvd.store.writing.resumable import resumable_path
from streamsvd.store.writing.separation import check_apart
from streamsvd.store.writing.trial import try_place


def check_place(out: Any, source: Any, *, overwrite: bool) -> Path:
    """Where something is to be written, refused before any work if it may not be.

    Raises
    ------
    StoreError
        If something is there that may not be replaced, or the place cannot be written.
    SpecError
        If it is a URL, or not apart from what is read.
    """
    place = local_path(out, "out")
    check_local(place)
    check_apart(place, source)
    put_back(place)
    if path_exists(place, "write"):
        if not overwrite:
            raise StoreError(
                f"{place} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if not is_replaceable(place):
            raise StoreError(
                f"{place} exists and is no zarr array; it will not be replaced. Choose another place."
            )
    check_outside(place)
    try_place(place)
    return place


def check_room(place: Path, plan: ConversionPlan) -> None:
    """Refuse a disk that has no room for what is written, as far as it says so.

    Raises
    ------
    StoreError
        It says how much is needed, and how much is free.
    """
    begun = resumable_path(place)
    if begun.exists():
        return  # some of it is there already
    folder = next(path for path in place.absolute().parents if path.exists())
    free = shutil.disk_usage(folder).free
    if 0 < free < plan.written_bytes:  # some file systems say 0 of all
        raise StoreError(
            f"{place} takes {show_bytes(plan.written_bytes)}, and its disk has {show_bytes(free)} free. Choose another place, or "
            "a smaller type by out_dtype=."
        )

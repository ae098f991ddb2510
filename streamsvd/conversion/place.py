"""Where a conversion writes: refused before any work if it may not be, or has no room."""

from __future__ import annotations

from typing import Any

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.conversion.planning import ConversionPlan
from streamsvd.engine.memory import show_bytes
from streamsvd.errors import SpecError, StoreError
from streamsvd.store.places import location_of
from streamsvd.store.results.belongings import check_outside
from streamsvd.store.writing.labelled_array import is_replaceable
from streamsvd.store.writing.resumable import resumable_path
from streamsvd.store.writing.separation import check_apart


def check_place(out: Any, source: Any, *, overwrite: bool) -> PathOrUrl:
    """Where something is to be written, refused before any work if it may not be.

    Raises
    ------
    StoreError
        If something is there that may not be replaced, or the place cannot be written.
    SpecError
        If nothing can be written to such a URL, or it is not apart from what is read.
    """
    place = place_of(out, "out")
    check_apart(place, source)
    here = location_of(place)
    here.settle()
    if here.exists("write"):
        if not overwrite:
            raise StoreError(
                f"{place} exists already. Pass overwrite=True (--overwrite) to replace it."
            )
        if not is_replaceable(place):
            raise StoreError(
                f"{place} exists and is no zarr array; it will not be replaced. Choose another place."
            )
    check_outside(place)
    here.try_writing()
    return place


def check_room(place: PathOrUrl, plan: ConversionPlan) -> None:
    """Refuse a disk that has no room for what is written, as far as it says so, and a place that has no files where such are needed.

    Raises
    ------
    StoreError
        It says how much is needed, and how much is free.
    SpecError
        If the way by files is needed.
    """
    here = location_of(place)
    if plan.tiles is not None and not here.has_folders:
        raise SpecError(
            f"chunks of {plan.source.name} hold some columns, and whole rows of them do not fit in the memory: that way goes by files "
            f"beside the place, and {place} is in an object store. Pass a larger memory=, or write to a folder and copy it."
        )
    if location_of(resumable_path(place)).exists():
        return  # some of it is there already
    free = here.free_bytes
    if 0 < free < plan.written_bytes:  # some file systems say 0 of all
        raise StoreError(
            f"{place} takes {show_bytes(plan.written_bytes)}, and its disk has {show_bytes(free)} free. Choose another place, or "
            "a smaller type by out_dtype=."
        )

"""Groups and arrays of a zarr store by their own metadata.

A consolidated copy of the metadata is made once, and whoever appends afterwards need not make it again. So it is a hint and
no more: shape, chunks, type, attributes and the list of members are those that arrays and groups say of themselves, and
where the copy says otherwise there is a remark.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, ZipStore

from streamsvd.errors import StoreError

Metadata = Mapping[str, str]
"""What a node says of itself, by the name of the object that says it."""


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """A group by its own metadata, and what a consolidated copy says of its members.

    Attributes
    ----------
    name
        How messages call the group.
    group
        The group, without the copy.
    copy
        Metadata of all its members by path; empty where nothing was consolidated.
    """

    name: str
    group: zarr.Group
    copy: Mapping[str, Metadata]

    def list_members(
        self, max_depth: int | None = 0
    ) -> tuple[dict[str, zarr.Array | zarr.Group], tuple[str, ...]]:
        """Members by path, and a remark where the copy says otherwise.

        They are those that the store lists, and those of the copy that are there although it does not list them.
        """
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Object at .* is not recognized")
                members = self.group.members(
                    max_depth=max_depth, use_consolidated_for_children=False
                )
                found = dict(members)
        except Exception:  # a store that cannot list its keys: the copy says where to look
            if not self.copy:
                raise
            found = {}
        copied = [p for p in self.copy if max_depth is None or p.count("/") <= max_depth]
        for path in copied:
            if path not in found:
                with suppress(KeyError):
                    found[path] = self.member(path)
        differ: list[str] = []
        if self.copy:
            for path, node in found.items():
                differ += self._differences(path, node)
            differ += [f"{path!r} is in them alone" for path in copied if path not in found]
        return dict(sorted(found.items())), self._remark(differ)

    def member(self, path: str) -> zarr.Array | zarr.Group:
        """One member.

        Raises
        ------
        KeyError
            If the group has none of this path.
        """
        try:
            return open_unconsolidated(
                self.group.store_path / path, self.group.metadata.zarr_format
            )
        except (FileNotFoundError, ValueError) as error:
            raise KeyError(path) from error

    def remarks(self, array: zarr.Array) -> tuple[str, ...]:
        """A remark where the copy says of an array below the group what it does not say of itself."""
        above = self.group.path
        path = array.path[len(above) + 1 :] if above else array.path
        return self._remark(self._differences(path, array)) if self.copy else ()

    def _differences(self, path: str, node: zarr.Array | zarr.Group) -> list[str]:
        is_array = isinstance(node, zarr.Array)
        if path not in self.copy:
            return [f"{'array' if is_array else 'group'} {path!r} is not in them"]
        if is_array and metadata_text(node.metadata) != self.copy[path]:
            return [f"they do not say of {path!r} what it says of itself, {_array_summary(node)}"]
        return []

    def _remark(self, differ: list[str]) -> tuple[str, ...]:
        if not differ:
            return ()
        others = f" (and {len(differ) - 1:,} more)" if len(differ) > 1 else ""
        return (
            f"the consolidated metadata of {self.name} are out of date: {differ[0]}{others}. "
            "What arrays say of themselves counts; zarr.consolidate_metadata renews the copy.",
        )


def hierarchy(group: zarr.Group, name: str) -> Hierarchy:
    """A group by its own metadata, whatever it was opened by."""
    form = group.metadata.zarr_format
    own = open_unconsolidated(group.store_path, form)
    if not isinstance(own, zarr.Group):
        raise StoreError(f"{name} is no group any more. Open it again.")
    return Hierarchy(name, own, _consolidated_copy(group, form))


def own_array(array: zarr.Array, name: str) -> tuple[zarr.Array, tuple[str, ...]]:
    """The same array by the metadata that its store has now, and a remark if those in hand are others.

    Raises
    ------
    StoreError
        If the store has none.
    """
    try:
        own = open_unconsolidated(array.store_path, array.metadata.zarr_format)
    except FileNotFoundError:
        own = None
    if not isinstance(own, zarr.Array):
        raise StoreError(
            f"{name} has no array metadata of its own (zarr.json or .zarray), so that its shape and chunks "
            "are not known. Restore them from a copy, or write the array again."
        )
    if metadata_text(own.metadata) == metadata_text(array.metadata):
        return own, ()
    return own, (
        f"{name} was opened with metadata that are out of date: it is {_array_summary(own)}. "
        "What it says of itself counts.",
    )


def absolute_store(store: Store) -> Store:
    """The same store under a path that holds in any folder, as workers may run in another."""
    if type(store) is LocalStore and not store.root.is_absolute():
        return LocalStore(store.root.absolute(), read_only=store.read_only)
    if type(store) is ZipStore and not store.path.is_absolute() and store.read_only:
        return ZipStore(store.path.absolute(), mode="r")
    return store


def metadata_keys(array: zarr.Array) -> tuple[str, ...]:
    """Keys of what an array says of itself; without the first there is none."""
    names = ("zarr.json",) if array.metadata.zarr_format == 3 else (".zarray", ".zattrs")
    return tuple(f"{array.path}/{name}" if array.path else name for name in names)


def open_unconsolidated(place: Any, zarr_format: int | None = None) -> zarr.Array | zarr.Group:
    """What is at a place, by its own metadata."""
    return zarr.open(store=place, mode="r", zarr_format=zarr_format, use_consolidated=False)


def _consolidated_copy(group: zarr.Group, zarr_format: int) -> dict[str, Metadata]:
    """The consolidated copy of the metadata of all members, by path; one that cannot be read is none."""
    try:
        found = zarr.open_group(group.store_path, mode="r", zarr_format=zarr_format)
        copy = found.metadata.consolidated_metadata
        if copy is None:
            return {}
        return {path: metadata_text(metadata) for path, metadata in copy.flattened_metadata.items()}
    except Exception:  # it is of no use, whatever it trips over
        return {}


def metadata_text(metadata: Any) -> Metadata:
    """Metadata as they are written, in one order of their keys, which writers do not agree on."""
    buffers = metadata.to_buffer_dict(default_buffer_prototype())
    return {
        name: json.dumps(json.loads(value.to_bytes()), sort_keys=True)
        for name, value in buffers.items()
    }


def _array_summary(array: zarr.Array) -> str:
    shape = " x ".join(f"{extent:,}" for extent in array.shape)
    return f"{shape} of {array.dtype} in chunks of {' x '.join(map(str, array.chunks))}"

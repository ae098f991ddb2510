"""What is read is never replaced by what is made of it: where a source lies, and whether a place is apart from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore, WrapperStore, ZipStore

from streamsvd.checks.paths import (
    WRITABLE_SCHEMES,
    PathOrUrl,
    Url,
    is_url,
    local_path,
    place_of,
    place_text,
    split_inside,
)
from streamsvd.errors import SpecError
from streamsvd.store.collections.arrays import ArrayInChunks, ArrayInFile, ArrayInMemory
from streamsvd.store.collections.members import Collection
from streamsvd.store.explanations import path_exists
from streamsvd.store.objects.posix import LocalObjects
from streamsvd.store.objects.remote import RemoteObjects
from streamsvd.store.places import location_of
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.objects.arrays import ArraySource
from streamsvd.store.sources.sparse.compressed import CompressedSource
from streamsvd.store.sources.views.view import SourceView
from streamsvd.store.sources.zarr_store.array import ZarrSource
from streamsvd.store.sources.zarr_store.chunked import ChunkedArray


def check_apart(out: Any, *read: Any, name: str = "out=") -> None:
    """Refuse a place that is something that is read, is inside it, or holds it.

    Parameters
    ----------
    out
        Where something is to be written: a path or a URL, or objects below one; None is apart from everything.
    read
        All that is read: sources, arrays that they are made of, collections, paths, models, and mappings or lists of these;
        what lies in memory is apart from every place.
    name
        How messages call the place, before it.

    Raises
    ------
    AccessError
        If the place cannot be seen.
    SpecError
        It names both.
    """
    path = next(places(out), None)
    found = None if path is None else list(dict.fromkeys(places(read)))
    if path is None or not found:
        return
    for each in found:
        if _meet(path, each):
            raise SpecError(
                f"{name}{str(path)!r} and {str(each)!r}, which is read, are the same, or lie in one another. Choose another "
                "place."
            )


def _meet(place: PathOrUrl, read: PathOrUrl) -> bool:
    """Whether two places are the same, or lie in one another."""
    if isinstance(place, Url) or isinstance(read, Url):
        return place == read or place in read.parents or read in place.parents
    taken = path_exists(place, "write")
    here, there = place.resolve(), read.resolve()
    same = here == there or (taken and there.exists() and here.samefile(there))
    return same or here in there.parents or there in here.parents


def mask_places(source: Any, mask: Any) -> Any:
    """What a mask of columns, or their weights, are read from: where it is a name, the array of that name beside the matrix."""
    if isinstance(mask, Mapping):
        return [mask_places(source, each) for each in mask.values()]
    if not isinstance(mask, str):
        return mask
    if not mask or mask == "auto":
        return []
    beside = [path.parent / mask for path in places(source)]
    return [path for path in beside if location_of(path).exists()]


def originals(lazy: Any) -> list[Any]:
    """What the graph of a lazy array begins with, as far as it stands there under the name that dask gives it."""
    graph = getattr(lazy, "__dask_graph__", None)
    layers = getattr(graph() if callable(graph) else None, "layers", {})
    begun = [layer for name, layer in layers.items() if str(name).startswith("original-")]
    return [getattr(value, "value", value) for layer in begun for value in layer.values()]


@singledispatch
def places(source: Any) -> Iterator[PathOrUrl]:
    """The files, folders and URLs that something is read from, as far as they are known."""
    for original in getattr(source, "originals", None) or originals(source):
        yield from places(original)


@places.register(str)
@places.register(os.PathLike)
def _(source: str | os.PathLike[str]) -> Iterator[PathOrUrl]:
    if not is_url(source):
        yield split_inside(local_path(source))[0]
    elif (
        place_text(source).partition("://")[0].lower() in WRITABLE_SCHEMES
    ):  # else nothing is written there
        with suppress(SpecError):  # who opens it says what is wrong with it
            yield place_of(source)


@places.register(NpySource)
@places.register(ArrayInFile)
def _(source: NpySource | ArrayInFile) -> Iterator[PathOrUrl]:
    yield source.path


@places.register(LocalObjects)
def _(source: LocalObjects) -> Iterator[PathOrUrl]:
    yield source.root


@places.register(RemoteObjects)
def _(source: RemoteObjects) -> Iterator[PathOrUrl]:
    return places(source.name)


@places.register(SourceView)
def _(source: SourceView) -> Iterator[PathOrUrl]:
    return places(source.whole)


@places.register(ZarrSource)
@places.register(ArraySource)
def _(source: ZarrSource | ArraySource) -> Iterator[PathOrUrl]:
    return places(source.array)


@places.register(CompressedSource)
def _(source: CompressedSource) -> Iterator[PathOrUrl]:
    return places([source.values, source.indices, source.offsets])


@places.register(ArrayInMemory)
@places.register(ArrayInChunks)
def _(source: ArrayInMemory | ArrayInChunks) -> Iterator[PathOrUrl]:
    return places(source.values)


@places.register(ChunkedArray)
def _(source: ChunkedArray) -> Iterator[PathOrUrl]:
    return _of_store(source.store, getattr(source.encode_key, "prefix", ""))


@places.register(zarr.Array)
@places.register(zarr.Group)
def _(source: zarr.Array | zarr.Group) -> Iterator[PathOrUrl]:
    return _of_store(source.store, source.path)


@places.register(Store)
def _(source: Store) -> Iterator[PathOrUrl]:
    return _of_store(source, "")


@places.register(np.ndarray)
def _(source: np.ndarray[Any, Any]) -> Iterator[PathOrUrl]:
    """The file that an array is mapped from."""
    if isinstance(source, np.memmap) and source.filename is not None:
        yield Path(str(source.filename))
    elif isinstance(source.base, np.ndarray):
        yield from places(source.base)


@places.register(Collection)
def _(source: Collection) -> Iterator[PathOrUrl]:
    """Of many files in one folder that folder, without a look at any."""
    yield from source.places or places([part.array for part in source.parts])


@places.register(Mapping)
def _(source: Mapping[Any, Any]) -> Iterator[PathOrUrl]:
    return places(list(source.values()))


@places.register(list)
@places.register(tuple)
def _(source: list[Any] | tuple[Any, ...]) -> Iterator[PathOrUrl]:
    if source and isinstance(source[0], int | float):  # numbers lie nowhere
        return
    for each in source:
        yield from places(each)


def _of_store(store: Any, path: str) -> Iterator[PathOrUrl]:
    if isinstance(store, WrapperStore):
        yield from _of_store(store._store, path)
    elif isinstance(store, LocalStore):
        yield Path(store.root) / path
    elif isinstance(store, ZipStore):
        yield Path(store.path)
    elif isinstance(store, ObjectStore):
        with suppress(SpecError):
            yield from _of_obstore(store.store, path)
    elif isinstance(store, FsspecStore):
        kinds = getattr(store.fs, "protocol", ())
        kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if "file" in kinds or "local" in kinds:
            yield Path(store.path) / path
        elif set(kinds) & set(WRITABLE_SCHEMES):
            with suppress(SpecError):
                yield place_of(f"{kinds[0]}://{store.path.strip('/')}") / path


def _of_obstore(store: Any, path: str) -> Iterator[PathOrUrl]:
    """The place that a store of obstore is rooted at."""
    scheme = {"S3Store": "s3", "GCSStore": "gs", "AzureStore": "az"}.get(type(store).__name__)
    config = getattr(store, "config", {})
    bucket = config.get("bucket") or config.get("container_name") or config.get("container")
    if scheme and bucket:
        yield Url(f"{scheme}://{bucket}") / str(getattr(store, "prefix", None) or "") / path

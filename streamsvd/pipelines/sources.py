"""Inputs of a step: what is opened, and a digest by which a run sees that something else lies there now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import is_url, local_path
from streamsvd.collections.readers import take_collection
from streamsvd.collections.saves import members_digest, values_digest
from streamsvd.engine.opening import open as open_matrix
from streamsvd.engine.saves import source_fingerprint
from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline, SourceDescription
from streamsvd.pipelines.vocabulary import INPUTS
from streamsvd.protocols import Source
from streamsvd.store.explanations import path_exists
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import ModelStore, is_model
from streamsvd.store.writing.files import array_in

ARRAYS = frozenset({"b", "y", "row_weights", "column_weights", "mask"})
"""Arguments that a step may give as the path of a ``.npy`` file, or as a table of such paths."""
MATRICES = frozenset({"inputs"})
"""Arguments that are matrices, which the verb opens by their address."""


def address(pipeline: Pipeline, described: SourceDescription) -> str:
    """Where a source is: a URL, or a path as the file means it."""
    return pipeline.address(described.path)


def is_there(pipeline: Pipeline, described: SourceDescription) -> bool:
    """Whether a source is there; of a URL that is known when it is opened."""
    where = address(pipeline, described)
    return is_url(where) or path_exists(local_path(where))


def open_input(pipeline: Pipeline, described: SourceDescription, verb: str) -> Any:
    """A matrix; of verbs that read a collection, its address.

    Raises
    ------
    StoreError
        If nothing is there.
    """
    where = address(pipeline, described)
    if not is_there(pipeline, described):
        raise StoreError(
            f'{where} does not exist. Make it, mend its path, or write absent = "skip" where steps are to wait for it.'
        )
    if "collection" in INPUTS[verb]:
        return where
    rows = tuple(described.rows) if isinstance(described.rows, list) else described.rows
    return open_matrix(where, variable=described.variable, rows=rows, missing=described.missing)


def option_value(pipeline: Pipeline, name: str, value: Any) -> Any:
    """What an option means: the array in a file, or the address of a matrix, where it names one."""
    if isinstance(value, dict):
        return {key: option_value(pipeline, name, item) for key, item in value.items()}
    if _is_file(name, value):
        return array_in(pipeline.place(value), name)
    return pipeline.address(value) if _is_matrix(name, value) else value


def option_addresses(pipeline: Pipeline, name: str, value: Any) -> list[str]:
    """Where the files that an option names are."""
    if isinstance(value, dict):
        return [a for item in value.values() for a in option_addresses(pipeline, name, item)]
    named = _is_file(name, value) or _is_matrix(name, value)
    return [pipeline.address(value)] if named else []


def _is_file(name: str, value: Any) -> bool:
    return name in ARRAYS and isinstance(value, str) and value.endswith(".npy")


def _is_matrix(name: str, value: Any) -> bool:
    return name in MATRICES and isinstance(value, str)


def digest_of(where: str, source: Any = None) -> str:
    """Digest of what lies at a place: names, sizes and times of its files; of a URL, some rows."""
    found = hashlib.blake2b(digest_size=16)
    if isinstance(source, Source):
        found.update(repr((source.shape, str(source.dtype), source.chunks)).encode())
    if not is_url(where):
        for path, stat in _files(local_path(where)):
            found.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    elif isinstance(source, Source):
        found.update(source_fingerprint(source).encode())
    elif is_model(objects_at(where)):
        found.update(model_version(where).encode())
    else:
        found.update(_values_of(where).encode())
    return found.hexdigest()


def model_version(where: str) -> str:
    """The newest version of a model, by a name that no other has: its number, and the mark of who wrote it; empty before the first."""
    store = ModelStore(objects_at(where))
    number = store.newest()
    return f"v{number:06d}-{store.entry(number).folder.rpartition('-')[2]}" if number else ""


def _values_of(where: str) -> str:
    """Digests of the shapes, and of some values, of a collection."""
    collection = take_collection(where, "raise")
    return members_digest(collection) + values_digest(collection)


def newest_time(where: str) -> float | None:
    """When the newest of its files was written; None of a URL."""
    if is_url(where):
        return None
    return max((stat.st_mtime for _, stat in _files(local_path(where))), default=None)


def _files(place: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Files below a place by their names, in order."""
    if not place.is_dir():
        yield "", place.stat()
        return
    for folder, below, names in os.walk(place):
        below.sort()
        for name in sorted(names):
            path = Path(folder) / name
            yield str(path.relative_to(place)), path.stat()

"""Inputs of a step: what is opened, and a digest by which a run sees that something else lies there now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import is_url
from streamsvd.engine.opening import open as open_matrix
from streamsvd.engine.saves import source_fingerprint
from streamsvd.errors import StoreError
from streamsvd.pipelines.description import Pipeline, SourceDescription
from streamsvd.protocols import Source
from streamsvd.store.explanations import path_exists
from streamsvd.store.writing.files import array_in

COLLECTION_VERBS = frozenset({"cluster", "compress", "rate_curve"})
ARRAYS = frozenset({"b", "y", "row_weights", "column_weights", "inputs", "mask", "principal"})
"""Arguments that a step may give as the path of a ``.npy`` file."""


def address(pipeline: Pipeline, described: SourceDescription) -> str:
    """Where a source is: a URL, or a path as the file means it."""
    return described.path if is_url(described.path) else str(pipeline.place(described.path))


def is_there(pipeline: Pipeline, described: SourceDescription) -> bool:
    """Whether a source is there; of a URL that is known when it is opened."""
    where = address(pipeline, described)
    return is_url(where) or path_exists(Path(where))


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
    if verb in COLLECTION_VERBS:
        return where
    rows = tuple(described.rows) if isinstance(described.rows, list) else described.rows
    return open_matrix(where, variable=described.variable, rows=rows, missing=described.missing)


def array_option(pipeline: Pipeline, name: str, value: Any) -> Any:
    """What an option means: the array in a file, where it is the path of one."""
    if name in ARRAYS and isinstance(value, str) and value.endswith(".npy"):
        return array_in(pipeline.place(value), name)
    return value


def digest_of(where: str, source: Any) -> str:
    """Digest of what lies at a place: names, sizes and times of its files; of a URL, some rows."""
    found = hashlib.blake2b(digest_size=16)
    if isinstance(source, Source):
        found.update(repr((source.shape, str(source.dtype), source.chunks)).encode())
        found.update(source_fingerprint(source).encode())
    if not is_url(where):
        for path, stat in _files(Path(where)):
            found.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return found.hexdigest()


def newest_time(where: str) -> float | None:
    """When the newest of its files was written; None of a URL."""
    if is_url(where):
        return None
    return max((stat.st_mtime for _, stat in _files(Path(where))), default=None)


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

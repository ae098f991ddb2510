"""What lies at a place, as a digest by which a run sees that something else lies there now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamsvd.checks.paths import is_url, local_path, split_inside
from streamsvd.collections.readers import take_collection
from streamsvd.collections.saves import members_digest, values_digest
from streamsvd.engine.saves import source_fingerprint
from streamsvd.protocols import Source
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import ModelStore, is_model


def digest_of(where: str, source: Any = None) -> str:
    """Digest of what lies at a place: names, sizes and times of its files; of a URL, some rows."""
    found = hashlib.blake2b(digest_size=16)
    if isinstance(source, Source):
        found.update(repr((source.shape, str(source.dtype), source.chunks)).encode())
    if not is_url(where):
        for path, stat in _files(split_inside(local_path(where))[0]):
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
    return max(
        (stat.st_mtime for _, stat in _files(split_inside(local_path(where))[0])), default=None
    )


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

"""What tells one matrix from another, and from itself after it has changed, at the price of a few chunks."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from streamsvd.checks.paths import Url
from streamsvd.labels import Labels, TextValues
from streamsvd.protocols import Source
from streamsvd.store.sight import addresses, digest
from streamsvd.store.writing.separation import places

COLUMNS = 64
"""Entries of a row that are looked at, of one chunk."""


def source_identity(source: Source, labels: Labels) -> dict[str, Any]:
    """What a source says of itself, sizes and times of its files, and a few of its entries."""
    seen, files = [[a.name, *_sight(a)] for a in addresses(source)], _files(source)
    return {
        "name": source.name,
        "shape": list(source.shape),
        "dtype": source.dtype.str,
        "chunks": list(source.chunks),
        "labels": _labels_digest(labels),
        "seen": seen,
        "files": files,
        "entries": _entries_digest(source, is_seen=bool(seen or files)),
    }


def _sight(address: Any) -> list[str | None]:
    seen = address.look()
    return [seen.metadata, seen.chunk]


def _files(source: Source) -> list[list[Any]]:
    found = []
    for path in places(source):
        if isinstance(path, Url):  # what is seen of its objects tells
            continue
        with contextlib.suppress(OSError):
            target = path / "zarr.json" if path.is_dir() and (path / "zarr.json").exists() else path
            state = target.stat()
            found.append([str(path), state.st_size, state.st_mtime_ns])
    return found


def _entries_digest(source: Source, *, is_seen: bool) -> str:
    """Of some entries of the last row, which ends what a writer may have appended to; of others where no file tells of them."""
    (m, n), width = source.shape, source.chunks[1]
    last = (n - 1) // width * width
    looks = [(m - 1, max(last, n - COLUMNS))]
    if not is_seen:
        looks += [(0, 0), (m // 2, n // 2 // width * width)]
    parts = []
    for row, start in looks:
        columns = slice(start, min(n, start + min(width, COLUMNS)))
        out = np.empty((1, columns.stop - start), source.dtype)
        source.read(slice(row, row + 1), columns, out)
        parts.append(out.tobytes())
    return digest(*parts)


def _labels_digest(labels: Labels) -> str:
    parts = [repr((labels.name, labels.attributes, labels.rows, labels.columns)).encode()]
    for c in labels.coordinates:
        parts.append(repr((c.name, c.dims, c.attributes)).encode())
        if isinstance(c.values, TextValues):
            parts += [c.values.utf8.tobytes(), c.values.offsets.tobytes()]
        else:
            parts.append(np.ascontiguousarray(c.values).tobytes())
    return digest(*parts)

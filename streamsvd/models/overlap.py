"""Rows that two models have both absorbed: joined, they would count twice.

A block is known by its name, whatever is in it. One without a name is known by its content: an array in memory
by its digest, rows of an array that grows by the place and the digest of the last of them. And whatever was
absorbed once carries the mark of that commit wherever it is copied or merged to.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from streamsvd.errors import SpecError
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.store.results.reader import read_result
from streamsvd.store.versions import BlockEntry


def refuse_shared(first: LoadedVersion, second: LoadedVersion) -> None:
    """Refuse models that hold the same rows.

    Raises
    ------
    SpecError
        Naming the block, or the result that both extend.
    """
    base = _base_digest(first)
    if base and base == _base_digest(second):
        raise SpecError(
            f"both models extend the same result of {first.n_rows - _n_added(first):,} rows, which would count twice. "
            "Merge models of different rows."
        )
    known = {mark: entry for entry in first.blocks for mark in _marks(entry)}
    for entry in second.blocks:
        if any(mark in known for mark in _marks(entry)):
            raise SpecError(
                f"block {entry.id!r} is in both models: its rows would count twice. Roll one back, or give "
                "different blocks different names."
            )


def _marks(entry: BlockEntry) -> list[tuple[str, ...]]:
    """What another entry of the same rows has, too."""
    commit = ("commit", entry.origin or entry.folder)
    if not entry.id.startswith("@"):
        return [commit, ("name", entry.id)]
    if entry.digest:
        return [commit, ("content", entry.digest)]
    return [commit, ("last row", entry.id.rpartition("-")[2], entry.seam)]


def _base_digest(held: LoadedVersion) -> bytes:
    """Digest of the batch result that a model extends; empty if it extends none."""
    if not held.settings.base:
        return b""
    result = read_result(Path(held.store.name), "svd", "pca")
    found = hashlib.blake2b(repr(result.Vh.shape).encode(), digest_size=16)
    for array in (result.s, result.Vh):
        found.update(array.tobytes())
    return found.digest()


def _n_added(held: LoadedVersion) -> int:
    """Rows absorbed beside those of the result."""
    return held.blocks[-1].stop - held.blocks[0].start if held.blocks else 0

"""What is printed of a matrix: a line, for which nothing is read."""

from __future__ import annotations

from typing import Any

from streamsvd.numerics.sentences import show_bytes
from streamsvd.protocols import is_sparse
from streamsvd.store.sources.labels import plain_labels


def matrix_text(source: Any) -> str:
    """Name, extents, type, bytes, chunks and dimensions of a matrix."""
    (m, n), (p, q) = source.shape, source.chunks
    labels = plain_labels(source)
    chunks = "" if getattr(source, "has_no_chunks", False) else f", chunks of {p:,} x {q:,}"
    sides = [
        f"; {side} {' x '.join(f'{d.name} ({d.length:,})' for d in dimensions)}"
        for side, dimensions in (("rows", labels.rows), ("columns", labels.columns))
        if not labels.is_plain
    ]
    size = show_bytes(source.nbytes)
    if is_sparse(source):
        size = stored_text(source)
    return f"<{type(source).__name__} {source.name}: {m:,} x {n:,} {source.dtype}, {size}{chunks}{''.join(sides)}>"


def stored_text(source: Any) -> str:
    """What is stored of a sparse matrix: its form, how many entries, their share and bytes."""
    share = source.entries / (source.shape[0] * source.shape[1])
    form = "csr" if source.sparse_axis == "rows" else "csc"
    return f"{form} of {source.entries:,} entries ({min(share, 1):.2%}), {show_bytes(source.stored_bytes)}"

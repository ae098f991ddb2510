"""Bytes that a plan needs, as arithmetic on shapes and item sizes; every buffer has its line.

The sums are upper bounds: they count LAPACK's copies, the transients of decoding, and what the threads
of reading and multiplying cost. ``measured <= projected <= budget`` is tested in fresh processes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamsvd.engine.layout import Layout
from streamsvd.errors import SpecError

MIB = 1 << 20
BASE_BYTES = 40 * MIB
"""Threads, event loop of the store, BLAS packing buffers, small Python objects of a run."""

_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}


def parse_bytes(text: int | float | str) -> int:
    """Bytes from a number or a text such as ``"256MiB"``, ``"2 GB"``.

    Raises
    ------
    SpecError
        If it is no positive size.
    """
    if isinstance(text, str):
        match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", text.lower())
        try:
            value = float(match[1]) * {**_UNITS, **_BINARY}[match[2]] if match else 0.0
        except (ValueError, KeyError):
            value = 0.0
    else:
        value = float(text)
    if not 0 < value < 1e18:
        raise SpecError(
            f'memory={text!r} is no size. Pass bytes, or a text such as "256MiB" or "2GB".'
        )
    return int(value)


def show_bytes(count: float) -> str:
    """Bytes for people: ``"256 MiB"``."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{int(count)} B"


@dataclass(frozen=True, slots=True)
class Sizes:
    """The extents that memory depends on.

    Attributes
    ----------
    block
        Columns of the thin block of a pass.
    probes
        Columns of the probes.
    basis
        Most columns of the basis.
    rank
        Columns of the result.
    item, narrow, wide
        Bytes of an entry as stored, as first multiplied, and as summed.
    entry
        Bytes that preparing one entry of a block takes: its copies in both precisions, and masks.
    read_bytes
        Transients of one read.
    """

    block: int
    probes: int
    basis: int
    rank: int
    item: int
    narrow: int
    wide: int
    entry: int
    read_bytes: int


def dense_bytes(width: int, s: Sizes) -> int:
    """Extraction in the driver: bases, residuals, their QR and its copies, projected problems."""
    thin = width * (9 * s.basis + 3 * (s.block + s.probes) + 8 * s.probes + 2 * s.rank)
    return (thin + 6 * (2 * s.basis) ** 2) * s.wide


def resident_bytes(width: int, s: Sizes) -> int:
    """What the driver holds while a pass runs: Ritz vectors, residuals, probes, the pass's factors."""
    return width * (3 * s.basis + 2 * s.block + 12 * s.probes) * s.wide


def partial_bytes(layout: Layout, s: Sizes, at_once: int) -> int:
    """Sums of finished spans that wait in the merge tree."""
    waiting = max(1, len(layout.spans)).bit_length() + at_once
    return waiting * layout.width * (s.block + s.probes + 6) * s.wide


def span_bytes(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """One span: panels, the read's transients, a prepared block, thin blocks and sums."""
    width = layout.width
    columns = layout.tile or width
    panels = (2 if prefetch else 1) * layout.panel * columns * s.item
    thin = s.block + s.probes
    unit = min(layout.unit, layout.panel)
    block = unit * columns * s.entry + 3 * unit * thin * s.wide
    if layout.tile is not None:
        block += layout.panel * thin * s.wide
    return panels + s.read_bytes + block + width * thin * 4 * s.wide


WRITTEN_COPIES = 5
"""Of the rows of ``U`` on their way to a store: pieces, their union, the chunk, its bytes, and their check."""


def project_span_bytes(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """One span of the pass that writes ``U``: as ever, with the rows of a panel on their way out.

    A chunk of ``U`` is a grain; what is less is read back, and written again whole.
    """
    width, unit = layout.width, min(layout.unit, layout.panel)
    columns = layout.tile or width
    panels = (2 if prefetch else 1) * layout.panel * columns * s.item
    block = unit * columns * s.entry + 5 * unit * s.rank * s.wide
    rows = max(layout.panel, min(layout.grain, layout.length))
    written = (WRITTEN_COPIES + (layout.tile is not None)) * rows * s.rank * s.wide
    return panels + s.read_bytes + block + written + 4 * width * s.rank * s.wide


def gram_span_bytes(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """One span of the Gram path: panels, a block, the sum and the product that is added to it."""
    width = layout.width
    panels = (2 if prefetch else 1) * layout.panel * width * s.item
    block = min(layout.unit, layout.panel) * width * s.entry
    return panels + s.read_bytes + block + 2 * width * width * s.wide


def gram_dense_bytes(width: int, s: Sizes) -> int:
    """Eigenproblem of the Gram matrix, with LAPACK's copies and workspace, and the vectors wanted."""
    return (4 * width * width + 6 * width * (s.rank + 1)) * s.wide


def sample_row_bytes(width: int, s: Sizes) -> int:
    """One sampled row: as stored, as multiplied, and its products."""
    return width * (s.item + s.narrow) + 3 * s.block * s.wide


def sample_fixed_bytes(width: int, s: Sizes, threads: int, readers: int) -> int:
    """The sample's thin blocks, the products of several threads, the transients of several readers."""
    thin = (5 + threads) * width * s.block * s.wide
    return thin + readers * s.read_bytes + width * 8 * s.wide

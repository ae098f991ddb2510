"""Bytes that a plan needs, as arithmetic on shapes and item sizes; every buffer has its line.

The sums are upper bounds: they count LAPACK's copies, the transients of decoding, and what the threads
of reading and multiplying cost. ``measured <= projected <= budget`` is tested in fresh processes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psutil

from streamsvd.engine.layout import Layout
from streamsvd.errors import SpecError
from streamsvd.numerics.sentences import show_bytes as show_bytes

MIB = 1 << 20
BASE_BYTES = 40 * MIB
"""Threads, event loop of the store, BLAS packing buffers, small Python objects of a run."""

RUN_BYTES = 26 * MIB
"""The same of a factorisation, for which packing is counted by itself, `packing_bytes`."""

FOREIGN_BYTES = 20 * MIB
"""What others hold who read the matrix for us, a scheduler with its tasks or a user's own reader, beside their blocks."""

DEPTH = 512
"""Most of the dimension that is summed over which BLAS packs at once; kernels have 192 to 448."""

POWERS = 12
"""Powers of the probes that are kept beside the probes and their first products."""

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


def default_budget() -> int:
    """Half of the memory that is free now."""
    return int(psutil.virtual_memory().available // 2)


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
        Most columns of the basis, but for those that are pinned.
    pinned_vectors
        Leading vectors of the first look that every later basis holds besides.
    rank
        Columns of the result.
    item, narrow, wide
        Bytes of an entry as stored, as first multiplied, and as summed.
    entry
        Bytes that preparing one entry of a block takes: its copies in both precisions, and masks.
    read_bytes
        Transients of one read.
    cached_bytes
        The whole matrix, where its panels stay in memory, in place of buffers that are used again; else 0.
    index, row_entries
        Where rows are read without their zeros: bytes of the index of an entry, and the entries of a row on average; else 0. What is
        said of an entry is then meant of one that is stored.
    """

    block: int
    probes: int
    basis: int
    pinned_vectors: int
    rank: int
    item: int
    narrow: int
    wide: int
    entry: int
    read_bytes: int
    cached_bytes: int = 0
    index: int = 0
    row_entries: int = 0


def space_columns(width: int, s: Sizes) -> int:
    """Most columns of the basis with those that are pinned; no more than the whole space has."""
    return min(width, s.basis + s.pinned_vectors)


def dense_bytes(width: int, s: Sizes) -> int:
    """Extraction in the driver, between passes.

    Where the space grows: Ritz vectors and residuals, the basis and its product before and after their QR, the block
    with what the pass multiplied and summed; beside them the probes and the best look. Then the projected problems.
    """
    columns = space_columns(width, s)
    thin = 2 * columns + 4 * columns + 3 * (s.block + s.probes) + s.block
    kept = (2 + POWERS) * s.probes + s.pinned_vectors + 4 * s.rank
    packed = packing_bytes(width, columns, columns, s.wide)
    return width * (thin + kept) * s.wide + 8 * (2 * columns) ** 2 * s.wide + packed


def resident_bytes(width: int, s: Sizes) -> int:
    """What the driver holds while a pass runs.

    Ritz vectors and residuals; the block, as multiplied, and beside the deflated probes in one; these twice; the
    probes, their product and powers, the basis that deflates them; the vectors of the best look and of the last.
    """
    columns = space_columns(width, s)
    multiplied = 3 * s.block + 3 * s.probes
    kept = (2 + POWERS) * s.probes + s.pinned_vectors + 2 * s.rank
    return width * (2 * columns + multiplied + kept) * s.wide


def packing_bytes(rows: int, inner: int, columns: int, item: int) -> int:
    """What BLAS packs of the larger factor of a product ``(rows, inner) @ (inner, columns)``; it is never given back."""
    return max(rows, columns) * min(inner, DEPTH) * item


def block_packing(layout: Layout, s: Sizes) -> int:
    """What one thread's BLAS packs of a block, along either of its sides; nothing where a device multiplies."""
    if s.entry == 0 or layout.stored is not None:
        return 0
    unit, columns = min(layout.unit, layout.panel), layout.tile or layout.width
    return min(unit * columns, DEPTH * max(unit, columns)) * s.wide


def waiting_sums(spans: int, at_once: int, *, copied: bool) -> int:
    """Most sums of spans at one moment, in hand or waiting to be joined, however late a task may be.

    Every task in hand keeps the path from its span to the root of the tree open, and each step of an open path has
    at most one finished sum beside it. Paths that part as near to the root as they can keep most.
    Sums are joined where they lie, unless a cluster may ask for them again: then there is one more.
    """
    depth, open_paths = max(spans - 1, 0).bit_length(), min(at_once, spans)
    apart = open_paths.bit_length() - 1  # levels on which every node is on an open path
    most = (1 << apart) + open_paths * (depth - apart)
    return min(spans, most) + copied


def partial_bytes(layout: Layout, s: Sizes, at_once: int, *, copied: bool = False) -> int:
    """Sums of finished spans that wait in the merge tree, and those in hand."""
    waiting = waiting_sums(len(layout.spans), at_once, copied=copied)
    return waiting * layout.width * (s.block + s.probes + 6) * s.wide


def _panels(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """Panels of a span: a second one is read ahead where there is one; none where panels stay, which are counted once."""
    if s.cached_bytes:
        return 0
    first, last = layout.spans[0]
    longest = last - first
    if longest <= layout.panel:  # else all that matters is known
        longest = max(stop - start for start, stop in layout.spans)
    panel = min(layout.panel, longest)
    count = 2 if prefetch and longest > panel else 1
    if layout.stored is not None:
        return count * layout.stored[0] * (s.item + s.index) + 8 * count * panel
    return count * panel * (layout.tile or layout.width) * s.item


def _block_bytes(layout: Layout, s: Sizes) -> int:
    """What preparing a block takes; of one without its zeros, the part of a panel that it is, and the pilot besides."""
    if layout.stored is not None:
        return layout.stored[1] * (s.entry + s.item + s.index) + 2 * layout.width * s.wide
    return min(layout.unit, layout.panel) * (layout.tile or layout.width) * s.entry


def span_bytes(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """One span besides its sums: panels, the read's transients, a prepared block, and thin blocks.

    The thin blocks: the factor as sent, and the product that is added to the sums.
    """
    width = layout.width
    thin = s.block + max(s.probes, s.pinned_vectors)
    unit = min(layout.unit, layout.panel)
    block = _block_bytes(layout, s) + 2 * unit * thin * s.wide + block_packing(layout, s)
    if layout.tile is not None:
        block += layout.panel * thin * s.wide
    return _panels(layout, s, prefetch=prefetch) + s.read_bytes + block + width * thin * 2 * s.wide


WRITTEN_COPIES = 3
"""Of rows of ``U`` that are whole chunks, in the hands of a store: the chunk, its bytes, and those with their check."""

REWRITTEN_COPIES = 7
"""Of a chunk of ``U`` that is written in parts: read back, checked, decoded and filled besides."""


def written_bytes(layout: Layout, s: Sizes) -> int:
    """Rows of ``U`` of a panel on their way to a store: pieces, their union, and what the store makes of them.

    A chunk of ``U`` is a grain; where a panel is less, its chunk is read back, and written again whole.
    """
    panel, grain = min(layout.panel, layout.length), min(layout.grain, layout.length)
    rows = 2 * panel + (WRITTEN_COPIES * panel if panel >= grain else REWRITTEN_COPIES * grain)
    if layout.tile is not None:
        rows += panel
    return rows * s.rank * s.wide


def project_span_bytes(layout: Layout, s: Sizes, *, prefetch: bool, written: bool = True) -> int:
    """One span of the pass that makes ``U``: as ever, with its rows on their way out where they are ``written``."""
    width, unit = layout.width, min(layout.unit, layout.panel)
    block = _block_bytes(layout, s) + 5 * unit * s.rank * s.wide + block_packing(layout, s)
    out = written_bytes(layout, s) if written else 0
    panels = _panels(layout, s, prefetch=prefetch)
    return panels + s.read_bytes + block + out + 2 * width * s.rank * s.wide


def gram_span_bytes(layout: Layout, s: Sizes, *, prefetch: bool) -> int:
    """One span of the Gram path besides its sum, to which a block is added in place: panels, and the block."""
    width = layout.width
    block = min(layout.unit, layout.panel) * width * s.entry + block_packing(layout, s)
    return _panels(layout, s, prefetch=prefetch) + s.read_bytes + block + 8 * width * s.wide


def gram_sum_bytes(layout: Layout, s: Sizes, at_once: int, *, copied: bool = False) -> int:
    """Gram matrices of spans, in hand or waiting to be joined."""
    waiting = waiting_sums(len(layout.spans), at_once, copied=copied)
    return waiting * layout.width**2 * s.wide


def gram_dense_bytes(width: int, s: Sizes) -> int:
    """Eigenproblem of the Gram matrix, in its place, and the vectors wanted.

    Where LAPACK's routine for part of the spectrum fails, that for all of it has two more of its size for workspace.
    """
    return (3 * width * width + 6 * width * (s.rank + 1)) * s.wide


def factor_bytes(length: int, s: Sizes, *, cleaned: bool) -> int:
    """The other factor as one array: its pieces and their union; ``cleaned``, then its QR and the columns turned.

    The pieces count to the end: the heap they were made in may keep their place.
    """
    return (4 if cleaned else 2) * length * s.rank * s.wide


def sample_row_bytes(width: int, s: Sizes) -> int:
    """One sampled row: as stored, and as multiplied where that is of another size and not in its place."""
    if s.row_entries:
        return s.row_entries * (s.item + s.index + s.narrow) + 8
    return width * (s.item + (s.narrow if s.narrow != s.item else 0))


PILOT_ITEMS = 1 << 18
"""Entries of the sample that are looked at together; a row at least."""


def sample_fixed_bytes(width: int, s: Sizes, threads: int, readers: int, unit: int = 1) -> int:
    """The sample's thin blocks, the products of several threads, a block of ``unit`` rows that is prepared, readers."""
    thin = (5 + threads) * width * s.block * s.wide
    looked = 4 * max(PILOT_ITEMS, width) * s.wide
    entries = unit * (s.row_entries or width)
    block = entries * s.entry + threads * (entries + unit * s.block) * s.narrow
    return thin + readers * s.read_bytes + width * 8 * s.wide + max(looked, block)

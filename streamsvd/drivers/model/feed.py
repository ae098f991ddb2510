"""Blocks on their way into a model: cut to the budget, read ahead, checked and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.drivers.model.size import check_size
from streamsvd.engine.memory import BASE_BYTES, show_bytes
from streamsvd.errors import BudgetError, NonFiniteError, SpecError
from streamsvd.incremental import SMALL, TALL
from streamsvd.protocols import Source
from streamsvd.store.model import Spec
from streamsvd.tall import OVERSAMPLES, PANEL

Array = npt.NDArray[Any]

MOST_BYTES = 256 << 20
"""Pieces are no larger in double precision than this: beyond it nothing gets faster."""
POLICIES = ("raise", "skip-block", "impute-mean")
REMEDY = 'Mend the data, or pass nonfinite="skip-block" or nonfinite="impute-mean".'


def piece_bytes(rows: int, width: int, kept: int, item: int, threads: int) -> int:
    """Upper bound of the memory that absorbing a piece takes beside what is read, in bytes.

    Parameters
    ----------
    rows, width
        Of the piece.
    kept
        Directions kept.
    item
        Bytes of an entry as stored.
    threads
        Panels of a tall block that are multiplied at once.
    """
    wide = 16 if item == 16 else 8
    exact = max(TALL * kept, SMALL)  # up to here a block is stacked as it is
    stacked = kept + max(kept, min(rows, max(width, 1), exact)) + 2
    copied = rows if width <= exact else min(rows, exact)
    block = 3 * copied * width * wide
    sketch = 4 * rows * (kept + OVERSAMPLES) * wide
    sketch += threads * width * (3 * PANEL + 2 * (kept + OVERSAMPLES)) * wide
    dense = (5 * stacked * width + 8 * stacked * stacked + 8 * kept * width) * wide
    return BASE_BYTES + block + sketch + dense


@dataclass(frozen=True, slots=True)
class Cut:
    """How new rows are cut: rows of a piece, rows that are read at once, and whether the next are read ahead."""

    height: int
    run: int
    ahead: bool


def plan_cut(source: Source, spec: Spec, count: int, kept: int, budget: int, threads: int) -> Cut:
    """The cut of ``count`` new rows (or columns): whole chunks read ahead, if the budget allows it.

    Otherwise one chunk at a time, absorbed in shorter pieces; if even that is too much, parts of chunks.

    Raises
    ------
    BudgetError
        If a single row does not fit; it names the smallest budget.
    """
    along = 0 if spec.axis == "rows" else 1
    width, chunk, item = source.shape[1 - along], source.chunks[along], source.dtype.itemsize
    chunk = min(chunk, count)
    turned = along  # columns are copied to become rows
    row = width * item

    def ahead(rows: int) -> int:
        read = (2 + turned) * rows * row + 2 * source.read_bytes
        return read + piece_bytes(rows, width, kept, item, threads)

    def behind(rows: int) -> int:
        read = (1 + turned) * chunk * row + source.read_bytes
        return read + piece_bytes(rows, width, kept, item, threads)

    most = max(1, MOST_BYTES // max(8 * width, 1))
    high = _largest(ahead, most, budget)
    if high >= count:
        return Cut(count, count, True)
    # Not of equal size: a run that goes on after a kill must cut where it would have cut.
    if high >= chunk:
        return Cut(high // chunk * chunk, high // chunk * chunk, True)
    short = _largest(behind, min(most, chunk), budget)
    if short:
        return Cut(short, chunk, False)
    if high:
        return Cut(high, high, True)
    raise BudgetError(
        f"absorbing one row of {width:,} into {kept} directions",
        ahead(1),
        budget,
        f"Pass memory={show_bytes(ahead(1) + (1 << 20))!r} or more, or keep fewer directions.",
    )


def _largest(need: Callable[[int], int], most: int, budget: int) -> int:
    """Most rows whose need is within the budget; 0 if one is too many."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if need(middle) <= budget else (low, middle - 1)
    return low


class Digest:
    """Digest of rows, whatever pieces they come in."""

    def __init__(self, dtype: np.dtype[Any], width: int) -> None:
        self._start = f"{dtype.newbyteorder('<').str} {width}".encode()
        self._hash = hashlib.blake2b(self._start, digest_size=16)

    def add(self, rows: Array) -> None:
        """More rows, C-contiguous."""
        self._hash.update(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")

    def seam(self, rows: Array) -> str:
        """Digest of the last of some rows alone."""
        return self.of(rows[-1:])

    def of(self, rows: Array) -> str:
        """Digest of these rows alone."""
        last = hashlib.blake2b(self._start, digest_size=8)
        last.update(np.ascontiguousarray(rows).tobytes())
        return last.hexdigest()

    def hex(self) -> str:
        """Of all rows so far."""
        return self._hash.hexdigest()


@dataclass(slots=True, eq=False)
class Feed:
    """The part of a source that is to be absorbed.

    Attributes
    ----------
    source
        The matrix that holds it.
    axis
        Which extent grows.
    start, stop
        Rows (or columns) of the source.
    cut
        Into pieces.
    """

    source: Source
    axis: str
    start: int
    stop: int
    cut: Cut
    digest: Digest = field(init=False)
    _hashing: Future[None] | None = None

    def __post_init__(self) -> None:
        m, n = self.source.shape
        self.digest = Digest(self.source.dtype, n if self.axis == "rows" else m)

    def read(self, start: int, stop: int) -> Array:
        """Rows of the source, or its columns as conjugate rows."""
        m, n = self.source.shape
        if self.axis == "rows":
            out = np.empty((stop - start, n), dtype=self.source.dtype)
            self.source.read(slice(start, stop), slice(0, n), out)
            return out
        out = np.empty((m, stop - start), dtype=self.source.dtype)
        self.source.read(slice(0, m), slice(start, stop), out)
        return np.ascontiguousarray(out.conj().T)

    def pieces(self) -> Iterator[tuple[int, int, Array]]:
        """Start, stop and rows of each piece, the next one being read meanwhile."""
        runs = list(self._runs())
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as hasher:
            waiting = None
            for index, (a, b) in enumerate(runs):
                rows = waiting.result() if waiting is not None else self.read(a, b)
                waiting = None
                if self.cut.ahead and index + 1 < len(runs):
                    waiting = reader.submit(self.read, *runs[index + 1])
                self._hashing = hasher.submit(self.digest.add, rows)
                for at in range(a, b, self.cut.height):
                    end = min(at + self.cut.height, b)
                    yield at, end, rows[at - a : end - a]
                self._hashing.result()
                del rows

    def _runs(self) -> Iterator[tuple[int, int]]:
        """What is read at once; after the first, runs begin where chunks do."""
        chunk = self.source.chunks[0 if self.axis == "rows" else 1]
        at = self.start
        while at < self.stop:
            end = at + self.cut.run
            if self.cut.run % chunk == 0:
                end -= at % chunk
            end = min(end, self.stop)
            yield at, end
            at = end

    @property
    def count(self) -> int:
        """Number of pieces."""
        return sum(-(-(b - a) // self.cut.height) for a, b in self._runs())

    def digest_so_far(self) -> str:
        """Digest of the pieces given out; it is computed beside what is done with them."""
        if self._hashing is not None:
            self._hashing.result()
        return self.digest.hex()

    def whole_digest(self) -> str:
        """Digest of all of it, read for nothing else."""
        for _ in self.pieces():
            pass
        return self.digest_so_far()

    def written(self, start: int) -> int:
        """Where the rows from ``start`` on end, without those that are zero throughout up to the end.

        An array is often made longer before its rows are written: what is zero up to the end may be on its way, and
        is taken when rows follow it. Costs one row, unless it is zero.
        """
        height, stop = 1, self.stop
        while stop > start:
            first = max(start, stop - height)
            there = np.flatnonzero(self.read(first, stop).any(axis=1))
            if there.size:
                return first + int(there[-1]) + 1
            height, stop = self.cut.height, first
        return start

    def seam(self, row: int) -> str:
        """Digest of one row of the source."""
        return self.digest.of(self.read(row, row + 1))


def finite(rows: Array, feed: Feed, start: int, policy: str, mean: Array | None) -> Array | None:
    """The rows with missing values treated as the policy says; None if the block is to be skipped.

    Parameters
    ----------
    rows, feed, start
        A piece, and where it begins in the source.
    policy
        One that `check_policy` has let through.
    mean
        Of what the model knows, in the units of the data; None if it knows nothing yet.

    Raises
    ------
    NonFiniteError
        If there is an Inf, or a NaN under ``"raise"``; it names row, column and chunk.
    SpecError
        If a column has no value and no mean yet.
    """
    check_size(rows, feed.source.name)
    if rows.dtype.kind in "iu":
        return rows
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(rows)) or np.isfinite(rows).all():
            return rows
    bad = ~np.isfinite(rows) if policy == "raise" else np.isinf(rows)
    if bad.any():
        i, j = (int(x) for x in np.unravel_index(int(np.argmax(bad)), bad.shape))
        value = "NaN" if np.isnan(rows[i, j]) else "Inf"
        row, column = (start + i, j) if feed.axis == "rows" else (j, start + i)
        remedy = REMEDY if value == "NaN" else "Mend the data."
        raise NonFiniteError(value, row, column, feed.source.locate(row, column), remedy)
    if policy == "skip-block":
        return None
    holes = np.isnan(rows)
    if mean is None:
        empty = holes.all(axis=0)
        if empty.any():
            raise SpecError(
                f"column {int(np.argmax(empty))} has no value in the first block, and the model knows no mean of it yet. "
                "Leave the column out, or begin with a block that has values in it."
            )
        mean = np.nanmean(rows, axis=0, dtype=np.result_type(rows.dtype, np.float64))
    return np.asarray(np.where(holes, mean.astype(rows.dtype)[None, :], rows))


def check_policy(policy: str, spec: Spec) -> None:
    """Refuse policies that are unknown or need a mean that is not kept."""
    if policy not in POLICIES:
        raise SpecError(f"nonfinite={policy!r} is unknown. Pass one of {', '.join(POLICIES)}.")
    if policy == "impute-mean" and not spec.center:
        raise SpecError(
            'nonfinite="impute-mean" needs the mean that center=True keeps. Begin the model with center=True, or '
            'pass "skip-block".'
        )

"""Blocks on their way into a model: cut to the budget, read ahead, checked and hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.sizes import check_size
from streamsvd.engine.memory import BASE_BYTES, show_bytes
from streamsvd.errors import BudgetError, NonFiniteError, SpecError
from streamsvd.models.mathematics.incremental import SMALL, TALL
from streamsvd.numerics.columns import original_column
from streamsvd.numerics.range_sketch import OVERSAMPLES, panel_rows
from streamsvd.protocols import Source
from streamsvd.store.versions import ModelSpec

Array = npt.NDArray[Any]

MAX_PIECE_BYTES = 256 << 20
"""Pieces are no larger in double precision than this: beyond it nothing gets faster."""
POLICIES = ("raise", "skip-block", "impute-mean")
REMEDY = 'Mend the data, or pass nonfinite="skip-block"'


@dataclass(frozen=True, slots=True)
class PieceCost:
    """What is to be absorbed at once, as far as memory depends on it.

    Attributes
    ----------
    width, directions
        Columns, and directions that the model keeps.
    complex_
        Whether entries are complex.
    left
        Whether left vectors are kept.
    threads
        Panels that are multiplied at once.
    """

    width: int
    directions: int
    complex_: bool
    left: bool
    threads: int

    @property
    def wide(self) -> int:
        """Bytes of an entry in double precision."""
        return 16 if self.complex_ else 8

    def is_sketched(self, rows: int) -> bool:
        """Whether so many rows are sketched before they are stacked."""
        return min(rows, self.width) > max(TALL * self.directions, SMALL)

    def bytes_needed(self, rows: int) -> int:
        """Upper bound of the memory that absorbing so many rows takes, beside what is read: the largest of its steps.

        The state is there twice, before and after.
        """
        state = 2 * self.directions * self.width * self.wide
        reduced = self.sketch_bytes(rows) if self.is_sketched(rows) else self.copy_bytes(rows)
        left = 3 * rows * min(self.directions, self.width) * self.wide if self.left else 0
        return BASE_BYTES + state + left + max(reduced, self.stack_bytes(rows))

    def copy_bytes(self, rows: int) -> int:
        """A short block in double precision; a narrow one is factorised in place, and its factor taken out."""
        return (2 if rows > self.width else 1) * rows * self.width * self.wide

    def sketch_bytes(self, rows: int) -> int:
        """Panels in double precision, before and after their mean is taken out or they are conjugated, and products."""
        columns = self.directions + OVERSAMPLES
        panels = (
            (3 if self.complex_ else 2)
            * self.threads
            * min(rows, panel_rows(self.width))
            * self.width
        )
        # Products that wait, their sum, what they begin from, and what is conjugated.
        products = (self.threads + (14 if self.complex_ else 10)) * columns * self.width
        return (panels + products + 4 * rows * columns) * self.wide

    def stack_bytes(self, rows: int) -> int:
        """The stack of the state and the block; its factorisation, which copies it, and one copy that fits no hole."""
        part = self.directions + OVERSAMPLES if self.is_sketched(rows) else min(rows, self.width)
        stacked = self.directions + part + 2
        copies = 5 if self.complex_ else 4
        small = 8 * min(stacked, self.width) ** 2
        return ((self.directions + part + copies * stacked) * self.width + small) * self.wide


@dataclass(frozen=True, slots=True)
class BlockCut:
    """How new rows are cut.

    Attributes
    ----------
    height, run
        Rows of a piece, and rows that are read at once.
    ahead
        Whether the next are read while these are absorbed.
    projected_bytes
        Upper bound of the memory.
    threads
        Panels that are multiplied at once.
    """

    height: int
    run: int
    ahead: bool
    projected_bytes: int
    threads: int = 1


USUAL_THREADS = 2
"""Threads for which rows are cut, as bits depend on the cut; with the memory for one alone, for one."""


def plan_cut(
    source: Source, spec: ModelSpec, count: int, kept: int, budget: int, threads: int
) -> BlockCut:
    """The cut of ``count`` new rows (or columns): whole chunks read ahead, if the budget allows it.

    Otherwise one chunk at a time, absorbed in shorter pieces; if even that is too much, parts of chunks. How many of
    ``threads`` multiply at once in it is decided afterwards, by the budget: the cut is the same for any number.

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

    def absorbed(rows: int, at_once: int) -> int:
        return PieceCost(width, kept, source.dtype.kind == "c", spec.u, at_once).bytes_needed(rows)

    def whole(rows: int, at_once: int) -> int:
        return (1 + turned) * rows * row + source.read_bytes + absorbed(rows, at_once)

    def ahead(rows: int, at_once: int) -> int:
        return (2 + turned) * rows * row + 2 * source.read_bytes + absorbed(rows, at_once)

    def behind(rows: int, at_once: int) -> int:
        return (1 + turned) * chunk * row + source.read_bytes + absorbed(rows, at_once)

    def realised(
        height: int, run: int, read_ahead: bool, need: Callable[[int, int], int]
    ) -> BlockCut:
        fit = (t for t in range(threads, 0, -1) if need(height, t) <= budget)
        at_once = next(fit, 1)
        return BlockCut(height, run, read_ahead, need(height, at_once), at_once)

    most = max(1, MAX_PIECE_BYTES // max(8 * width, 1))
    for usual in range(USUAL_THREADS, 0, -1):
        if count <= most and whole(count, usual) <= budget:
            return realised(count, count, True, whole)
        high = _largest(partial(ahead, at_once=usual), most, budget)
        # Not of equal size: a run that goes on after a kill must cut where it would have cut.
        if high >= chunk:
            rows = high // chunk * chunk
            return realised(rows, rows, True, ahead)
        short = _largest(partial(behind, at_once=usual), min(most, chunk), budget)
        if short:
            return realised(short, chunk, False, behind)
        if high:
            return realised(high, high, True, ahead)
    least = ahead(1, 1)
    raise BudgetError(
        f"absorbing one row of {width:,} into {kept} directions",
        least,
        budget,
        f"Pass memory={show_bytes(least + (1 << 20))!r} or more, or keep fewer directions.",
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
class BlockReader:
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
    cut: BlockCut
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

    def find_written_end(self, start: int) -> int:
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


def apply_policy(
    rows: Array, feed: BlockReader, start: int, policy: str, mean: Array | None, *, centred: bool
) -> Array | None:
    """The rows with missing values treated as the policy says; None if the block is to be skipped.

    Parameters
    ----------
    rows, feed, start
        A piece, and where it begins in the source.
    policy
        One that `check_policy` has let through.
    mean
        Of what the model knows, in the units of the data; None if it knows nothing yet.
    centred
        Whether the model keeps a mean that may take the place of a NaN.

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
        more = ' or nonfinite="impute-mean".' if centred else "."
        remedy = REMEDY + more if value == "NaN" else "Mend the data."
        raise NonFiniteError(value, row, column, feed.source.locate(row, column), remedy)
    if policy == "skip-block":
        return None
    holes = np.isnan(rows)
    if mean is None:
        empty = holes.all(axis=0)
        if empty.any():
            raise SpecError(
                f"column {original_column(feed.source, int(np.argmax(empty)))} has no value in the first {rows.shape[0]:,} rows, and the model knows no mean of it yet. "
                "Leave the column out with mask=, or begin with a block that has values in its first rows."
            )
        mean = np.nanmean(rows, axis=0, dtype=np.result_type(rows.dtype, np.float64))
    return np.asarray(np.where(holes, mean.astype(rows.dtype)[None, :], rows))


def check_policy(policy: str, spec: ModelSpec) -> None:
    """Refuse policies that are unknown or need a mean that is not kept."""
    if policy not in POLICIES:
        raise SpecError(f"nonfinite={policy!r} is unknown. Pass one of {', '.join(POLICIES)}.")
    if policy == "impute-mean" and not spec.center:
        raise SpecError(
            'nonfinite="impute-mean" needs the mean that center=True keeps. Begin the model with center=True, or '
            'pass "skip-block".'
        )

"""What of a source is to be absorbed: read ahead in pieces, and hashed on the way."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.allocator import panel_buffers
from streamsvd.engine.concurrency import at_once
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone
from streamsvd.engine.reader import read_ahead, read_part
from streamsvd.engine.threads import ThreadPool
from streamsvd.models.cut import BlockCut
from streamsvd.numerics.blocks import Axis
from streamsvd.protocols import Source

Array = npt.NDArray[Any]


class Digest:
    """Digest of rows, whatever pieces they come in."""

    def __init__(self, dtype: np.dtype[Any], width: int) -> None:
        self._start = f"{dtype.newbyteorder('<').str} {width}".encode()
        self._hash = hashlib.blake2b(self._start, digest_size=16)

    def add(self, rows: Array) -> None:
        """More rows, C-contiguous."""
        self._hash.update(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")

    def of(self, rows: Array) -> str:
        """Digest of these rows alone."""
        last = hashlib.blake2b(self._start, digest_size=8)
        last.update(np.ascontiguousarray(rows).tobytes())
        return last.hexdigest()

    def hex(self) -> str:
        """Of all rows so far."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class PieceReader:
    """Reads rows of a source, or its columns as conjugate rows; picklable.

    Attributes
    ----------
    source, axis
        The matrix, and which extent grows.
    threads
        Those that read together, each other chunks.
    """

    source: Source
    axis: Axis
    threads: int = 1

    @property
    def width(self) -> int:
        """Extent that does not grow."""
        return self.source.shape[1 if self.axis == "rows" else 0]

    def read(self, start: int, stop: int) -> Array:
        """Rows in memory of their own."""
        out = np.empty((stop - start, self.width), dtype=self.source.dtype)
        raw = out if self.axis == "rows" else np.empty((self.width, stop - start), out.dtype)
        return self.read_into(start, out, raw)

    def read_into(self, start: int, out: Array, raw: Array) -> Array:
        """As many rows as ``out`` has; columns by way of ``raw``."""
        stop = start + out.shape[0]
        if self.axis == "rows":
            return self._fill(start, stop, out)
        out[...] = self._fill(start, stop, raw).T
        return np.conjugate(out, out=out) if out.dtype.kind == "c" else out

    def _fill(self, start: int, stop: int, out: Array) -> Array:
        """What is stored, whole chunks for each thread."""
        whole, chunk = slice(0, self.width), self.source.chunks[0 if self.axis == "rows" else 1]
        edges = [start, stop]
        if self.threads > 1:
            edges[1:1] = range((start // chunk + 1) * chunk, stop, chunk)
        runs = list(pairwise(edges))

        def read(run: tuple[int, int]) -> None:
            a, b = run
            place = out if self.axis == "columns" else out[a - start : b - start]
            read_part(self.source, self.axis, slice(a, b), whole, place)

        if len(runs) == 1:
            read(runs[0])
        else:
            with at_once(self.threads) as mapped:
                for _ in mapped(read, runs):
                    pass
        return out


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
    digest
        Of the pieces given out.
    bytes_read
        Decoded bytes that were asked of the source.
    """

    source: Source
    axis: Axis
    start: int
    stop: int
    cut: BlockCut
    digest: Digest = field(init=False)
    bytes_read: int = 0
    _hashing: Future[None] | None = None

    def __post_init__(self) -> None:
        self.digest = Digest(self.source.dtype, self.width)

    @property
    def width(self) -> int:
        """Extent that does not grow."""
        return self._rows.width

    @property
    def _rows(self) -> PieceReader:
        return PieceReader(self.source, self.axis, self.cut.readers)

    @property
    def row_bytes(self) -> int:
        """Decoded bytes of a row."""
        return self.width * self.source.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Decoded bytes of it."""
        return (self.stop - self.start) * self.row_bytes

    def read(self, start: int, stop: int) -> Array:
        """Rows of the source, or its columns as conjugate rows, in memory of their own."""
        self.bytes_read += (stop - start) * self.row_bytes
        return self._rows.read(start, stop)

    def pieces(self, *, hashed: bool = True) -> Generator[tuple[int, int, Array]]:
        """Start, stop and rows of each piece, the next one being read meanwhile; the rows hold until the next piece.

        To be closed where it is left early: then nothing is read any more.

        Parameters
        ----------
        hashed
            Whether the digest of the rows is wanted, which is computed beside what is done with them.
        """
        runs = self.runs()
        longest = max((b - a for a, b in runs), default=0)
        size, turned = longest * self.row_bytes, self.axis == "columns"
        with (
            panel_buffers(2 if self.cut.ahead and len(runs) > 1 else 1, size) as buffers,
            panel_buffers(1 if turned else 0, size) as raw,
            ThreadPool(1, thread_name_prefix="streamsvd-digest") as hasher,
        ):

            def load(slot: int, a: int, b: int) -> Array:
                out = buffers[slot].array((b - a, self.width), self.source.dtype)
                stored = raw[0].array((self.width, b - a), out.dtype) if turned else out
                self.bytes_read += out.nbytes
                return self._rows.read_into(a, out, stored)

            with closing(read_ahead(runs, load, len(buffers))) as panels:
                for a, rows in panels:
                    self._hash(hasher, rows if hashed else None)
                    for at in range(a, a + rows.shape[0], self.cut.height):
                        end = min(at + self.cut.height, a + rows.shape[0])
                        yield at, end, rows[at - a : end - a]
                    if self._hashing is not None:
                        self._hashing.result()

    def runs(self) -> list[tuple[int, int]]:
        """What is read at once; after the first, runs begin where chunks do."""
        chunk = self.source.chunks[0 if self.axis == "rows" else 1]
        at, found = self.start, []
        while at < self.stop:
            end = at + self.cut.run
            if self.cut.run % chunk == 0:
                end -= at % chunk
            end = min(end, self.stop)
            found.append((at, end))
            at = end
        return found

    @property
    def count(self) -> int:
        """Number of pieces."""
        return self.cut.count_pieces(self.runs())

    @contextmanager
    def hashing(self) -> Iterator[Callable[[int, Array | None], None]]:
        """Takes rows that tasks have read: they are counted, and hashed beside what is done with them, if they came along."""
        with ThreadPool(1, thread_name_prefix="streamsvd-digest") as hasher:

            def take(n_rows: int, rows: Array | None) -> None:
                self.bytes_read += n_rows * self.row_bytes
                self._hash(hasher, rows)

            yield take

    def _hash(self, hasher: ThreadPool, rows: Array | None) -> None:
        """Hash rows after those before them."""
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = None if rows is None else hasher.submit(self.digest.add, rows)

    def digest_so_far(self) -> str:
        """Digest of the pieces given out; it is computed beside what is done with them."""
        if self._hashing is not None:
            self._hashing.result()
        return self.digest.hex()

    def whole_digest(self, notify: Callback, number: int) -> str:
        """Digest of all of it, read for nothing else: a pass of that number."""
        began, n_pieces = time.perf_counter(), self.count
        notify(PassStarted(number, "comparing with the model", self.nbytes))
        with closing(self.pieces()) as pieces:
            for done, _ in enumerate(pieces, start=1):
                notify(SpanDone(number, done, n_pieces))
        notify(PassDone(number, "comparing with the model", time.perf_counter() - began, None))
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

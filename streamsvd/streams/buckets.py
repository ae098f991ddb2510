"""The two tasks of a shuffle: rows of a run into buckets, and a bucket, in random order, into chunks of the new array.

A bucket is what tasks left for it, each under a name of its own that a second try writes anew, whole. A chunk of the new array is written
once: by the task whose bucket holds all of it, or at home, where two buckets share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from streamsvd.engine.item_task import check_item
from streamsvd.numerics import sketches as sketch
from streamsvd.store.places import Scratch
from streamsvd.streams.window_reader import WindowReader

Array = npt.NDArray[Any]


class RowSink(Protocol):
    """Takes whole chunks of rows."""

    def write(self, start: int, rows: Array, /) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class RowScatter:
    """Puts each row into a bucket, uniformly.

    Attributes
    ----------
    reader
        Of the matrix, in the order in which it lies.
    scratch
        Where buckets are.
    buckets, seed
        Their number, and what decides which row goes where.
    sink
        Of the new array, beside which buckets are: each worker is asked whether it sees it before the first task.
    """

    reader: WindowReader
    scratch: Scratch
    buckets: int
    seed: int
    sink: RowSink

    def scatter(self, rows: tuple[int, int, int]) -> npt.NDArray[np.int64]:
        """Runs from a first row to a last (exclusive), and the number of the first run; how many rows went into each bucket."""
        first, stop, number = rows
        parts: list[list[Array]] = [[] for _ in range(self.buckets)]
        unit, piece = self.reader.unit, self.reader.piece
        for index, start in enumerate(range(first, stop, unit), start=number):
            check_item()
            rng = sketch.generator(self.seed, "sample", index=2 * index)
            whole = self.reader.read_run((start, min(start + unit, stop)))
            for at in range(0, whole.shape[0], piece):
                self._divide(whole[at : at + piece], rng, parts)
        counts = np.array([sum(part.shape[0] for part in held) for held in parts], dtype=np.int64)
        for bucket, held in enumerate(parts):
            if held:
                together = np.concatenate(held)
                held.clear()
                name = f"{bucket:05d}/{number:09d}"
                self.scratch.put(name, together.reshape(-1).view(np.uint8).data)
        return counts

    def _divide(self, rows: Array, rng: np.random.Generator, parts: list[list[Array]]) -> None:
        bucket = rng.integers(self.buckets, size=rows.shape[0])
        order = np.argsort(bucket, kind="stable")
        ends = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=self.buckets))])
        for b in range(self.buckets):
            if ends[b] < ends[b + 1]:
                parts[b].append(rows[order[ends[b] : ends[b + 1]]])


@dataclass(frozen=True, slots=True, eq=False)
class EdgeRows:
    """Rows of a bucket in chunks that it shares with its neighbours: those before the chunks it owns, and those behind."""

    head: Array
    inner: int
    tail: Array


@dataclass(frozen=True, slots=True, eq=False)
class BucketGather:
    """Writes buckets, each in a random order of its rows.

    Attributes
    ----------
    scratch, sink
        Where buckets are, and where rows go.
    band, shape, dtype
        Rows of a chunk, and the array.
    seed
        Of the orders.
    """

    scratch: Scratch
    sink: RowSink
    band: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    seed: int

    def gather(self, rows: tuple[int, int, int]) -> EdgeRows:
        """The bucket of a number, whose rows are these of the new array, from first to last (exclusive)."""
        first, stop, bucket = rows
        held = np.empty((stop - first, self.shape[1]), self.dtype)
        flat, at = held.reshape(-1), 0
        for data in self.scratch.take(f"{bucket:05d}"):
            check_item()
            part = np.frombuffer(data, self.dtype)
            flat[at : at + part.size] = part
            at += part.size
        assert at == flat.size
        order = sketch.generator(self.seed, "sample", index=2 * bucket + 1).permutation(
            stop - first
        )
        begin = min(-(-first // self.band) * self.band, stop)
        end = stop if stop == self.shape[0] else max(stop // self.band * self.band, begin)
        for a in range(begin, end, self.band):
            check_item()
            b = min(a + self.band, end)
            self.sink.write(a, held[order[a - first : b - first]])
        head, tail = held[order[: begin - first]], held[order[end - first :]]
        return EdgeRows(head, end - begin, tail)


@dataclass(slots=True, eq=False)
class SharedChunks:
    """Writes the chunks that buckets share, from their rows in order.

    Attributes
    ----------
    sink, band, n_rows
        Where rows go, rows of a chunk, and of the array.
    written
        Rows that are there.
    """

    sink: RowSink
    band: int
    n_rows: int
    written: int = 0
    _waiting: list[Array] = field(default_factory=list)
    _held: int = 0

    def take(self, found: EdgeRows) -> None:
        """What the next bucket left."""
        self._add(found.head)
        self.written += found.inner
        self._add(found.tail)

    def _add(self, rows: Array) -> None:
        if rows.shape[0] == 0:
            return
        self._waiting.append(rows)
        self._held += rows.shape[0]
        end = self.written + self._held
        if end % self.band == 0 or end == self.n_rows:
            self.sink.write(self.written, np.concatenate(self._waiting))
            self.written, self._held = end, 0
            self._waiting.clear()

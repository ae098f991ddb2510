"""Rows in uniformly random order, once and for all: two reads and two writes of the matrix, whatever the memory.

Each row goes to one of K buckets, uniformly; each bucket is then permuted in memory. Every order of the rows is equally
likely.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.numbers import check_seed
from streamsvd.checks.paths import local_path
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import (
    Callback,
    PassDone,
    PassStarted,
    ResultWritten,
    SpanDone,
    ignore_event,
    send_remarks,
)
from streamsvd.engine.memory import BASE_BYTES, default_budget, parse_bytes
from streamsvd.engine.opening import as_source
from streamsvd.errors import BudgetError
from streamsvd.numerics import sketches as sketch
from streamsvd.protocols import Source
from streamsvd.store.sources.border import copied_chunks
from streamsvd.store.writing.placing import check_local
from streamsvd.store.writing.rows import RowsWriter
from streamsvd.store.writing.separation import check_apart
from streamsvd.streams.window_reader import WindowReader

MOST_BUCKETS = 4096


def shuffle(
    A: Any,
    out: str | os.PathLike[str],
    *,
    memory: int | float | str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> Path:
    """Write the rows of a matrix to a new zarr array in uniformly random order.

    Parameters
    ----------
    A
        A matrix as `svd` takes it.
    out
        Folder of the new array: same columns, type and chunks.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    seed
        Of the order: the same seed gives the same.
    overwrite
        Replace what is at ``out`` once the new array is whole.
    callback
        Receives events.

    Raises
    ------
    BudgetError
        If the memory is too small for the matrix; it names the smallest that works.
    StoreError
        If ``out`` exists and may not be replaced, or cannot be written.
    SpecError
        If ``out`` is the matrix that is read, is inside it or holds it, through whatever links.

    Notes
    -----
    Cost: reads and writes the matrix twice, through files of its size beside ``out``.
    """
    source = as_source(A)
    seed = check_seed(seed)
    place = local_path(out, "out")
    check_local(place)
    check_apart(place, source)
    budget = default_budget() if memory is None else parse_bytes(memory)
    feed, count = _plan_buckets(source, budget)
    chunks = copied_chunks(source)
    writer = RowsWriter(place, source.shape, chunks, source.dtype, overwrite=overwrite)
    try:
        send_remarks(source, callback)
        with held_memory():
            _scatter(feed, writer, count, seed, callback)
            _gather(writer, count, seed, callback, source.nbytes)
        path = writer.commit()
    except BaseException:
        writer.discard()
        raise
    callback(ResultWritten(str(path)))
    return path


def _plan_buckets(source: Source, budget: int) -> tuple[WindowReader, int]:
    """How to read, and the number of buckets, each of which fits beside its permuted copy."""
    m, n = source.shape
    row = n * source.dtype.itemsize
    chunk = min(source.chunks[0], m)
    feed = WindowReader(source, chunk, 0, False, 0)
    band = chunk * row

    def needed(buckets: int) -> int:
        scattering = feed.bytes_needed + band
        expected = m / buckets
        largest = expected if buckets == 1 else expected + 6 * math.sqrt(expected) + 6
        gathering = int(2 * largest * row) + 3 * band
        return BASE_BYTES + max(scattering, gathering)

    buckets = 1
    while buckets < MOST_BUCKETS and needed(buckets) > budget:
        buckets *= 2
    if needed(buckets) > budget:
        least = needed(MOST_BUCKETS)
        raise BudgetError(
            f"shuffling {source.name} ({m:,} x {n:,} {source.dtype})",
            least,
            budget,
            f"The smallest budget that works is memory={least}.",
        )
    return feed, buckets


def _scatter(
    feed: WindowReader, writer: RowsWriter, count: int, seed: int, notify: Callback
) -> None:
    notify(PassStarted(1, "rows into buckets", feed.pass_bytes))
    began = time.perf_counter()
    for index, pieces in feed.windows():
        rng = sketch.generator(seed, "sample", index=2 * index)
        for rows in pieces:
            bucket = rng.integers(count, size=rows.shape[0])
            order = np.argsort(bucket, kind="stable")
            ends = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=count))])
            for b in range(count):
                if ends[b] < ends[b + 1]:
                    writer.put(b, rows[order[ends[b] : ends[b + 1]]])
        notify(SpanDone(1, index + 1, feed.n_windows))
    notify(PassDone(1, "rows into buckets", time.perf_counter() - began, None))


def _gather(writer: RowsWriter, count: int, seed: int, notify: Callback, n_bytes: int) -> None:
    notify(PassStarted(2, "buckets in random order", n_bytes))
    began = time.perf_counter()
    for b in range(count):
        rows = writer.take(b)
        order = sketch.generator(seed, "sample", index=2 * b + 1).permutation(rows.shape[0])
        writer.append(rows, order)
        notify(SpanDone(2, b + 1, count))
    notify(PassDone(2, "buckets in random order", time.perf_counter() - began, None))

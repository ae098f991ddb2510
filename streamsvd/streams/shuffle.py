"""Rows in uniformly random order, once and for all: two reads and two writes of the matrix, whatever the memory.

Each row goes to one of K buckets, uniformly; each bucket is then permuted in memory. Every order of the rows is equally
likely.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.opening import as_source
from streamsvd.engine.ordered import WINDOW, run_in_order
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source
from streamsvd.store.places import Scratch
from streamsvd.store.sources.border import copied_chunks
from streamsvd.store.writing.rows import RowsWriter
from streamsvd.store.writing.separation import check_apart
from streamsvd.streams.buckets import BucketGather, RowScatter, RowSink, SharedChunks
from streamsvd.streams.options import ShuffleOptions
from streamsvd.streams.window_reader import WindowReader

MOST_BUCKETS = 4096
GROUPS, GROUP_BYTES = 8, 256 << 20
"""Tasks for each thread at least, and bytes at most of the rows that one of them scatters: fewer, and larger, parts of buckets."""


def shuffle(
    A: Any,
    out: str | os.PathLike[str],
    *,
    memory: int | float | str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> PathOrUrl:
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
    Cost: reads and writes the matrix twice, through what is as large beside ``out``; threads, or the workers of a cluster, do both,
    and each writes whole chunks. Rows are copied as they are, NaN included:
    there is no ``nonfinite`` or ``mask``, as nothing is computed of them. There is no ``checkpoint`` either: what is half done
    are files as large as the matrix, which are removed with the run.
    """
    source, budget, options = as_source(A), allowed_bytes(memory), ShuffleOptions(seed=seed)
    place = place_of(out, "out")
    check_apart(place, source)
    cut = _plan_buckets(source, budget)
    chunks = copied_chunks(source)
    writer = RowsWriter(place, source.shape, chunks, source.dtype, overwrite=overwrite)
    run = Run(
        cut.reader.matrix_reader, projected_bytes=cut.projected_bytes, notify=callback, seed=options.seed
    )  # fmt: skip
    try:
        with in_run(run):
            counts = _scatter(run, cut, writer.scratch, writer.sink())
            _gather(run, cut, counts, writer.scratch, writer.sink(), writer.band)
            writer.count(source.shape[0])
        path = writer.commit()
    except BaseException:
        writer.discard()
        raise
    callback(ResultWritten(str(path)))
    return path


def plan_shuffle(A: Any, *, memory: int | float | str | None = None, seed: int = 0) -> RunPlan:
    """What `shuffle` will read and need, from shapes alone.

    Parameters
    ----------
    A, memory, seed
        As of `shuffle`.

    Returns
    -------
    plan
        Passes, bytes and memory, and in how many buckets rows are put.

    Raises
    ------
    SpecError, BudgetError
        As `shuffle`, before anything is read.
    """
    source, budget, options = as_source(A), allowed_bytes(memory), ShuffleOptions(seed=seed)
    cut = _plan_buckets(source, budget)
    return RunPlan(
        verb="shuffle",
        source=source.name,
        options=options,
        passes=2,
        pass_bytes=cut.reader.pass_bytes,
        workers=cut.scatters,
        spans=cut.reader.n_windows,
        projected_bytes=cut.projected_bytes,
        budget_bytes=budget,
        notes=(
            f"rows go into {cut.buckets:,} bucket{'s' * (cut.buckets > 1)} beside the new array, and are read from there the second time; the matrix "
            "is written twice",
        ),
        task_bytes=cut.worker_bytes,
        spans_are_tasks=True,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ShuffleCut:
    """How a matrix is shuffled.

    Attributes
    ----------
    reader
        Of its runs.
    buckets
        Parts that rows go into; the order depends on their number.
    runs
        Runs that a task scatters together.
    scatters, gathers
        Tasks of either kind that run at once in a process.
    projected_bytes, worker_bytes
        Upper bounds of what this process takes, and the tasks of a worker of a cluster.
    """

    reader: WindowReader
    buckets: int
    runs: int
    scatters: int
    gathers: int
    projected_bytes: int
    worker_bytes: int


def _plan_buckets(source: Source, budget: int) -> ShuffleCut:
    """So many buckets that each fits, and as many tasks at once as do."""
    m, n = source.shape
    row = n * source.dtype.itemsize
    chunk = min(source.chunks[0], m)
    reader = WindowReader(source, chunk, 0, False, 0, must_be_finite=False)
    band = chunk * row

    def scattering(tasks: int, runs: int) -> int:
        return BASE_BYTES + tasks * (source.read_bytes + (1 + 2 * runs) * band)

    def gathering(tasks: int, buckets: int) -> int:
        expected = m / buckets
        largest = expected if buckets == 1 else expected + 6 * math.sqrt(expected) + 6
        task = int(2 * largest * row) + 2 * band
        return BASE_BYTES + tasks * (task + 2 * WINDOW * band) + 3 * band

    def needed(buckets: int) -> int:
        return max(scattering(1, 1), gathering(1, buckets))

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
    total, threads = concurrency()
    scatters = _most(threads, lambda tasks: scattering(tasks, 1) <= budget)
    gathers = _most(min(threads, buckets), lambda tasks: gathering(tasks, buckets) <= budget)
    shared = max(1, min(-(-m // chunk) // (GROUPS * total), GROUP_BYTES // max(band, 1)))
    runs = _most(shared, lambda runs: scattering(scatters, runs) <= budget)
    needs = max(scattering(scatters, runs), gathering(gathers, buckets))
    return ShuffleCut(reader, buckets, runs, scatters, gathers, needs, needs)


def _most(most: int, fits: Callable[[int], bool]) -> int:
    """The largest number that fits; one always does."""
    return next((count for count in range(most, 1, -1) if fits(count)), 1)


def _scatter(run: Run, cut: ShuffleCut, scratch: Scratch, sink: RowSink) -> npt.NDArray[np.int64]:
    """Rows into buckets; how many went into each."""
    reader, counts = cut.reader, np.zeros(cut.buckets, dtype=np.int64)
    m, height = reader.source.shape[0], cut.runs * reader.unit
    items = [(a, min(a + height, m), a // reader.unit) for a in range(0, m, height)]
    work = RowScatter(reader, scratch, cut.buckets, run.seed, sink)
    with run.at_home("rows into buckets", reader.pass_bytes) as progress:
        tasks = run_in_order(
            RowScatter.scatter, work, items, at_once=cut.scatters, what=f"pass {run.passes}",
            needs=cut.worker_bytes,
        )  # fmt: skip
        with closing(tasks):
            for (_, stop, _), found in zip(items, tasks, strict=True):
                counts += found
                progress(-(-stop // reader.unit), reader.n_windows)
    run.bytes_read += reader.pass_bytes
    return counts


def _gather(
    run: Run,
    cut: ShuffleCut,
    counts: npt.NDArray[np.int64],
    scratch: Scratch,
    sink: RowSink,
    band: int,
) -> None:
    """Buckets into the new array."""
    source, ends = cut.reader.source, [0, *np.cumsum(counts).tolist()]
    items = [(a, b, bucket) for bucket, (a, b) in enumerate(pairwise(ends))]
    work = BucketGather(scratch, sink, band, source.shape, source.dtype, run.seed)
    shared = SharedChunks(sink, band, source.shape[0])
    with run.at_home("buckets in random order", source.nbytes) as progress:
        tasks = run_in_order(
            BucketGather.gather, work, items, at_once=cut.gathers, what=f"pass {run.passes}",
            needs=cut.worker_bytes,
        )  # fmt: skip
        with closing(tasks):
            for (_, _, bucket), found in zip(items, tasks, strict=True):
                shared.take(found)
                scratch.remove(f"{bucket:05d}")
                progress(bucket + 1, cut.buckets)

"""Rows in uniformly random order, once and for all: two reads and two writes of the matrix, whatever the memory.

Each row goes to one of K buckets, uniformly; each bucket is then permuted in memory. Every order of the rows is equally
likely.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.engine.events import Callback, ResultWritten, ignore_event
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.engine.task import HomeTask
from streamsvd.errors import BudgetError
from streamsvd.numerics import sketches as sketch
from streamsvd.protocols import Source
from streamsvd.store.sources.border import copied_chunks
from streamsvd.store.writing.rows import RowsWriter
from streamsvd.store.writing.separation import check_apart
from streamsvd.streams.options import ShuffleOptions
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
    Cost: reads and writes the matrix twice, through files of its size beside ``out``. Rows are copied as they are, NaN included:
    there is no ``nonfinite`` or ``mask``, as nothing is computed of them. There is no ``checkpoint`` either: what is half done
    are files as large as the matrix, which are removed with the run.
    """
    source, budget, options = as_source(A), allowed_bytes(memory), ShuffleOptions(seed=seed)
    place = place_of(out, "out")
    check_apart(place, source)
    reader, buckets, needed = _plan_buckets(source, budget)
    chunks = copied_chunks(source)
    writer = RowsWriter(place, source.shape, chunks, source.dtype, overwrite=overwrite)
    run = Run(reader.matrix_reader, projected_bytes=needed, notify=callback, seed=options.seed)
    try:
        with in_run(run):
            _scatter(run, reader, writer, buckets)
            _gather(run, writer, buckets, source.nbytes)
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
    reader, buckets, needed = _plan_buckets(source, budget)
    return RunPlan(
        verb="shuffle",
        source=source.name,
        options=options,
        passes=2,
        pass_bytes=reader.pass_bytes,
        workers=1,
        spans=reader.n_windows,
        projected_bytes=needed,
        budget_bytes=budget,
        notes=(
            f"rows go into {buckets:,} bucket{'s' * (buckets > 1)} on disk, and are read from there the second time; the matrix "
            "is written twice",
        ),
    )


def _plan_buckets(source: Source, budget: int) -> tuple[WindowReader, int, int]:
    """How to read, the number of buckets, each of which fits beside its permuted copy, and the bytes that this takes."""
    m, n = source.shape
    row = n * source.dtype.itemsize
    chunk = min(source.chunks[0], m)
    reader = WindowReader(source, chunk, 0, False, 0, must_be_finite=False)
    band = chunk * row

    def needed(buckets: int) -> int:
        scattering = reader.bytes_needed + band
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
    return reader, buckets, needed(buckets)


def _scatter(run: Run, reader: WindowReader, writer: RowsWriter, buckets: int) -> None:
    windows = reader.n_windows
    with run.at_home("rows into buckets", reader.pass_bytes) as progress:
        for index, pieces in reader.windows(HomeTask(run.id)):
            rng = sketch.generator(run.seed, "sample", index=2 * index)
            for rows in pieces:
                bucket = rng.integers(buckets, size=rows.shape[0])
                order = np.argsort(bucket, kind="stable")
                ends = np.concatenate([[0], np.cumsum(np.bincount(bucket, minlength=buckets))])
                for b in range(buckets):
                    if ends[b] < ends[b + 1]:
                        writer.put(b, rows[order[ends[b] : ends[b + 1]]])
            progress(index + 1, windows)
        run.bytes_read += reader.pass_bytes


def _gather(run: Run, writer: RowsWriter, buckets: int, n_bytes: int) -> None:
    with run.at_home("buckets in random order", n_bytes) as progress:
        for b in range(buckets):
            rows = writer.take(b)
            order = sketch.generator(run.seed, "sample", index=2 * b + 1).permutation(rows.shape[0])
            writer.append(rows, order)
            progress(b + 1, buckets)

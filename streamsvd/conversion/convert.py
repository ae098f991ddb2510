"""Any matrix in the layout that is read fastest: chunks of whole rows of a zarr array, labels beside them, made once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamsvd.checks.paths import PathOrUrl
from streamsvd.conversion.labels import arrays_over_columns, labels_bytes, row_major_labels
from streamsvd.conversion.options import ConvertOptions
from streamsvd.conversion.place import check_place, check_room
from streamsvd.conversion.planning import (
    chunk_height,
    plan_conversion,
)
from streamsvd.conversion.spans import row_spans
from streamsvd.conversion.sparse import convert_sparse, plan_sparse_run, sparse_input
from streamsvd.conversion.text_tables import convert_table, table_bytes, text_table
from streamsvd.conversion.writing import (
    INTACT,
    chunks_to_write,
    leave_written,
    purpose_of,
    write_chunks,
)
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.events import Callback, ResultWritten, SourceRemarked, ignore_event
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.info import Info
from streamsvd.labels import Labels
from streamsvd.protocols import Source
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import location_of
from streamsvd.store.sources.labels import source_labels
from streamsvd.store.sources.tables.csv_table import open_csv_table
from streamsvd.store.writing.labelled_array import (
    array_name,
)
from streamsvd.store.writing.shield import defer_interrupts


@dataclass(frozen=True, slots=True)
class ConvertedArray:
    """What was written; a path where one is asked for.

    Attributes
    ----------
    path
        Folder of the array, or of the group that holds it and its coordinates.
    variable
        Its name in the group; empty where it is an array by itself.
    shape, dtype, chunk_rows
        Of the matrix, and rows of a chunk; 0 of a sparse matrix, whose chunks hold as many entries each.
    continued_rows
        Rows that an earlier run had written.
    options
        What was asked.
    info
        How it came about.
    entries
        Stored entries of a sparse matrix; None of one with all its entries.
    """

    path: PathOrUrl
    variable: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunk_rows: int
    continued_rows: int
    options: ConvertOptions
    info: Info
    entries: int | None = None

    def __fspath__(self) -> str:
        return str(self.path)


def convert(
    A: Any,
    out: str | os.PathLike[str],
    *,
    chunk: str | int = "16MiB",
    chunk_rows: int | None = None,
    out_dtype: Any = None,
    header: bool | None = None,
    dense: bool = False,
    transpose: bool = False,
    edges: bool = False,
    nodes: int | None = None,
    symmetric: bool = False,
    memory: int | float | str | None = None,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> ConvertedArray:
    """Write a matrix in the layout that is read fastest: whole rows in each chunk; of a sparse one its stored entries by rows.

    Parameters
    ----------
    A
        A matrix as `svd` takes it, or the path of a table of text, such as ``"x.csv"``, or of a sparse matrix as text, ``.mtx``.
    out
        Folder of what is written: an array, or a group where the matrix has a name or coordinates.
    chunk, chunk_rows
        Bytes of a chunk, about; or its rows.
    out_dtype
        Type of the entries, such as ``"float32"``; that in which they are read if left out.
    header
        Whether the first line of a table of text names its columns; that line decides if left out.
    dense
        Whether a sparse matrix is written with its zeros.
    transpose
        Whether the adjoint of a sparse matrix is written.
    edges
        Whether the rows of ``A`` are the edges of a graph: source, target, and a weight or none. Their adjacency is written, weights
        of the same edge summed.
    nodes
        How many nodes it has, numbered from 0 on; one more than the largest number if left out, which costs one more read.
    symmetric
        Whether each edge goes both ways.
    memory
        Bytes this process may use above its imports, or a text such as ``"256MiB"``; half of what is free if left out.
    overwrite
        Replace what is at ``out`` once the new one is whole, if that is a zarr array, or was written by this function.
    callback
        Receives events.

    Returns
    -------
    converted
        Its path, shape and type; how much of it an earlier run had written.

    Raises
    ------
    BudgetError
        If the memory is too small; it names the smallest that works.
    StoreError
        If ``out`` exists and may not be replaced, another process is writing it, or it cannot be written.
    SpecError
        If an option cannot be meant, an entry is beyond ``out_dtype``, or ``out`` is not apart from what is read.

    Notes
    -----
    Cost: one read and one write. Where the rows of a chunk of ``A`` do not fit in the memory, and it holds some columns only, two of
    each, by way of files beside ``out``. Values are those that are meant: unpacked, what is missing NaN. Rows that come from several
    dimensions become one, and their coordinates an entry a row; dimensions of columns are kept. Arrays of numbers beside ``A`` that lie along columns alone, such as a
    mask of land or the area of cells, are written too. Where a value may be missing, NaN is declared as ``_FillValue``.

    A sparse matrix becomes a group as AnnData writes it: CSR, chunks of about a million entries, zstd. By rows it is copied: one read.
    By columns, as edges, or as text in another order it is sorted in memory where it fits; else by way of files beside ``out``: two
    reads and two writes, 12 to 16 bytes an entry of these files. Text is parsed once.

    A run that was stopped leaves the folder ``OUT.unfinished``; the same call goes on from it, as long as ``A`` and the options are
    the same, and begins anew otherwise. Where the machine was started again in between, the checksums of what is there are tried.

    Examples
    --------
    >>> import numpy as np, streamsvd, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> made = streamsvd.convert(np.ones((1000, 8)), folder + "/A.zarr")
    >>> streamsvd.open(made.path).chunks
    (1000, 8)
    """
    options = ConvertOptions(
        chunk=str(chunk), chunk_rows=chunk_rows, out_dtype=out_dtype, header=header, dense=dense, transpose=transpose, edges=edges,
        nodes=nodes, symmetric=symmetric,
    )  # fmt: skip
    budget = allowed_bytes(memory)
    found = sparse_input(A, options)
    if found is not None:
        place = check_place(out, found, overwrite=overwrite)
        wrote = convert_sparse(
            found, place, options, budget, overwrite=overwrite, callback=callback
        )
        callback(ResultWritten(str(place)))
        return ConvertedArray(
            place, wrote.variable, wrote.shape, wrote.dtype, 0, wrote.continued_rows, options, wrote.info, wrote.entries
        )  # fmt: skip
    table = text_table(A)
    options.check_dense(str(table or "the matrix"))
    if table is not None:
        place = check_place(out, table, overwrite=overwrite)
        done = convert_table(table, place, options, budget, overwrite=overwrite, callback=callback)
        callback(ResultWritten(str(place)))
        return _array_of(place, options, *done)
    source = _even_chunks(as_source(A), options)
    options.check_no_header(source.name)
    place = check_place(out, source, overwrite=overwrite)
    labels = row_major_labels(source_labels(source))
    beside = arrays_over_columns(source, labels) if array_name(labels) else ()
    everything = replace(labels, coordinates=(*labels.coordinates, *beside))
    kept = 3 * labels_bytes(everything)
    plan = plan_conversion(source, options, budget, kept)
    check_room(place, plan)
    for note in labels.notes:
        callback(SourceRemarked(note))
    whole = plan.rows.reader(source, [(0, source.shape[0])])
    needed = plan.projected_bytes
    run = Run(whole, 1, "cpu", needed, needed - kept, callback)
    with explain_errors(place, INTACT):
        begun = location_of(place).resume(purpose_of(source, plan, everything))
    try:
        with in_run(run):
            chunks, missing = chunks_to_write(begun, plan, labels, beside, callback)
            if any(missing):
                write_chunks(run, begun, plan, chunks, missing)
        with explain_errors(place, INTACT), defer_interrupts():
            begun.publish(overwrite=overwrite)
    except BaseException:
        leave_written(begun, callback)
        raise
    before = sum(
        min(plan.height, source.shape[0] - i * plan.height)
        for i, absent in enumerate(missing)
        if not absent
    )
    info = run.info(warnings=labels.notes)
    callback(ResultWritten(str(place)))
    return _array_of(place, options, labels, plan.dtype, plan.height, info, before)


def transpose(
    A: Any,
    out: str | os.PathLike[str],
    *,
    memory: int | float | str | None = None,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> ConvertedArray:
    """Write the adjoint of a sparse matrix by rows.

    Parameters
    ----------
    A, out, memory, overwrite, callback
        As of `convert`, of which this is one way.

    Returns
    -------
    converted
        Its path, shape and type.

    Raises
    ------
    BudgetError, StoreError, SpecError
        As of `convert`; the last if ``A`` is not sparse.

    Notes
    -----
    Cost: of a matrix by columns one read and one write, as its columns are the rows that are written. Of one by rows as much, where
    it fits in the memory; else two of each.

    Examples
    --------
    >>> import numpy as np, scipy.sparse, streamsvd, tempfile
    >>> A = scipy.sparse.csr_array(np.eye(4, 3))
    >>> streamsvd.transpose(A, tempfile.mkdtemp() + "/A.zarr").shape
    (3, 4)
    """
    return convert(A, out, transpose=True, memory=memory, overwrite=overwrite, callback=callback)


def _array_of(
    place: PathOrUrl,
    options: ConvertOptions,
    labels: Labels,
    dtype: np.dtype[Any],
    height: int,
    info: Info,
    before: int = 0,
) -> ConvertedArray:
    """What was written."""
    return ConvertedArray(
        place, array_name(labels), labels.shape, dtype, height, before, options, info
    )


def plan_convert(
    A: Any,
    *,
    chunk: str | int = "16MiB",
    chunk_rows: int | None = None,
    out_dtype: Any = None,
    header: bool | None = None,
    dense: bool = False,
    transpose: bool = False,
    edges: bool = False,
    nodes: int | None = None,
    symmetric: bool = False,
    memory: int | float | str | None = None,
) -> RunPlan:
    """What `convert` will read and need, from shapes, and coordinates, alone.

    Parameters
    ----------
    A, chunk, chunk_rows, out_dtype, header, dense, transpose, edges, nodes, symmetric, memory
        As of `convert`.

    Returns
    -------
    plan
        Passes, bytes and memory.

    Raises
    ------
    SpecError, BudgetError
        As `convert`, before anything is read.
    """
    options = ConvertOptions(
        chunk=str(chunk), chunk_rows=chunk_rows, out_dtype=out_dtype, header=header, dense=dense, transpose=transpose, edges=edges,
        nodes=nodes, symmetric=symmetric,
    )  # fmt: skip
    budget = allowed_bytes(memory)
    entries = sparse_input(A, options)
    if entries is not None:
        return plan_sparse_run(entries, options, budget)
    path = text_table(A)
    options.check_dense(str(path or "the matrix"))
    if path is not None:
        table = open_csv_table(path, header)
        return RunPlan(
            "convert", str(path), options, 1, path.stat().st_size, 1, 1, table_bytes(table, options, budget), budget,
            ("text is parsed once, by one thread; how many rows it has is known at the end",),
        )  # fmt: skip
    source = _even_chunks(as_source(A), options)
    options.check_no_header(source.name)
    labels = row_major_labels(source_labels(source))
    beside = arrays_over_columns(source, labels) if array_name(labels) else ()
    everything = replace(labels, coordinates=(*labels.coordinates, *beside))
    found = plan_conversion(source, options, budget, 3 * labels_bytes(everything))
    rows, tiles = found.rows, found.tiles
    parts = rows.layout.amplification
    spans = row_spans(found, [True] * -(-source.shape[0] // found.height))
    size = show_bytes(found.written_bytes)
    how = f"{size} are written, in chunks of {found.height:,} rows"
    if tiles is not None:
        how = (
            f"{how}; before that {size} are written to files and read from there, since {source.chunks[0]:,} rows, as chunks have "
            "them, do not fit"
        )
    elif parts > 1:
        how = f"{how}; each chunk is read {parts:.0f} times, since one does not fit"
    return RunPlan(
        verb="convert",
        source=source.name,
        options=options,
        passes=1 if tiles is None else 2,
        pass_bytes=max(int(source.nbytes * parts), found.written_bytes if tiles else 0),
        workers=rows.workers,
        spans=len(spans),
        projected_bytes=found.projected_bytes,
        budget_bytes=budget,
        notes=(how,),
        spans_are_tasks=True,
    )


def _even_chunks(source: Source, options: ConvertOptions) -> Source:
    """A dask array whose chunks of rows are not some of what is written, in such chunks."""
    if not isinstance(source, DaskSource):
        return source
    height = chunk_height(source, options, options.written_dtype(source.dtype))
    heights = source.array.chunks[0]
    if any(rows % height for rows in heights[:-1]):
        return replace(source, array=source.array.rechunk((height, -1)))
    return source

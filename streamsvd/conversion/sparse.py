"""A sparse matrix written by rows (CSR), whatever it was: by columns, as text, or the edges of a graph."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.paths import PathOrUrl, is_url, local_path
from streamsvd.conversion.entry_streams import (
    MOST_PIECE,
    CompressedEntries,
    EntryStream,
)
from streamsvd.conversion.options import ConvertOptions
from streamsvd.conversion.sparse_planning import SparsePlan, plan_sparse
from streamsvd.conversion.sparse_writing import INTACT, SparseConversion
from streamsvd.conversion.text_streams import EdgeEntries, MarketEntries
from streamsvd.conversion.text_tables import text_table
from streamsvd.engine.events import Callback, SourceRemarked
from streamsvd.engine.memory import show_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.task import HomeTask
from streamsvd.errors import SpecError, StoreError
from streamsvd.info import Info
from streamsvd.labels import Labels, TextValues
from streamsvd.protocols import is_sparse
from streamsvd.store.explanations import explain_errors, path_exists
from streamsvd.store.places import location_of
from streamsvd.store.sources.tables.matrix_market import SUFFIXES
from streamsvd.store.writing.resumable import resumable_path
from streamsvd.store.writing.shield import defer_interrupts
from streamsvd.store.writing.sparse_groups import SparseForm

MOST_STRAY = 10_000_000
"""Nodes that may have no edge, however few edges there are."""
STRAY_SHARE = 1000
"""Nodes for each edge, beyond these, that are no mistake."""


@dataclass(frozen=True, slots=True)
class SparseOutcome:
    """What was written.

    Attributes
    ----------
    variable
        Where it lies in the place.
    shape, dtype, entries
        Of the matrix, and how many are stored.
    continued_rows
        Rows that an earlier run had written.
    info
        How it came about.
    """

    variable: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    entries: int
    continued_rows: int
    info: Info


def market_file(source: Any) -> Path | None:
    """The path of a matrix as text of Matrix Market; None for anything else.

    Raises
    ------
    StoreError
        If it is the name of one that is not there.
    """
    if not isinstance(source, str | os.PathLike) or is_url(source):
        return None
    path = local_path(source, "source").absolute()
    if not path.name.lower().endswith(SUFFIXES) or (path_exists(path) and path.is_dir()):
        return None
    if not path_exists(path):
        raise StoreError(f"{path} does not exist. Check the path.")
    return path


def sparse_input(A: Any, options: ConvertOptions) -> Any:
    """What a sparse matrix is read from: a file of Matrix Market, a table of edges, or a sparse source; None for anything else.

    Raises
    ------
    SpecError
        If what is asked does not belong to it.
    """
    path = market_file(A)
    if path is not None:
        if options.dense or options.edges:
            name = "dense" if options.dense else "edges"
            raise SpecError(
                f"{name}=True and {path}, a sparse matrix as text, do not go together. Leave {name}= out; what is made can be "
                "converted again with dense=True."
            )
        return path
    if options.edges:
        table = text_table(A)
        return as_source(A) if table is None else table
    if options.dense or text_table(A) is not None:
        return None
    source = as_source(A)
    return source if is_sparse(source) else None


def entry_stream(found: Any, options: ConvertOptions, nodes: int | None = None) -> EntryStream:
    """The entries of what `sparse_input` has found.

    Raises
    ------
    SpecError, ShapeError, StoreError
        If it cannot be meant.
    """
    if options.edges:
        return EdgeEntries(found, options, nodes or options.nodes or 1)
    if isinstance(found, Path):
        options.check_no_header(str(found))
        return MarketEntries(found, options)
    options.check_no_header(found.name)
    return CompressedEntries(found, options.written_dtype(found.dtype), transpose=options.transpose)


def form_of(stream: EntryStream, labels: Labels, options: ConvertOptions) -> SparseForm:
    """What a stream is written as."""
    options.check_sparse(stream.name)
    names = [_names(labels, side) for side in ("rows", "columns")]
    return SparseForm(
        stream.shape, stream.dtype, max(1, stream.most_entries), options.chunk_entries, *names
    )


def _names(labels: Labels, side: str) -> TextValues | None:
    """Texts along the one dimension of rows, or of columns."""
    dimensions = getattr(labels, side)
    if len(dimensions) != 1:
        return None
    for coordinate in labels.coordinates:
        if coordinate.name == dimensions[0].name and coordinate.dims == (coordinate.name,):
            values = coordinate.values
            return values if isinstance(values, TextValues) else None
    return None


def names_bytes(form: SparseForm) -> int:
    """Of the names, and of some of them as texts."""
    return sum(
        2 * (names.utf8.nbytes + names.offsets.nbytes)
        for names in (form.row_names, form.column_names)
        if names is not None
    )


def check_scratch(place: PathOrUrl, plan: SparsePlan, name: str) -> None:
    """Refuse a disk that has no room for files on the way, and a place that has no files where such are needed.

    Raises
    ------
    StoreError
        It says how much is needed, and how much is free.
    SpecError
        If the way by files is needed.
    """
    if plan.way != "buckets":
        return
    here = location_of(place)
    if not here.has_folders:
        raise SpecError(
            f"entries of {name} come in another order than that of rows, and all of them do not fit in the memory: that way goes by "
            f"files beside the place, and {place} is in an object store. Pass a larger memory=, or write to a folder and copy it."
        )
    if location_of(resumable_path(place)).exists():
        return  # some of it is there already
    free = here.free_bytes
    if 0 < free < plan.scratch_bytes:
        raise StoreError(
            f"files on the way to {place} take {show_bytes(plan.scratch_bytes)}, and its disk has {show_bytes(free)} free. Choose "
            "another place, a larger memory=, or a smaller type by out_dtype=."
        )


def convert_sparse(
    found: Any,
    place: PathOrUrl,
    options: ConvertOptions,
    budget: int,
    *,
    overwrite: bool,
    callback: Callback,
) -> SparseOutcome:
    """Write what `sparse_input` has found.

    Raises
    ------
    BudgetError, StoreError, ShapeError, SpecError
        As of `convert`.
    """
    run = Run(None, 1, "cpu", notify=callback)
    stream = entry_stream(found, options)
    if options.edges and options.nodes is None:
        stream = _counted_edges(stream, options, budget, run)
    labels = stream.labels
    form = form_of(stream, labels, options)
    shared = names_bytes(form)
    plan = plan_sparse(stream, form, budget, shared)
    run.projected_bytes = max(run.projected_bytes, plan.needed)
    check_scratch(place, plan, stream.name)
    told = [*labels.notes, *stream.remarks]
    for note in told:
        callback(SourceRemarked(note))
    purpose = {
        "source": stream.identity(), "shape": list(form.shape), "dtype": form.dtype.str, "chunk": form.chunk,
    }  # fmt: skip
    with explain_errors(place, INTACT):
        begun = location_of(place).resume(purpose)
    work = SparseConversion(stream, form, plan, begun, run, budget=budget, shared=shared)
    try:
        with in_run(run):
            work.write(callback)
        with explain_errors(place, INTACT), defer_interrupts():
            for note in stream.remarks:
                if note not in told:
                    callback(SourceRemarked(note))
                    told.append(note)
            begun.publish(overwrite=overwrite)
    except BaseException as error:
        work.leave(error, callback)
        raise
    info = run.info(warnings=tuple(told), n_rows=form.shape[0])
    return SparseOutcome(
        form.inside, form.shape, form.dtype, work.entries, work.continued_rows, info
    )


def _counted_edges(stream: Any, options: ConvertOptions, budget: int, run: Run) -> EdgeEntries:
    """The same edges, once the largest node among them is known."""
    largest, done, where, task = -1, 0, "", HomeTask(run.id)
    rows = max(1, stream.most_entries)
    what = f"counting the nodes of the edges of {stream.name}"
    plan = plan_sparse(stream, uncounted_form(stream, options), budget, 0, what=what)
    run.projected_bytes = plan.needed
    with in_run(run), run.at_home("nodes counted", stream.read_bytes) as told:
        for done, node, place in stream.largest_node(plan.piece):
            task.check()
            if node > largest:
                largest, where = node, place
            told(min(done, rows), rows + 1)
    run.bytes_read += stream.read_bytes
    if largest >= max(MOST_STRAY, STRAY_SHARE * done):
        raise SpecError(
            f"{stream.name} names the node {largest:,} in {where}, and has {done:,} edges: so many nodes without one are a wrong number, "
            f"or numbers of another kind. Mend that one, number nodes from 0 on, or pass nodes={largest + 1}."
        )
    counted = EdgeEntries(stream.source, options, largest + 1)
    counted.most_entries = max(counted.most_entries, done * (1 + options.symmetric))
    return counted


def uncounted_form(stream: EntryStream, options: ConvertOptions) -> SparseForm:
    """The form of a graph of which it is not known yet how many nodes it has."""
    form = form_of(stream, stream.labels, options)
    return replace(form, shape=(MOST_PIECE, MOST_PIECE))


def plan_sparse_run(found: Any, options: ConvertOptions, budget: int) -> RunPlan:
    """What `convert_sparse` will read and need.

    Raises
    ------
    BudgetError, StoreError, ShapeError, SpecError
        As it, before anything but heads is read.
    """
    stream = entry_stream(found, options)
    is_counted = options.edges and options.nodes is None
    form = (
        uncounted_form(stream, options) if is_counted else form_of(stream, stream.labels, options)
    )
    what = f"counting the nodes of the edges of {stream.name}" if is_counted else ""
    plan = plan_sparse(stream, form, budget, names_bytes(form), what=what)
    most = f"{stream.most_entries:,} entries{' at most' if stream.is_text else ''}"
    hows = {
        "copy": f"{most} are written as they come, in chunks of {form.chunk:,}",
        "sort": f"{most} are sorted in memory, and written in chunks of {form.chunk:,}",
        "buckets": (
            f"{most} come in another order than that of rows: {show_bytes(plan.scratch_bytes)} of them are written to "
            f"{plan.buckets(form.shape[0]):,} files beside the place and read from there, in all 2 reads and 2 writes"
        ),
    }
    notes = [hows[plan.way]]
    if plan.way == "copy" and stream.is_text:
        notes.append(
            "its first lines are in the order of rows; where later ones are not, it is read once more"
        )
    if is_counted:
        notes.append("nodes are counted before, in a read of their own; pass nodes= to do without")
    passes = 1 + (plan.way == "buckets") + is_counted
    return RunPlan(
        verb="convert",
        source=stream.name,
        options=options,
        passes=passes,
        pass_bytes=max(stream.read_bytes, plan.scratch_bytes),
        workers=1,
        spans=1,
        projected_bytes=plan.needed,
        budget_bytes=budget,
        notes=tuple(notes),
    )

"""The run that writes a sparse matrix: entries as they come, or by way of files; how far it is, is saved, and a run that was stopped goes on.

What is saved is the place in what is read, the length of each file, and what waits for a chunk: from there the same bytes come again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.conversion.entry_streams import EntryStream, OutOfOrder, Position
from streamsvd.conversion.sorting import sorted_rows
from streamsvd.conversion.sparse_planning import ROW_BYTES, SparsePlan, plan_sparse
from streamsvd.engine.events import Callback, SourceRemarked
from streamsvd.engine.run import Run
from streamsvd.engine.task import HomeTask
from streamsvd.errors import AccessError, BudgetError, ShapeError, SpecError, StoreError
from streamsvd.store.explanations import explain_errors
from streamsvd.store.places import ResumableWork, location_of
from streamsvd.store.writing.entry_buckets import EntryBuckets
from streamsvd.store.writing.sparse_groups import (
    SparseForm,
    SparseGroupWriter,
    pack_state,
    unpack_state,
)

Array = npt.NDArray[Any]

SAVED_ENTRIES = 1 << 25
"""Entries after which it is saved how far a run is: so many are done again at most."""
MORE = 8
"""Times as many entries are planned for, where text was packed so well that there are more than that was thought to have."""
STATE = "state"
BUCKETS = "buckets"
_COARSE = 1 << 16
"""Runs of columns in which the entries of one long row are counted."""
PARTS = 1024
"""Files into which one is divided, about; what is still too large is divided again."""
INTACT = "nothing was replaced."


@dataclass(slots=True)
class SparseProgress:
    """How far a run is.

    Attributes
    ----------
    way
        As of `SparsePlan`.
    position
        Where what is read goes on.
    is_scattered
        Whether all entries are in files.
    bucket_rows, sizes
        Rows of a file, and bytes of each.
    next_bucket
        The file that is sorted next.
    entries
        So many were put into files.
    is_saved
        Whether anything of it was.
    """

    way: str
    position: Position
    is_scattered: bool = False
    bucket_rows: int = 0
    sizes: list[int] = field(default_factory=list)
    next_bucket: int = 0
    entries: int = 0
    is_saved: bool = False


class SparseConversion:
    """One run.

    Parameters
    ----------
    stream, form, plan
        What is read, what is written, and how.
    begun
        Where it is written.
    run
        Which counts and tells.
    budget, shared
        Bytes allowed, and those that labels take.
    """

    def __init__(
        self,
        stream: EntryStream,
        form: SparseForm,
        plan: SparsePlan,
        begun: ResumableWork,
        run: Run,
        *,
        budget: int,
        shared: int,
    ) -> None:
        self.stream, self.form, self.plan = stream, form, plan
        self._begun, self._run, self._budget, self._shared = begun, run, budget, shared
        self._task = HomeTask(run.id)
        self.progress = SparseProgress(plan.way, stream.start)
        self.continued_rows = self.entries = 0

    def write(self, callback: Callback) -> None:
        """Write all of it.

        Raises
        ------
        StoreError, SpecError, BudgetError
            As of what is read and written.
        """
        writer = self._resume(callback)
        while True:
            try:
                return self._write(writer)
            except OutOfOrder as reason:
                self._begin_again(reason, callback)
                writer = None

    def _begin_again(self, reason: OutOfOrder, callback: Callback) -> None:
        """Another way, as entries are not as it was thought."""
        callback(SourceRemarked(f"{reason}: it is read once more"))
        self._clear()
        self.form = replace(self.form, most_entries=max(1, self.stream.most_entries))
        plan = plan_sparse(self.stream, self.form, self._budget, self._shared, may_copy=False)
        if plan.way == BUCKETS and not location_of(self._begun.folder).has_folders:
            raise SpecError(
                f"{reason}, and all entries do not fit in the memory: that way goes by files beside the place, and "
                f"{self._begun.home} is in an object store. Pass a larger memory=, or write to a folder."
            )
        self.plan = plan
        self._run.projected_bytes = max(self._run.projected_bytes, plan.needed)
        self.progress = SparseProgress(plan.way, self.stream.start)

    def _write(self, writer: SparseGroupWriter | None) -> None:
        way = self.progress.way
        if way == "copy":
            writer = self._copy(writer)
        elif way == "sort":
            writer = self._sort()
        else:
            writer = self._by_files(writer)
        with explain_errors(self._begun.folder, INTACT):
            writer.finish()
        self.entries = writer.entries

    def _new_writer(self, most: int | None = None) -> SparseGroupWriter:
        if most is not None:
            self.form = replace(self.form, most_entries=max(1, most))
        with explain_errors(self._begun.folder, INTACT):
            return SparseGroupWriter(self._begun.folder, self.form)

    def _copy(self, writer: SparseGroupWriter | None) -> SparseGroupWriter:
        """Rows as they come."""
        writer = writer or self._new_writer()
        stream, since, m = self.stream, 0, self.form.shape[0]
        with self._run.at_home("entries into chunks", stream.read_bytes) as told:
            runs = stream.row_runs(self.progress.position, writer.rows, self.plan.piece)
            for run in runs:
                self._task.check()
                with explain_errors(self._begun.folder, INTACT):
                    writer.append(run.rows)
                since += run.rows.nnz
                if since >= SAVED_ENTRIES and writer.rows < m:
                    self.progress.position, since = run.position, 0
                    self._save(writer)
                told(writer.rows, m)
        self._count_read(stream.read_bytes, self.continued_rows, m)
        return writer

    def _sort(self) -> SparseGroupWriter:
        """All entries in memory."""
        stream, parts, count = self.stream, [], 0
        with self._run.at_home("entries into rows", stream.read_bytes) as told:
            for piece in stream.pieces(stream.start, self.plan.piece):
                self._task.check()
                count += piece.rows.size
                if count > stream.most_entries:
                    stream.most_entries *= MORE
                    raise OutOfOrder(
                        f"{stream.name} has more entries than text of its size has, as a rule"
                    )
                parts.append((piece.rows, piece.columns, piece.values))
                told(len(parts), len(parts) + 1)
        self._run.bytes_read += stream.read_bytes
        m, n = self.form.shape
        kinds = (np.int64, np.int64, self.form.dtype)
        if parts:
            columns = zip(*parts, strict=True)
            whole = tuple(np.concatenate(each) for each in columns)
        else:
            whole = tuple(np.empty(0, kind) for kind in kinds)
        parts.clear()
        rows = sorted_rows(whole, 0, m, n, ascend=stream.columns_ascend)
        writer = self._new_writer()
        with explain_errors(self._begun.folder, INTACT):
            writer.append(rows)
        return writer

    def _by_files(self, writer: SparseGroupWriter | None) -> SparseGroupWriter:
        """Entries into files, each a run of rows; then each file sorted."""
        progress, m = self.progress, self.form.shape[0]
        progress.bucket_rows = progress.bucket_rows or self.plan.bucket_rows
        buckets = self._buckets(progress.bucket_rows)
        if not progress.is_scattered:
            self._scatter(buckets)
        if writer is None:
            writer = self._new_writer(progress.entries)
        with self._run.at_home("files into rows", self.plan.scratch_bytes) as told:
            for index in range(progress.next_bucket, buckets.count):
                self._sort_bucket(writer, buckets, index)
                progress.next_bucket = index + 1
                if index + 1 < buckets.count:  # the last stays until all of it is in its place
                    self._save(writer)
                    with explain_errors(self._begun.folder, INTACT):
                        buckets.remove(index)
                told(writer.rows, m)
        self._count_read(self.plan.scratch_bytes, self.continued_rows, m)
        return writer

    def _buckets(self, rows: int) -> EntryBuckets:
        edges = replace(self.plan, bucket_rows=rows).edges(self.form.shape[0])
        return EntryBuckets(
            self._begun.scratch.folder / BUCKETS, edges, "rows", self._index_dtype, self.form.dtype
        )  # fmt: skip

    @property
    def _index_dtype(self) -> np.dtype[Any]:
        small = max(self.form.shape) <= np.iinfo(np.int32).max
        return np.dtype(np.int32 if small else np.int64)

    def _count_read(self, size: int, done: int, whole: int) -> None:
        """Bytes of a read of which a part was done before."""
        self._run.bytes_read += size - size * done // whole

    def _scatter(self, buckets: EntryBuckets) -> None:
        stream, progress, since = self.stream, self.progress, 0
        before = progress.entries
        with explain_errors(self._begun.folder, INTACT):
            self._begun.scratch.put("begun", b"")
            buckets.folder.mkdir(exist_ok=True)
        with self._run.at_home("entries into files", stream.read_bytes) as told:
            for piece in stream.pieces(progress.position, self.plan.piece):
                self._task.check()
                buckets.scatter(piece.rows, piece.columns, piece.values)
                progress.entries += piece.rows.size
                progress.position = piece.position
                since += piece.rows.size
                if since >= SAVED_ENTRIES:
                    progress.sizes, since = buckets.sizes(), 0
                    self._save(None)
                told(min(progress.entries, stream.most_entries), stream.most_entries + 1)
        self._count_read(stream.read_bytes, before, max(1, progress.entries))
        progress.is_scattered, progress.sizes = True, buckets.sizes()
        self._save(None)

    def _sort_bucket(self, writer: SparseGroupWriter, buckets: EntryBuckets, index: int) -> None:
        """A file becomes rows; one that does not fit is divided before."""
        self._task.check()
        first, stop = (int(edge) for edge in buckets.edges[index : index + 2])
        n, ascend = self.form.shape[1], self.stream.columns_ascend
        if buckets.entries(index) <= self.plan.most:
            rows = sorted_rows(buckets.load(index), first, stop, n, ascend=ascend)
            with explain_errors(self._begun.folder, INTACT):
                writer.append(rows)
            return
        if stop - first == 1:
            self._sort_long_row(writer, buckets, index)
            return
        counts = np.zeros(stop - first, np.int64)
        for rows, _, _ in buckets.blocks(index):
            counts += np.bincount(rows - first, minlength=stop - first)
        most = max(self.plan.most, int(counts.sum()) // PARTS)
        parts = self._divide(buckets, index, first + _cuts(counts, most), "rows")
        for part in range(parts.count):
            self._sort_bucket(writer, parts, part)
            parts.remove(part)
        parts.clear()

    def _sort_long_row(self, writer: SparseGroupWriter, buckets: EntryBuckets, index: int) -> None:
        """One row that does not fit, by runs of its columns."""
        row, n = int(buckets.edges[index]), self.form.shape[1]
        width = -(-n // _COARSE)
        counts = np.zeros(-(-n // width), np.int64)
        for _, columns, _ in buckets.blocks(index):
            counts += np.bincount(columns // width, minlength=counts.size)
        if int(counts.max()) > self.plan.most:
            each = self.plan.needed / self.plan.most
            raise BudgetError(
                f"row {row:,} of {self.stream.name}, with {int(counts.max()):,} entries within {width:,} columns,",
                int(counts.max() * each) + self.plan.needed,
                self._budget,
                "Pass a larger memory=, and the same again: it goes on.",
            )
        edges = np.minimum(_cuts(counts, self.plan.most) * width, n)
        parts, length = self._divide(buckets, index, edges, "columns"), 0
        for part in range(parts.count):
            entries = parts.load(part)
            found = sorted_rows(entries, row, row + 1, n, ascend=self.stream.columns_ascend)
            with explain_errors(self._begun.folder, INTACT):
                writer.add_entries(found.data, found.indices)
            length += found.nnz
            parts.remove(part)
        parts.clear()
        writer.end_rows(np.array([length]))

    def _divide(
        self, buckets: EntryBuckets, index: int, edges: npt.NDArray[np.int64], axis: Any
    ) -> EntryBuckets:
        """The entries of a file in several files."""
        folder = buckets.folder / f"{index}.parts"
        parts = replace(buckets, folder=folder, edges=edges, axis=axis)
        parts.clear()
        for block in buckets.blocks(index):
            self._task.check()
            parts.scatter(*block)
        return parts

    def _save(self, writer: SparseGroupWriter | None) -> None:
        """Keep how far the run is, and what waits for a chunk."""
        progress = self.progress
        facts = {
            "way": progress.way, "position": list(progress.position), "is_scattered": progress.is_scattered,
            "bucket_rows": progress.bucket_rows, "sizes": progress.sizes, "next_bucket": progress.next_bucket,
            "entries": progress.entries, "written": None,
        }  # fmt: skip
        tails: Sequence[Array] = ()
        if writer is not None:
            facts["written"], tails = writer.state()
        begun = self._begun
        with explain_errors(begun.folder, INTACT):
            if not progress.is_saved:
                begun.scratch.put("begun", b"")
                begun.begin()
            place = location_of(begun.scratch.folder)
            place.write(STATE, *pack_state(facts, list(tails)))
        progress.is_saved = True

    def _resume(self, callback: Callback) -> SparseGroupWriter | None:
        """Go on from what a run has saved, if it can be had."""
        begun = self._begun
        if begun.was_another:
            callback(
                SourceRemarked(
                    f"{begun.home} was begun of another matrix, or with other options: it begins anew"
                )
            )
        if not begun.is_continued:
            return None
        data: bytes | None = None
        with contextlib.suppress(FileNotFoundError):
            data = location_of(begun.scratch.folder).read(STATE)
        if (
            data is None or not begun.is_same_boot
        ):  # what lies on the disk may be less than was written
            self._clear()
            callback(SourceRemarked(f"{begun.home} may lack what was written last: it begins anew"))
            return None
        facts, tails = unpack_state(data)
        written = facts.pop("written")
        self.progress = progress = SparseProgress(
            **{**facts, "position": tuple(facts["position"])}, is_saved=True
        )
        if progress.way == BUCKETS:
            self._plan_again()
            if not progress.is_scattered:
                self._buckets(progress.bucket_rows).cut(progress.sizes)
        if written is None:
            callback(SourceRemarked(f"entries of {begun.home} are in files already: it goes on"))
            return None
        if progress.way == BUCKETS:
            self.form = replace(self.form, most_entries=max(1, progress.entries))
        writer = SparseGroupWriter(begun.folder, self.form, is_begun=True)
        writer.restore(written, tails)
        self.continued_rows = writer.rows
        callback(
            SourceRemarked(
                f"{writer.rows:,} of {self.form.shape[0]:,} rows of {begun.home} are there already: it goes on"
            )
        )
        return writer

    def _plan_again(self) -> None:
        """By files, as the run before: their rows are counted in the memory that is allowed now."""
        if self.plan.way != BUCKETS:
            plan = plan_sparse(self.stream, self.form, self._budget, self._shared, may_copy=False)
            most = plan.most or self.stream.most_entries
            self.plan = replace(plan, way="buckets", most=most)
        counted = self.progress.bucket_rows * ROW_BYTES
        self.plan = replace(self.plan, needed=self.plan.needed + counted)

    def _clear(self) -> None:
        """All that was written away."""
        place = location_of(self._begun.folder)
        with explain_errors(self._begun.folder, INTACT):
            for name in place.names():
                if name not in ("writing.lock", "journal.json"):
                    if place.is_plain_folder(name):
                        place.clear(name)
                    else:
                        place.remove(name)
            self._begun.scratch.remove("")

    def leave(self, error: BaseException, callback: Callback) -> None:
        """Leave what was written for the same call, if that can go on; nothing else stays."""
        begun = self._begun
        is_lasting = isinstance(error, SpecError | ShapeError | StoreError) and not isinstance(
            error, AccessError
        )
        if not self.progress.is_saved or (is_lasting and self.stream.is_text):
            begun.remove()
            return
        begun.leave()
        callback(
            SourceRemarked(
                f"what was written is in {begun.home}: the same again goes on from it; remove it if it is not wanted"
            )
        )


def _cuts(counts: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Where runs begin and end that have at most so many entries each, or are one long."""
    ends = np.concatenate(([0], np.cumsum(counts)))
    found = [0]
    while found[-1] < counts.size:
        at = int(np.searchsorted(ends, ends[found[-1]] + most, side="right")) - 1
        found.append(min(counts.size, max(at, found[-1] + 1)))
    return np.array(found, np.int64)

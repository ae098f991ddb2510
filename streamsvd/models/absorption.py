"""One block, or what is new of a growing matrix, on its way into a model: exactly once."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.columns import PIECE_BYTES, View, mask_of, select_columns, view_of
from streamsvd.engine.concurrency import at_once, concurrency
from streamsvd.engine.dask_source import DaskSource
from streamsvd.engine.events import (
    Callback,
    PassDone,
    PassStarted,
    ResultWritten,
    SpanDone,
    send_remarks,
)
from streamsvd.errors import ConflictError, ShapeError, SpecError, StoreError
from streamsvd.models.block_reader import (
    BlockCut,
    BlockReader,
    apply_policy,
    check_policy,
    plan_cut,
)
from streamsvd.models.left_vectors import block_arrays, turn_rows
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.models.mathematics.forest import node_share
from streamsvd.models.mathematics.incremental import IncrementalSVD
from streamsvd.models.mathematics.subspaces import captured_share, principal_angles
from streamsvd.models.options import check_same_options, method_of, spec_with_block
from streamsvd.models.state import ModelState, empty_state, put_state, with_stored_nodes
from streamsvd.numerics.columns import Columns, describe_columns
from streamsvd.numerics.ledger import Factor
from streamsvd.numerics.range_sketch import ParallelMap
from streamsvd.protocols import Source
from streamsvd.store.sources.columns import KeptColumns
from streamsvd.store.versions import (
    BlockEntry,
    Draft,
    ModelSpec,
    VersionSummary,
    collect,
)
from streamsvd.store.writing.trial import try_objects
from streamsvd.typing import Matrix

TRIES = 200
"""Commits that may be lost to other writers before an update gives up."""
COLLECT_EVERY, COLLECT_ALL = 8, 512
COMMIT_SECONDS = 30.0
"""A long update of a growing array commits what it has this often, so that a kill costs no more."""


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did.

    Attributes
    ----------
    version
        Newest version of the model.
    n_absorbed
        Rows (or columns) that entered it.
    skip_reason
        Why nothing did: ``"known"`` (this block is in the model), ``"nothing new"``, ``"nonfinite"``; empty
        if something did.
    n_rows
        Rows that were ever absorbed, also those that a window has let go: `Model.n_rows_held` are those it holds.
    versions
        How many versions were committed.
    """

    version: int
    n_absorbed: int
    skip_reason: str
    n_rows: int
    versions: int


@dataclass(slots=True, eq=False)
class _PendingVersion:
    """A version on its way: what it began from, what it has become, and the pieces in it."""

    spec: ModelSpec
    before: ModelState
    state: ModelState
    draft: Draft
    at: int
    number: int
    entries: list[BlockEntry] = field(default_factory=list)
    block: Factor | None = None


class Absorption:
    """One call of `Model.update`: tried again on the newest version whenever another writer was first."""

    def __init__(
        self,
        held: LoadedVersion,
        source: Source,
        block_id: str | None,
        grows: bool,
        budget: int,
        nonfinite: str,
        mask: Any,
        columns: Sequence[Any] | None,
        asked: Mapping[str, Any],
        callback: Callback,
        *,
        free_rank: bool = False,
    ) -> None:
        self.held, self.block_id, self.grows, self.mask = held, block_id, grows, mask
        self.whole = self.source = source
        self.budget, self.nonfinite, self.callback = budget, nonfinite, callback
        self.columns, self.asked, self.free_rank = columns, asked, free_rank
        self.absorbed = self.committed = 0
        self.each: ParallelMap = map

    def run(self) -> UpdateReport:
        held = self.held
        send_remarks(self.source, self.callback)
        for attempt in range(TRIES):
            held.refresh()
            check_same_options(self.asked, held.spec, held.settings.keep)
            check_policy(self.nonfinite, held.spec)
            view = self._view(held.spec)
            self.source = view.source
            if self.free_rank and view.columns is not None and held.state is None:
                lower_rank(held, view.source.shape[1])
            spec = spec_with_block(held.spec, self.source, self.columns)
            feed, skipped = self._find_new(spec)
            if feed is None:
                held.store.settle()  # who committed it may have been killed before it was durable
                return self._report(skipped)
            if attempt == 0:
                try_objects(held.store.objects)
            threads = feed.cut.threads
            with (
                held_memory(),
                dense_threads(spec.width or 0),
                at_once(threads) as self.each,
                view.naming(),
            ):
                outcome = self._absorb(spec, feed, view.columns)
            if outcome != "conflict":
                return self._report("" if outcome == "all" else outcome)
            time.sleep(min(0.002 * attempt, 0.05) * random.random())
        raise ConflictError(
            f"{held.store.name} is busy: other writers were first {TRIES} times. The block is not in it; try again."
        )

    def _report(self, skipped: str) -> UpdateReport:
        if self.absorbed:
            skipped = ""
        if self.held.version == 0 and not self.held.settings.base:
            self.held.store.begin(
                self.held.settings
            )  # its options are kept although it holds nothing
        return UpdateReport(
            self.held.version, self.absorbed, skipped, self.held.n_rows, self.committed
        )

    def _find_new(self, spec: ModelSpec) -> tuple[BlockReader | None, str]:
        """What of the source is new; nothing, and why, if it is known."""
        held, source = self.held, self.source
        along = 0 if spec.axis == "rows" else 1
        count = source.shape[along]
        threads = concurrency()[1]
        new = count - held.n_rows if self.grows else count
        kept = method_of(spec).width_for(spec.width or 0)
        cut = plan_cut(source, spec, max(new, 1), kept, self.budget, threads)
        whole = BlockReader(source, spec.axis, 0, count, cut)
        # Rows that are still to be written are zeros, also where a column is left out.
        bare = replace(source, refuses_values=False) if isinstance(source, KeptColumns) else source
        if count == 0:
            return None, "nothing new"
        if self.block_id is not None:
            if not isinstance(self.block_id, str) or not self.block_id or self.block_id[0] == "@":
                raise SpecError(
                    f"block_id={self.block_id!r} is no name of a block. Pass a text that does not begin with @."
                )
            known = held.ids.get(self.block_id)
            if known is None:
                return whole, ""
            if known.digest != whole.whole_digest():
                raise SpecError(
                    f"block {self.block_id!r} is in the model with other content. Send it under another id, or roll "
                    f"back to before version {known.version}."
                )
            return None, "known"
        if not self.grows:
            return whole, ""
        seen = held.n_rows
        what = "rows" if along == 0 else "columns"
        if count < seen:
            raise ShapeError(
                f"{source.name} has {count:,} {what}, the model has absorbed {seen:,}. Pass the array that grows, or "
                "name a separate block with block_id= (--block-id)."
            )
        last = held.blocks[-1] if held.blocks else None
        if last is not None and whole.seam(seen - 1) != last.seam:
            raise SpecError(
                f"row {seen - 1:,} of {source.name} is not the last one that the model absorbed. Pass the array that "
                "grows, or name a separate block with block_id= (--block-id)."
            )
        stop = BlockReader(bare, spec.axis, 0, count, cut).find_written_end(seen)
        if stop == seen:
            return None, "nothing new"
        return BlockReader(source, spec.axis, seen, stop, cut), ""

    def _view(self, spec: ModelSpec) -> View:
        """The source as the model sees it: without the columns that its first block had no value in, or that a mask left out."""
        held, source = self.held, self.whole
        if spec.axis == "columns":
            if self.mask is not None:
                raise SpecError(
                    "mask= chooses among columns that stay, and here columns arrive. Leave mask= out, and pass the columns "
                    "that count."
                )
            return View(source, source, None, 0, True)
        if held.state is not None:
            columns = held.state.columns
            _check_width(source, held.spec.width if columns is None else columns.count)
            check_same_mask(source, self.mask, columns)
            return view_of(source, columns)
        stop = source.shape[0]
        tolerant = self.nonfinite != "raise"
        if self.grows and (tolerant or self.mask is not None):
            height = max(1, PIECE_BYTES // max(1, source.shape[1] * source.dtype.itemsize))
            stop = BlockReader(
                source, "rows", 0, stop, BlockCut(height, height, False, 0)
            ).find_written_end(0)
        view = select_columns(source, self.mask, tolerant=tolerant, notify=self.callback, stop=stop)
        if view.columns is not None and isinstance(
            source, DaskSource
        ):  # blocks are read, not computed in a graph
            view = replace(view, source=KeptColumns(source, view.columns))
        return view

    def _absorb(self, spec: ModelSpec, feed: BlockReader, columns: Columns | None) -> str:
        """Absorb and commit; ``"all"``, ``"nonfinite"``, or ``"conflict"`` with the rest still to do."""
        held, store = self.held, self.held.store
        state = held.state
        if state is None:
            state = replace(empty_state(method_of(spec), spec, self.source.dtype), columns=columns)
        # What fades or slides does so once for all that arrives, and what may be skipped is so as a whole: neither
        # can be committed in parts.
        named = self.block_id is not None or not self.grows
        once = spec.forget != 1 or spec.window is not None
        whole = named or once or self.nonfinite == "skip-block"
        began, done = time.perf_counter(), 0
        size = (feed.stop - feed.start) * (spec.width or 0) * self.source.dtype.itemsize
        self.callback(PassStarted(1, "absorbing", size))
        work = _PendingVersion(
            spec, state, state, store.draft(held.version + 1), held.n_rows, len(held.blocks)
        )
        committed = began
        for start, stop, rows in feed.pieces():
            last = stop == feed.stop
            try:
                absorbed = self._piece(work, feed, start, rows, last=last)
            except BaseException:
                store.discard(work.draft)
                raise
            if not absorbed:
                store.discard(work.draft)
                return "nonfinite"
            done += 1
            self.callback(SpanDone(1, done, feed.count))
            if not last and (whole or time.perf_counter() - committed < COMMIT_SECONDS):
                continue
            if not self._commit(work):
                return "conflict"
            committed = time.perf_counter()
            assert held.state is not None
            draft = store.draft(held.version + 1)
            work = _PendingVersion(spec, held.state, held.state, draft, work.at, len(held.blocks))
        self.callback(PassDone(1, "absorbing", time.perf_counter() - began, None))
        return "all"

    def _piece(
        self, work: _PendingVersion, feed: BlockReader, start: int, rows: Matrix, *, last: bool
    ) -> bool:
        """Absorb one piece into the work; False if the block is to be skipped for its missing values."""
        spec, method, state = work.spec, method_of(work.spec), work.state
        known = state.factor.n_rows > 0
        mean = state.raw_mean if known else None
        clean = apply_policy(rows, feed, start, self.nonfinite, mean, centred=spec.center)
        if clean is None:
            return False
        data = clean if state.scale is None else clean * state.scale
        held = method.width if spec.rank is None else spec.rank
        share = captured_share(state.factor, data, held)
        arrays = _join_piece(method, work, data, self.each)
        files = work.draft.add(arrays) if arrays else {}
        end = work.at + rows.shape[0]
        entry = BlockEntry(
            id=self.block_id or f"@{work.at}-{end}",
            start=work.at,
            stop=end,
            version=work.draft.version,
            folder=work.draft.folder,
            step=len(work.entries),
            digest=feed.digest_so_far() if last and not self.grows else "",
            seam=feed.digest.seam(rows),
            captured=share if known else 1.0,
            files=files,
            origin=work.draft.mark,
        )
        work.entries.append(entry)
        work.at = end
        if arrays and not last:
            self.held.store.flush(work.draft)
        return True

    def _begin_model(self, draft: Draft) -> bool:
        """Make the model before its first version; False if another writer made one with other options."""
        held = self.held
        if held.version:
            return True
        try:
            found = held.store.begin(held.settings)
        except BaseException:
            held.store.discard(draft)
            raise
        if found != held.settings:
            held.store.discard(draft)
            held.settings = found
            return False
        return True

    def _commit(self, work: _PendingVersion) -> bool:
        """Make the work a version; False if another writer was first."""
        held, store, spec, draft = self.held, self.held.store, work.spec, work.draft
        if not self._begin_model(draft):
            return False
        if spec.window is not None and work.block is not None:  # a window slides by whole blocks
            work.state = work.state.slide(method_of(spec), work.block, spec.window)
        parent, state, entries, n_rows = held.manifest, work.state, work.entries, work.at
        record, nodes = put_state(draft, state, parent)
        before = work.before
        summary = summarise(method_of(spec), before.factor, state.factor, entries, n_rows)
        manifest = store.commit(
            draft,
            kind="update",
            spec=spec,
            parent=parent,
            factor=record,
            nodes=nodes,
            first=state.forest.first if state.forest else 0,
            n_rows=n_rows,
            added=entries,
            summary=summary,
            keep=held.settings.keep,
        )
        if manifest is None:
            return False
        held.advance(manifest, with_stored_nodes(store, manifest, state), entries)
        self.committed += 1
        self.absorbed += sum(entry.stop - entry.start for entry in entries)
        self.callback(ResultWritten(f"{store.name} version {manifest.version}"))
        if manifest.version % COLLECT_EVERY == 0:
            with contextlib.suppress(StoreError):  # tidying may wait; verify says what is wrong
                collect(store, back=None if manifest.version % COLLECT_ALL == 0 else COLLECT_ALL)
        return True


def lower_rank(held: LoadedVersion, most: int) -> None:
    """A default rank of a model that has absorbed nothing, no more than the columns that are kept."""
    spec = held.settings.spec
    if spec.rank is not None and spec.rank > most:
        spec = msgspec.structs.replace(spec, rank=most)
        held.settings = msgspec.structs.replace(held.settings, spec=spec)


def _check_width(source: Source, width: int | None) -> None:
    """Refuse a block of another width before its columns are chosen."""
    if width is not None and source.shape[1] != width:
        raise ShapeError(
            f"the block has {source.shape[1]:,} columns, the model has {width:,}. Pass a block of {width:,} columns, or "
            "begin another model."
        )


def check_same_mask(source: Source, mask: Any, columns: Columns | None) -> None:
    """Refuse a mask that differs from what the model keeps.

    Raises
    ------
    SpecError
        Naming the columns.
    """
    kept = mask_of(source, mask)
    if kept is None:
        return
    mine = np.ones(kept.size, bool) if columns is None else columns.marks != Columns.MARK_MASKED
    if columns is not None and np.array_equal(kept, columns.keep_mask):
        return  # also where the model found by itself what the mask says
    other = np.flatnonzero(kept != mine)
    if other.size:
        raise SpecError(
            f"mask differs from the one that the model was begun with, at {describe_columns(other)}. Leave mask= out: the model "
            "remembers it; or begin another model."
        )


def _join_piece(
    method: IncrementalSVD, work: _PendingVersion, data: Matrix, each: ParallelMap
) -> dict[str, Matrix]:
    """Put a piece into the state of the work; the arrays of left vectors that it adds."""
    spec, step = work.spec, len(work.entries)
    number = work.number + step
    if spec.window is not None:
        part = method.part(data, index=number, left=False, each=each)
        parts = [part] if work.block is None else [work.block.as_part(), part]
        work.block = method.join_parts(parts, share=node_share(0))[0]
        return {}
    if step == 0:  # once for a block, however many pieces it comes in
        work.state = replace(work.state, factor=work.state.factor.fade_by(spec.forget))
    state = work.state
    part = method.part(data, index=number, guess=state.factor, left=spec.u, each=each)
    factor, old, new = method.absorb_part(state.factor, part)
    work.state = replace(state, factor=factor)
    return block_arrays(step, old, turn_rows(part.left, new)) if spec.u else {}


def summarise(
    method: IncrementalSVD, before: Factor, after: Factor, entries: list[BlockEntry], n_rows: int
) -> VersionSummary:
    """The line of the log."""
    found = method.finalize(after)
    c = found.certificate
    energy = np.sqrt(c.energy)
    relative = 1 / energy if energy > 0 else 0.0
    rank = found.s.size
    angles = []
    if before.n_rows:
        angles = [float(a) for a in principal_angles(before.Vh[:rank], after.Vh[:rank])]
    shares = [e.captured for e in entries if e.stop > e.start]
    return VersionSummary(
        blocks=list(dict.fromkeys(e.id for e in entries)),
        rows=sum(e.stop - e.start for e in entries),
        n_rows=n_rows,
        rank=int(rank),
        error=float(c.frobenius_error * relative),
        error_lower=float(found.optimal_error_lower * relative),
        captured=shares[0] if shares and before.n_rows else None,
        angles=angles,
        tolerance_met=bool(found.tolerance_met),
        excess=float(c.excess) if np.isfinite(c.excess) else None,
        resolved=int(np.count_nonzero(c.resolved)),
        groups=len(c.groups),
    )

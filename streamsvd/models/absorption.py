"""One block, or what is new of a growing matrix, on its way into a model: exactly once.

What is new is found, absorbed in pieces, and committed; if another writer was first, all of it again on top of his version.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Literal

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.concurrency import at_once
from streamsvd.engine.events import (
    Callback,
    PassDone,
    PassStarted,
    SpanDone,
    send_remarks,
)
from streamsvd.engine.meter import MemoryMark, mark_memory, peak_since
from streamsvd.engine.ordered import run_in_order
from streamsvd.engine.steps import step_records
from streamsvd.errors import ConflictError
from streamsvd.info import Info, Status
from streamsvd.labels import NO_LABELS
from streamsvd.models.block_reader import BlockReader
from streamsvd.models.commit import commit_version, discard_version
from streamsvd.models.labels import first_labels
from streamsvd.models.loaded_version import LoadedVersion
from streamsvd.models.new_rows import NewRows, UpdateRequest, find_new_rows
from streamsvd.models.options import UpdateOptions, method_of
from streamsvd.models.parts import PartMaker, PiecePart
from streamsvd.models.pieces import PendingVersion, absorb_piece
from streamsvd.models.state import ModelState, empty_state
from streamsvd.numerics.range_sketch import ParallelMap
from streamsvd.store.writing.trial import try_objects
from streamsvd.typing import Matrix

TRIES = 200
"""Commits that may be lost to other writers before an update gives up."""
ROUND = 32
"""Runs, each of some pieces, that are read before what is known of the model is looked at anew, and after which a growing array is committed:
a kill costs no more than these. Bits depend on where that is, so that it follows runs, never the clock."""
PURPOSE = "absorbing"

Outcome = Literal["all", "nonfinite", "conflict"]


@dataclass(frozen=True, slots=True, eq=False)
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
    options, info
        What was asked, and how it came about.
    """

    version: int
    n_absorbed: int
    skip_reason: str
    n_rows: int
    versions: int
    options: UpdateOptions
    info: Info

    def __repr__(self) -> str:
        what = f"{self.n_absorbed:,} absorbed" if self.n_absorbed else self.skip_reason
        return f"<UpdateReport: {what}; version {self.version} of {self.n_rows:,} {self.info.axis}, {self.info.elapsed_s:.3g} s>"


@dataclass(slots=True, eq=False)
class Absorption:
    """One update: tried again on the newest version whenever another writer was first.

    Attributes
    ----------
    version
        The model.
    request
        What was sent and asked.
    notify
        Receives events.
    n_absorbed, n_committed
        Rows absorbed and versions committed so far.
    passes, bytes_read, projected_bytes
        Reads of what is new, decoded bytes asked of the source, and the bound of the memory.
    """

    version: LoadedVersion
    request: UpdateRequest
    notify: Callback
    n_absorbed: int = 0
    n_committed: int = 0
    passes: int = 0
    bytes_read: int = 0
    projected_bytes: int = 0
    began: float = field(default_factory=time.perf_counter)
    memory: MemoryMark = field(default_factory=mark_memory)

    def run(self) -> UpdateReport:
        """Find, absorb and commit what is new.

        Raises
        ------
        ConflictError
            If other writers were always first.
        """
        loaded = self.version
        send_remarks(self.request.source, self.notify)
        for attempt in range(TRIES):
            loaded.refresh()
            new = find_new_rows(loaded, self.request, self.notify, number=self.passes + 1)
            self.passes += new.passes
            self.bytes_read += new.bytes_read + new.view.look_bytes
            if new.reader is None:
                loaded.store.settle()  # who committed it may have been killed before it was durable
                return self._report(new.skip_reason)
            if attempt == 0:
                try_objects(loaded.store.objects)
            cut = new.reader.cut
            self.projected_bytes = max(self.projected_bytes, cut.projected_bytes)
            with (
                held_memory(),
                dense_threads(new.spec.width or 0),
                at_once(cut.threads) as each,
                new.view.naming(),
            ):
                outcome = self._absorb(new, each)
            if outcome != "conflict":
                return self._report("" if outcome == "all" else outcome)
            time.sleep(min(0.002 * attempt, 0.05) * random.random())
        raise ConflictError(
            f"{loaded.store.name} is busy: other writers were first {TRIES} times. The block is not in it; try again."
        )

    def _report(self, skip_reason: str) -> UpdateReport:
        loaded = self.version
        if self.n_absorbed:
            skip_reason = ""
        if loaded.version == 0 and not loaded.settings.base:
            # Its options are kept although it holds nothing.
            loaded.store.begin(loaded.settings)
        columns = None if loaded.state is None else loaded.state.columns
        info = Info(
            status=Status.DONE,
            passes=float(self.passes),
            bytes_read=self.bytes_read,
            peak_bytes=peak_since(self.memory),
            projected_bytes=self.projected_bytes,
            elapsed_s=time.perf_counter() - self.began,
            n_rows=self.n_absorbed,
            seed=loaded.spec.seed,
            route="incremental",
            axis=loaded.spec.axis,
            dropped_columns=() if columns is None else columns.dropped_indices,
        )
        return UpdateReport(
            loaded.version, self.n_absorbed, skip_reason, loaded.n_rows, self.n_committed,
            self.request.options, info,
        )  # fmt: skip

    def _absorb(self, new: NewRows, each: ParallelMap) -> Outcome:
        """Absorb and commit, or tell why not; after ``"conflict"`` the rest is still to do."""
        spec, reader, loaded = new.spec, new.reader, self.version
        assert reader is not None
        options, is_block = self.request.options, not self.request.grows
        # What fades or slides does so once for all that arrives, and what may be skipped is so as a whole: neither
        # can be committed in parts.
        fades = spec.forget != 1 or spec.window is not None
        in_one = is_block or fades or options.nonfinite == "skip_block"
        self.passes += 1
        number, n_pieces, began = self.passes, reader.count, time.perf_counter()
        self.notify(PassStarted(number, PURPOSE, reader.nbytes))
        pending, done = self._pend(new, loaded.n_rows, len(loaded.blocks), in_one), 0
        outcome: Outcome = "all"
        at_home = reader.pieces(hashed=is_block)  # read ahead of rounds, where they are made here
        try:
            lead = reader.cut.height if pending.state.factor.n_rows == 0 else 0
            for is_commit, runs in _rounds(reader.runs(), lead):
                maker = PartMaker.of(
                    reader.source, reader.cut.height, spec, pending.state, options.nonfinite, keeps_rows=is_block
                )  # fmt: skip
                with closing(self._parts(reader, maker, runs, pending, at_home, each)) as parts:
                    for piece in parts:
                        if piece.part is None:
                            discard_version(loaded, pending)
                            outcome = "nonfinite"
                            break
                        done, last = done + 1, piece.stop == reader.stop
                        absorb_piece(
                            pending,
                            reader,
                            piece,
                            block_id=options.block_id,
                            digest=last and is_block,
                        )
                        if spec.u and not last:
                            loaded.store.flush(pending.draft)
                        self.notify(SpanDone(number, done, n_pieces))
                last = runs[-1][1] == reader.stop
                if outcome != "nonfinite" and (last or (is_commit and not in_one)):
                    if not self._commit(pending):
                        outcome = "conflict"
                    elif not last:
                        pending = self._pend(new, pending.at, len(loaded.blocks), in_one)
                if outcome != "all":
                    break
        except BaseException:
            discard_version(loaded, pending)
            raise
        finally:
            at_home.close()
            self.bytes_read += reader.bytes_read
        self.notify(PassDone(number, PURPOSE, time.perf_counter() - began, None))
        return outcome

    def _parts(
        self,
        reader: BlockReader,
        maker: PartMaker,
        runs: Sequence[tuple[int, int]],
        pending: PendingVersion,
        at_home: Iterator[tuple[int, int, Matrix]],
        each: ParallelMap,
    ) -> Generator[PiecePart]:
        """Parts of the pieces of some runs, in their order: made by tasks of a cluster, or one after another of what is read at home."""
        at, cut = pending.number + len(pending.entries), reader.cut
        if cut.tasks == 0:
            for number in range(at, at + cut.count_pieces(runs)):
                start, _, rows = next(at_home)
                yield maker.make(start, rows, number, each)
            return
        items: list[tuple[int, int, int]] = []
        for a, b in runs:
            items.append((a, b, at))
            at += -(-(b - a) // cut.height)
        what = f"the update of {self.version.store.name}"
        made = run_in_order(
            PartMaker.make_run, maker, items, at_once=cut.tasks, what=what, needs=cut.worker_bytes
        )
        with closing(made), reader.hashing() as take:
            for found in made:
                for piece in found:
                    take(piece.stop - piece.start, piece.rows)
                    yield piece

    def _pend(self, new: NewRows, at: int, number: int, is_whole: bool) -> PendingVersion:
        """The next version, as it begins."""
        loaded, state = self.version, self.version.state
        if state is None:
            state = _first_state(new)
        draft = loaded.store.draft(loaded.version + 1)
        return PendingVersion(new.spec, state, state, draft, at, number, is_whole=is_whole)

    def _commit(self, pending: PendingVersion) -> bool:
        """Commit, and count; False if another writer was first."""
        if not commit_version(self.version, pending, self.notify):
            return False
        self.n_committed += 1
        self.n_absorbed += pending.n_rows
        return True


def _rounds(runs: list[tuple[int, int]], lead: int) -> Iterator[tuple[bool, list[tuple[int, int]]]]:
    """Runs of rows that are made parts of with the same knowledge, and whether they end what is committed at once.

    A model that knows nothing takes ``lead`` rows in, a piece, before the others are made.
    """
    for first in range(0, len(runs), ROUND):
        round_ = runs[first : first + ROUND]
        (start, stop), rest = round_[0], round_[1:]
        if first == 0 and lead and (rest or stop - start > lead):
            end = min(start + lead, stop)
            yield False, [(start, end)]
            round_ = [(end, stop), *rest] if end < stop else rest
        yield True, round_


def _first_state(new: NewRows) -> ModelState:
    """The state before the first block."""
    state = empty_state(method_of(new.spec), new.spec, new.view.source.dtype)
    labels = first_labels(new.view.whole) if new.spec.axis == "rows" else NO_LABELS
    return replace(
        state,
        columns=new.view.columns,
        labels=labels,
        weights=new.weights,
        row_steps=step_records(new.view.whole),
    )

"""A stream while it runs, over a stored matrix or an iterable of blocks: passes, saves, and what they found."""

from __future__ import annotations

import os
import time
import warnings as python_warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streamsvd.checks.masks import as_array
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, send_remarks
from streamsvd.engine.meter import mark_memory, peak_since
from streamsvd.engine.saves import check_same_run, source_fingerprint
from streamsvd.errors import NonFiniteError, OrderWarning, ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.streams.mathematics import Refinement, StreamAnswer, StreamOptions, StreamState
from streamsvd.streams.planning import check_k, fit_beside_reading, plan_reading, projected_bytes
from streamsvd.streams.result import TopEigenvectorsResult, cautions, order_caution, result_of
from streamsvd.streams.saved_state import PURPOSE, pack_state, restore_state
from streamsvd.streams.window_reader import FEW_CHUNKS


@dataclass(slots=True, eq=False)
class StreamSaves:
    """A checkpoint, and when it was last used."""

    place: str | os.PathLike[str]
    seconds: float
    _last: float = 0.0
    _store: Checkpoint | None = None

    def resume(self, wanted: dict[str, Any]) -> tuple[StreamState, dict[str, Any]] | None:
        """The state that was saved, and what was said of the run; None if nothing was."""
        self._store = Checkpoint.from_address(self.place, PURPOSE)
        self._last = time.monotonic()
        found = self._store.newest()
        if found is None:
            return None
        plain, arrays = found
        check_same_run(plain["run"], wanted, str(self.place))
        return restore_state(plain["state"], arrays), plain["run"] | {"position": plain["position"]}

    def due(self) -> bool:
        """Whether it is time again."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: StreamState, run: dict[str, Any], position: int) -> None:
        """Save the state at a position."""
        assert self._store is not None
        plain, arrays = pack_state(state)
        self._store.save({"state": plain, "run": run, "position": position}, arrays)
        self._last = time.monotonic()

    def finish(self) -> None:
        """The run is done: nothing to go on from."""
        if self._store is not None:
            self._store.clear()


@dataclass(slots=True, eq=False)
class StreamRun(ABC):
    """What stored matrices and iterables share."""

    options: StreamOptions
    budget: int
    saves: StreamSaves | None
    notify: Callback

    def result(self, passes: int) -> TopEigenvectorsResult:
        began, start = time.perf_counter(), mark_memory()
        with dense_threads(1), held_memory():
            state = self.first_pass()
            held = state.state_bytes
            found = state.finalize()
            self.warn(found)
            for number in range(2, passes + 1):
                found = self.further_pass(found, number)
        if self.saves is not None:
            self.saves.finish()
        return result_of(
            found,
            state.options,
            passes=passes,
            bytes_read=self.bytes_read(passes),
            held=held,
            peak=peak_since(start),
            projected=self.peak_projection(state),
            elapsed=time.perf_counter() - began,
            shuffled=self.mix_count(),
            warnings=cautions(found, state.options, state.n_rows, self.few_chunks()),
        )

    def warn(self, found: StreamAnswer) -> None:
        if self.options.order == "random" and found.order.random is False:
            python_warnings.warn(order_caution(found), OrderWarning, stacklevel=5)

    @abstractmethod
    def first_pass(self) -> StreamState: ...

    @abstractmethod
    def further_pass(self, found: StreamAnswer, number: int) -> StreamAnswer: ...

    @abstractmethod
    def bytes_read(self, passes: int) -> int: ...

    @abstractmethod
    def peak_projection(self, state: StreamState) -> int: ...

    def mix_count(self) -> int:
        return 0

    def few_chunks(self) -> int | None:
        return None


class StoredRun(StreamRun):
    """A stored matrix: its shape is known, and its chunks can be read in any order."""

    def __init__(
        self,
        source: Source,
        options: StreamOptions,
        budget: int,
        saves: StreamSaves | None,
        notify: Callback,
    ) -> None:
        if source.dtype.kind == "c":
            raise SpecError(f"{source.name} is complex: rows of a stream are real numbers.")
        check_k(options, source.shape[1])
        self.feed, chosen = plan_reading(source, options, budget)
        self.bytes = 0
        super().__init__(chosen, budget, saves, notify)
        send_remarks(source, notify)

    def first_pass(self) -> StreamState:
        feed = self.feed
        m, n = feed.source.shape
        run = {
            "options": asdict(self.options), "source": feed.source.name, "shape": [m, n],
            "dtype": feed.source.dtype.str, "unit": feed.unit, "mixed": feed.mix_count, "rows": source_fingerprint(feed.source) if self.saves else "",
        }  # fmt: skip
        state, begin = StreamState(self.options, n, m), 0
        saved = None if self.saves is None else self.saves.resume(run)
        if saved is not None:
            state, begin = saved[0], int(saved[1]["position"])
        for index, pieces in self._windows_of_pass(1, "top eigenvectors", begin):
            try:
                for rows in pieces:
                    state.partial_fit(rows)
            except NonFiniteError:
                feed.raise_nonfinite(index)  # rows are mixed: the entry is somewhere in this window
                raise
            if self.saves is not None and self.saves.due():
                self.saves.save(state, run, index + 1)
        return state

    def further_pass(self, found: StreamAnswer, number: int) -> StreamAnswer:
        refinement = Refinement(found)
        for _, pieces in self._windows_of_pass(number, "exact products", 0):
            for rows in pieces:
                refinement.update(rows)
        return refinement.finalize()

    def _windows_of_pass(self, number: int, purpose: str, begin: int) -> Iterator[tuple[int, Any]]:
        """Windows of a pass, with its events."""
        self.notify(PassStarted(number, purpose, self.feed.pass_bytes))
        self.bytes += self.feed.bytes_from(begin)
        began = time.perf_counter()
        for index, pieces in self.feed.windows(begin):
            yield index, pieces
            self.notify(SpanDone(number, index + 1, self.feed.n_windows))
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))

    def bytes_read(self, passes: int) -> int:
        del passes  # a run that goes on from a save reads less than a pass
        return self.bytes

    def peak_projection(self, state: StreamState) -> int:
        return projected_bytes(state.options, state.d) + self.feed.bytes_needed

    def mix_count(self) -> int:
        return self.feed.mix_count

    def few_chunks(self) -> int | None:
        m, chunk = self.feed.source.shape[0], self.feed.source.chunks[0]
        count = -(-m // min(chunk, m))
        whole = self.feed.n_windows == 1 and self.feed.mix_count > 0
        return count if self.feed.mix_count and count < FEW_CHUNKS and not whole else None


class BlocksRun(StreamRun):
    """An iterable of blocks, taken as they come."""

    def __init__(
        self,
        blocks: Iterable[Any],
        options: StreamOptions,
        budget: int,
        saves: StreamSaves | None,
        notify: Callback,
        n_rows: int | None,
        replay: bool,
    ) -> None:
        super().__init__(options, budget, saves, notify)
        self.blocks, self.n_rows, self.replay = blocks, n_rows, replay
        self.bytes, self.largest = 0, 0

    def first_pass(self) -> StreamState:
        state, skip = None, 0
        run = {"options": asdict(self.options), "n_rows": self.n_rows}
        saved = None if self.saves is None else self.saves.resume(run)
        if saved is not None:
            state = saved[0]
            skip = int(saved[1]["position"]) if self.replay else 0
        for rows in self._blocks_of_pass(1, "top eigenvectors"):
            if state is None:
                state = StreamState(self._options_beside(rows), rows.shape[1], self.n_rows)
            if rows.shape[1] != state.d:
                raise ShapeError(
                    f"a block of shape {rows.shape} came after rows of {state.d} numbers. Every block must be "
                    f"(rows, {state.d})."
                )
            fresh = rows[min(skip, rows.shape[0]) :]
            skip -= rows.shape[0] - fresh.shape[0]
            state.partial_fit(fresh)
            if self.saves is not None and self.saves.due():
                self.saves.save(state, run, state.n_absorbed)
        if state is None:
            raise SpecError(
                "no block has come: there is nothing to find. Pass at least one block of rows."
            )
        if skip > 0:
            raise SpecError(
                f"the checkpoint had seen {skip:,} rows more than came: this is another stream. Pass the same rows again, "
                "replay=False if they go on where they were, or another checkpoint."
            )
        return state

    def further_pass(self, found: StreamAnswer, number: int) -> StreamAnswer:
        refinement = Refinement(found)
        for rows in self._blocks_of_pass(number, "exact products"):
            refinement.update(rows)
        return refinement.finalize()

    def _blocks_of_pass(self, number: int, purpose: str) -> Iterator[np.ndarray[Any, Any]]:
        """The blocks, as arrays of two dimensions, with the events of a pass."""
        self.notify(PassStarted(number, purpose, 0))
        began = time.perf_counter()
        for index, block in enumerate(self.blocks):
            rows = as_rows(block)
            if number == 1:
                self.bytes += rows.nbytes
            self.largest = max(self.largest, rows.nbytes)
            yield rows
            if self.n_rows:
                self.notify(SpanDone(number, min(index + 1, self.n_rows), self.n_rows))
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))

    def _options_beside(self, rows: np.ndarray[Any, Any]) -> StreamOptions:
        """The options that fit the budget beside a block like the first."""
        check_k(self.options, rows.shape[1])
        return fit_beside_reading(
            self.options, rows.shape[1], self.budget, 3 * rows.nbytes, "one block"
        )

    def bytes_read(self, passes: int) -> int:
        return passes * self.bytes

    def peak_projection(self, state: StreamState) -> int:
        return projected_bytes(state.options, state.d) + 3 * self.largest


def as_rows(block: Any) -> np.ndarray[Any, Any]:
    """A block as an array of rows, NaN where it is masked; one row alone is a block of one."""
    rows = as_array(block)
    if rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2:
        raise ShapeError(
            f"a block of shape {rows.shape} came. Blocks are (rows, columns), or one row (columns,)."
        )
    return rows

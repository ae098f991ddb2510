"""A stream while it runs, over a stored matrix or an iterable of blocks: the first pass in the order of rows, others as sums."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from streamsvd.engine.events import Callback
from streamsvd.engine.panel_cache import new_cache
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.saves import array_digest, check_seconds, source_fingerprint
from streamsvd.engine.task import HomeTask
from streamsvd.errors import ShapeError, SpecError
from streamsvd.info import Info
from streamsvd.protocols import Source
from streamsvd.streams.blocks import BlockFilter
from streamsvd.streams.mathematics import Refinement, StreamAnswer, StreamState
from streamsvd.streams.options import StreamOptions, TopEigenvectorsOptions
from streamsvd.streams.passes import RefinementPass
from streamsvd.streams.planning import (
    check_k,
    fit_beside_reading,
    plan_products,
    plan_reading,
    projected_bytes,
)
from streamsvd.streams.result import TopEigenvectorsResult, cautions, result_of
from streamsvd.streams.saved_state import STATE, StreamSaves
from streamsvd.streams.window_reader import FEW_CHUNKS, Array

FIRST_PASS, FURTHER_PASS = "top eigenvectors", "exact products"


class StreamRun(ABC):
    """What stored matrices and iterables share.

    Parameters
    ----------
    options
        What is asked.
    run
        Its passes, the first of which is made at home: what a stream remembers depends on the order of the rows.
    """

    def __init__(self, options: TopEigenvectorsOptions, run: Run) -> None:
        self.options, self.run = options, run

    def result(self) -> TopEigenvectorsResult:
        """All passes, and what they found."""
        with in_run(self.run):
            state = self.first_pass()
            kept_bytes = state.state_bytes
            found = state.finalize()
            for _ in range(1, self.options.passes):
                refinement = Refinement(found)
                self.further_pass(refinement)
                found = refinement.finalize()
        warnings = cautions(found, state.options, state.n_rows, self.few_chunks())
        return result_of(
            found,
            self.options,
            state.options,
            kept_bytes=kept_bytes,
            shuffled=self.mix_count(),
            info=self.info(found, warnings),
        )

    @abstractmethod
    def first_pass(self) -> StreamState:
        """The state after the last row."""

    @abstractmethod
    def further_pass(self, refinement: Refinement) -> None:
        """The same rows again, into sums."""

    def info(self, found: StreamAnswer, warnings: tuple[str, ...]) -> Info:
        """How it came about."""
        return self.run.info(
            n_rows=found.n_rows, passes=float(self.options.passes), warnings=warnings
        )

    def mix_count(self) -> int:
        """Runs of rows that are mixed with one another."""
        return 0

    def few_chunks(self) -> int | None:
        """Their number, where it is too small for mixing them to make the order random."""
        return None


class StoredRun(StreamRun):
    """A stored matrix, window after window.

    Parameters
    ----------
    source, options, budget
        The matrix, what is asked, and bytes.
    nonfinite
        What missing values of the source were made: part of what a checkpoint is of.
    place, seconds
        Where it is saved, and the least time between two saves.
    notify
        Receives events.
    """

    def __init__(
        self,
        source: Source,
        options: TopEigenvectorsOptions,
        budget: int,
        *,
        nonfinite: str,
        place: str | os.PathLike[str] | None,
        seconds: float,
        notify: Callback,
    ) -> None:
        check_source(source, options)
        check_seconds(seconds)
        reader, self.fitted_options = plan_reading(
            source, options.stream, budget, passes=options.passes
        )
        self.reader = replace(reader, cache=new_cache(reader.is_cached))
        self.layout, workers = plan_products(self.reader, self.fitted_options, budget)
        n = source.shape[1]
        projected = projected_bytes(self.fitted_options, n) + self.reader.bytes_needed
        saves = None
        if place is not None:
            identity = {
                "options": asdict(self.fitted_options), "source": source.name, "shape": list(source.shape),
                "dtype": source.dtype.str, "unit": self.reader.unit, "mixed": self.reader.mix_count,
                "rows": source_fingerprint(source), "nonfinite": nonfinite,
            }  # fmt: skip
            saves = StreamSaves.from_address(place, identity, seconds)
        run = Run(
            self.reader.matrix_reader, workers, projected_bytes=projected, needs=self.reader.worker_bytes,
            notify=notify, saves=saves, seed=options.seed,
        )  # fmt: skip
        super().__init__(options, run)

    def first_pass(self) -> StreamState:
        m, n = self.reader.source.shape
        saved: tuple[StreamState, int] | None = self.run.saved_value(STATE, None)
        state, begin = (StreamState(self.fitted_options, n, m), 0) if saved is None else saved
        for index, pieces in self._windows(begin):
            for rows in pieces:
                state.partial_fit(rows)
            self.run.keep(STATE, (state, index + 1))
        return state

    def further_pass(self, refinement: Refinement) -> None:
        reader = replace(self.reader.matrix_reader, layout=self.layout)
        basis = np.ascontiguousarray(refinement.first_answer.basis)  # as it comes out of a message
        pass_ = RefinementPass(basis)
        refinement.sums = self.run(pass_, FURTHER_PASS, reader=reader, is_saved=False)

    def _windows(self, begin: int) -> Iterator[tuple[int, Iterator[Array]]]:
        reader, count = self.reader, self.reader.n_windows
        with self.run.at_home(FIRST_PASS, *reader.bytes_from(0)) as progress:
            cost, cached = reader.bytes_from(begin)
            for index, pieces in reader.windows(HomeTask(self.run.id), begin):
                yield index, pieces
                progress(index + 1, count)
            self.run.bytes_read += cost - cached
            self.run.cached_bytes += cached

    def mix_count(self) -> int:
        return self.reader.mix_count

    def few_chunks(self) -> int | None:
        m, chunk = self.reader.source.shape[0], self.reader.source.chunks[0]
        count = -(-m // min(chunk, m))
        whole = self.reader.n_windows == 1 and self.reader.mix_count > 0
        return count if self.reader.mix_count and count < FEW_CHUNKS and not whole else None


class BlocksRun(StreamRun):
    """An iterable of blocks, taken as they come.

    Parameters
    ----------
    blocks, filter_, options, budget
        The blocks, what is done to each, what is asked, and bytes.
    replay
        Whether the blocks begin with the first row again where a save is gone on from.
    place, seconds
        Where it is saved, and the least time between two saves.
    notify
        Receives events.
    """

    def __init__(
        self,
        blocks: Iterable[Any],
        filter_: BlockFilter,
        options: TopEigenvectorsOptions,
        budget: int,
        *,
        replay: bool,
        place: str | os.PathLike[str] | None,
        seconds: float,
        notify: Callback,
    ) -> None:
        check_seconds(seconds)
        self.blocks, self.filter, self.budget, self.replay = blocks, filter_, budget, replay
        self.largest, self.missing = 0, 0
        saves = None
        if place is not None:
            columns = filter_.columns
            identity = {
                "options": asdict(options.stream), "n_rows": options.n_rows, "nonfinite": filter_.nonfinite,
                "mask": None if columns is None else array_digest(columns.marks),
            }  # fmt: skip
            saves = StreamSaves.from_address(place, identity, seconds)
        super().__init__(options, Run(None, notify=notify, saves=saves, seed=options.seed))

    def first_pass(self) -> StreamState:
        nothing: tuple[StreamState | None, int] = (None, 0)
        state, position = self.run.saved_value(STATE, nothing)
        skip = position if self.replay else 0
        for rows, missing in self._blocks_of_pass(FIRST_PASS):
            if state is None:
                fitted = fit_to_block(self.options.stream, rows, self.budget)
                state = StreamState(fitted, rows.shape[1], self.options.n_rows)
            if rows.shape[1] != state.d:
                raise ShapeError(
                    f"a block of shape {rows.shape} came after rows of {state.d} numbers. Every block must be "
                    f"(rows, {state.d})."
                )
            fresh = rows[min(skip, rows.shape[0]) :]
            skip -= rows.shape[0] - fresh.shape[0]
            with self.filter.naming():
                state.partial_fit(fresh)
            self.missing += missing
            self.run.keep(STATE, (state, state.n_absorbed))
        if state is None:
            raise SpecError(
                "no block has come: there is nothing to find. Pass at least one block of rows."
            )
        if skip > 0:
            raise SpecError(
                f"the checkpoint had seen {skip:,} rows more than came: this is another stream. Pass the same rows again, "
                "replay=False if they go on where they were, or another checkpoint."
            )
        self.run.projected_bytes = projected_bytes(state.options, state.d) + 3 * self.largest
        return state

    def further_pass(self, refinement: Refinement) -> None:
        for rows, _ in self._blocks_of_pass(FURTHER_PASS):
            refinement.update(rows)

    def info(self, found: StreamAnswer, warnings: tuple[str, ...]) -> Info:
        return self.run.info(
            n_rows=found.n_rows,
            passes=float(self.options.passes),
            warnings=warnings,
            missing=self.missing,
        )

    def _blocks_of_pass(self, purpose: str) -> Iterator[tuple[Array, int]]:
        """The blocks, as arrays of two dimensions, and what was missing in each."""
        task, announced, seen = HomeTask(self.run.id), self.options.n_rows, 0
        with self.run.at_home(purpose, 0) as progress:
            for block in self.blocks:
                task.check()
                rows, missing = self.filter.take(block)
                self.run.bytes_read += rows.nbytes
                self.largest = max(self.largest, rows.nbytes)
                yield rows, missing
                seen += rows.shape[0]
                if announced:
                    progress(min(seen, announced), announced)


def check_source(source: Source, options: TopEigenvectorsOptions) -> None:
    """Refuse a matrix of which there is no stream of rows.

    Raises
    ------
    SpecError
        If it is complex, has fewer columns than eigenvectors are wanted, or its rows were announced.
    """
    if options.n_rows is not None:
        raise SpecError(
            "n_rows= is known of a matrix. Leave it out, or pass an iterable of blocks."
        )
    if source.dtype.kind == "c":
        raise SpecError(f"{source.name} is complex: rows of a stream are real numbers.")
    check_k(options.stream, source.shape[1])


def fit_to_block(options: StreamOptions, rows: Array, budget: int) -> StreamOptions:
    """The options that fit the budget beside a block like the first.

    Raises
    ------
    BudgetError
        If the least does not; it names the smallest budget.
    """
    check_k(options, rows.shape[1])
    return fit_beside_reading(options, rows.shape[1], budget, 3 * rows.nbytes, "one block")

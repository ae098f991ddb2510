"""The verb ``top_eigenvectors``: a stored matrix in mixed order, or any iterable of blocks, into a stream."""

from __future__ import annotations

import os
import time
import warnings as python_warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks import whole
from streamsvd.drivers.request import as_source
from streamsvd.drivers.saves import SAVE_SECONDS, agreed, fingerprint
from streamsvd.drivers.stream.feed import FEW_CHUNKS, MIXED, Feed
from streamsvd.drivers.stream.result import StreamResult, cautions, order_caution, result_of
from streamsvd.drivers.stream.saved import PURPOSE, packed, restored
from streamsvd.engine.allocator import held_memory
from streamsvd.engine.events import Callback, PassDone, PassStarted, SpanDone, ignore
from streamsvd.engine.execute import dense_threads
from streamsvd.engine.memory import BASE_BYTES, parse_bytes
from streamsvd.engine.meter import mark, peak_since
from streamsvd.engine.plan import default_budget
from streamsvd.errors import BudgetError, NonFiniteError, OrderWarning, ShapeError, SpecError
from streamsvd.protocols import Source
from streamsvd.store.checkpoint import Checkpoint
from streamsvd.stream import (
    Found,
    Refinement,
    StreamOptions,
    TopRows,
    state_bytes,
    within,
    work_bytes,
)
from streamsvd.stream.options import Order


def top_eigenvectors(
    A: Any,
    k: int = 1,
    *,
    order: Order = "auto",
    memory: int | float | str | None = None,
    passes: int = 1,
    n_rows: int | None = None,
    width: int | None = None,
    heavy_rows: int = 64,
    delta: float = 0.05,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    replay: bool = True,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore,
) -> StreamResult:
    """Leading eigenvectors of ``A* A`` from one pass over the rows, in memory that does not grow with them.

    Parameters
    ----------
    A
        A matrix as `svd` takes it (path, zarr or numpy or dask array, anything with ``read``); or an iterable of blocks of
        rows ``(r, n)``: a list, a generator, a consumer of messages. Real numbers.
    k
        Eigenvectors wanted.
    order
        ``"auto"`` (default): chunks of a stored matrix are read in random order and their rows mixed as far as the
        memory allows; whether rows come as if in random order is measured, and decides what is claimed. ``"random"``:
        rows lie, or come, in random order already. ``"arbitrary"``: nothing is assumed; Frequent Directions and, for one
        vector, Oja's rule.
    memory
        Bytes this process may use above its imports, or a text such as ``"256MiB"``; half of what is free if left out.
    passes
        Further passes make the vectors exact (2 or 3 are usually enough); an iterable must then be one that can be
        gone through again.
    n_rows
        Rows of an iterable, if known: better windows, and a tenth of them to judge the answer.
    width, heavy_rows
        Columns iterated (``k + max(10, k)``), the knob of accuracy; rows of large norm that are kept as they are.
    delta
        Failure probability of the statistical claims.
    seed
        Of all random numbers; the same seed and blocks of rows give the same bits, however they are cut.
    checkpoint
        Folder, or URL of an object store, where the state is saved now and then, so that a run that was killed goes
        on from there. It is removed at the end.
    replay
        Whether an iterable begins with its first row again after a kill; False if it goes on where it was.
    save_seconds
        Least time between two saves.
    callback
        Receives events.

    Returns
    -------
    result
        Components ``(k, n)``, values, what the test of the order found, certificate.

    Raises
    ------
    BudgetError
        If the memory does not hold the least state and one block; it names the smallest that works.
    ShapeError, SpecError, NonFiniteError
        If rows change their width, are complex, hold NaN or Inf, or there are none; if an option cannot be meant.
    ConflictError
        If another run saves to the same checkpoint.

    Warns
    -----
    OrderWarning
        If ``order="random"`` was said and the rows do not look like it.

    Notes
    -----
    Cost: one pass a ``passes``; about ``4 n (b + k) + 12 n l + 4 n s`` flops a row, b, l, s the width, twice that, and 16.
    Memory: `streamsvd.stream.options.state_bytes`, whatever the number of rows.

    References
    ----------
    Kacham, Woodruff (2024), random order and heavy rows; Price, Xun (2024), arbitrary order; Ghashami, Liberty,
    Phillips, Woodruff (2016), Frequent Directions.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((5000, 20)); A[:, 3] *= 5
    >>> result = streamsvd.top_eigenvectors(A, seed=1)
    >>> int(np.argmax(np.abs(result.components[0]))), result.order.random
    (3, True)
    """
    passes = whole("passes", passes)
    if passes < 1:
        raise SpecError(f"passes={passes} leaves nothing to do. Pass at least 1.")
    n_rows = None if n_rows is None else whole("n_rows", n_rows)
    if checkpoint is not None and not os.fspath(checkpoint):
        raise SpecError("checkpoint is empty. Pass a folder, or leave it out.")
    options = StreamOptions(
        k=k, order=order, width=width, heavy_rows=heavy_rows, delta=delta, seed=seed
    )
    budget = default_budget() if memory is None else parse_bytes(memory)
    saves = None if checkpoint is None else Saves(checkpoint, save_seconds)
    if is_matrix(A):
        if n_rows is not None:
            raise SpecError(
                "n_rows= is known of a matrix. Leave it out, or pass an iterable of blocks."
            )
        run: _Run = _Stored(as_source(A), options, budget, saves, callback)
    else:
        if passes > 1 and iter(A) is A:
            raise SpecError(
                f"passes={passes} was asked of an iterable that can be gone through once only. Pass a list, or an object "
                "whose iter() begins anew, or passes=1."
            )
        run = _Blocks(A, options, budget, saves, callback, n_rows, replay)
    return run.result(passes)


def is_matrix(A: Any) -> bool:
    """Whether it is a matrix, or the address of one, rather than an iterable of blocks."""
    if isinstance(A, str | Path | np.ndarray | Source):
        return True
    return hasattr(A, "shape") or not hasattr(A, "__iter__")


@dataclass(slots=True, eq=False)
class Saves:
    """A checkpoint, and when it was last used."""

    place: str | os.PathLike[str]
    seconds: float
    _last: float = 0.0
    _store: Checkpoint | None = None

    def begun(self, wanted: dict[str, Any]) -> tuple[TopRows, dict[str, Any]] | None:
        """The state that was saved, and what was said of the run; None if nothing was."""
        self._store = Checkpoint.at(self.place, PURPOSE)
        self._last = time.monotonic()
        found = self._store.newest()
        if found is None:
            return None
        plain, arrays = found
        agreed(plain["run"], wanted, str(self.place))
        return restored(plain["state"], arrays), plain["run"] | {"position": plain["position"]}

    def due(self) -> bool:
        """Whether it is time again."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: TopRows, run: dict[str, Any], position: int) -> None:
        """Save the state at a position."""
        assert self._store is not None
        plain, arrays = packed(state)
        self._store.save({"state": plain, "run": run, "position": position}, arrays)
        self._last = time.monotonic()

    def over(self) -> None:
        """The run is done: nothing to go on from."""
        if self._store is not None:
            self._store.clear()


@dataclass(slots=True, eq=False)
class _Run(ABC):
    """What stored matrices and iterables share."""

    options: StreamOptions
    budget: int
    saves: Saves | None
    notify: Callback

    def result(self, passes: int) -> StreamResult:
        began, start = time.perf_counter(), mark()
        with dense_threads(1), held_memory():
            state = self.first_pass()
            held = state.state_bytes
            found = state.finalize()
            self.warn(found)
            for number in range(2, passes + 1):
                found = self.further_pass(found, number)
        if self.saves is not None:
            self.saves.over()
        return result_of(
            found,
            state.options,
            passes=passes,
            bytes_read=self.bytes_read(passes),
            held=held,
            peak=peak_since(start),
            projected=self.projected(state),
            elapsed=time.perf_counter() - began,
            shuffled=self.mixed(),
            warnings=cautions(found, state.options, state.n_rows, self.few_chunks()),
        )

    def warn(self, found: Found) -> None:
        if self.options.order == "random" and found.order.random is False:
            python_warnings.warn(order_caution(found), OrderWarning, stacklevel=5)

    @abstractmethod
    def first_pass(self) -> TopRows: ...

    @abstractmethod
    def further_pass(self, found: Found, number: int) -> Found: ...

    @abstractmethod
    def bytes_read(self, passes: int) -> int: ...

    @abstractmethod
    def projected(self, state: TopRows) -> int: ...

    def mixed(self) -> int:
        return 0

    def few_chunks(self) -> int | None:
        return None


class _Stored(_Run):
    """A stored matrix: its shape is known, and its chunks can be read in any order."""

    def __init__(
        self,
        source: Source,
        options: StreamOptions,
        budget: int,
        saves: Saves | None,
        notify: Callback,
    ) -> None:
        if source.dtype.kind == "c":
            raise SpecError(f"{source.name} is complex: rows of a stream are real numbers.")
        check_k(options, source.shape[1])
        self.feed, chosen = planned(source, options, budget)
        super().__init__(chosen, budget, saves, notify)

    def first_pass(self) -> TopRows:
        feed = self.feed
        m, n = feed.source.shape
        run = {
            "options": asdict(self.options), "source": feed.source.name, "shape": [m, n],
            "dtype": feed.source.dtype.str, "unit": feed.unit, "mixed": feed.mixed, "rows": fingerprint(feed.source) if self.saves else "",
        }  # fmt: skip
        state, begin = TopRows(self.options, n, m), 0
        saved = None if self.saves is None else self.saves.begun(run)
        if saved is not None:
            state, begin = saved[0], int(saved[1]["position"])
        for index, pieces in self._watched(1, "top eigenvectors", begin):
            try:
                for rows in pieces:
                    state.partial_fit(rows)
            except NonFiniteError:
                feed.complain(index)  # rows are mixed: the entry is somewhere in this window
                raise
            if self.saves is not None and self.saves.due():
                self.saves.save(state, run, index + 1)
        return state

    def further_pass(self, found: Found, number: int) -> Found:
        refinement = Refinement(found)
        for _, pieces in self._watched(number, "exact products", 0):
            for rows in pieces:
                refinement.update(rows)
        return refinement.finalize()

    def _watched(self, number: int, purpose: str, begin: int) -> Iterator[tuple[int, Any]]:
        """Windows of a pass, with its events."""
        self.notify(PassStarted(number, purpose, self.feed.pass_bytes))
        began = time.perf_counter()
        for index, pieces in self.feed.windows(begin):
            yield index, pieces
            self.notify(SpanDone(number, index + 1, self.feed.n_windows))
        self.notify(PassDone(number, purpose, time.perf_counter() - began, None))

    def bytes_read(self, passes: int) -> int:
        return passes * self.feed.pass_bytes

    def projected(self, state: TopRows) -> int:
        return projected_bytes(state.options, state.d) + self.feed.bytes_needed

    def mixed(self) -> int:
        return self.feed.mixed

    def few_chunks(self) -> int | None:
        m, chunk = self.feed.source.shape[0], self.feed.source.chunks[0]
        count = -(-m // min(chunk, m))
        whole = self.feed.n_windows == 1 and self.feed.mixed > 0
        return count if self.feed.mixed and count < FEW_CHUNKS and not whole else None


class _Blocks(_Run):
    """An iterable of blocks, taken as they come."""

    def __init__(
        self,
        blocks: Iterable[Any],
        options: StreamOptions,
        budget: int,
        saves: Saves | None,
        notify: Callback,
        n_rows: int | None,
        replay: bool,
    ) -> None:
        super().__init__(options, budget, saves, notify)
        self.blocks, self.n_rows, self.replay = blocks, n_rows, replay
        self.bytes, self.largest = 0, 0

    def first_pass(self) -> TopRows:
        state, skip = None, 0
        run = {"options": asdict(self.options), "n_rows": self.n_rows}
        saved = None if self.saves is None else self.saves.begun(run)
        if saved is not None:
            state = saved[0]
            skip = int(saved[1]["position"]) if self.replay else 0
        for rows in self._watched(1, "top eigenvectors"):
            if state is None:
                state = TopRows(self._chosen(rows), rows.shape[1], self.n_rows)
            if rows.shape[1] != state.d:
                raise ShapeError(
                    f"a block of shape {rows.shape} came after rows of {state.d} numbers. Every block must be "
                    f"(rows, {state.d})."
                )
            fresh = rows[min(skip, rows.shape[0]) :]
            skip -= rows.shape[0] - fresh.shape[0]
            state.partial_fit(fresh)
            if self.saves is not None and self.saves.due():
                self.saves.save(state, run, state.taken)
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

    def further_pass(self, found: Found, number: int) -> Found:
        refinement = Refinement(found)
        for rows in self._watched(number, "exact products"):
            refinement.update(rows)
        return refinement.finalize()

    def _watched(self, number: int, purpose: str) -> Iterator[np.ndarray[Any, Any]]:
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

    def _chosen(self, rows: np.ndarray[Any, Any]) -> StreamOptions:
        """The options that fit the budget beside a block like the first."""
        check_k(self.options, rows.shape[1])
        return fitted(self.options, rows.shape[1], self.budget, 3 * rows.nbytes, "one block")

    def bytes_read(self, passes: int) -> int:
        return passes * self.bytes

    def projected(self, state: TopRows) -> int:
        return projected_bytes(state.options, state.d) + 3 * self.largest


def as_rows(block: Any) -> np.ndarray[Any, Any]:
    """A block as an array of rows; one row alone is a block of one."""
    if np.ma.isMaskedArray(block):
        raise SpecError(
            "a masked block came: it would lose its mask. Fill it first (block.filled(...)), or leave rows out."
        )
    rows = np.asarray(block)
    if rows.ndim == 1:
        rows = rows[None, :]
    if rows.ndim != 2:
        raise ShapeError(
            f"a block of shape {rows.shape} came. Blocks are (rows, columns), or one row (columns,)."
        )
    return rows


def check_k(options: StreamOptions, n: int) -> None:
    """Refuse more vectors than there are columns, before anything is planned for them."""
    if options.k > n:
        raise SpecError(f"k={options.k} exceeds the {n} columns. Pass k <= {n}.")


def projected_bytes(options: StreamOptions, n: int) -> int:
    """Upper bound of what a stream takes, beside the rows on their way in."""
    return BASE_BYTES + state_bytes(options, n) + work_bytes(options, n)


def fitted(options: StreamOptions, n: int, budget: int, reading: int, what: str) -> StreamOptions:
    """The options that fit beside what reading takes.

    Raises
    ------
    BudgetError
        If the least does not; it names the smallest budget.
    """
    try:
        return within(options, n, budget - BASE_BYTES - reading)
    except BudgetError as error:
        least = error.needs + BASE_BYTES + reading
        raise BudgetError(
            f"a stream of rows of {n:,} numbers for {options.k} eigenvectors, and {what},",
            least,
            budget,
            f"The smallest budget that works is memory={least}.",
        ) from None


def planned(source: Source, options: StreamOptions, budget: int) -> tuple[Feed, StreamOptions]:
    """How to read a stored matrix, and the options, within a budget.

    The state comes first, then whole chunks, then reading ahead, then as many chunks to mix as there is room for.
    """
    m, n = source.shape
    chunk = min(source.chunks[0], m)
    mix = options.order == "auto"
    smallest = Feed(source, min(chunk, 64), 1 if mix else 0, False, options.seed)
    units = [chunk]
    while units[-1] > smallest.unit:
        units.append(max(units[-1] // 2, smallest.unit))
    least = fitted(options, n, budget, smallest.bytes_needed, "64 rows of it")
    for unit in units:
        if unit < chunk and unit % 64:
            unit = max(64, unit // 64 * 64)
        base = replace(smallest, unit=min(unit, chunk))
        room = budget - BASE_BYTES - base.bytes_needed
        if state_bytes(least, n) + work_bytes(least, n) > room:
            continue
        chosen = within(options, n, room)
        left = budget - projected_bytes(chosen, n)
        best = base
        for mixed in range(1, MIXED + 1) if mix else (0,):
            for ahead in (False, True):
                tried = replace(base, mixed=mixed, ahead=ahead)
                if tried.bytes_needed <= left:
                    best = tried
        return best, chosen
    return smallest, least

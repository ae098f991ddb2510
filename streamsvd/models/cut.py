"""How new rows are cut into pieces, each absorbed at once, within the memory.

The bits of a model depend on the cut, and the cut on the budget and on shapes alone: never on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.ordered import WINDOW
from streamsvd.errors import BudgetError
from streamsvd.models.mathematics.incremental import SMALL, TALL
from streamsvd.numerics.range_sketch import OVERSAMPLES, panel_rows
from streamsvd.protocols import Source
from streamsvd.store.versions import ModelSpec

MAX_PIECE_BYTES = 256 << 20
"""Pieces are no larger in double precision than this: beyond it nothing gets faster."""


@dataclass(frozen=True, slots=True)
class PieceCost:
    """What is to be absorbed at once, as far as memory depends on it.

    Attributes
    ----------
    width, directions
        Columns, and directions that the model keeps.
    complex_
        Whether entries are complex.
    left
        Whether left vectors are kept.
    threads
        Panels that are multiplied at once.
    copies
        Bytes of each entry of the rows in copies of them: where columns are multiplied, and where some do not count.
    """

    width: int
    directions: int
    complex_: bool
    left: bool
    threads: int
    copies: int = 0

    @property
    def wide(self) -> int:
        """Bytes of an entry in double precision."""
        return 16 if self.complex_ else 8

    def is_sketched(self, rows: int) -> bool:
        """Whether so many rows are sketched before they are stacked."""
        return min(rows, self.width) > max(TALL * self.directions, SMALL)

    def bytes_needed(self, rows: int) -> int:
        """Upper bound of the memory that absorbing so many rows takes, beside what is read: the largest of its steps.

        The state is there twice, before and after.
        """
        state = 2 * self.directions * self.width * self.wide
        reduced = self.sketch_bytes(rows) if self.is_sketched(rows) else self.copy_bytes(rows)
        left = 3 * rows * min(self.directions, self.width) * self.wide if self.left else 0
        copies = self.copies * rows * self.width
        return BASE_BYTES + state + left + copies + max(reduced, self.stack_bytes(rows))

    def task_bytes(self, rows: int) -> int:
        """Upper bound of what making a part of so many rows takes on one thread, beside what is read."""
        reduced = self.sketch_bytes(rows) if self.is_sketched(rows) else self.copy_bytes(rows)
        return reduced + self.copies * rows * self.width

    def part_bytes(self, rows: int) -> int:
        """A part as it is handed over: its rows, mean and left vectors."""
        sketched = min(rows, self.directions + OVERSAMPLES)
        count = sketched if self.is_sketched(rows) else min(rows, self.width)
        return (count + 1) * (self.width + (rows if self.left else 0)) * self.wide

    def model_bytes(self, rows: int) -> int:
        """What is there once, while parts are made by others: the state before, now and after, what tasks are given of it, a stack."""
        states = 4 * self.directions * self.width * self.wide
        left = rows * self.directions * self.wide if self.left else 0
        return BASE_BYTES + states + left + self.stack_bytes(rows)

    def copy_bytes(self, rows: int) -> int:
        """A short block in double precision; a narrow one is factorised in place, and its factor taken out."""
        return (2 if rows > self.width else 1) * rows * self.width * self.wide

    def sketch_bytes(self, rows: int) -> int:
        """Panels in double precision, before and after their mean is taken out or they are conjugated, and products."""
        columns = self.directions + OVERSAMPLES
        panels = (
            (3 if self.complex_ else 2)
            * self.threads
            * min(rows, panel_rows(self.width))
            * self.width
        )
        # Products that wait, their sum, what they begin from, and what is conjugated.
        products = (self.threads + (14 if self.complex_ else 10)) * columns * self.width
        return (panels + products + 4 * rows * columns) * self.wide

    def stack_bytes(self, rows: int) -> int:
        """The stack of the state and the block; its factorisation, which copies it, and one copy that fits no hole."""
        part = self.directions + OVERSAMPLES if self.is_sketched(rows) else min(rows, self.width)
        stacked = self.directions + part + 2
        copies = 5 if self.complex_ else 4
        small = 8 * min(stacked, self.width) ** 2
        return ((self.directions + part + copies * stacked) * self.width + small) * self.wide


@dataclass(frozen=True, slots=True)
class BlockCut:
    """How new rows are cut.

    Attributes
    ----------
    height, run
        Rows of a piece, and rows that are read at once.
    ahead
        Whether the next are read while these are absorbed.
    projected_bytes
        Upper bound of the memory.
    threads
        Panels that are multiplied at once.
    readers
        Threads that read a run together, each other chunks.
    tasks
        Runs that are read and made parts of at once in a worker of a cluster, each on one thread; 0 where one piece after another is made
        at home, by all threads, while they read the next.
    worker_bytes, found_bytes
        What the tasks of a worker of a cluster take, and what comes home of a run.
    """

    height: int
    run: int
    ahead: bool
    projected_bytes: int
    threads: int = 1
    readers: int = 1
    tasks: int = 0
    worker_bytes: int = 0
    found_bytes: int = 0

    def count_pieces(self, runs: Iterable[tuple[int, int]]) -> int:
        """In how many pieces these runs are absorbed."""
        return sum(-(-(stop - start) // self.height) for start, stop in runs)


USUAL_THREADS = 2
"""Threads for which rows are cut, as bits depend on the cut; with the memory for one alone, for one."""


def plan_cut(
    source: Source,
    spec: ModelSpec,
    count: int,
    kept: int,
    budget: int,
    threads: int,
    copies: int = 0,
    *,
    grows: bool = False,
) -> BlockCut:
    """The cut of ``count`` new rows (or columns): whole chunks read ahead, if the budget allows it.

    Otherwise one chunk at a time, absorbed in shorter pieces; if even that is too much, parts of chunks. How many of
    ``threads`` multiply, read, or make parts at once in it is decided afterwards, by the budget: the cut is the same for any number.
    What ``grows`` and was committed in part is cut where it would have been cut without the commit.

    Raises
    ------
    BudgetError
        If a single row does not fit; it names the smallest budget.
    """
    along = 0 if spec.axis == "rows" else 1
    width, chunk, item = source.shape[1 - along], source.chunks[along], source.dtype.itemsize
    chunk = min(chunk, count)
    turned = along  # columns are copied to become rows
    row = width * item

    def absorbed(rows: int, at_once: int) -> int:
        complex_ = source.dtype.kind == "c"
        return PieceCost(width, kept, complex_, spec.u, at_once, copies).bytes_needed(rows)

    def whole(rows: int, at_once: int) -> int:
        return (1 + turned) * rows * row + source.read_bytes + absorbed(rows, at_once)

    def ahead(rows: int, at_once: int) -> int:
        return (2 + turned) * rows * row + 2 * source.read_bytes + absorbed(rows, at_once)

    def behind(rows: int, at_once: int) -> int:
        return (1 + turned) * chunk * row + source.read_bytes + absorbed(rows, at_once)

    def settled(
        height: int, run: int, read_ahead: bool, need: Callable[[int, int], int]
    ) -> BlockCut:
        together = 1 if turned else run // chunk  # columns are read beside their place, as one
        there = 2 if need is ahead else 1  # readers whose memory is in the need
        cut = _with_threads(
            height, run, read_ahead, need, budget, threads, together, there, source.read_bytes
        )
        if not is_on_cluster():
            return cut
        cost = PieceCost(width, kept, source.dtype.kind == "c", spec.u, 1, copies)
        run = min(run, count)
        reading = (1 + turned) * run * row + source.read_bytes
        return _in_tasks(cut, cost, run, reading, 0 if grows else run * row, budget, threads)

    most = max(1, MAX_PIECE_BYTES // max(8 * width, 1))
    for usual in range(USUAL_THREADS, 0, -1):
        high = _largest(partial(ahead, at_once=usual), most, budget)
        # Not of equal size: a run that goes on after a kill must cut where it would have cut.
        rows = high // chunk * chunk
        fits = count <= most and whole(count, usual) <= budget
        if fits and not (grows and 0 < rows < count):
            return settled(count, count, True, whole)
        if rows:
            return settled(rows, rows, True, ahead)
        short = _largest(partial(behind, at_once=usual), min(most, chunk), budget)
        if short:
            return settled(short, chunk, False, behind)
        if high:
            return settled(high, high, True, ahead)
    least = min(ahead(1, 1), behind(1, 1), whole(count, 1))
    raise BudgetError(
        f"absorbing one row of {width:,} into {kept} directions",
        least,
        budget,
        f"Pass memory={least} or more, or keep fewer directions.",
    )


def _with_threads(
    height: int,
    run: int,
    read_ahead: bool,
    need: Callable[[int, int], int],
    budget: int,
    threads: int,
    together: int,
    there: int,
    read_bytes: int,
) -> BlockCut:
    """A cut with as many threads as there is memory for: to multiply, then to read up to ``together`` parts of a run.

    The memory of so many readers as are ``there`` is in the need.
    """
    fit = (t for t in range(threads, 0, -1) if need(height, t) <= budget)
    at_once = next(fit, 1)
    needed = need(height, at_once)
    together = max(1, min(threads, together))
    while together > there and needed + (together - there) * read_bytes > budget:
        together -= 1
    needed += max(0, together - there) * read_bytes
    return BlockCut(height, run, read_ahead, needed, at_once, together)


def _in_tasks(
    cut: BlockCut, cost: PieceCost, run: int, reading: int, kept: int, budget: int, threads: int
) -> BlockCut:
    """The cut with tasks of a run of rows each for a cluster: one for each thread of a worker, or as many as there is memory for.

    Parameters
    ----------
    cut, cost
        As it is, and what a piece takes on one thread.
    run, reading, kept
        Rows of a run, bytes that reading it takes, and those of it that go with its parts.
    budget, threads
        Bytes, and tasks at most.
    """
    height = min(cut.height, run)
    task = reading + cost.task_bytes(height)
    found = -(-run // cut.height) * cost.part_bytes(height) + kept
    home = cost.model_bytes(height)
    for tasks in range(threads, 0, -1):
        worker = BASE_BYTES + tasks * (task + WINDOW * found)
        needed = max(home + 3 * found, worker)
        if needed <= budget:
            needed = max(
                needed, cut.projected_bytes
            )  # what is compared with the model is read at home
            return replace(
                cut, tasks=tasks, projected_bytes=needed, worker_bytes=worker, found_bytes=found
            )
    return cut


def _largest(need: Callable[[int], int], most: int, budget: int) -> int:
    """Most rows whose need is within the budget; 0 if one is too many."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if need(middle) <= budget else (low, middle - 1)
    return low

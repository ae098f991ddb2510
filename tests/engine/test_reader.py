"""Blocks: their cut is that of the matrix and its options, whatever the memory; they are checked, and valid while used."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.engine import task as task_module
from streamsvd.engine.device import NumpyBackend, thread_backend
from streamsvd.engine.layout import Layout
from streamsvd.engine.panel_cache import PanelCache
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.schedule import row_spans
from streamsvd.engine.task import HomeTask, RunCancelled, Work, run_span
from streamsvd.errors import NonFiniteError, SpecError

WIDTH = 3
HOME = HomeTask("a run of these tests")


@dataclass
class Stored:
    """A matrix in memory, in chunks of so many rows; knows what was read of it, and by which threads."""

    A: Any
    chunk: int
    seen: list[slice] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    name = "stored"
    read_bytes = 0

    shape = property(lambda self: self.A.shape)
    dtype = property(lambda self: self.A.dtype)
    nbytes = property(lambda self: self.A.nbytes)
    chunks = property(lambda self: (self.chunk, 2))

    def read(self, rows: slice, columns: slice, out: Any, /) -> None:
        self.seen.append(rows)
        self.threads.add(threading.current_thread().name)
        out[...] = self.A[rows, columns]

    def locate(self, row: int, column: int, /) -> str:
        return f"chunk ({row // self.chunk}, {column // 2})"


def matrix(m: int) -> Any:
    return np.arange(float(m * WIDTH)).reshape(m, WIDTH)


def even(m: int, chunk: int, height: int, panel: int, most: int = 4) -> MatrixReader:
    """Blocks of a height, read in panels of so many rows, in a few spans."""
    source = Stored(matrix(m), chunk)
    spans = row_spans(source, height, most)
    layout = Layout("rows", m, WIDTH, min(chunk, m), height, panel, spans, even=True)
    return MatrixReader(source, layout, prefetch=False)


def copies(reader: MatrixReader, device: Any = None) -> list[tuple[int, Any]]:
    """First row and entries of every block, copied while it is valid."""
    device = NumpyBackend() if device is None else device
    return [
        (block.first, block.float64_on_host(device))
        for span in reader.spans
        for block in reader.blocks(span, device, HOME)
    ]


def assert_equal_blocks(found: Any, expected: Any) -> None:
    assert [first for first, _ in found] == [first for first, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


sizes = st.tuples(st.integers(1, 90), st.integers(1, 20), st.integers(1, 25), st.integers(1, 50))


@given(sizes)
def test_even_blocks_depend_on_neither_panel_nor_chunk_inside_a_span(size):
    m, chunk, height, panel = size
    reader = even(m, chunk, height, panel)
    expected = [
        (a, matrix(m)[a : min(a + height, stop)])
        for start, stop in reader.spans
        for a in range(start, stop, height)
    ]
    assert_equal_blocks(copies(reader), expected)


@given(sizes, st.integers(1, 4))
def test_reading_ahead_gives_the_same_blocks_from_other_threads(size, readers):
    plain = even(*size)
    source = Stored(plain.source.A, plain.source.chunk)
    ahead = replace(plain, prefetch=True, source=source, readers=readers)
    assert_equal_blocks(copies(ahead), copies(plain))
    home = threading.current_thread().name
    assert plain.source.threads == {home}
    several = any(b - a > plain.layout.panel for a, b in ahead.spans)
    others = {name.partition("_")[0] for name in ahead.source.threads - {home}}
    assert others == ({"streamsvd-read"} if several else set())
    assert sorted(ahead.source.seen, key=str) == sorted(plain.source.seen, key=str)


class Patience:
    """A task that is cancelled after some checks."""

    sink = None

    def __init__(self, checks: int) -> None:
        self.left = checks

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise RunCancelled("interrupted")


class CountBlocks:
    """A pass that does nothing but count."""

    count = 0

    def init(self, device: Any) -> None:
        return None

    def update(self, state: None, block: Any) -> None:
        self.count += 1


def test_a_task_that_is_cancelled_stops_before_the_next_block_not_the_next_panel():
    reader, counting = even(60, 5, 6, 60), CountBlocks()
    assert len(reader.spans) == 4
    with pytest.raises(RunCancelled):
        whole = replace(reader, layout=replace(reader.layout, spans=((0, 60),)))
        whole.run(counting, (0, 60), NumpyBackend(), Patience(4))  # one for the panel
    assert counting.count == 3


@given(sizes, st.booleans())
def test_what_is_cached_is_the_same_and_read_once(size, ahead):
    plain = even(*size)
    source = Stored(plain.source.A, plain.source.chunk)
    cached = replace(plain, source=source, prefetch=ahead, cache=PanelCache())
    whole = cached.cost(cached.spans, None)
    for part in ([], cached.spans[:1], cached.spans):
        assert cached.cached_bytes(part, None) == 0
    assert_equal_blocks(copies(cached), copies(plain))
    assert sorted(source.seen, key=str) == sorted(plain.source.seen, key=str)
    count = len(source.seen)
    assert cached.cached_bytes(cached.spans, None) == whole
    assert all(cached.is_cached(span) for span in cached.spans)
    assert_equal_blocks(copies(cached), copies(plain))
    assert len(source.seen) == count


@given(sizes)
def test_each_row_is_read_once_and_panels_are_no_longer_than_the_layout_says(size):
    reader = even(*size)
    copies(reader)
    counts = np.zeros(reader.layout.length, int)
    for rows in reader.source.seen:
        assert rows.stop - rows.start <= reader.layout.panel
        counts[rows] += 1
    assert (counts == 1).all()


def test_blocks_are_the_same_on_a_device(no_hidden_sync):
    reader = even(50, 7, 6, 10)
    assert_equal_blocks(copies(reader, thread_backend("strict")), copies(reader))


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("is_even", [False, True])
def test_a_block_is_valid_until_the_next_is_asked_for(prefetch, is_even):
    reader = even(60, 10, 5, 10, most=1)
    reader = replace(reader, prefetch=prefetch, layout=replace(reader.layout, even=is_even))
    blocks = reader.blocks((0, 60), NumpyBackend(), HOME)
    for block in blocks:
        rows = slice(block.first, block.first + block.n_rows)
        np.testing.assert_array_equal(block.data, reader.source.A[rows])
        assert block.columns == slice(0, WIDTH)


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_panel_is_read_into_memory_that_no_block_in_use_lies_in(prefetch):
    """What is read next goes to the other buffer, also where it comes before the block is done with."""
    came = threading.Semaphore(0)

    class Told(Stored):
        def read(self, rows: slice, columns: slice, out: Any, /) -> None:
            super().read(rows, columns, out)
            came.release()

    base = even(40, 10, 10, 10, most=1)
    reader = replace(base, prefetch=prefetch, source=Told(matrix(40), 10))
    for panels, block in enumerate(reader.blocks((0, 40), NumpyBackend(), HOME), start=1):
        assert came.acquire(timeout=10)
        if prefetch and panels == 1:
            assert came.acquire(timeout=10)  # the second panel is there while the first is used
            came.release()
        rows = slice(block.first, block.first + block.n_rows)
        np.testing.assert_array_equal(block.data, reader.source.A[rows])


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
@pytest.mark.parametrize("prefetch", [False, True])
def test_a_checked_reader_names_row_column_and_chunk_of_the_first_bad_entry(value, word, prefetch):
    reader = even(60, 10, 7, 10)
    reader.source.A[43, 2] = reader.source.A[44, 0] = value
    copies(reader)  # who does not check reads on
    checked = replace(reader, checks_entries=True, prefetch=prefetch)
    words = "Mend or leave out the row" if word == "NaN" else "Mend it where it was made"
    with pytest.raises(NonFiniteError, match=words) as caught:
        copies(checked)
    error = caught.value
    assert (error.value, error.row, error.column) == (word, 43, 2)
    assert error.chunk == "chunk (4, 1)"


def test_a_checked_reader_tells_the_largest_entry_and_refuses_what_squares_lose():
    reader = replace(even(60, 10, 7, 10), checks_entries=True)
    for span in reader.spans:
        for block in reader.blocks(span, NumpyBackend(), HOME):
            assert block.largest is not None
            assert block.largest >= np.abs(block.data).max()
    reader.source.A[43, 2] = 1e200
    with pytest.raises(SpecError, match="1e\\+200"):
        copies(reader)


@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("is_even", [False, True])
def test_a_cancelled_run_stops_at_its_next_panel(prefetch, is_even, monkeypatch):
    reader = even(90, 10, 10, 10, most=1)
    reader = replace(reader, prefetch=prefetch, layout=replace(reader.layout, even=is_even))

    class Cancelled:
        """A pass during which its run is cancelled."""

        def init(self, device: Any) -> int:
            return 0

        def update(self, state: int, block: Any) -> int:
            monkeypatch.setattr(task_module, "cancelled_runs", {"it"})
            return state + 1

        def close(self, state: int) -> int:
            raise AssertionError("it went on to the end")

    with pytest.raises(RunCancelled, match="interrupted"):
        run_span(Work(reader, Cancelled(), "cpu", "it"), (0, 90))
    assert len(reader.source.seen) <= (3 if prefetch else 1)  # those that were on their way


def test_who_stops_in_the_middle_leaves_no_reading_thread():
    reader = replace(even(90, 10, 10, 10, most=1), prefetch=True)
    blocks = reader.blocks((0, 90), NumpyBackend(), HOME)
    next(blocks)
    blocks.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("streamsvd-read")]

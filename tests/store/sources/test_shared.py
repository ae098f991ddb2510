"""One read for several readers: each gets what is there, the store is asked once, and nobody waits for ever."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from streamsvd.errors import StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.views.shared import SharedReading
from streamsvd.testing import assert_source

M, N = 200, 6
CHUNK = 10
STRIP = CHUNK * N * 4


class Counted:
    """A matrix in chunks of ten rows (or columns), which counts what is asked of it and may fail in one row."""

    name = "counted"

    def __init__(self, A: np.ndarray, chunks: tuple[int, int], broken_row: int = -1) -> None:
        self.A, self.chunks, self.broken_row = A, chunks, broken_row
        self.shape, self.dtype, self.nbytes, self.read_bytes = A.shape, A.dtype, A.nbytes, 0
        self.asked = 0

    def read(self, rows: slice, columns: slice, out: np.ndarray) -> None:
        self.asked += out.nbytes
        if rows.start <= self.broken_row < rows.stop:
            raise StoreError("broken")
        out[...] = self.A[rows, columns]

    def locate(self, row: int, column: int) -> str:
        return "counted"


def matrix(m: int = M, n: int = N) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((m, n)).astype("f4")


def sweep(source: Any, height: int, axis: int = 0) -> np.ndarray:
    """The whole, panel by panel."""
    out = np.empty(source.shape, source.dtype)
    length = source.shape[axis]
    for start in range(0, length, height):
        run, whole = slice(start, min(start + height, length)), slice(None)
        rows, columns = (run, whole) if axis == 0 else (whole, run)
        part = np.empty(out[rows, columns].shape, source.dtype)
        source.read(rows, columns, part)
        out[rows, columns] = part
    return out


def at_once(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    calls = list(calls)
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def read_by(reading: SharedReading, reader: int, work: Callable[[Any], Any]) -> Callable[[], Any]:
    """A reader that leaves when it is done."""

    def call() -> Any:
        try:
            return work(reading.source(reader))
        finally:
            reading.leave(reader)

    return call


def test_it_is_a_source_as_any():
    A = matrix(40)
    assert_source(SharedReading(open_source(A), 1, 10**6).source(0), like=A)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("strips", [2, 3, 7, 100])
@pytest.mark.parametrize("heights", [(10, 10, 10), (10, 30, 200), (20, 50, 70)])
def test_three_readers_ask_the_store_once(axis, strips, heights):
    A = matrix()
    A = A if axis == 0 else np.ascontiguousarray(A.T)
    whole = Counted(A, (CHUNK, N) if axis == 0 else (N, CHUNK))
    reading = SharedReading(whole, 3, strips * STRIP)
    found = at_once(
        read_by(reading, k, lambda source, h=h: sweep(source, h, axis))
        for k, h in enumerate(heights)
    )
    for values in found:
        np.testing.assert_array_equal(values, A)
    assert whole.asked == reading.bytes_read == A.nbytes


def test_panels_that_end_within_a_chunk_are_read_in_part():
    A, heights = matrix(), (25, 35)
    whole = Counted(A, (CHUNK, N))
    reading = SharedReading(whole, 2, 5 * STRIP)
    for values in at_once(
        read_by(reading, k, lambda source, h=h: sweep(source, h)) for k, h in enumerate(heights)
    ):
        np.testing.assert_array_equal(values, A)
    assert A.nbytes <= whole.asked < 1.5 * A.nbytes


def test_several_passes_cost_as_many_reads_as_the_reader_of_most():
    A = matrix()
    whole = Counted(A, (CHUNK, N))
    reading = SharedReading(whole, 3, 4 * STRIP)
    at_once(
        read_by(reading, k, lambda source, count=count: [sweep(source, 20) for _ in range(count)])
        for k, count in enumerate((3, 1, 2))
    )
    assert whole.asked <= 3 * A.nbytes * 1.15


def test_who_is_ahead_waits_until_the_others_come_or_leave():
    A = matrix()
    reading = SharedReading(Counted(A, (CHUNK, N)), 2, 3 * STRIP)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(sweep, reading.source(0), CHUNK)
        while 0 not in reading._waiting:
            assert not ahead.done()
        assert len(reading._strips) == 3
        reading.leave(1)
        np.testing.assert_array_equal(ahead.result(), A)
    assert not reading._strips


def test_readers_that_have_parted_do_not_wait_for_one_another():
    A = matrix()
    reading = SharedReading(Counted(A, (CHUNK, N)), 2, 2 * STRIP)
    half = M // 2

    def from_the_middle(source: Any) -> np.ndarray:
        out = np.empty((half, N), "f4")
        for start in range(half, M, CHUNK):
            source.read(slice(start, start + CHUNK), slice(None), out[start - half :][:CHUNK])
        return out

    def later(source: Any) -> np.ndarray:
        while 1 not in reading._waiting and reading._present == {0, 1}:
            pass
        return sweep(source, CHUNK)

    first, second = at_once([read_by(reading, 0, later), read_by(reading, 1, from_the_middle)])
    np.testing.assert_array_equal(first, A)
    np.testing.assert_array_equal(second, A[half:])


def test_a_sample_is_not_kept_for_others():
    reading = SharedReading(Counted(matrix(), (CHUNK, N)), 2, 4 * STRIP)
    for start in (50, 120, 90):
        reading.source(0).read(slice(start, start + CHUNK), slice(None), np.empty((CHUNK, N), "f4"))
    assert not reading._strips
    assert reading.bytes_read == 3 * STRIP


def test_what_cannot_be_read_is_an_error_of_every_reader_who_comes_to_it():
    A = matrix()
    reading = SharedReading(Counted(A, (CHUNK, N), broken_row=77), 3, 3 * STRIP)

    def until_it_breaks(source: Any) -> str:
        with pytest.raises(StoreError, match="broken"):
            sweep(source, 20)
        return "told"

    calls = [read_by(reading, k, until_it_breaks) for k in range(3)]
    assert at_once(calls) == ["told"] * 3
    assert not reading._strips


def test_a_reading_that_is_cancelled_interrupts_who_waits_and_who_comes():
    reading = SharedReading(Counted(matrix(), (CHUNK, N)), 2, 2 * STRIP)
    stopped = threading.Event()

    def wait_for_ever() -> None:
        with pytest.raises(KeyboardInterrupt):
            sweep(reading.source(0), CHUNK)
        stopped.set()

    thread = threading.Thread(target=wait_for_ever)
    thread.start()
    while 0 not in reading._waiting:
        assert thread.is_alive()
    reading.cancel()
    thread.join()
    assert stopped.is_set()
    with pytest.raises(KeyboardInterrupt):
        sweep(reading.source(1), CHUNK)


def test_a_copy_for_another_process_reads_alone():
    A = matrix()
    source = SharedReading(open_source(A), 2, 2 * STRIP).source(0)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(sweep(copy, 30), A)


def test_rows_that_all_look_at_are_read_once():
    A = matrix()
    whole = Counted(A, (CHUNK, N))
    reading = SharedReading(whole, 3, 4 * STRIP)
    for reader in range(3):
        for row in (0, 77, M - 1):
            out = np.empty((1, N), "f4")
            reading.source(reader).read(slice(row, row + 1), slice(None), out)
            np.testing.assert_array_equal(out[0], A[row])
    assert whole.asked == 3 * N * 4


def test_what_is_remembered_of_small_reads_is_bounded():
    A = np.arange(400_000, dtype="f8").reshape(-1, 200)
    reading = SharedReading(Counted(A, (1000, 200)), 2, 10_000)
    for row in range(0, 2000, 40):
        out = np.empty((40, 200))
        reading.source(0).read(slice(row, row + 40), slice(None), out)
        np.testing.assert_array_equal(out, A[row : row + 40])
    assert sum(values.nbytes for values in reading._small_reads.values()) <= 1 << 20

from __future__ import annotations

import pickle

import numpy as np
import pytest

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source

A = np.arange(13 * 4, dtype="f4").reshape(13, 4)


class Reader:
    """The user's own storage; counts what it is asked for."""

    def __init__(self, chunks=None, dtype="f4", answer=lambda block: block):
        self.shape, self.dtype, self.chunks = A.shape, dtype, chunks
        self.answer, self.asked = answer, []

    def read(self, rows):
        self.asked.append((rows.start, rows.stop))
        return self.answer(A[rows])


@pytest.mark.parametrize("chunks", [None, (5, 4), (5, 2), ((5, 5, 3), (4,)), [np.int64(5), 100]])
def test_any_rectangle_is_read_in_blocks_of_the_readers_own_grid(read, chunks):
    reader = Reader(chunks)
    source = open_source(reader)
    np.testing.assert_array_equal(read(source, slice(3, 11), slice(1, 3)), A[3:11, 1:3])
    assert reader.asked == ([(3, 11)] if chunks is None else [(3, 5), (5, 10), (10, 11)])
    assert source.chunks == ((13, 4) if chunks is None else (5, 4))
    assert source.read_bytes == 2 * 4 * 4 * (13 if chunks is None else 5)
    assert source.locate(7, 0) == (
        "rows 0:13 of Reader" if chunks is None else "rows 5:10 of Reader"
    )


def wide(block):
    return np.hstack([block, block])


def failing(block):
    raise FileNotFoundError(2, "No such file", "tape 3")


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (
            wide,
            ShapeError,
            r"Reader.read\(slice\(0, 13\)\) returned float32 \(13, 8\); .* float32 \(13, 4\)",
        ),
        (lambda block: block[:-1], ShapeError, r"returned float32 \(12, 4\)"),
        (lambda block: block.astype("f8"), ShapeError, r"returned float64 \(13, 4\)"),
        (lambda block: None, ShapeError, r"returned object \(\)"),
        (failing, StoreError, "cannot read rows 0:13 of Reader, tape 3: No such file"),
    ],
)
def test_every_answer_is_checked(read, answer, error, words):
    with pytest.raises(error, match=words):
        read(open_source(Reader(answer=answer)))


def test_byte_order_is_the_readers_own_affair(read):
    source = open_source(Reader(dtype=">f4", answer=lambda block: block.astype(">f4")))
    assert source.dtype == np.float32
    np.testing.assert_array_equal(read(source), A)


@pytest.mark.parametrize("chunks", [(5,), (0, 4), (5, -1), (2.5, 4), ("5", "4"), (5, 4, 3)])
def test_chunks_must_be_two_positive_numbers(chunks):
    with pytest.raises(
        SpecError, match=r"Reader.chunks is .*two positive numbers, \(rows, columns\), or None"
    ):
        open_source(Reader(chunks))


def test_a_reader_that_pickles_makes_a_source_that_does(read):
    source = pickle.loads(pickle.dumps(open_source(PickledReader())))
    np.testing.assert_array_equal(read(source), A)


class PickledReader:
    shape, dtype = A.shape, A.dtype

    def read(self, rows):
        return A[rows]

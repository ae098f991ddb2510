from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.store.sources.files import raw
from streamsvd.store.sources.files.raw import read_box


@st.composite
def reads(draw):
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    box = []
    for extent in shape:
        start = draw(st.integers(0, extent - 1))
        box.append(slice(start, draw(st.integers(start + 1, extent))))
    order = draw(st.permutations(range(len(shape))))
    return shape, tuple(box), tuple(order), draw(st.sampled_from(["<f4", ">f4", "<i2"]))


@given(reads(), st.sampled_from([1, 16, 1 << 20]), st.sampled_from([0, 8192]), st.booleans())
def test_a_box_is_read_whatever_the_order_of_its_place(case, block, page, padded):
    shape, box, order, dtype = case
    array = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    file = io.BytesIO(b"header" + array.tobytes())
    lengths = np.array([part.stop - part.start for part in box])
    memory = np.full(
        lengths[list(order)] + 2 * padded, -1.0, dtype=np.dtype(dtype).newbyteorder("=")
    )
    place = memory[tuple(slice(0, n) for n in lengths[list(order)])].transpose(np.argsort(order))
    before = raw.BLOCK_BYTES, raw.WHOLE_BYTES
    raw.BLOCK_BYTES, raw.WHOLE_BYTES = block, page
    try:
        read_box(file, 6, shape, array.dtype, box, place)
    finally:
        raw.BLOCK_BYTES, raw.WHOLE_BYTES = before
    np.testing.assert_array_equal(place, array[box])


def test_a_file_that_ends_early_says_where():
    file = io.BytesIO(bytes(100))
    with pytest.raises(EOFError, match="ends at byte 100, 20 bytes too early"):
        read_box(
            file, 0, (10, 3), np.dtype("f4"), (slice(0, 10), slice(0, 3)), np.empty((10, 3), "f4")
        )


def test_transient_memory_is_two_blocks(tmp_path):
    array = np.ones((2000, 3000), "f4")
    path = tmp_path / "a.bin"
    path.write_bytes(array.tobytes())
    out = np.empty((3000, 2000), "f4")
    with path.open("rb", buffering=0) as file:
        tracemalloc.start()
        try:
            read_box(file, 0, array.shape, array.dtype, (slice(0, 2000), slice(0, 3000)), out.T)
            read_box(
                file, 0, array.shape, array.dtype, (slice(0, 2000), slice(1, 3000)), out.T[:, 1:]
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak <= 2 * raw.BLOCK_BYTES + (
        1 << 17
    )  # and what threads of earlier tests take meanwhile

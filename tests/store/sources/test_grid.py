from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.store.sources.zarr_store.grid import chunk_pieces


@st.composite
def cuts(draw):
    chunk = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    box = []
    for _ in chunk:
        start = draw(st.integers(0, 6))
        box.append(slice(start, start + draw(st.integers(1, 7))))
    return tuple(box), chunk


@given(cuts())
def test_pieces_cover_a_rectangle_once(case):
    box, chunk = case
    shape = [part.stop - part.start for part in box]
    seen = np.zeros(shape, int)
    for piece in chunk_pieces(box, chunk):
        seen[piece.target_box] += 1
        for axis, part in enumerate(piece.chunk_box):
            assert 0 <= part.start < part.stop <= chunk[axis]
            begin = piece.coords[axis] * chunk[axis] + part.start
            assert begin == box[axis].start + piece.target_box[axis].start
    assert (seen == 1).all()
    assert math.prod(shape) == seen.sum()

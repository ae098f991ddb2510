from __future__ import annotations

import numpy as np
import pytest

from streamsvd.errors import SpecError
from streamsvd.store.sources import open_source


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "c8", "i1", "u2", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_without_a_copy_of_it(read, dtype, order):
    array = np.asarray(np.arange(12).reshape(3, 4), dtype=dtype, order=order)
    source = open_source(array)
    assert source.read_bytes == 0
    assert np.shares_memory(source.array, array)
    assert source.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(read(source, slice(1, 3), slice(2, 4)), array[1:, 2:])


def test_more_dimensions_are_flattened(read):
    array = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(
        read(open_source(array, rows=1)), array.transpose(1, 0, 2).reshape(3, 8)
    )


def test_natural_chunks_are_rows_of_about_a_mebibyte_and_strips_of_long_ones():
    assert open_source(np.empty((5000, 1 << 10), "f4")).chunks == (256, 1 << 10)
    assert open_source(np.empty((3, 1 << 20), "f4")).chunks == (1, 1 << 16)
    assert open_source(np.empty((3, 4), "f4")).chunks == (3, 4)


@pytest.mark.parametrize("dtype", ["?", "M8[s]", "m8[s]", "U4", "O", "i4,f4"])
def test_values_that_are_not_numbers_are_refused_with_advice(dtype):
    with pytest.raises(
        SpecError,
        match=r"ndarray holds .* values; a matrix needs integers, floats or complex\. \w+",
    ):
        open_source(np.zeros((3, 4), dtype))


def test_what_is_masked_is_read_as_nan():
    A = open_source(np.ma.masked_greater(np.arange(6, dtype="i2").reshape(2, 3), 4))
    out = np.empty((2, 3), A.dtype)
    A.read(slice(0, 2), slice(0, 3), out)
    assert A.dtype == np.float32
    np.testing.assert_array_equal(out, [[0, 1, 2], [3, 4, np.nan]])

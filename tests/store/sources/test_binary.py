"""Files of numbers without a header: type and extents are given, and held to the bytes that are there."""

from __future__ import annotations

import os

import numpy as np
import pytest

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.testing import assert_source

A = np.arange(13 * 7).reshape(13, 7)


@pytest.mark.parametrize("dtype", ["f4", ">i2", "c8", "u1"])
@pytest.mark.parametrize("name", ["a.bin", "a.DAT", "a.raw", "a.frames", "a"])
def test_any_rectangle_is_the_one_of_the_array(tmp_path, dtype, name):
    path = tmp_path / name
    path.write_bytes(b"head" + A.astype(dtype).tobytes())
    source = open_source(path, dtype=dtype, shape=(13, 7), offset=4)
    assert_source(source, A.astype(np.dtype(dtype).newbyteorder("=")))
    assert source.path.is_absolute()


def test_more_dimensions_are_flattened(tmp_path):
    cube = np.arange(24.0).reshape(2, 3, 4)
    cube.tofile(tmp_path / "a.bin")
    source = open_source(tmp_path / "a.bin", rows=(2, 0), dtype="f8", shape=[2, 3, 4])
    assert_source(source, cube.transpose(2, 0, 1).reshape(8, 3))


def test_what_is_not_given_is_asked_for(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(100))
    with pytest.raises(SpecError, match=r"100 bytes without a header.*pass dtype= and shape="):
        open_source(tmp_path / "a.bin")
    with pytest.raises(SpecError, match=r"pass shape=, such as"):
        open_source(tmp_path / "a.bin", dtype="f4")
    with pytest.raises(SpecError, match=r"pass dtype=, such as"):
        open_source(tmp_path / "a.bin", shape=(5, 5))
    with pytest.raises(SpecError, match="offset=4 belongs to|belongs to"):
        open_source(np.eye(3), offset=4)


def test_a_shape_is_held_to_the_size_of_the_file(tmp_path):
    path = tmp_path / "a.bin"
    A.astype("f4").tofile(path)
    with pytest.raises(
        StoreError,
        match=r"has 364 bytes from byte 0 on.*\(10, 7\) take 280.*shape=\(13, 7\) would fit",
    ):
        open_source(path, dtype="f4", shape=(10, 7))
    with pytest.raises(StoreError, match=r"take 728\. shape=\(6, 7\)|Correct the type"):
        open_source(path, dtype="f8", shape=(13, 7))
    with pytest.raises(StoreError, match="has 0 bytes from byte 9,999 on"):
        open_source(path, dtype="f4", shape=(13, 7), offset=9999)
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(path, dtype="f4", shape=(91,))
    with pytest.raises(SpecError, match="bool values"):
        open_source(path, dtype="?", shape=(52, 7))
    with pytest.raises(SpecError, match="no type of numbers"):
        open_source(path, dtype="floaty", shape=(13, 7))
    with pytest.raises(SpecError, match="is no shape"):
        open_source(path, dtype="f4", shape=(0, 7))


def test_a_file_that_changes_while_it_is_read_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "a.bin"
    A.astype("f4").tofile(path)
    source = open_source(path, dtype="f4", shape=(13, 7))
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match=f"{path} has changed since it was opened"):
        read(source)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="is shorter than it was"):
        read(source)

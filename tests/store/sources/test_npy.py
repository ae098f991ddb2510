from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.files import raw
from streamsvd.store.sources.files.npy import NpySource
from streamsvd.store.sources.objects.arrays import ArraySource

A = np.arange(13 * 7, dtype="f4").reshape(13, 7)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "c8", "i1", "u2", ">i4", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_rectangle_is_the_one_of_the_array(tmp_path, read, dtype, order):
    array = np.asarray(A, dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    source = pickle.loads(pickle.dumps(open_source(tmp_path / "a.npy")))
    assert source.dtype == np.dtype(dtype).newbyteorder("=")
    for rows, columns in (
        (slice(None), slice(None)),
        (slice(3, 9), slice(2, 3)),
        (slice(5, 5), slice(None)),
    ):
        np.testing.assert_array_equal(read(source, rows, columns), array[rows, columns])


@pytest.mark.parametrize("order", ["C", "F"])
def test_more_dimensions_are_flattened(tmp_path, read, order):
    array = np.asarray(np.arange(2 * 3 * 4.0).reshape(2, 3, 4), order=order)
    np.save(tmp_path / "a.npy", array)
    source = open_source(tmp_path / "a.npy", rows=(2, 0))
    np.testing.assert_array_equal(read(source), array.transpose(2, 0, 1).reshape(8, 3))


def test_a_whole_memory_map_is_read_through_its_file(tmp_path, read):
    np.save(tmp_path / "a.npy", A)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    whole, part, private = (
        open_source(array)
        for array in (mapped, mapped[3:], np.load(tmp_path / "a.npy", mmap_mode="c"))
    )
    assert isinstance(whole, NpySource)
    assert isinstance(part, ArraySource)
    assert isinstance(private, ArraySource)
    np.testing.assert_array_equal(read(whole), A)
    np.testing.assert_array_equal(read(part), A[3:])


@pytest.mark.parametrize("order", ["C", "F"])
def test_resident_memory_does_not_grow_with_the_file(tmp_path, order):
    rows, columns, height = 32768, 500, 1024  # 64 MiB, read in panels of 2 MiB
    path = tmp_path / "a.npy"
    mapped = np.lib.format.open_memmap(
        path, "w+", "f4", (rows, columns), fortran_order=order == "F"
    )
    mapped[::7] = 1
    mapped.flush()
    del mapped
    code = f"""
import resource, numpy as np
from streamsvd.store.sources import open_source
from streamsvd.store.sources.files import raw
source = open_source({str(path)!r})
out = np.ones(({height}, {columns}), 'f4')
source.read(slice(0, 10), slice(None), out[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, {rows}, {height}):
    source.read(slice(start, start + {height}), slice(None), out)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)


SHAPES = [(1500, 20000), (200, 5000), (20, 100_000), (3000, 2100), (100, 60), (5, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["i1", "f4"])
def test_a_file_is_read_along_either_axis_for_little_more_than_is_asked(
    tmp_path, monkeypatch, shape, order, dtype
):
    """Runs of chunks in whole lines of them along both axes: what a pass, or a sample, asks for."""
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(shape, dtype, order=order))
    source = open_source(path)
    read = 0

    def counted(file, start, target):
        nonlocal read
        read += target.nbytes
        file.seek(start)
        return file.readinto(target.data)

    def apart(number, buffers, position):
        nonlocal read
        read += sum(buffer.nbytes for buffer in buffers)
        return before(number, buffers, position)

    before = os.preadv
    monkeypatch.setattr(raw, "read_into", counted)
    monkeypatch.setattr(os, "preadv", apart)
    for axis in (0, 1):
        chunk = source.chunks[axis]
        for start in range(0, min(shape[axis], 5 * chunk), chunk):
            part = [slice(None), slice(None)]
            part[axis] = slice(start, min(start + chunk, shape[axis]))
            out = np.ones([len(range(n)[p]) for n, p in zip(shape, part, strict=True)], dtype)
            read = 0
            source.read(*part, out)
            assert not out.any()
            assert out.nbytes <= read <= 1.15 * out.nbytes


@pytest.mark.parametrize("order", ["C", "F"])
def test_long_lines_are_cut_into_strips_of_runs_worth_a_read(tmp_path, order):
    np.save(tmp_path / "a.npy", np.zeros((1500, 20000), "i1", order=order))
    rows, columns = open_source(tmp_path / "a.npy").chunks
    if order == "F":  # columns of 1500 bytes lie so close that they are read whole
        assert (rows, columns) == (1500, 699)
    else:
        assert rows == 52
        assert 1024 <= columns <= 20000 / 16


def test_lines_are_those_of_the_flattened_array(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((30, 40, 500), "f4"))
    chunks = {rows: open_source(tmp_path / "a.npy", rows=rows).chunks for rows in (0, (1, 2), 1)}
    assert chunks[0] == (13, 1250)
    assert chunks[1, 2] == (1250, 13)
    assert chunks[1] == (17, 15000)  # neither rows nor columns lie together


def test_a_pass_along_the_columns_of_a_file_has_a_sample_worth_a_fifth_of_it_at_most(tmp_path):
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", "i1", (1500, 20000)).flush()
    plan = streamsvd.plan_svd(tmp_path / "a.npy", 10, memory="1GiB", axis="columns")
    loop = 3 * plan.nbytes  # two of the loop, one for the other factor
    sampled = plan.passes * plan.nbytes - loop
    assert 0.1 * plan.nbytes < sampled <= 0.2 * plan.nbytes


def test_what_is_not_a_complete_file_of_numbers_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(StoreError, match=r"not a complete \.npy file"):
        open_source(path)
    np.save(path, A)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"not a complete \.npy file"):
        open_source(path)
    np.save(path, np.array([[object()]]), allow_pickle=True)
    with pytest.raises(StoreError, match="Python objects"):
        open_source(path)
    np.save(path, np.array([["text"]]))
    with pytest.raises(SpecError, match="<U4 values"):
        open_source(path)
    np.save(path, A[:0])
    with pytest.raises((ShapeError, StoreError), match=r"empty|not a complete"):
        open_source(path)
    np.save(path, A[0])
    with pytest.raises(ShapeError, match="a matrix needs two"):
        open_source(path)


def test_a_file_cut_short_after_it_was_opened_is_an_error(tmp_path, read):
    path = tmp_path / "a.npy"
    np.save(path, A)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match="5 bytes too early"):
        read(source)
    path.unlink()
    with pytest.raises(StoreError, match="No such file"):
        read(source)
